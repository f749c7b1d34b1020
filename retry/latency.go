package retry

import (
	"cmp"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A Latency watches how long calls take and knows the delay after which a call
// is late. It gives [HedgePolicy] the delay that fits the service as it is now.
// One Latency serves all calls of one kind; it is safe for concurrent use and
// made by [NewLatency].
//
// It keeps the latest Window calls, each rounded up by at most 1/16. Observe
// costs about 15 ns, and every 32nd time a microsecond; reading costs 2 ns.
type Latency struct {
	config LatencyConfig

	mu     sync.Mutex
	counts [buckets]uint32 // how many of the kept calls fell into each bucket
	kept   []uint16        // the bucket of each kept call, a ring
	oldest int             // where the ring begins, once it is full
	since  int             // calls since late was computed

	late atomic.Int64 // the percentile in ns; 0 while too few calls were seen
}

// LatencyConfig configures a [Latency]. The zero value hedges the slowest 5% of
// the latest 1,000 calls.
type LatencyConfig struct {
	// Percentile is the part of the calls that is not hedged. Default 0.95;
	// bounds above 0 and below 1. Hedges cost 1-Percentile more calls.
	Percentile float64
	// Window is how many calls it remembers. Default 1,000; bounds 20 to 1e6.
	// More is steadier, fewer follows a change sooner. Takes 2 bytes a call
	// and 4 KiB.
	Window int
	// Min and Max bound the delay, whatever was seen. Default Min 1 ms, Max
	// none; must not be negative.
	Min, Max time.Duration
}

const (
	fineBits = 4              // each power of two is split into 16 buckets
	buckets  = 60 << fineBits // for all 63 bits of a duration
	minCalls = 20             // fewer say nothing about a percentile
	refresh  = 32             // calls between computations of the percentile
)

// NewLatency returns a Latency that has seen no calls, or an ErrInvalid.
func NewLatency(c LatencyConfig) (*Latency, error) {
	switch {
	case c.Percentile != 0 && !(c.Percentile > 0 && c.Percentile < 1):
		return nil, invalid("LatencyConfig.Percentile", c.Percentile, "above 0 and below 1, or 0 for 0.95")
	case c.Window != 0 && (c.Window < minCalls || c.Window > 1e6):
		return nil, invalid("LatencyConfig.Window", c.Window, "20 to 1e6, or 0 for 1000")
	case c.Min < 0:
		return nil, invalid("LatencyConfig.Min", c.Min, "above 0, or 0 for 1ms")
	case c.Max < 0:
		return nil, invalid("LatencyConfig.Max", c.Max, "above 0, or 0 for no bound")
	case c.Max != 0 && c.Max < c.Min:
		return nil, invalid("LatencyConfig.Max", c.Max, "at least Min")
	}
	c.Percentile, c.Window = cmp.Or(c.Percentile, 0.95), cmp.Or(c.Window, 1000)
	c.Min, c.Max = cmp.Or(c.Min, time.Millisecond), cmp.Or(c.Max, forever)
	return &Latency{config: c, kept: make([]uint16, 0, c.Window)}, nil
}

// Observe counts one call that took d. Hedge and HedgeRoundTripper observe by
// themselves: every first call that succeeded, and one that lost against its
// hedge with the time until then, for it would have taken longer. Failures are
// left out; fast ones would make every success look late.
func (l *Latency) Observe(d time.Duration) {
	bucket := bucketOf(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) < cap(l.kept) {
		l.kept = append(l.kept, bucket)
	} else {
		l.counts[l.kept[l.oldest]]--
		l.kept[l.oldest] = bucket
		l.oldest = (l.oldest + 1) % len(l.kept)
	}
	l.counts[bucket]++
	if l.since++; l.since >= refresh || len(l.kept) == minCalls {
		l.since = 0
		l.compute()
	}
}

// Late returns the delay after which a call is late: the percentile of the
// calls seen, within Min and Max. ok is false until 20 calls have been seen.
// It follows the calls within 32 of them.
func (l *Latency) Late() (delay time.Duration, ok bool) {
	delay = time.Duration(l.late.Load())
	return delay, delay > 0
}

// compute finds the bucket below which the percentile of the calls lies.
func (l *Latency) compute() {
	if len(l.kept) < minCalls {
		return
	}
	// The calls above the percentile are few: count from the top.
	calls := float64(len(l.kept))
	above := uint32(calls - math.Ceil(calls*l.config.Percentile))
	bucket := buckets - 1
	for seen := l.counts[bucket]; seen <= above && bucket > 0; seen += l.counts[bucket] {
		bucket--
	}
	l.late.Store(int64(min(max(upper(bucket), l.config.Min), l.config.Max)))
}

// bucketOf returns the bucket of a duration. The first 16 hold one nanosecond
// each; from there every power of two is split into 16.
func bucketOf(d time.Duration) uint16 {
	ns := uint64(max(d, 0))
	if ns < 1<<fineBits {
		return uint16(ns)
	}
	exponent := bits.Len64(ns) - 1 - fineBits
	return uint16(exponent<<fineBits + int(ns>>exponent))
}

// upper returns the longest duration of a bucket.
func upper(bucket int) time.Duration {
	if bucket < 1<<fineBits {
		return time.Duration(bucket)
	}
	exponent := bucket>>fineBits - 1
	fine := uint64(bucket&(1<<fineBits-1)) + 1<<fineBits
	return time.Duration((fine+1)<<exponent - 1)
}
