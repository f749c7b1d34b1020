package lb

import (
	"fmt"
	"time"
)

// Bounds of a Balancer. They keep a mistyped number from taking all the memory.
const (
	MaxBackends = 100_000 // in one Balancer
	MaxWeight   = 1_000   // of Backend.Weight
)

// Config says how a Balancer chooses, and what it does about backends that ail.
// The zero value is LatencyAware, with ejection after 5 failures in a row and a
// slow start of 10 s.
type Config struct {
	// Policy is how backends are chosen. Default LatencyAware{}.
	Policy Policy

	// Zone is where this client is. Backends of the same zone are preferred for
	// as long as enough of them are available: while the available part of the
	// zone's weight, times 1.4, is at least all of it, they get every call; below,
	// that share, and the other zones the rest. Calls to another zone cost time
	// and money; a zone that has lost half of its backends cannot take all the
	// load. Default: zones do not matter. Hashing policies leave it out of account.
	Zone string
	// ZoneMinimum is how many backends of its own zone there must be for a
	// client to prefer them: 1 to MaxBackends. All clients of a zone meet at its
	// backends, however few. Default 1.
	ZoneMinimum int

	// Subset is how many of the backends this client uses, 1 to MaxBackends. In a
	// large fleet it saves connections: with clients and backends in the
	// thousands, 20 to 100 will do. Each client takes an arc of all backends on a
	// circle; a backend that joins or leaves shifts an arc by one place at most.
	// Default: all. Not for hashing policies, whose clients must agree.
	Subset int
	// Client and Clients are this client's number, from 0, and how many there are.
	// With them every backend is in the subsets of as many clients as any other,
	// give or take one; with Zone, number the clients of each zone apart. Default:
	// a place on the circle drawn at random.
	Client, Clients int

	// SlowStart is how long a backend that joins, or comes back, takes to get its
	// full share of calls; it begins with a tenth. A cold cache or compiler that
	// gets full load at once answers late, and its clients' queues outlast the
	// cold. 1 ms to 24 h, default 10 s. Backends given to New start warm.
	SlowStart time.Duration
	// DisableSlowStart gives backends their full share from the first call.
	DisableSlowStart bool

	// PanicThreshold is the share of backends, from 0 to 1, below which ill
	// health and ejection are left out of account, and all are used that do not
	// drain: the few that are left would fall over under the load of all, and
	// that so many should be ill is rather a fault of the checks. Default 0.2;
	// with none available at all it is always so.
	PanicThreshold float64
	// DisablePanicThreshold leaves that to the case that none is available.
	DisablePanicThreshold bool

	// Ejection takes backends out for a while whose calls show that they ail. Its
	// zero value does so after 5 failures in a row.
	Ejection EjectionConfig
	// DisableEjection never takes a backend out for how its calls fare.
	DisableEjection bool

	// Failed reports whether the error of a call speaks against the backend; else
	// it counts as a success. It is not asked about nil and context.Canceled; from
	// a RoundTripper it gets a *StatusError for a status. It runs on the caller's
	// goroutine, concurrently with itself and outside all locks. Default: every
	// error does, but 429 of a RoundTripper says nothing.
	Failed func(err error) bool

	// CountInFlight counts the calls in flight where the policy does not need
	// them, for Idle and Status: two atomic additions a call.
	CountInFlight bool

	// Seed makes the random choices the same in every run, at the price of an
	// atomic addition that all goroutines share. Default: drawn at random.
	Seed uint64
	// Now is the clock, for simulations; it must never go back. It runs in Pick
	// and Done, on the caller's goroutine and outside all locks. Default:
	// the monotonic clock of package time.
	Now func() time.Time
}

// EjectionConfig says when a backend is taken out because of its calls, and for
// how long. There are three conditions, and each suffices.
type EjectionConfig struct {
	// Consecutive is how many failures in a row eject a backend, 1 to 10,000. It
	// costs nothing while calls succeed. A backend that comes back from ejection
	// goes at the first failure, until a call has succeeded. Default 5.
	Consecutive int
	// DisableConsecutive leaves failures in a row out of account.
	DisableConsecutive bool

	// SuccessRate ejects a backend whose share of successes in an Interval is
	// below that of all backends together by more than this: above 0, to 1. 0.2
	// is a good value. Default: off.
	SuccessRate float64
	// Latency ejects a backend whose mean latency in an Interval is above the
	// median of all backends by more than this factor: above 1, to 1,000. 3 is a
	// good value. Default: off. It reads the clock twice a call.
	Latency float64
	// Interval is how long calls are counted for SuccessRate and Latency before
	// backends are compared, 10 ms to 24 h. Default 10 s.
	Interval time.Duration
	// MinimumCalls is how many calls a backend must have had in the Interval to
	// be compared: 1 to 1,000,000. Default 20.
	MinimumCalls int

	// For is how long the first ejection lasts, 1 ms to 24 h. Each one that
	// follows, before the backend has been well for MaxFor, is twice as long as
	// the one before. Default 10 s.
	For time.Duration
	// MaxFor bounds the length of an ejection: at least For, at most 24 h.
	// Default 5 min, or For if that is more.
	MaxFor time.Duration
	// MaxShare is the share of backends that may be out at a time, above 0, to 1;
	// one always may, if there is another. Default 0.3.
	MaxShare float64
}

