package ratelimit

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Limiter is a token bucket: it holds up to burst tokens, which come back
// evenly at the limit, and an event takes one. So in any time t, it lets at most
// burst + limit*t events happen, whatever the number of goroutines, and wherever
// the times that it is told come from. Make one with New or NewWarm. All methods
// are safe for concurrent use; there is nothing to close.
//
// Ask with Allow to drop or refuse what is too much, with Wait to slow down to
// the limit, and with Reserve to find out when to act. They go together: what
// Wait and Reserve have promised to some, Allow does not give to others.
//
// Allow costs one reading of the clock and one atomic operation, and allocates
// nothing; a refusal writes nothing, so refusing many goroutines scales. So does
// allowing them, where the burst is large: 65,536 or more for each two processors.
type Limiter struct {
	bucket atomic.Pointer[bucket]
	epoch  time.Time // where the limiter's clock begins
	warm   *WarmConfig

	// mu is taken to replace the bucket, by those who wait, and for the till.
	mu   sync.Mutex
	line line  // guarded by mu
	till *till // nil before it was first opened; guarded by mu
}

// A bucket is the state of a limiter under one meter and around one origin. It is
// replaced when the limit changes and when the clock leaves its reach.
//
// What every event writes lies on a cache line of its own, apart from what every
// event reads, here and in other objects. Side by side, each event on one processor
// would take from the others the line with which they decide about theirs.
type bucket struct {
	till   atomic.Pointer[till] // nil while it is shut
	origin int64                // where the meter's clock is 0, on the limiter's clock
	// The clock is the elapsed time by scale from origin-low on, for span
	// nanoseconds. A bucket that warms up has span 0.
	low, span int64
	meter
	ramp *ramp // nil if the bucket is warm

	// Where the tat went when the bucket was replaced. Guarded by Limiter.mu.
	next *bucket
	then int64 // the moment of that, on this clock; it is the next one's origin

	_   [64]byte
	tat atomic.Int64  // on the meter's clock; frozen while the till is open, and once the bucket has been replaced
	met atomic.Uint32 // how often goroutines have met here; it lies where they did
	_   [64]byte
}

// New returns a limiter that allows limit, and bursts of up to burst events after
// a rest: at least 1, and at most 2^31-1 or what the limit allows in a year. It
// begins full. A burst of 1 spreads events evenly; a tenth of a second's worth
// or more forgives the jitter of callers. The error names the value that is out
// of bounds.
func New(limit Limit, burst int) (*Limiter, error) {
	m, err := newMeter(limit, burst, "Limit", "burst")
	if err != nil {
		return nil, err
	}
	l := &Limiter{epoch: time.Now()}
	l.bucket.Store(newBucket(m, 0, full))
	return l, nil
}

func newBucket(m meter, origin, tat int64) *bucket {
	b := &bucket{origin: origin, low: m.reach, span: 2 * m.reach, meter: m}
	b.tat.Store(tat)
	return b
}

// now returns the time on the limiter's clock, in nanoseconds. It is monotonic.
func (l *Limiter) now() int64 { return int64(time.Since(l.epoch)) }

// at returns a time given by the caller on the limiter's clock.
func (l *Limiter) at(t time.Time) int64 { return onClock(t.Sub(l.epoch)) }

// onClock bounds a time since the epoch such that differences do not overflow:
// times further than 146 years away are as good as those.
func onClock(d time.Duration) int64 {
	return int64(max(-math.MaxInt64/2, min(math.MaxInt64/2, d)))
}

// Allow takes one token and reports whether there was one. It never waits.
func (l *Limiter) Allow() bool {
	for {
		b := l.bucket.Load()
		if t := b.till.Load(); t != nil && (t.take() || l.draw(b)) {
			return true
		}
		now := l.now()
		elapsed := now - b.origin
		if uint64(elapsed+b.low) > uint64(b.span) {
			_, ok := l.take(now, 1)
			return ok
		}
		// As take does, but without a ticket: that saves 1 to 2 of the 8 ns beside the
		// clock. It is not read again after a meeting: meanwhile there would be another.
		for v := elapsed * b.scale; ; l.meet(b) {
			tat := b.tat.Load()
			next, room := b.after(tat, v, b.cost)
			if room && b.tat.CompareAndSwap(tat, next) {
				return true
			}
			if tat == frozen {
				break
			}
			if !room {
				return false
			}
		}
		if b.till.Load() == nil { // replaced, and not only opened
			_, ok := l.take(now, 1)
			return ok
		}
	}
}

// AllowN takes n tokens at the time now, all or none, and reports whether they
// were there. It never waits. More than the burst are never there; 0 or fewer
// always are, and take nothing.
//
// now is used as it is given, for its monotonic reading if it has one, which a
// wall clock that is set does not move. Times out of order admit nothing extra:
// a call with an earlier time than one before it finds what that left, less what
// had not yet come back at its own time.
func (l *Limiter) AllowN(now time.Time, n int) bool {
	_, ok := l.take(l.at(now), n)
	return ok
}

// Decide is AllowN with the whole answer. Decide(now, 0) takes nothing and tells
// the state.
func (l *Limiter) Decide(now time.Time, n int) Decision {
	t, _ := l.take(l.at(now), n)
	return t.decide()
}

