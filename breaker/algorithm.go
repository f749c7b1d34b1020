package breaker

import (
	"math"
	"time"
)

// Algorithm is how an Adaptive finds its limit: Gradient or AIMD.
type Algorithm interface {
	withDefaults(check *checker) Algorithm
	start() controller
}

// A controller computes one limit after the other. It is a function of what it
// is told: it reads no clock and takes no lock.
type controller interface {
	// next returns the limit after a window of calls. It may lie out of bounds:
	// the caller puts that right, and passes the result to the next call.
	next(limit float64, s sample) float64
}

// A sample is what an Adaptive saw in one window.
type sample struct {
	now       time.Duration // when the window ended, on the Adaptive's clock
	latency   time.Duration // the mean of the successful calls
	successes int           // calls that began and succeeded in the window
	overloads int           // calls that began and failed in the window
	peak      int           // the most calls that ran at a time
}

// overload returns the share of the calls that failed.
func (s sample) overload() float64 {
	return float64(s.overloads) / float64(max(1, s.successes+s.overloads))
}

// Gradient looks for the limit at which calls begin to queue up inside the
// service: where they take longer than they do when the service has room. It
// compares the mean latency of each window with a baseline, shrinks the limit by
// as much as the latency is over Tolerance times the baseline, and adds the square
// root of the limit, so that it goes on trying more. The limit comes to rest a
// little over the number of calls that the service handles at a time. Until the
// first sign of a queue it grows by half each window; while less than half of it is
// in use it stays as it is.
//
// The baseline is measured every Remeasure: while calls are few, as it is; else the
// limit is halved, window by window, until that makes calls no faster, and the
// queue is gone. So a lasting overload is not mistaken for the service's nature. In
// between, the baseline follows latencies that are lower. The first is the latency
// of the first window; if the growth that follows makes calls slower, it had a
// queue already and the baseline is measured at once.
// What is left of the family's weaknesses: a service that gets slower for reasons
// of its own is squeezed until the next measurement.
//
// After Netflix's concurrency-limits, Envoy's adaptive concurrency, and, for the
// measuring, BBR (ACM Queue 14(5), 2016).
type Gradient struct {
	// Tolerance is how much longer than the baseline calls may take before the
	// limit shrinks: 1 to 10. Lower keeps the queue shorter, and takes noise for
	// load. Default 1.5.
	Tolerance float64
	// Remeasure is how long a measured baseline holds: 1 s to 1 h. Default 30 s.
	Remeasure time.Duration
}

func (g Gradient) withDefaults(check *checker) Algorithm {
	g.Tolerance = orDefault(g.Tolerance, 1.5)
	check.field(g.Tolerance >= 1 && g.Tolerance <= 10, "Algorithm.Tolerance", g.Tolerance, "from 1 to 10")
	g.Remeasure = orDefault(g.Remeasure, 30*time.Second)
	check.field(g.Remeasure >= time.Second && g.Remeasure <= time.Hour, "Algorithm.Remeasure", g.Remeasure, "from 1s to 1h")
	return g
}

func (g Gradient) start() controller { return &gradient{config: g} }

type gradient struct {
	config     Gradient
	baseline   float64       // mean latency without a queue, in nanoseconds; 0 before the first window
	measuredAt time.Duration // when the baseline was last measured
	assumed    bool          // it is that of the first window, and nothing says that there was no queue
	asked      float64       // the limit after that, if there are no bounds
	queued     bool          // there has been a sign of a queue: the fast start is over

	measuring bool    // the limit is being halved
	before    float64 // the limit before that
	last      float64 // the latency before the last halving
}

// stillDraining is how much faster a halved limit must make calls to show that
// they were queueing.
const stillDraining = 0.75

// fastStart is the growth of the limit in each window before the first sign of a
// queue.
const fastStart = 1.5

func (g *gradient) next(limit float64, s sample) float64 {
	keep := 1 - s.overload()/2
	if s.overloads > 0 {
		g.queued = true
	}
	if s.successes == 0 {
		return limit * keep
	}
	latency := float64(s.latency)
	idle := float64(s.peak) < limit/2 // nobody has tried the limit
	fresh := g.baseline > 0 && s.now-g.measuredAt < g.config.Remeasure
	switch {
	case g.measuring && latency < stillDraining*g.last:
		g.last = latency
		return limit / 2
	case g.measuring:
		g.measure(latency, s.now)
		return min(g.before, 4*limit) * keep
	case g.baseline == 0 && s.overloads == 0: // halving now could be what sheds the first calls
		g.measure(latency, s.now)
		g.assumed = !idle
	case idle && (!fresh || g.assumed):
		g.measure(latency, s.now)
	case !fresh || g.assumed && g.doubtful(limit, latency, s):
		g.measuring, g.before, g.last = true, limit, latency
		return limit / 2
	default:
		g.follow(latency, s.successes)
	}

	if idle {
		return limit * keep
	}
	slope := min(1, max(0.5, g.config.Tolerance*g.baseline/latency))
	if slope < 1 {
		g.queued = true
	}
	if !g.queued {
		g.asked = limit * fastStart
		return g.asked
	}
	return limit*slope*keep + math.Sqrt(limit)
}

func (g *gradient) measure(latency float64, now time.Duration) {
	g.baseline, g.measuredAt, g.measuring, g.assumed = latency, now, false, false
}

// doubtful reports whether the first window may have had a queue: if so, calls
// take longer in proportion as the limit has grown. Where it could not grow, that
// all of it is in use is reason enough.
func (g *gradient) doubtful(limit, latency float64, s sample) bool {
	bounded := limit < g.asked && s.peak >= int(limit)
	return s.overloads > 0 || bounded || latency > (1+fastStart)/2*g.baseline
}

// follow moves the baseline towards a lower latency, the further the more calls
// speak for it: the mean of a few is low by chance half of the time.
func (g *gradient) follow(latency float64, calls int) {
	if latency < g.baseline {
		g.baseline += (latency - g.baseline) * float64(calls) / float64(calls+200)
	}
}

// AIMD adds to the limit while all goes well, and cuts it when there is overload:
// additive increase, multiplicative decrease, as TCP does. It needs no baseline,
// but has to be told what too slow is, and does not see a queue before that.
type AIMD struct {
	// Timeout is the mean latency above which the service is taken to be
	// overloaded: at least 1 ms. Default 1 s.
	Timeout time.Duration
	// Backoff is what the limit is multiplied by after a window with overload: in
	// the mean latency, or in any call. 0.1 to 0.99. Default 0.9.
	Backoff float64
}

func (a AIMD) withDefaults(check *checker) Algorithm {
	a.Timeout = orDefault(a.Timeout, time.Second)
	check.field(a.Timeout >= time.Millisecond, "Algorithm.Timeout", a.Timeout, "at least 1ms")
	a.Backoff = orDefault(a.Backoff, 0.9)
	check.field(a.Backoff >= 0.1 && a.Backoff <= 0.99, "Algorithm.Backoff", a.Backoff, "from 0.1 to 0.99")
	return a
}

func (a AIMD) start() controller { return a }

func (a AIMD) next(limit float64, s sample) float64 {
	switch {
	case s.overloads > 0 || s.latency > a.Timeout:
		return limit * a.Backoff
	case float64(s.peak) < limit/2:
		return limit
	}
	return limit + 1
}
