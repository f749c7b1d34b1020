package shared

import (
	"context"
	"errors"
	"slices"
	"time"
)

// fly begins a flight for an account that has none: the owner is asked for all
// that those who wait want, if there are any, and for a batch. If this node is the
// owner, the flight has ended on return. The caller holds the shard's lock.
func (l *Limiter) fly(now time.Duration, s *shard, a *account) *flight {
	a.begun++
	f := &flight{number: a.begun, done: make(chan struct{})}
	owner := l.owner(a.key)
	var places chan struct{}
	if owner != l.self {
		var err error
		if places, err = l.peers.begin(now, owner, l.pause()); err != nil {
			a.failed(unavailable(owner, err), now+l.pause())
			close(f.done)
			return f
		}
	}
	q := a.request(now, l.config.Lease, int64(l.config.Burst))
	q.life, q.number = l.life, l.number.Add(1)
	if owner == l.self {
		r := l.grant(l.self, &q)
		l.land(now, a, owner, &q, &r, nil)
		close(f.done)
		return f
	}
	a.flight = f
	l.wg.Go(func() {
		var r response
		err := errSilent // if the Transport ends this goroutine
		defer func() {
			l.peers.end(l.now(), owner, err, l.pause())
			s.mu.Lock()
			defer s.mu.Unlock()
			if !errors.Is(err, errBusy) {
				s.stats.Requests++
			}
			l.land(now, a, owner, &q, &r, err)
			a.flight = nil
			close(f.done)
		}()
		r, err = l.call(owner, places, &q)
	})
	return f
}

// pause is how long an owner that did not answer is left alone.
func (l *Limiter) pause() time.Duration { return l.config.Timeout }

// call sends a request, once there is a place for it, and waits for the response.
func (l *Limiter) call(owner string, places chan struct{}, q *request) (r response, err error) {
	if !l.enter(places) {
		return r, errBusy
	}
	defer func() { <-places }()
	ctx, cancel := context.WithTimeout(l.base, l.config.Timeout)
	defer cancel()
	body, err := l.config.Transport.Call(ctx, owner, l.service, q.append(make([]byte, 0, len(q.key)+80)))
	if err == nil {
		err = r.decode(body)
	}
	return r, err
}

// enter waits for a place, but no longer than for an answer.
func (l *Limiter) enter(places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	ctx, cancel := context.WithTimeout(l.base, l.config.Timeout)
	defer cancel()
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// land takes what came of a request to its account. The caller holds the lock of
// the account's shard.
func (l *Limiter) land(sent time.Duration, a *account, owner string, q *request, r *response, err error) {
	now := l.now()
	again := now + l.pause()
	if err == nil {
		switch r.status {
		case statusGranted:
			a.granted(now, sent, q, r)
			return
		case statusWarming:
			err, again = errWarming, now+r.retry
		case statusFull:
			err = ErrFull
		case statusNotOwner:
			err = errNotOwner
		default:
			err = errStale
		}
	}
	a.failed(unavailable(owner, err), again)
}

// owner returns the owner of a key, "" if the ring is empty.
func (l *Limiter) owner(key string) string {
	name, _ := l.config.Ring.Owner(key)
	return name
}

// grant answers a request for a key of this node's.
func (l *Limiter) grant(from string, q *request) response {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.tenure.observe(now, l.config.Ring.Snapshot())
	owner, nodes := l.tenure.owner(q.key)
	if owner != l.self {
		return response{status: statusNotOwner}
	}
	return l.ledger.exchange(now, l.tenure.safe(q.key), from, q, nodes)
}

// serve answers the requests of other nodes.
func (l *Limiter) serve(_ context.Context, from string, body []byte) ([]byte, error) {
	var q request
	if err := q.decode(body); err != nil {
		return nil, err
	}
	r := l.grant(from, &q)
	return r.append(body[:0]), nil
}

// receive takes the leases that other nodes give back.
func (l *Limiter) receive(from string, body []byte) {
	var q request
	if err := q.decode(body); err != nil {
		return
	}
	q.held, q.need, q.wanted, q.batch = 0, 0, 0, 0
	l.grant(from, &q)
}

// run gives idle leases back, forgets idle accounts and watches the ring.
func (l *Limiter) run() {
	tick := time.NewTicker(l.config.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-l.base.Done():
			return
		case <-tick.C:
		}
		now := l.now()
		l.watch(now)
		for i := range l.shards {
			s := &l.shards[i]
			l.giveBack(now, l.config.Lease/2, s)
			s.mu.Lock()
			l.forget(now, s)
			s.mu.Unlock()
		}
	}
}

// watch takes note of a changed ring.
func (l *Limiter) watch(now time.Duration) {
	l.mu.Lock()
	snapshot := l.config.Ring.Snapshot()
	l.tenure.observe(now, snapshot)
	l.mu.Unlock()
	if l.members.Swap(snapshot).Version() != snapshot.Version() {
		l.peers.forget(func(name string) bool { _, ok := snapshot.Node(name); return ok })
	}
}

// giveBack returns the leases of a shard that were not used for some time. What is
// lost on the way comes back to the bucket no sooner than if it had been used.
func (l *Limiter) giveBack(now, after time.Duration, s *shard) {
	var back []request
	s.mu.Lock()
	for _, a := range s.order {
		if n := a.idle(now, after); n > 0 {
			back = append(back, request{life: l.life, number: l.number.Add(1), key: a.key, returned: n})
			s.stats.Returned += uint64(n)
		}
	}
	s.mu.Unlock()
	for i := range back {
		if owner := l.owner(back[i].key); owner == l.self {
			l.grant(l.self, &back[i])
		} else {
			_ = l.config.Transport.Send(owner, l.service, back[i].append(nil)) // best effort, see above
		}
	}
}

// forget removes the accounts that a new one would be just like. The caller holds
// the shard's lock.
func (l *Limiter) forget(now time.Duration, s *shard) {
	r, size, shares := l.share()
	s.order = slices.DeleteFunc(s.order, func(a *account) bool {
		if !a.idling(now, l.config.Lease) || shares && !a.share.forgettable(now, 0, r, size, l.config.Forgive) {
			return false
		}
		delete(s.accounts, a.key)
		l.count.Add(-1)
		return true
	})
}
