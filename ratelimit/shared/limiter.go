package shared

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
)

// A Limiter is one node's part of a limit that several nodes share. It is a
// ratelimit.Store. All methods are safe for concurrent use. Make it with Start
// and end it with Close.
type Limiter struct {
	config  Config
	self    string
	service string
	life    uint64
	start   time.Time
	rate    rate

	shards  [shards]shard
	count   atomic.Int64  // accounts
	number  atomic.Uint64 // of the last request
	peers   peers
	members atomic.Pointer[ring.Snapshot] // as of the last tick, for the share

	mu     sync.Mutex
	ledger *ledger // guarded by mu
	tenure *tenure // guarded by mu

	base   context.Context // ends with Close
	cancel context.CancelFunc
	stop   []func()
	wg     sync.WaitGroup // flights, which begin under a shard's lock unless it is closed, and the ticker
}

const shards = 64 // a power of two

// A shard holds a part of the accounts.
type shard struct {
	mu       sync.Mutex
	closed   bool                // guarded by mu
	accounts map[string]*account // guarded by mu
	order    []*account          // the same, in a stable order; guarded by mu
	swept    time.Duration       // guarded by mu
	stats    Stats               // guarded by mu

	_ [64]byte // neighbours are used by other goroutines
}

// A Limiter can be given to ratelimit.Middleware.
var _ ratelimit.Store = (*Limiter)(nil)

// Start starts this node's part of a shared limit. For 9/8 of Config.Lease it
// grants nothing of the keys that it owns, since leases from before a restart may
// be out; what is asked for meanwhile is decided as Config.FailClosed says. The
// error is ErrInvalid and names the field.
func Start(c Config) (*Limiter, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Limiter{
		config: c, self: c.Transport.Local(), service: "ratelimit/" + c.Name,
		start: time.Now(), rate: rateOf(c.Limit, 1), ledger: newLedger(&c),
	}
	snapshot := c.Ring.Snapshot()
	l.members.Store(snapshot)
	l.tenure = newTenure(l.self, &c, snapshot)
	l.life = draw.NewStream(c.Seed^uint64(l.start.UnixNano()), "ratelimit/shared", l.self).Uint64()
	l.peers.byName = map[string]*peer{}
	for i := range l.shards {
		l.shards[i].accounts = map[string]*account{}
	}
	l.base, l.cancel = context.WithCancel(context.Background())
	l.stop = []func(){
		c.Transport.Serve(l.service, l.serve),
		c.Transport.Receive(l.service, l.receive),
	}
	l.wg.Go(l.run)
	return l, nil
}

// Close gives the leases back, as far as the network takes them, ends the requests
// that wait with ErrClosed, and waits for everything that it has started. It does
// not close the Transport. It may be called more than once; the error is always
// nil.
func (l *Limiter) Close() error {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
	}
	l.cancel()
	for _, stop := range l.stop {
		stop()
	}
	l.wg.Wait()
	now := l.now()
	for i := range l.shards {
		l.giveBack(now, 0, &l.shards[i])
	}
	return nil
}

// now returns the time since the start. It is monotonic.
func (l *Limiter) now() time.Duration { return time.Since(l.start) }

func (l *Limiter) shard(key string) *shard { return &l.shards[ring.Hash(key)&(shards-1)] }

// Take takes n tokens of the key's, all or none: from this node's lease if it has
// them, which takes no network, and otherwise with one request to the key's owner,
// or two where others have asked before; requests of many callers go together.
// n of 0 or less is always allowed; more than the burst never is. A key that the
// owner has no tokens for is denied without asking again until it may have some.
//
// Remaining is what is left of the lease and what the owner had left when it last
// answered; RetryAfter is right if nobody else takes any.
//
// Errors: that of ctx, ErrUnavailable, ErrFull, ErrClosed, and ErrInvalid for a
// key over MaxKey bytes. Nothing was taken then for the caller.
func (l *Limiter) Take(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	if ctx.Err() != nil {
		return ratelimit.Decision{}, transport.ContextError(ctx)
	}
	if uint(n-1) >= uint(l.config.Burst) || len(key) > MaxKey {
		return l.edge(key, n)
	}
	now := l.now()
	s := l.shard(key)
	s.mu.Lock()
	if a := s.accounts[key]; a != nil && !s.closed {
		switch a.take(now, int64(n)) {
		case taken:
			s.stats.Allowed++
			if a.low(now, l.config.Lease) {
				l.fly(now, s, a)
			}
			left := a.held + a.left
			s.mu.Unlock()
			return l.decision(true, left, 0), nil
		case denied:
			s.stats.Denied++
			left, wait := a.held+a.left, a.wait(now, int64(n), l.rate)
			s.mu.Unlock()
			return l.decision(false, left, wait), nil
		}
	}
	s.mu.Unlock()
	return l.takeSlowly(ctx, s, key, int64(n))
}

