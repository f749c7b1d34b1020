package ratelimit

import (
	"math"
	"time"
)

// WarmConfig says how a limiter of NewWarm begins. The zero value begins at a
// third of the limit and reaches all of it after 10 seconds.
type WarmConfig struct {
	// Period is how long it takes from the first event to the full limit: 1 ms to
	// 15 min. In between, the rate rises evenly. Default 10 s.
	Period time.Duration
	// From is the share of the limit, and of the burst, to begin with: 0.01 to 1.
	// At least one event passes at once. Default 1/3.
	From float64
	// Idle is how long the bucket has to be full, and nothing asked of it, before
	// what it protects counts as cold again and the next event starts another
	// warm-up: 1 ms to 15 min. Default: Period.
	Idle time.Duration
}

// maxWarm is less than what any meter reaches, so that one bucket sees all of it.
const maxWarm = 15 * time.Minute

// NewWarm returns a limiter, as New does, that warms up: for a service whose
// caches or connections are cold, begin below the limit. The warm-up starts with
// the first event, and again after a rest. At no time does it allow more than the
// limiter of New would.
func NewWarm(limit Limit, burst int, config WarmConfig) (*Limiter, error) {
	l, err := New(limit, burst)
	if err != nil {
		return nil, err
	}
	if config.Period == 0 {
		config.Period = 10 * time.Second
	}
	if config.From == 0 {
		config.From = 1. / 3
	}
	if config.Idle == 0 {
		config.Idle = config.Period
	}
	switch {
	case config.Period < time.Millisecond || config.Period > maxWarm:
		return nil, invalid("WarmConfig.Period", config.Period, "from 1ms to 15m, or 0 for 10s")
	case !(config.From >= 0.01 && config.From <= 1):
		return nil, invalid("WarmConfig.From", config.From, "from 0.01 to 1, or 0 for 1/3")
	case config.Idle < time.Millisecond || config.Idle > maxWarm:
		return nil, invalid("WarmConfig.Idle", config.Idle, "from 1ms to 15m, or 0 for Period")
	}
	l.warm = &config
	b := l.bucket.Load()
	b.ramp, b.low, b.span = config.ramp(&b.meter, true), math.MinInt64, 0 // its rest is over with the first event
	return l, nil
}

// first returns how many tokens a cold bucket of the burst holds.
func (c *WarmConfig) first(burst int) int { return max(1, int(float64(burst)*c.From)) }

// A ramp makes the clock of a bucket begin slowly, so that tokens come back
// slowly: it runs at a share of its speed that grows from from to 1. All that
// counts in clock time, which is all of the algorithm, follows from that.
type ramp struct {
	period int64 // nanoseconds; 0 if this bucket is warm from its beginning
	from   float64
	lag    int64 // how far behind the clock stays for ever, in units
	idle   int64 // nanoseconds that a full bucket rests before it is cold
}

func (c *WarmConfig) ramp(m *meter, cold bool) *ramp {
	if !cold {
		return &ramp{idle: int64(c.Idle)}
	}
	r := &ramp{period: int64(c.Period), from: c.From, idle: int64(c.Idle)}
	r.lag = r.period*m.scale - r.rising(r.period, m.scale)
	return r
}

// cold reports whether the bucket warms up and has rested for so long, at v, that
// it has to begin again.
func (b *bucket) cold(v int64) bool {
	if b.ramp == nil {
		return false
	}
	tat := b.tat.Load()
	rest := v - tat
	switch {
	case rest <= 0: // not full yet
		return false
	case rest > b.ramp.idle*b.scale: // the clock never runs faster
		return true
	}
	return b.ramp.period > 0 && b.when(v)-b.when(tat) > b.ramp.idle
}

// rising is the clock during the period: the integral of a speed that grows
// linearly.
func (r *ramp) rising(elapsed, scale int64) int64 {
	x := float64(elapsed) / float64(r.period)
	return int64(float64(r.period) * float64(scale) * x * (r.from + (1-r.from)*x/2))
}

func (r *ramp) clock(elapsed, scale int64) int64 {
	if elapsed >= 0 && elapsed < r.period {
		return r.rising(elapsed, scale)
	}
	if elapsed < 0 {
		return elapsed * scale
	}
	return elapsed*scale - r.lag
}

// when returns the nanoseconds after which clock shows v, rounded up.
func (r *ramp) when(v, scale int64) int64 {
	lo, hi := int64(0), r.period // clock(lo) < v <= clock(hi)
	if v <= 0 {
		return v / scale
	}
	if v > r.period*scale-r.lag {
		return (v + r.lag + scale - 1) / scale
	}
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; r.clock(mid, scale) < v {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}
