package lb

import (
	"math"
	"sync/atomic"
	"time"
)

// An estimate is what a call to a host will likely be like.
type estimate struct {
	packed atomic.Uint64 // a forecast
	seen   atomic.Int64  // when the latest call ended; 0: none has
}

// A forecast fits into one word, so that it can be changed as one.
type forecast struct {
	latency float32 // ns
	failing float32 // share of calls that fail; 24 bits of it are kept
	calls   uint8   // that it is made of, up to enough
}

const (
	enough      = 4       // calls to know a latency by
	memory      = 1e9     // ns in which half of the latency comes to be from newer calls
	outlier     = 4       // times the latency so far that one call counts for at most
	failureStep = 1.0 / 8 // weight of one call in the share of those that fail
	negligible  = 0.01    // share of failures that is none
	forget      = 2.5e9   // ns without a call in which half of what was bad is forgiven
	grace       = 1e8     // ns without a call that are none
)

const failingUnit = 1 << 24

func (f forecast) pack() uint64 {
	failing := uint32(f.failing * (failingUnit - 1))
	return uint64(math.Float32bits(f.latency))<<32 | uint64(failing)<<8 | uint64(f.calls)
}

func unpack(v uint64) forecast {
	return forecast{
		latency: math.Float32frombits(uint32(v >> 32)),
		failing: float32(uint32(v)>>8) / (failingUnit - 1),
		calls:   uint8(v),
	}
}

// observe takes a call into account that ended at now. Calls of one moment share
// one weight, that of the time since the last: a burst says no more than a call.
func (e *estimate) observe(now, took int64, failed bool) {
	since := float32(max(now-e.seen.Swap(now), 0))
	for {
		old := e.packed.Load()
		if e.packed.CompareAndSwap(old, unpack(old).after(since, float32(max(took, 1)), failed).pack()) {
			return
		}
	}
}

// after returns the forecast with one call more, so long since the last.
func (f forecast) after(since, took float32, failed bool) forecast {
	if failed {
		f.failing += (1 - f.failing) * failureStep
	} else {
		f.failing -= f.failing * failureStep
	}
	if failed && f.calls > 0 && took < f.latency {
		return f // failing soon is no virtue
	}
	weight := since / (since + memory)
	if f.calls < enough {
		f.calls++
		weight = max(weight, 1/float32(f.calls)) // the mean of the first
	}
	if f.calls > 1 {
		took = min(took, outlier*f.latency)
	}
	f.latency += (took - f.latency) * weight
	return f
}

// read returns the estimate as a Status shows it.
func (e *estimate) read() (latency time.Duration, success float64) {
	f := unpack(e.packed.Load())
	if f.calls == 0 {
		return 0, 0
	}
	return time.Duration(f.latency), float64(1 - f.failing)
}

// outlook returns how long a call to the host with nothing in its way will likely
// take, in ns, or 0 if too little is known; and by how much its failures make that
// worse.
//
// A host that is not called is forgiven, half of it again and again, so that it is
// tried after a while however bad it was: a hundred times as slow, after 17 s.
// Failures count more than in proportion: a call that has to be made again
// elsewhere costs more than its time, and may not be possible at all.
func (h *host) outlook(now int64) (latency, penalty float64) {
	f := unpack(h.estimate.packed.Load())
	forgiven := 1.0
	if idle := now - h.estimate.seen.Load(); idle > grace {
		forgiven = math.Exp2(-float64(idle-grace) / forget)
	}
	penalty = 1
	if failing := float64(f.failing) * forgiven; failing > negligible {
		success := (1 - failing) * (1 - failing)
		penalty /= success * success
	}
	if f.calls < enough {
		return 0, penalty
	}
	return max(float64(f.latency)*forgiven, 1), penalty
}