// Limit returns the limit and the burst in force.
func (l *Limiter) Limit() (limit Limit, burst int) {
	b := l.bucket.Load()
	return b.limit, b.burst
}

// SetLimit changes the limit and the burst, for all from now on. The tokens that
// are lacking in the bucket stay lacking under the new limit and come back at its
// rate, so that no token is given twice and none is lost: an emptied bucket stays
// empty, a full one is full. Waiters keep their order and get their turns at the
// new rate; the times that Reserve has told stay as they are. A warm-up begins
// anew. The error is that of New, and leaves everything as it was.
func (l *Limiter) SetLimit(limit Limit, burst int) error {
	return l.setLimit(l.now(), limit, burst)
}

// SetLimitAt is SetLimit at the time now, for limiters whose other methods are
// told the time, too.
func (l *Limiter) SetLimitAt(now time.Time, limit Limit, burst int) error {
	return l.setLimit(l.at(now), limit, burst)
}

func (l *Limiter) setLimit(now int64, limit Limit, burst int) error {
	m, err := newMeter(limit, burst, "Limit", "burst")
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replace(m, now, l.warm != nil)
	return nil
}

// take takes n tokens at a time on the limiter's clock, if there is room.
func (l *Limiter) take(now int64, n int) (t ticket, ok bool) {
	for {
		b := l.bucket.Load()
		elapsed := now - b.origin
		v := elapsed * b.scale
		if uint64(elapsed+b.low) > uint64(b.span) {
			if v, ok = l.slowClock(b, now, uint(n-1) < uint(b.burst)); !ok {
				continue
			}
		}
		if uint(n-1) >= uint(b.burst) {
			if tat := b.tat.Load(); tat != frozen {
				if b.cold(v) { // tell what the next event will find
					tat = max(tat, v+b.depth-b.need(l.warm.first(b.burst)))
				}
				return ticket{b, tat, tat, v, edge(n)}, n <= 0
			}
			l.thaw()
			continue
		}
		units := b.need(n)
		for {
			tat := b.tat.Load()
			next, room := b.after(tat, v, units)
			if !room {
				if tat == frozen {
					l.thaw()
					break
				}
				return ticket{b, tat, next, v, refused}, false
			}
			if b.tat.CompareAndSwap(tat, next) {
				return ticket{b, tat, next, v, taken}, true
			}
		}
	}
}

// thaw returns when no frozen bucket is in place: the till is shut, and whoever
// replaces the bucket has done so. Trying again at once could keep them from it.
func (l *Limiter) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut(l.bucket.Load())
}

// decide is the answer that a ticket of this limiter stands for.
func (t *ticket) decide() Decision {
	b := t.bucket
	d := b.decision(t)
	if b.ramp != nil && t.outcome == refused {
		d.RetryAfter = time.Duration(b.when(t.next-b.depth) - b.when(t.v))
	}
	return d
}

// slowClock returns the time on the bucket's clock where the quick way does not
// hold. If the bucket has to be replaced for it, it is, and ok is false. Only an
// event begins a warm-up, not a look.
func (l *Limiter) slowClock(b *bucket, now int64, event bool) (v int64, ok bool) {
	elapsed := now - b.origin
	v = b.clock(elapsed)
	if b.ramp != nil && elapsed >= -b.reach && elapsed <= b.reach && !(event && b.cold(v)) {
		return v, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket.Load() != b {
		return 0, false
	}
	l.shut(b)
	if elapsed < -b.reach && b.tat.Load() != full {
		return full, true // long before all that has happened: nothing is left for then
	}
	l.replace(b.meter, now, event && b.cold(v))
	return 0, false
}

// clock returns what the bucket's clock shows some nanoseconds after its origin.
// Beyond twice its reach it stands still.
func (b *bucket) clock(elapsed int64) int64 {
	elapsed = max(-b.reach, min(2*b.reach, elapsed))
	if b.ramp != nil {
		return b.ramp.clock(elapsed, b.scale)
	}
	return elapsed * b.scale
}

// when returns the time on the limiter's clock at which the bucket's clock shows
// v, rounded up.
func (b *bucket) when(v int64) int64 {
	if b.ramp != nil {
		return b.origin + b.ramp.when(v, b.scale)
	}
	n := v / b.scale
	if n*b.scale < v {
		n++
	}
	return b.origin + n
}

// replace puts a bucket of meter m, with its origin at now, in the place of the
// current one. What is lacking stays lacking. If cold is set, a limiter that
// warms up begins to. The caller holds mu.
func (l *Limiter) replace(m meter, now int64, cold bool) {
	old := l.bucket.Load()
	l.shut(old)
	next := newBucket(m, now, full)
	old.next, old.then = next, old.clock(now-old.origin)
	tat := old.moved(old.tat.Swap(frozen))
	if l.warm != nil {
		next.ramp, next.low, next.span = l.warm.ramp(&m, cold), math.MinInt64, 0
		if cold {
			tat = max(tat, m.depth-m.need(l.warm.first(m.burst)))
		}
	}
	tat = max(tat, l.line.move(old, next))
	next.tat.Store(tat)
	l.bucket.Store(next)
	l.line.wakeHead()
}

// moved returns where a tat of this bucket went when it was replaced.
func (b *bucket) moved(tat int64) int64 {
	return b.rescale(tat, b.then, &b.next.meter, 0)
}