const maxDuration = 24 * time.Hour

// withDefaults returns the complete configuration, or what is wrong with it.
func (c Config) withDefaults() (*Config, error) {
	check := checker{config: "Config"}
	switch p := c.Policy.(type) {
	case nil:
		c.Policy = LatencyAware{}
	case RoundRobin, Weighted, Random, LeastConnections, PowerOfTwo, LatencyAware, Maglev:
	case ConsistentHash:
		p.LoadFactor = orDefault(p.LoadFactor, 1.25)
		check.field(p.LoadFactor > 1 && p.LoadFactor <= 1000, "Policy.LoadFactor", p.LoadFactor, "above 1, to 1000")
		c.Policy = p
	default: // a pointer to one, perhaps nil, or a struct with one inside
		check.field(false, "Policy", fmt.Sprintf("a %T", p), "one of this package's, by value")
		c.Policy = LatencyAware{}
	}
	c.ZoneMinimum = orDefault(c.ZoneMinimum, 1)
	check.field(c.ZoneMinimum >= 1 && c.ZoneMinimum <= MaxBackends, "ZoneMinimum", c.ZoneMinimum, fmt.Sprintf("from 1 to %d", MaxBackends))

	check.field(c.Subset >= 0 && c.Subset <= MaxBackends, "Subset", c.Subset, fmt.Sprintf("from 1 to %d", MaxBackends))
	check.field(c.Subset == 0 || !c.Policy.kind().hashes(), "Subset", c.Subset, "0 with a hashing policy")
	check.field(c.Clients >= 0 && c.Clients <= maxClients, "Clients", c.Clients, fmt.Sprintf("from 1 to %d", maxClients))
	check.field(c.Client >= 0 && (c.Client < c.Clients || c.Client == 0), "Client", c.Client, "from 0 to Clients-1")

	within := func(d time.Duration) bool { return d >= time.Millisecond && d <= maxDuration }
	if c.DisableSlowStart {
		check.field(c.SlowStart == 0, "SlowStart", c.SlowStart, "0 if DisableSlowStart is set")
	} else {
		c.SlowStart = orDefault(c.SlowStart, 10*time.Second)
		check.field(within(c.SlowStart), "SlowStart", c.SlowStart, "from 1ms to 24h")
	}
	if c.DisablePanicThreshold {
		check.field(c.PanicThreshold == 0, "PanicThreshold", c.PanicThreshold, "0 if DisablePanicThreshold is set")
	} else {
		c.PanicThreshold = orDefault(c.PanicThreshold, 0.2)
		check.field(c.PanicThreshold >= 0 && c.PanicThreshold <= 1, "PanicThreshold", c.PanicThreshold, "from 0 to 1")
	}
	if c.DisableEjection {
		check.field(c.Ejection == EjectionConfig{}, "Ejection", c.Ejection, "zero if DisableEjection is set")
	} else {
		c.Ejection.complete(&check)
	}
	return &c, check.err()
}

// maxClients keeps the product with a number of backends in 64 bits.
const maxClients = 1 << 30

// complete fills in and checks the fields about ejection.
func (e *EjectionConfig) complete(check *checker) {
	if e.DisableConsecutive {
		check.field(e.Consecutive == 0, "Ejection.Consecutive", e.Consecutive, "0 if DisableConsecutive is set")
	} else {
		e.Consecutive = orDefault(e.Consecutive, 5)
		check.field(e.Consecutive >= 1 && e.Consecutive <= 10_000, "Ejection.Consecutive", e.Consecutive, "from 1 to 10000")
	}
	check.field(e.SuccessRate >= 0 && e.SuccessRate <= 1, "Ejection.SuccessRate", e.SuccessRate, "above 0, to 1")
	check.field(e.Latency == 0 || e.Latency > 1 && e.Latency <= 1000, "Ejection.Latency", e.Latency, "above 1, to 1000")
	e.Interval = orDefault(e.Interval, 10*time.Second)
	check.field(e.Interval >= 10*time.Millisecond && e.Interval <= maxDuration, "Ejection.Interval", e.Interval, "from 10ms to 24h")
	e.MinimumCalls = orDefault(e.MinimumCalls, 20)
	check.field(e.MinimumCalls >= 1 && e.MinimumCalls <= 1_000_000, "Ejection.MinimumCalls", e.MinimumCalls, "from 1 to 1000000")
	e.For = orDefault(e.For, 10*time.Second)
	check.field(e.For >= time.Millisecond && e.For <= maxDuration, "Ejection.For", e.For, "from 1ms to 24h")
	e.MaxFor = orDefault(e.MaxFor, max(5*time.Minute, e.For))
	check.field(e.MaxFor >= e.For && e.MaxFor <= maxDuration, "Ejection.MaxFor", e.MaxFor, "from For to 24h")
	e.MaxShare = orDefault(e.MaxShare, 0.3)
	check.field(e.MaxShare > 0 && e.MaxShare <= 1, "Ejection.MaxShare", e.MaxShare, "above 0, to 1")
}

// judges reports whether the calls of an Interval are compared.
func (e *EjectionConfig) judges() bool { return e.SuccessRate > 0 || e.Latency > 0 }
