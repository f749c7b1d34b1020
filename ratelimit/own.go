package ratelimit

import (
	"context"
	"errors"
	"time"
)

// An ownLimit is a Limiter that stands for a key in the place of a cell of the
// table: for good, because the key has a limit of its own, or as long as somebody
// waits for the key's tokens, because a cell has no line to stand in. Its fields
// are guarded by the shard's mu, but what the limiter itself guards.
type ownLimit struct {
	limiter *Limiter
	set     bool // by SetKeyLimit; otherwise the limit is that of all
	waiting int  // callers of Wait that have not returned
}

// errNotItself says that a key such as NaN cannot have a limit: it is another one
// each time.
var errNotItself = errors.New("ratelimit: the key is not equal to itself")

func equal[K comparable](x, y K) bool { return x == y }

// setOwn gives a key a limit of its own, which is not checked yet. What is lacking
// in its bucket stays lacking.
func (s *shard[K]) setOwn(now int64, epoch time.Time, hash uint32, key K, limit Limit, burst int) error {
	m, err := newMeter(limit, burst, "Limit", "burst")
	if err != nil {
		return err
	}
	if !equal(key, key) {
		return errNotItself
	}
	o := s.own[key]
	if o == nil {
		o = s.lend(now, epoch, hash, key, m)
	} else if err := o.limiter.setLimit(now, limit, burst); err != nil {
		return err
	}
	o.set = true
	return nil
}

// clearOwn takes a key's own limit away.
func (s *shard[K]) clearOwn(now int64, hash uint32, key K) {
	o := s.own[key]
	if o == nil || !o.set {
		return
	}
	o.set = false
	if o.waiting == 0 {
		s.takeBack(now, hash, key, o)
		return
	}
	_ = o.limiter.setLimit(now, s.meter.limit, s.meter.burst) // which have been checked
}

// lend moves the bucket of a key out of the table into a Limiter of meter m.
func (s *shard[K]) lend(now int64, epoch time.Time, hash uint32, key K, m meter) *ownLimit {
	v := s.clock(now)
	tat := s.fadedTat(hash)
	if i := s.table.find(hash, key); i >= 0 {
		tat = s.table.cells[i].tat
		s.table.remove(i)
	}
	o := &ownLimit{limiter: &Limiter{epoch: epoch}}
	o.limiter.bucket.Store(newBucket(m, now, s.meter.rescale(tat, v, &m, 0)))
	if s.own == nil {
		s.own = map[K]*ownLimit{}
	}
	s.own[key] = o
	return o
}

// takeBack moves the bucket of a key from its Limiter, which nobody uses any more,
// into the table. What is lacking stays lacking.
func (s *shard[K]) takeBack(now int64, hash uint32, key K, o *ownLimit) {
	delete(s.own, key)
	b := o.limiter.bucket.Load()
	v, w := b.clock(now-b.origin), s.clock(now)
	tat := b.rescale(b.tat.Load(), v, &s.meter, w)
	switch {
	case tat > w:
		s.makeRoom(w)
		s.table.add(cell[K]{tat, key, hash})
	case tat != full:
		s.remember(hash, tat)
	}
}

// Wait takes one token of the key's and returns when its turn has come: at once,
// if there is one. Those who wait for one key are served in the order in which
// they came, whatever their n, and Allow takes nothing before them; keys do not
// wait for each other. The error is that of Limiter.Wait.
//
// While somebody waits for it, a key takes some 500 bytes more and does not count
// as one of MaxKeys; each who waits takes some 200.
func (k *Keyed[K]) Wait(ctx context.Context, key K) error { return k.WaitN(ctx, key, 1) }

// WaitN is Wait for n tokens at a time. More than the key's burst is ErrOverBurst
// at once; 0 or fewer return at once.
func (k *Keyed[K]) WaitN(ctx context.Context, key K, n int) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	now := k.now()
	s, hash := k.lock(key)
	o, err := s.queueUp(ctx, now, k.epoch, hash, key, n)
	s.mu.Unlock()
	if o == nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.waiting--; o.waiting == 0 && !o.set {
			s.takeBack(k.now(), hash, key, o)
		}
	}()
	return o.limiter.wait(ctx, n, 0)
}

// queueUp takes n tokens of a key. If they are not there and it is worth waiting
// for them, it returns the Limiter to wait at, which has been told so.
func (s *shard[K]) queueUp(ctx context.Context, now int64, epoch time.Time, hash uint32, key K, n int) (*ownLimit, error) {
	if o := s.own[key]; o != nil {
		o.waiting++ // and stand in its line, if there is one
		return o, nil
	}
	t := s.take(now, hash, key, n)
	switch t.outcome {
	case taken, idle:
		return nil, nil
	case overBurst:
		return nil, ErrOverBurst
	}
	if !equal(key, key) {
		return nil, nil // nobody would find the line
	}
	after := s.meter.nanos(t.next - s.meter.depth - t.v)
	if err := inVain(ctx, after, t.next-s.meter.depth-t.v); err != nil {
		return nil, err
	}
	o := s.lend(now, epoch, hash, key, s.meter)
	o.waiting = 1
	return o, nil
}