// edge answers what needs no account.
func (l *Limiter) edge(key string, n int) (ratelimit.Decision, error) {
	switch {
	case len(key) > MaxKey:
		return ratelimit.Decision{}, fmt.Errorf("%w: a key has at most %d bytes, this one has %d", ErrInvalid, MaxKey, len(key))
	case n > l.config.Burst:
		return l.decision(false, 0, ratelimit.Never), nil
	}
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ratelimit.Decision{}, ErrClosed
	}
	var left int64
	if a := s.accounts[key]; a != nil {
		left = a.held + a.left
	}
	return l.decision(true, left, 0), nil
}

// takeSlowly is Take where the account alone may not do. Whoever waits is counted
// in the account; the first flight that begins after that asks for all who are.
func (l *Limiter) takeSlowly(ctx context.Context, s *shard, key string, n int64) (d ratelimit.Decision, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := l.account(s, key)
	if err != nil {
		return d, err
	}
	a.join(n)
	defer a.leave(n)
	before := a.begun
	for answered := false; ; {
		now := l.now()
		if s.closed {
			return d, ErrClosed
		}
		switch v := a.take(now, n); {
		case v == taken:
			s.stats.Allowed++
			return l.decision(true, a.held+a.left, 0), nil
		case v == down:
			if a.due(now) {
				l.fly(now, s, a)
			}
			if a.down == nil { // this node is the owner and has just answered
				continue
			}
			return l.decideAlone(now, s, a, n)
		case v == denied || answered:
			s.stats.Denied++
			return l.decision(false, a.held+a.left, a.wait(now, n, l.rate)), nil
		}
		f := a.flight
		if f == nil {
			f = l.fly(now, s, a)
		}
		if err := l.wait(ctx, s, f); err != nil {
			return d, err
		}
		answered = f.number > before
	}
}

// wait waits for a flight to end. The caller holds the shard's lock, which is
// given up meanwhile.
func (l *Limiter) wait(ctx context.Context, s *shard, f *flight) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-f.done:
		return nil
	default:
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return transport.ContextError(ctx)
	case <-l.base.Done():
		return ErrClosed
	}
}

// decideAlone decides without the owner. The caller holds the shard's lock.
func (l *Limiter) decideAlone(now time.Duration, s *shard, a *account, n int64) (ratelimit.Decision, error) {
	r, size, ok := l.share()
	if !ok {
		s.stats.Unavailable++
		return ratelimit.Decision{}, a.down
	}
	wait, ok := a.takeShare(now, n, r, size)
	if !ok {
		if n > size {
			wait = max(wait, a.probe-now, 1)
		}
		s.stats.Denied++
		return l.decision(false, a.share.tokens, wait), nil
	}
	s.stats.Allowed++
	s.stats.Alone++
	return l.decision(true, a.share.tokens, 0), nil
}

// share returns this node's own part of the limit; ok is false if it has none.
func (l *Limiter) share() (r rate, size int64, ok bool) {
	members := l.members.Load()
	_, member := members.Node(l.self)
	if l.config.FailClosed || !member {
		return rate{}, 0, false
	}
	return rateOf(l.config.Limit, members.Len()), int64(max(1, l.config.Burst/members.Len())), true
}

func (l *Limiter) decision(allowed bool, remaining int64, retry time.Duration) ratelimit.Decision {
	return ratelimit.Decision{
		Allowed: allowed, Remaining: int(min(remaining, int64(l.config.Burst))), RetryAfter: retry,
		Limit: l.config.Limit, Burst: l.config.Burst, Policy: l.config.Name,
	}
}

// account returns the account of a key, a new one if there is room. The caller
// holds the shard's lock.
func (l *Limiter) account(s *shard, key string) (*account, error) {
	if s.closed {
		return nil, ErrClosed
	}
	if a := s.accounts[key]; a != nil {
		return a, nil
	}
	if l.count.Load() >= int64(l.config.MaxKeys) {
		if now := l.now(); now-s.swept >= l.config.Lease/64 {
			s.swept = now
			l.forget(now, s)
		}
	}
	if l.count.Add(1) > int64(l.config.MaxKeys) {
		l.count.Add(-1)
		return nil, fmt.Errorf("%w: %d are in use on %s", ErrFull, l.config.MaxKeys, l.self)
	}
	a := &account{key: key}
	_, size, _ := l.share()
	a.share = newBucket(0, size, l.config.Forgive)
	s.accounts[key] = a
	s.order = append(s.order, a)
	return a, nil
}

// unavailable says why an owner gave no answer.
func unavailable(owner string, cause error) error {
	if errors.Is(cause, ErrFull) {
		return fmt.Errorf("%w on the owner, %s", ErrFull, owner)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, owner, cause)
}
