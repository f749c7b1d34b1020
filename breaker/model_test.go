package breaker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
)

// A model is a breaker as one would explain it on a board: it keeps every call
// and counts them anew each time. Times are since its beginning.
type model struct {
	breaker.Config
	state      breaker.State
	generation uint64
	ended      []modelCall // in this generation, not Ignored, in order
	probes     int         // admitted in this generation and not given back unjudged
	until      time.Duration
	deadline   time.Duration // 0: no probe yet
	failedOpen int           // openings since it was closed
	late       uint64
}

type modelCall struct {
	generation  uint64
	from, at    time.Duration
	failed      bool
	ignored     bool
	whileClosed bool
}

func (m *model) slow(c modelCall) bool { return m.SlowAfter > 0 && c.at-c.from > m.SlowAfter }

func (m *model) enter(s breaker.State, at time.Duration) {
	m.state, m.ended, m.probes, m.deadline = s, nil, 0, 0
	m.generation++
	if s == breaker.Open {
		open := m.OpenFor
		for range m.failedOpen {
			open = min(2*open, m.MaxOpenFor)
		}
		m.until = at + open
	}
}

func (m *model) pass(now time.Duration) {
	if m.state == breaker.HalfOpen && m.deadline > 0 && now >= m.deadline {
		m.failedOpen++
		m.enter(breaker.Open, m.deadline)
	}
	if m.state == breaker.Open && now >= m.until {
		m.enter(breaker.HalfOpen, now)
	}
}

func (m *model) begin(now time.Duration) (c modelCall, admitted bool) {
	m.pass(now)
	c = modelCall{generation: m.generation, from: now, whileClosed: m.state == breaker.Closed}
	switch m.state {
	case breaker.Open:
		return c, false
	case breaker.HalfOpen:
		if m.probes == m.Probes {
			return c, false
		}
		m.probes++
		if m.deadline == 0 {
			m.deadline = now + m.ProbeFor
		}
	}
	return c, true
}

func (m *model) end(now time.Duration, c modelCall, o breaker.Outcome) {
	if !c.whileClosed { // only the end of a probe makes a breaker look at its clock
		m.pass(now)
	}
	c.at, c.failed, c.ignored = now, o == breaker.Failure, o == breaker.Ignored
	switch {
	case c.generation != m.generation:
		m.late++
	case c.ignored && m.state == breaker.HalfOpen:
		m.probes--
	case c.ignored:
	default:
		m.ended = append(m.ended, c)
		m.judge(now)
	}
}

func (m *model) windowed() bool { return m.WindowCalls > 0 || m.WindowTime > 0 }

// window returns the calls that the rates are taken over.
func (m *model) window(now time.Duration) []modelCall {
	if m.WindowCalls > 0 {
		return m.ended[max(0, len(m.ended)-m.WindowCalls):]
	}
	tick := func(t time.Duration) time.Duration { return t / (m.WindowTime / 10) }
	return slices.DeleteFunc(slices.Clone(m.ended), func(c modelCall) bool { return tick(c.at) <= tick(now)-10 })
}

func (m *model) overRates(calls []modelCall, of int) bool {
	failed, slow := 0, 0
	for _, c := range calls {
		if c.failed {
			failed++
		}
		if m.slow(c) {
			slow++
		}
	}
	return float64(failed)/float64(of) >= m.FailureRate || m.SlowAfter > 0 && float64(slow)/float64(of) >= m.SlowRate
}

func (m *model) judge(now time.Duration) {
	anyFailed := slices.ContainsFunc(m.ended, func(c modelCall) bool { return c.failed })
	switch {
	case m.state == breaker.HalfOpen:
		bad := anyFailed
		if m.windowed() {
			bad = m.overRates(m.ended, m.Probes)
		}
		if bad {
			m.failedOpen++
			m.enter(breaker.Open, now)
		} else if len(m.ended) == m.Probes {
			m.failedOpen = 0
			m.enter(breaker.Closed, now)
		}
	case m.inARow() || m.windowed() && len(m.window(now)) >= m.MinimumCalls && m.overRates(m.window(now), len(m.window(now))):
		m.failedOpen = 0
		m.enter(breaker.Open, now)
	}
}

