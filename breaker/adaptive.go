package breaker

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"
)

// AdaptiveConfig says how an Adaptive finds its limit and how calls wait for it.
// The zero value is a Gradient between 1 and 1,000 that begins at 20, with 100
// waiting for up to 100 ms.
type AdaptiveConfig struct {
	// Algorithm is Gradient, with its own settings, or AIMD. Default Gradient{}.
	Algorithm Algorithm
	// Initial is the first limit. Default 20, or the nearest that Min and Max allow.
	Initial int
	// Min and Max bound the limit, 1 to 1,000,000. Defaults 1 and 1,000.
	Min, Max int
	// Window is how often the limit may change: 1 ms to 1 min. It changes once
	// this has passed and Samples calls have begun and ended since the last
	// time, so never faster than calls can show what it did. Default 100 ms.
	Window time.Duration
	// Samples is how many calls must have ended: 1 to 10,000. Fewer react faster,
	// also to noise. Default 20.
	Samples int

	// Waiting is how many calls may wait, 1 to 10,000. Default 100.
	Waiting int
	// DisableWaiting rejects a call at once that cannot run at once. There is no
	// fairness between callers then: who comes more often gets more.
	DisableWaiting bool
	// WaitFor is how long a call may wait, 1 ms to 1 min: long enough for a burst
	// to pass. Default 100 ms.
	WaitFor time.Duration
	// WaitTarget is how long a call may wait that comes when there have been calls
	// of its caller waiting for WaitFor without a break: that is no burst but
	// overload, and a queue would only make every call late. From 1 ms to WaitFor.
	// Default 5 ms, or WaitFor. After CoDel, as Facebook uses it ("Fail at Scale",
	// ACM Queue 13(8), 2015), for each caller as in FQ-CoDel (RFC 8290).
	WaitTarget time.Duration

	// Shares gives callers more than one share, or less, by the name that For
	// names them by: above 0, to 1,000. Default 1 for each.
	Shares map[string]float64

	// Classify judges a call by its result and error: Success counts with its
	// latency, Failure as a sign of overload, Ignored not at all. See
	// Config.Classify for when and where it runs. Default: a deadline exceeded is
	// a Failure, any other error is Ignored, because a service that fails fast
	// must not look like a fast one.
	Classify func(result any, err error) Outcome
}

func (c AdaptiveConfig) withDefaults() (*AdaptiveConfig, error) {
	check := checker{config: "AdaptiveConfig"}
	if c.Algorithm == nil {
		c.Algorithm = Gradient{}
	}
	c.Algorithm = c.Algorithm.withDefaults(&check)
	c.Min, c.Max = orDefault(c.Min, 1), orDefault(c.Max, max(1000, c.Min))
	check.field(c.Min >= 1 && c.Min <= 1_000_000, "Min", c.Min, "from 1 to 1000000")
	check.field(c.Max >= c.Min && c.Max <= 1_000_000, "Max", c.Max, "from Min to 1000000")
	c.Initial = orDefault(c.Initial, min(max(20, c.Min), c.Max))
	check.field(c.Initial >= c.Min && c.Initial <= c.Max, "Initial", c.Initial, "from Min to Max")
	within := func(d, low time.Duration) bool { return d >= low && d <= time.Minute }
	c.Window = orDefault(c.Window, 100*time.Millisecond)
	check.field(within(c.Window, time.Millisecond), "Window", c.Window, "from 1ms to 1m")
	c.Samples = orDefault(c.Samples, 20)
	check.field(c.Samples >= 1 && c.Samples <= 10_000, "Samples", c.Samples, "from 1 to 10000")

	if c.DisableWaiting {
		check.field(c.Waiting == 0, "Waiting", c.Waiting, "0 if DisableWaiting is set")
	} else {
		c.Waiting = orDefault(c.Waiting, 100)
		check.field(c.Waiting >= 1 && c.Waiting <= 10_000, "Waiting", c.Waiting, "from 1 to 10000")
	}
	c.WaitFor = orDefault(c.WaitFor, 100*time.Millisecond)
	check.field(within(c.WaitFor, time.Millisecond), "WaitFor", c.WaitFor, "from 1ms to 1m")
	c.WaitTarget = orDefault(c.WaitTarget, min(5*time.Millisecond, c.WaitFor))
	check.field(within(c.WaitTarget, time.Millisecond) && c.WaitTarget <= c.WaitFor, "WaitTarget", c.WaitTarget, "from 1ms to WaitFor")
	c.Shares = maps.Clone(c.Shares)
	for name, share := range c.Shares {
		check.field(share > 0 && share <= 1000, "Shares["+name+"]", share, "above 0, to 1000")
	}
	return &c, check.err()
}

// Adaptive bounds how many calls run at a time, as a Bulkhead does, but finds the
// bound itself: from how long calls take, and from those that fail for overload.
// Calls over the limit wait a short while; of several callers, the one with the
// fewest calls running is served next, so that one who floods the service takes
// what the others leave and no more.
//
// All methods are safe for concurrent use. A call costs two readings of the clock
// and two short locks, and allocates only if it waits or its named caller has no
// other call. There is no goroutine and nothing to close.
type Adaptive struct {
	config *AdaptiveConfig
	epoch  time.Time
	plain  caller // those who do not say who they are

	mu      sync.Mutex
	control controller
	limit   float64
	inUse   int
	callers map[string]*caller // the named ones with calls that run or wait
	waiting []*caller          // those with calls that wait, in no order
	queued  int
	turn    uint64        // counts arrivals in the queue and admissions
	stats   AdaptiveStats // only its totals

	// The running window.
	began     int64
	latency   time.Duration // the sum over successes
	successes int
	overloads int
	peak      int
}

