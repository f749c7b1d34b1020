package retry

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// A Backoff decides how long to wait before a retry. It is a value without
// state: all that it may depend on is passed in, so that calls running at the
// same time never share a position. [Exponential] and [Constant] are the usual
// ones. Delay must be safe for concurrent use.
type Backoff interface {
	// Delay returns the wait before a retry. retry counts from 1; last is the
	// delay before the retry before (0 at the first); random is uniform over
	// all of uint64. A negative result counts as 0.
	Delay(retry int, last time.Duration, random uint64) time.Duration
}

// Constant waits the same time before every retry, without jitter; Constant(0)
// retries at once. Callers that fail together come back together: for a
// constant mean with jitter, use an Exponential whose Initial is its Max. Must
// not be negative.
type Constant time.Duration

// Delay returns c.
func (c Constant) Delay(int, time.Duration, uint64) time.Duration { return time.Duration(c) }

func (c Constant) check() error {
	if c < 0 {
		return invalid("Policy.Backoff", fmt.Sprintf("Constant(%v)", time.Duration(c)), "0 or more")
	}
	return nil
}

// Jitter says how the delays of an [Exponential] are spread, so that callers
// that failed together do not come back together. The zero value is the best
// choice for most.
type Jitter uint8

const (
	// FullJitter draws from 0 to the step: the widest spread, the least load.
	FullJitter Jitter = iota
	// EqualJitter draws from half the step to the step: never returns at once.
	EqualJitter
	// DecorrelatedJitter draws from Initial to three times the last delay,
	// never above Max: grows by what was drawn, not by the count of retries.
	DecorrelatedJitter
	// NoJitter waits the step itself: for tests, and for a caller that is alone.
	NoJitter
)

// String returns the name of the jitter: full, equal, decorrelated or none.
func (j Jitter) String() string {
	switch j {
	case FullJitter:
		return "full"
	case EqualJitter:
		return "equal"
	case DecorrelatedJitter:
		return "decorrelated"
	case NoJitter:
		return "none"
	}
	return fmt.Sprintf("Jitter(%d)", uint8(j))
}

// Exponential waits longer before each retry. The step before retry n is
// Initial * Factor^(n-1), never above Max; [Jitter] turns the step into the
// delay. The zero value is a good default: steps of 100 ms, 200 ms, 400 ms and
// so on up to 10 s, with full jitter.
//
// The three jitters are those of Brooker, "Exponential Backoff And Jitter",
// AWS Architecture Blog, 2015. Decorrelated differs in one point: its range is
// cut at Max before the draw, so that delays do not pile up at Max.
type Exponential struct {
	// Initial is the first step. Default 100 ms, or Max if that is less.
	// Shorter retries sooner and loads a service in trouble more.
	Initial time.Duration
	// Max bounds every delay, jitter included. Default 10 s, or Initial if that
	// is more. Must not be less than Initial.
	Max time.Duration
	// Factor is what a step is multiplied by to give the next. Default 2;
	// bounds 1 to 100. Not used by DecorrelatedJitter.
	Factor float64
	// Jitter spreads the delays. Default FullJitter.
	Jitter Jitter
}

const (
	defaultInitial = 100 * time.Millisecond
	defaultMax     = 10 * time.Second
	defaultFactor  = 2
	maxFactor      = 100
)

// Delay returns the wait before a retry; see [Backoff]. Nothing overflows: a
// step too large for its type is Max.
func (e Exponential) Delay(retry int, last time.Duration, random uint64) time.Duration {
	initial, top := e.bounds()
	if e.Jitter == DecorrelatedJitter {
		last = max(last, initial)
		if last > top/3 {
			return between(initial, top, random)
		}
		return between(initial, 3*last, random)
	}
	step := e.step(initial, top, retry)
	switch e.Jitter {
	case EqualJitter:
		return between(step/2, step, random)
	case NoJitter:
		return step
	}
	return between(0, step, random)
}

// bounds returns Initial and Max with their defaults.
func (e Exponential) bounds() (initial, top time.Duration) {
	switch {
	case e.Initial <= 0 && e.Max <= 0:
		return defaultInitial, defaultMax
	case e.Initial <= 0:
		return min(defaultInitial, e.Max), e.Max
	case e.Max <= 0:
		return e.Initial, max(defaultMax, e.Initial)
	}
	return min(e.Initial, e.Max), e.Max
}

// step returns initial * Factor^(retry-1), at most top. The comparison is made
// so that infinity and NaN end at top, too.
func (e Exponential) step(initial, top time.Duration, retry int) time.Duration {
	factor := e.Factor
	if !(factor >= 1) {
		factor = defaultFactor
	}
	step := float64(initial) * math.Pow(factor, float64(max(retry, 1)-1))
	if step < float64(top) {
		return time.Duration(step)
	}
	return top
}

// between maps a uniform random number to low..high, both included. low <= high.
func between(low, high time.Duration, random uint64) time.Duration {
	offset, _ := bits.Mul64(random, uint64(high-low)+1)
	return low + time.Duration(offset)
}

func (e Exponential) check() error {
	switch {
	case e.Initial < 0:
		return invalid("Exponential.Initial", e.Initial, "above 0, or 0 for 100ms")
	case e.Max < 0:
		return invalid("Exponential.Max", e.Max, "above 0, or 0 for 10s")
	case e.Max != 0 && e.Max < e.Initial:
		return invalid("Exponential.Max", e.Max, fmt.Sprintf("at least Initial, %v", e.Initial))
	case e.Factor != 0 && !(e.Factor >= 1 && e.Factor <= maxFactor):
		return invalid("Exponential.Factor", e.Factor, "1 to 100, or 0 for 2")
	case e.Jitter > NoJitter:
		return invalid("Exponential.Jitter", e.Jitter, "full, equal, decorrelated or none")
	}
	return nil
}