func (m *model) inARow() bool {
	if m.Consecutive == 0 || len(m.ended) < m.Consecutive {
		return false
	}
	return !slices.ContainsFunc(m.ended[len(m.ended)-m.Consecutive:], func(c modelCall) bool { return !c.failed })
}

// randomConfig draws a complete configuration, so that the model needs no
// defaults.
func randomConfig(r *rand.Rand) breaker.Config {
	c := breaker.Config{
		OpenFor: 100 * time.Millisecond, MaxOpenFor: 350 * time.Millisecond, DisableJitter: true,
		Probes: 1 + r.IntN(4), ProbeFor: 200 * time.Millisecond,
	}
	kind := r.IntN(4)
	if kind == 0 || kind == 3 {
		c.Consecutive = 1 + r.IntN(5)
	}
	switch kind {
	case 1:
		c.WindowCalls = 1 + r.IntN(12)
		c.MinimumCalls = 1 + r.IntN(c.WindowCalls)
	case 2, 3:
		c.WindowTime = time.Duration(1+r.IntN(5)) * 100 * time.Millisecond
		c.MinimumCalls = 1 + r.IntN(8)
	}
	if kind > 0 {
		c.FailureRate = []float64{0.1, 0.3, 0.5, 0.9, 1}[r.IntN(5)]
		if r.IntN(2) == 0 {
			c.SlowAfter, c.SlowRate = 20*time.Millisecond, []float64{0.2, 0.5, 1}[r.IntN(3)]
		}
	}
	return c
}

// The same random calls go through a breaker and through the model: they admit
// the same calls and are in the same state at every step.
func TestBreakerAgreesWithModel(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func runModel(t *testing.T, r *rand.Rand) {
	c := randomConfig(r)
	b, m := newBreaker(t, c), &model{Config: c, generation: 1}
	begin := time.Now()
	failing := 0.3
	type running struct {
		permit breaker.Permit
		call   modelCall
	}
	var calls []running
	for step := range 400 {
		now := time.Since(begin)
		switch {
		case r.IntN(10) < 4:
			p, err := b.Acquire(t.Context())
			call, admitted := m.begin(now)
			if admitted != (err == nil) {
				t.Fatalf("step %d: got %v, want admitted %v, with %+v", step, err, admitted, c)
			}
			if admitted {
				calls = append(calls, running{p, call})
			}
		case r.IntN(10) < 7 && len(calls) > 0:
			i := r.IntN(len(calls))
			outcome := breaker.Success
			if x := r.Float64(); x < failing {
				outcome = breaker.Failure
			} else if x > 0.9 {
				outcome = breaker.Ignored
			}
			calls[i].permit.Report(outcome)
			m.end(now, calls[i].call, outcome)
			calls = slices.Delete(calls, i, i+1)
		case r.IntN(100) == 0:
			require.NoError(t, b.SetMode(breaker.Automatic))
			m.pass(now)
			m.failedOpen = 0
			m.enter(breaker.Closed, now)
		case r.IntN(100) == 0: // past a whole window, or half-open, or all that is open
			time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		case r.IntN(20) == 0:
			failing = []float64{0, 0.1, 0.5, 0.9}[r.IntN(4)]
		default:
			time.Sleep(time.Duration(1+r.IntN(8*(1+r.IntN(8)))) * time.Millisecond)
		}
		if r.IntN(2) == 0 { // looking must not matter
			m.pass(time.Since(begin))
			s := b.Stats()
			if m.state != s.State || m.generation != s.Generation || m.late != s.Late {
				t.Fatalf("step %d: got %+v, want %v, generation %d, %d late, with %+v", step, s, m.state, m.generation, m.late, c)
			}
		}
	}
}