// A caller is one of those who share an Adaptive. The fields below adaptive are
// guarded by Adaptive.mu.
type caller struct {
	adaptive *Adaptive
	name     string
	share    float64
	running  int
	served   uint64 // the turn in which it last got a slot; 0 if it has no call
	queue    queue
	// When the queue was last empty; of use while it is not.
	waitsSince int64
}

// NewAdaptive returns an Adaptive, or an error that names each field of the
// configuration that is out of bounds.
func NewAdaptive(config AdaptiveConfig) (*Adaptive, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Adaptive{
		config: c, epoch: time.Now().Add(-1), control: c.Algorithm.start(),
		limit: float64(c.Initial), callers: map[string]*caller{},
	}
	a.plain = caller{adaptive: a, share: c.share("")}
	return a, nil
}

func (c *AdaptiveConfig) share(name string) float64 { return orDefault(c.Shares[name], 1) }

func (a *Adaptive) now() int64 { return int64(time.Since(a.epoch)) }

// For returns the Adaptive as a Guard for the calls of one caller: a user, a
// tenant, a host, a kind of work. Nothing is kept for a caller that has no call
// running or waiting, so there may be any number of them.
func (a *Adaptive) For(name string) Guard { return &lane{a, name} }

// A lane is an Adaptive as one caller sees it.
type lane struct {
	adaptive *Adaptive
	caller   string
}

// Acquire is Adaptive.Acquire for the caller.
func (l *lane) Acquire(ctx context.Context) (Permit, error) { return l.adaptive.acquire(ctx, l.caller) }

// Acquire returns the permit of one call, once the limit has room for it. The
// error is ErrFull if there is no room to wait either, ErrShed if the call waited
// for too long or had to make room for another caller, or that of a ctx that
// ended before.
func (a *Adaptive) Acquire(ctx context.Context) (Permit, error) { return a.acquire(ctx, "") }

func (a *Adaptive) acquire(ctx context.Context, name string) (Permit, error) {
	if ctx.Err() != nil {
		return Permit{}, contextError(ctx)
	}
	start := a.now()
	c, w, err := a.enter(name, start)
	if err != nil {
		return Permit{}, err
	}
	if w != nil {
		if err := a.wait(ctx, w); err != nil {
			return Permit{}, err
		}
		start = w.start
	}
	return Permit{owner: c, classify: a.config.Classify, start: start}, nil
}

// done returns the permit and learns from the call.
func (c *caller) done(start int64, o Outcome) {
	a := c.adaptive
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.observe(now, start, o)
	a.release(c, now)
}

// judge is the default classification of an error.
func (c *caller) judge(err error) Outcome {
	switch err {
	case statusError(http.StatusTooManyRequests), statusError(http.StatusServiceUnavailable), statusError(http.StatusGatewayTimeout):
		return Failure
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Failure
	}
	return Ignored
}

func (c *caller) lasts() bool { return true }

// observe adds a call that ended to the running window, and at the window's end
// sets the limit. Only calls that began in the window count: the others show what
// an earlier limit did. The caller holds mu.
func (a *Adaptive) observe(now, start int64, o Outcome) {
	a.peak = max(a.peak, a.inUse)
	if start >= a.began {
		switch o {
		case Success:
			a.successes++
			a.latency += time.Duration(now - start)
		case Failure:
			a.overloads++
		}
	}
	if now-a.began < int64(a.config.Window) || a.successes+a.overloads < a.config.Samples {
		return
	}
	s := sample{
		now: time.Duration(now), latency: a.latency / time.Duration(max(1, a.successes)),
		successes: a.successes, overloads: a.overloads, peak: a.peak,
	}
	a.limit = min(max(a.control.next(a.limit, s), float64(a.config.Min)), float64(a.config.Max))
	a.stats.Overloads += uint64(a.overloads)
	a.stats.Latency = s.latency
	a.began, a.latency, a.successes, a.overloads, a.peak = now, 0, 0, 0, 0
}

// AdaptiveStats is a snapshot of an Adaptive.
type AdaptiveStats struct {
	Limit   int // how many calls may run now
	InUse   int // how many run; above Limit for a while after it has shrunk
	Waiting int // how many wait
	Callers int // how many named callers have calls that run or wait
	// Latency is the mean of the successful calls in the last window.
	Latency time.Duration

	// Totals of calls: those that had to wait; of them, those that gave up
	// because their context ended, and those that had to go; those that were
	// rejected at once; and those that showed overload, up to the last window.
	Waited, GaveUp, Shed, Rejected, Overloads uint64
}

// Stats returns a snapshot.
func (a *Adaptive) Stats() AdaptiveStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.Limit, s.InUse, s.Waiting, s.Callers = int(a.limit), a.inUse, a.queued, len(a.callers)
	return s
}
