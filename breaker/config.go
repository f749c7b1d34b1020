package breaker

import (
	"math"
	"time"
)

// Config says when a Breaker opens, for how long, and what counts as a failure.
// The zero value opens after 5 failures in a row, for 4 to 5 s at first and up
// to a minute if the service stays down, and closes after one good probe.
//
// There are two conditions, and either opens the breaker. Consecutive is the
// cheapest and right for a service that is up or down. A window, of the last
// calls or of the last seconds, finds a service that fails or is slow some of
// the time. With a window set, Consecutive is off unless it is set, too.
type Config struct {
	// Name stands in errors and changes. Default: none.
	Name string

	// Consecutive is how many failures in a row open the breaker. Default 5, or
	// off if a window is set. At least 1.
	Consecutive int

	// WindowCalls makes the window the last so many calls: 1 to 100,000, 4 bytes
	// each. A window of calls is as quick to open as the service is busy, and
	// remembers for as long as it is idle. Default: no such window.
	WindowCalls int
	// WindowTime makes the window the calls that ended in the last this long, give
	// or take a tenth of it: 10 ms to 24 h. It reads the clock once a call. Default:
	// no such window. At most one of WindowCalls and WindowTime is set.
	WindowTime time.Duration
	// MinimumCalls is how many calls the window must hold before its rates count.
	// Default 10, or WindowCalls if that is less. Too few, and one unlucky call
	// opens the breaker of an idle service.
	MinimumCalls int
	// FailureRate opens the breaker when this share of the calls in the window
	// failed, or a larger one: above 0, to 1. Default 0.5.
	FailureRate float64
	// SlowAfter is how long a call may last before it counts as slow, be it a
	// success or a failure. Needs a window, and reads the clock twice a call.
	// Default: no call is slow.
	SlowAfter time.Duration
	// SlowRate opens the breaker when this share of the calls in the window was
	// slow, or a larger one: above 0, to 1. Default 0.5.
	SlowRate float64

	// OpenFor is how long the breaker stays open at first, 1 ms to 24 h. Each
	// time that the probes fail it opens for twice as long as before, up to
	// MaxOpenFor. Default 5 s.
	OpenFor time.Duration
	// MaxOpenFor bounds the open time; equal to OpenFor, it switches the
	// back-off off. Default 12 times OpenFor. At most 24 h, at least OpenFor.
	MaxOpenFor time.Duration
	// Jitter is the share of each open time that is left to chance, so that many
	// clients do not probe at the same moment: an open time of d lasts between
	// (1-Jitter)*d and d, evenly. Above 0, to 1. Default 0.2.
	Jitter float64
	// DisableJitter makes every open time last exactly as long as it says.
	DisableJitter bool

	// Probes is how many calls are let through while the breaker is half-open,
	// and have to be judged before it closes: 1 to 10,000. Without a window, one
	// failure among them opens it again; with one, its rates do, taken over the
	// probes. A probe that is Ignored makes room for another. Default 1.
	Probes int
	// ProbeFor is how long after the first probe the verdict must be there, 1 ms
	// to 24 h; if it is not, the breaker opens again, and probes that end later
	// count no more. Must be longer than a good call lasts. Default 30 s.
	ProbeFor time.Duration

	// Classify judges a call by its result and error. It is not asked about a
	// call that failed after its context was cancelled: that is Ignored. The
	// result is nil where none is known (Permit.Done). It runs on the caller's
	// goroutine, concurrently with itself, and outside all locks. Default: see Do.
	Classify func(result any, err error) Outcome

	// CountSuccesses makes Stats count the successes, too. That is one atomic
	// addition a call, as much as all else that a closed breaker without a window
	// does; what is rare is counted anyway. Default: Stats.Successes stays 0.
	CountSuccesses bool

	// Mode is the mode to begin with; see SetMode. Default Automatic.
	Mode Mode

	// Seed makes the jitter the same in every run. Default: drawn at random.
	Seed uint64
}

const (
	maxWindowCalls = 100_000
	maxProbes      = 10_000
	maxDuration    = 24 * time.Hour
)

