package event

import (
	"fmt"
	"math"
	"time"
)

// Faults says what a directed link does to the messages on it. The zero value
// is a link without delay that delivers everything.
type Faults struct {
	Drop      float64 // chance of a message to be lost, 0 to 1
	Duplicate float64 // chance of a message to arrive twice, 0 to 1
	Reorder   float64 // chance of a message to be held back out of its order, 0 to 1
	Delay     Delay   // time on the way; nil: none
	Bandwidth int64   // bytes a second; 0: no limit
}

// A Delay is a distribution of times on the way, given by its quantiles: u is
// evenly spread over [0, 1). It must be a pure function. What it returns is
// taken into the bounds 0 to MaxDelay.
type Delay = func(u float64) time.Duration

// MaxDelay is the longest time on the way. It keeps the sum of virtual times
// far from overflow.
const MaxDelay = 24 * time.Hour

// Validate returns an error that names the field, its value and its bounds.
func (f Faults) Validate() error {
	for _, p := range []struct {
		name  string
		value float64
	}{{"Drop", f.Drop}, {"Duplicate", f.Duplicate}, {"Reorder", f.Reorder}} {
		if !(p.value >= 0 && p.value <= 1) { // false for NaN, too
			return fmt.Errorf("invalid Faults.%s %v: a chance is from 0 to 1", p.name, p.value)
		}
	}
	if f.Bandwidth < 0 {
		return fmt.Errorf("invalid Faults.Bandwidth %d: it is at least 0 bytes a second", f.Bandwidth)
	}
	return nil
}

// transmission returns the time that size bytes take to leave.
func (f *Faults) transmission(size int) time.Duration {
	if f.Bandwidth == 0 {
		return 0
	}
	return clamp(float64(size) / float64(f.Bandwidth) * float64(time.Second))
}

// Constant returns the distribution that always gives d.
func Constant(d time.Duration) Delay {
	return func(float64) time.Duration { return d }
}

// Uniform returns the distribution that is even between low and high. If high is
// below low, it is taken to be low.
func Uniform(low, high time.Duration) Delay {
	width := float64(max(high-low, 0))
	return func(u float64) time.Duration { return low + time.Duration(u*width) }
}

// Exponential returns low plus an exponential distribution of the given mean:
// many short delays and few long ones.
func Exponential(low, mean time.Duration) Delay {
	return func(u float64) time.Duration { return low + clamp(-math.Log1p(-u)*float64(mean)) }
}

// LogNormal returns the log-normal distribution with the given median whose
// logarithm has the standard deviation sigma: the heavy tail of networks. A
// sigma of 0.5 puts the 99th percentile at 3.2 times the median, 1 at 10 times.
func LogNormal(median time.Duration, sigma float64) Delay {
	return func(u float64) time.Duration {
		return clamp(float64(median) * math.Exp(sigma*math.Sqrt2*math.Erfinv(2*u-1)))
	}
}

// clamp returns d as a Duration of 0 to MaxDelay; 0 where d is not a number.
func clamp(d float64) time.Duration {
	switch {
	case d >= float64(MaxDelay):
		return MaxDelay
	case d > 0:
		return time.Duration(d)
	default:
		return 0
	}
}
