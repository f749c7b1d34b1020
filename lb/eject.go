package lb

import (
	"math"
	"slices"
	"sync/atomic"
)

// An ejection is where a host stands in the matter of being taken out. It is the
// state machine alone: told the time, it asks for nothing.
type ejection struct {
	until  int64 // when it comes back; 0: it is in
	back   int64 // when it last came back
	streak int   // ejections since it was last well for MaxFor
	total  int   // ejections altogether
}

func (e *ejection) out() bool { return e.until != 0 }

// begin takes the host out, for longer each time.
func (e *ejection) begin(c *EjectionConfig, now int64) {
	if now-e.back > int64(c.MaxFor) {
		e.streak = 0
	}
	lasts := c.For
	for range e.streak {
		if lasts = min(2*lasts, c.MaxFor); lasts == c.MaxFor {
			break
		}
	}
	e.until = now + int64(lasts)
	e.streak++
	e.total++
}

// end takes the host back in.
func (e *ejection) end(now int64) { e.until, e.back = 0, now }

// A window counts the calls of an Interval.
type window struct {
	calls, failed atomic.Int64
	took          atomic.Int64 // ns together, of calls that succeeded
}

func (w *window) add(took int64, failed bool) {
	w.calls.Add(1)
	if failed {
		w.failed.Add(1)
	} else {
		w.took.Add(took)
	}
}

// A tally is what a window held.
type tally struct{ calls, failed, took int64 }

func (w *window) take() tally { return tally{w.calls.Swap(0), w.failed.Swap(0), w.took.Swap(0)} }

// outliers reports which of the tallies stand out so far that their hosts are to
// be ejected.
func (e *EjectionConfig) outliers(tallies []tally) []bool {
	out := make([]bool, len(tallies))
	var calls, good int64
	var latencies []float64
	for _, t := range tallies {
		calls += t.calls
		good += t.calls - t.failed
		if latency, ok := e.latencyOf(t); ok {
			latencies = append(latencies, latency)
		}
	}
	slices.Sort(latencies)
	for i, t := range tallies {
		if t.calls < int64(e.MinimumCalls) {
			continue
		}
		if e.SuccessRate > 0 {
			rate, all := float64(t.calls-t.failed)/float64(t.calls), float64(good)/float64(calls)
			out[i] = rate < all-e.SuccessRate
		}
		if latency, ok := e.latencyOf(t); ok && e.Latency > 0 {
			median := latencies[(len(latencies)-1)/2]
			out[i] = out[i] || latency > e.Latency*median
		}
	}
	return out
}

// latencyOf returns the mean latency of a tally with enough calls for one.
func (e *EjectionConfig) latencyOf(t tally) (mean float64, ok bool) {
	good := t.calls - t.failed
	if good < int64(e.MinimumCalls) {
		return 0, false
	}
	return float64(t.took) / float64(good), true
}

// counts reports whether a call counts for ejection: one that began before the host
// last came back does not.
func (h *host) counts(version uint64) bool { return version >= h.since.Load() }

// fail counts a failed call, and ejects the host if that makes enough in a row.
func (h *host) fail(version uint64) {
	b := h.owner
	c := uint32(b.config.Ejection.Consecutive)
	if c == 0 || !h.counts(version) || h.failures.Add(1)%c != 0 {
		return
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.eject(h, now) {
		b.rebuild(now)
	}
}

// rounding is what a product of a share may be short of a whole number: 0.29*100
// is.
const rounding = 1e-6

// eject takes a host out, if it is in and that would not be one too many.
func (b *Balancer) eject(h *host, now int64) bool {
	if b.hosts[h.name] != h || h.ejection.out() {
		return false
	}
	out := 0
	for _, other := range b.order {
		if other.ejection.out() {
			out++
		}
	}
	if most := max(1, int(b.config.Ejection.MaxShare*float64(len(b.order))+rounding)); out >= most || len(b.order) < 2 {
		return false
	}
	h.ejection.begin(&b.config.Ejection, now)
	b.ejections++
	return true
}

// comeBack takes in again the hosts whose time is over, and returns when the next
// one's is.
func (b *Balancer) comeBack(now int64) (next int64) {
	next = never
	for _, h := range b.order {
		switch {
		case !h.ejection.out():
		case h.ejection.until <= now:
			h.ejection.end(now)
			h.since.Store(b.version)
			h.window.take() // what ended meanwhile tells of the time before
			if c := b.config.Ejection.Consecutive; c > 0 {
				h.failures.Store(uint32(c) - 1) // the first failure sends it out again
			}
			b.warmUp(h, now)
		default:
			next = min(next, h.ejection.until)
		}
	}
	return next
}

// compare ejects the hosts that stand out from the others by the calls since the
// last time, once an Interval.
func (b *Balancer) compare(now int64) {
	due := b.compareAt.Load()
	if now < due || !b.compareAt.CompareAndSwap(due, now+int64(b.config.Ejection.Interval)) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	tallies := make([]tally, len(b.order))
	for i, h := range b.order {
		tallies[i] = h.window.take()
	}
	changed := false
	for i, out := range b.config.Ejection.outliers(tallies) {
		if out && b.eject(b.order[i], now) {
			changed = true
		}
	}
	if changed {
		b.rebuild(now)
	}
}

// never is a time that does not come.
const never = int64(math.MaxInt64)
