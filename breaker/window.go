package breaker

import (
	"sync"
	"sync/atomic"
	"time"
)

// A window remembers the recent calls of one closed generation. All methods are
// safe for concurrent use; once no call is being recorded, the tally is exact.
type window interface {
	// record adds a call that ended now, and reports whether the window holds
	// any failed or slow call: only then can it be time to open.
	record(now int64, failed, slow bool) (suspicious bool)
	// tally counts the calls in the window.
	tally(now int64) tally
}

// A tally is what a window holds.
type tally struct{ calls, failures, slow int64 }

func newWindow(c *Config, now int64) window {
	switch {
	case c.WindowCalls > 0:
		return &countWindow{slots: make([]atomic.Uint32, c.WindowCalls)}
	case c.WindowTime > 0:
		w := &timeWindow{width: int64(c.WindowTime / timeBuckets)}
		w.tick.Store(now / w.width)
		w.next.Store((now/w.width + 1) * w.width)
		return w
	}
	return nil
}

// The marks in a slot of a countWindow; an empty slot is 0.
const (
	markCall = 1 << iota
	markFailed
	markSlow
)

// A countWindow holds the outcomes of the last len(slots) calls. A call takes
// the oldest slot, and changes the sums by the difference between its mark and
// the one that it overwrites, so the sums follow the slots exactly.
type countWindow struct {
	slots []atomic.Uint32

	// While all goes well these are only read; signed, because an update may
	// overtake the one that it undoes.
	failures atomic.Int64
	slow     atomic.Int64

	_        [64]byte // keeps the sums off the line that calls write
	recorded atomic.Uint64
}

func (w *countWindow) record(_ int64, failed, slow bool) bool {
	good := !failed && !slow
	if good && w.failures.Load() == 0 && w.slow.Load() == 0 && w.recorded.Load() >= uint64(len(w.slots)) {
		return false // a window full of good calls is the same after one more
	}
	mark := uint32(markCall)
	if failed {
		mark |= markFailed
	}
	if slow {
		mark |= markSlow
	}
	n := w.recorded.Add(1) - 1
	slot := &w.slots[n%uint64(len(w.slots))]
	if slot.Load() != mark {
		before := slot.Swap(mark)
		if (before^mark)&markFailed != 0 {
			w.failures.Add(oneIf(failed))
		}
		if (before^mark)&markSlow != 0 {
			w.slow.Add(oneIf(slow))
		}
	}
	return w.failures.Load() > 0 || w.slow.Load() > 0
}

// tally may be off by the calls that are being recorded at the moment.
func (w *countWindow) tally(int64) (t tally) {
	t.failures, t.slow = w.failures.Load(), w.slow.Load()
	t.calls = int64(min(w.recorded.Load(), uint64(len(w.slots))))
	return t
}

// oneIf returns the change of a sum when a mark appears or goes.
func oneIf(appears bool) int64 {
	if appears {
		return 1
	}
	return -1
}

// timeBuckets is how many pieces a window of time moves in.
const timeBuckets = 10

// A timeWindow holds the calls of the last ten ticks, the running one included.
// A call is counted in the bucket of the tick that runs when it is recorded.
type timeWindow struct {
	width int64        // of a tick, in nanoseconds
	next  atomic.Int64 // when the running tick ends
	tick  atomic.Int64 // the number of the running tick

	failures atomic.Int64 // the sums over all buckets; see countWindow
	slow     atomic.Int64

	mu      sync.Mutex // held to move on, and to see a window that does not
	_       [64]byte   // keeps the above off the lines that every call writes
	buckets [timeBuckets]struct{ calls, failures, slow atomic.Int64 }
}

func (w *timeWindow) record(now int64, failed, slow bool) bool {
	if now >= w.next.Load() {
		w.mu.Lock()
		w.advance(now)
		w.mu.Unlock()
	}
	b := &w.buckets[w.tick.Load()%timeBuckets]
	b.calls.Add(1)
	if failed {
		b.failures.Add(1)
		w.failures.Add(1)
	}
	if slow {
		b.slow.Add(1)
		w.slow.Add(1)
	}
	return w.failures.Load() > 0 || w.slow.Load() > 0
}

// advance makes the tick of now the running one and empties the buckets that
// have left the window. What a slow goroutine adds to a bucket after that counts
// as recorded now, which it is. The caller holds mu.
func (w *timeWindow) advance(now int64) {
	last, tick := w.tick.Load(), now/w.width
	if tick <= last {
		return
	}
	for t := max(last+1, tick-timeBuckets+1); t <= tick; t++ {
		b := &w.buckets[t%timeBuckets]
		b.calls.Store(0)
		w.failures.Add(-b.failures.Swap(0))
		w.slow.Add(-b.slow.Swap(0))
	}
	w.tick.Store(tick)
	w.next.Store((tick + 1) * w.width)
}

// tally reads in the order of countWindow's.
func (w *timeWindow) tally(now int64) tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance(now)
	t := tally{failures: w.failures.Load(), slow: w.slow.Load()}
	for i := range w.buckets {
		t.calls += w.buckets[i].calls.Load()
	}
	return t
}

// verdict returns why a breaker must open on what a window holds; "" if it need
// not. A share is compared as a quotient: it is then rounded as the rate in the
// configuration was, and 3 of 30 is a rate of 0.1.
func (c *Config) verdict(t tally, minimum int) (cause Cause) {
	switch calls := float64(t.calls); {
	case t.calls < int64(minimum) || t.calls == 0:
		return ""
	case float64(t.failures)/calls >= c.FailureRate:
		return CauseFailureRate
	case c.SlowAfter > 0 && float64(t.slow)/calls >= c.SlowRate:
		return CauseSlowRate
	}
	return ""
}

// openFor returns how long the n-th opening in a row lasts, counted from 0,
// before jitter. It doubles without ever passing the bound, so it cannot
// overflow.
func (c *Config) openFor(n int) time.Duration {
	d := c.OpenFor
	for range n {
		if d > c.MaxOpenFor/2 {
			return c.MaxOpenFor
		}
		d *= 2
	}
	return d
}