// withDefaults returns the complete configuration, or what is wrong with it.
func (c Config) withDefaults() (*Config, error) {
	check := checker{config: "Config"}
	windowed := c.WindowCalls != 0 || c.WindowTime != 0
	c.checkWindow(&check, windowed)

	if !windowed {
		c.Consecutive = orDefault(c.Consecutive, 5)
	}
	check.field(c.Consecutive >= 0 && c.Consecutive <= math.MaxInt32, "Consecutive", c.Consecutive, "from 1 to 2^31-1")

	c.OpenFor = orDefault(c.OpenFor, 5*time.Second)
	within := func(d time.Duration) bool { return d >= time.Millisecond && d <= maxDuration }
	check.field(within(c.OpenFor), "OpenFor", c.OpenFor, "from 1ms to 24h")
	if c.MaxOpenFor == 0 {
		c.MaxOpenFor = min(maxDuration, 12*min(c.OpenFor, maxDuration))
	}
	check.field(c.MaxOpenFor >= c.OpenFor && c.MaxOpenFor <= maxDuration, "MaxOpenFor", c.MaxOpenFor, "from OpenFor to 24h")
	if c.DisableJitter {
		check.field(c.Jitter == 0, "Jitter", c.Jitter, "0 if DisableJitter is set")
	} else {
		c.Jitter = orDefault(c.Jitter, 0.2)
		check.field(isShare(c.Jitter), "Jitter", c.Jitter, "above 0, to 1")
	}

	c.Probes = orDefault(c.Probes, 1)
	check.field(c.Probes >= 1 && c.Probes <= maxProbes, "Probes", c.Probes, "from 1 to 10000")
	c.ProbeFor = orDefault(c.ProbeFor, 30*time.Second)
	check.field(within(c.ProbeFor), "ProbeFor", c.ProbeFor, "from 1ms to 24h")
	check.field(c.Mode.valid(), "Mode", c.Mode, "one of the four modes")
	return &c, check.err()
}

// checkWindow fills in and checks the fields of the window.
func (c *Config) checkWindow(check *checker, windowed bool) {
	if !windowed {
		check.field(c.MinimumCalls == 0, "MinimumCalls", c.MinimumCalls, "0 without WindowCalls or WindowTime")
		check.field(c.FailureRate == 0, "FailureRate", c.FailureRate, "0 without WindowCalls or WindowTime")
		check.field(c.SlowAfter == 0, "SlowAfter", c.SlowAfter, "0 without WindowCalls or WindowTime")
		check.field(c.SlowRate == 0, "SlowRate", c.SlowRate, "0 without WindowCalls or WindowTime")
		return
	}
	check.field(c.WindowCalls == 0 || c.WindowTime == 0, "WindowTime", c.WindowTime, "0 if WindowCalls is set")
	check.field(c.WindowCalls >= 0 && c.WindowCalls <= maxWindowCalls, "WindowCalls", c.WindowCalls, "from 1 to 100000")
	check.field(c.WindowTime == 0 || c.WindowTime >= 10*time.Millisecond && c.WindowTime <= maxDuration,
		"WindowTime", c.WindowTime, "from 10ms to 24h")

	most := math.MaxInt32
	if c.WindowCalls > 0 {
		most = c.WindowCalls
	}
	c.MinimumCalls = orDefault(c.MinimumCalls, min(10, most))
	check.field(c.MinimumCalls >= 1 && c.MinimumCalls <= most, "MinimumCalls", c.MinimumCalls, "at least 1, at most WindowCalls")
	c.FailureRate = orDefault(c.FailureRate, 0.5)
	check.field(isShare(c.FailureRate), "FailureRate", c.FailureRate, "above 0, to 1")

	check.field(c.SlowAfter >= 0, "SlowAfter", c.SlowAfter, "at least 0")
	check.field(c.SlowRate == 0 || c.SlowAfter != 0, "SlowRate", c.SlowRate, "0 without SlowAfter")
	c.SlowRate = orDefault(c.SlowRate, 0.5)
	check.field(isShare(c.SlowRate), "SlowRate", c.SlowRate, "above 0, to 1")
}

// isShare reports whether x is above 0 and at most 1; NaN is not.
func isShare(x float64) bool { return x > 0 && x <= 1 }
