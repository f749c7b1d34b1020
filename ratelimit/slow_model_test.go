package ratelimit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

// A warmModel is a bucket that warms up, filled step by step at the speed of the
// moment. All times are whole steps.
type warmModel struct {
	perStep float64
	burst   float64
	config  ratelimit.WarmConfig

	tokens float64
	now    time.Duration
	began  time.Duration // of the warm-up; before all else there was none
	full   time.Duration // for how long the bucket has been full
	used   bool
}

const warmStep = 100 * time.Microsecond

// to lets time pass.
func (m *warmModel) to(now time.Duration) {
	for ; m.now < now; m.now += warmStep {
		if m.tokens == m.burst {
			m.full += warmStep
			continue
		}
		middle := m.now + warmStep/2 - m.began
		share := min(1, m.config.From+(1-m.config.From)*float64(middle)/float64(m.config.Period))
		m.tokens = min(m.burst, m.tokens+m.perStep*share)
	}
}

// close reports whether it depends on the rounding of a step if the bucket is cold.
func (m *warmModel) close() bool {
	off := m.full - m.config.Idle
	return m.used && off > -2*warmStep && off < 2*warmStep
}

// ask begins a warm-up if it is time for one.
func (m *warmModel) ask() {
	if !m.used || m.full > m.config.Idle {
		m.used, m.began, m.full = true, m.now, 0
		m.tokens = max(1, float64(int(m.burst*m.config.From)))
	}
}

func (m *warmModel) take(n int) {
	m.tokens -= float64(n)
	m.full = 0
}

func TestWarmUpAgreesWithModel(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 5))
		perSecond, burst := []int{7, 100, 900}[random.IntN(3)], 1+random.IntN(30)
		config := ratelimit.WarmConfig{
			Period: time.Duration(1+random.IntN(2000)) * ms,
			From:   0.05 + 0.9*random.Float64(),
			Idle:   time.Duration(1+random.IntN(1000)) * ms,
		}
		l := newWarm(t, ratelimit.Per(perSecond, time.Second), burst, config)
		m := &warmModel{perStep: float64(perSecond) * warmStep.Seconds(), burst: float64(burst), config: config}
		one := int64(time.Second/warmStep) / int64(perSecond)
		colds := 0
		for i := range 600 {
			steps := random.Int64N(2*one + 2)
			if random.IntN(40) == 0 { // a rest, of about the length that counts
				steps += random.Int64N(int64(2*config.Idle/warmStep)) + int64(burst)*one
			}
			m.to(m.now + time.Duration(steps)*warmStep)
			for m.close() {
				m.to(m.now + warmStep)
			}
			n := 1 + random.IntN(1+random.IntN(burst))
			m.ask()
			if m.began == m.now {
				colds++
			}
			d := l.Decide(after(m.now), n)
			const exact = 1e-4 // what the sums of steps may be off
			if d.Allowed != (m.tokens >= float64(n)) {
				require.InDelta(t, n, m.tokens, exact, "seed %d, step %d: %d tokens at %v, allowed %v; %d a second, burst %d, %+v", seed, i, n, m.now, d.Allowed, perSecond, burst, config)
			}
			if d.Allowed {
				m.take(n)
			}
			require.InDelta(t, m.tokens-0.5, d.Remaining, 0.5+exact, "seed %d, step %d: what is left at %v", seed, i, m.now)
		}
		require.Greater(t, colds, 1, "seed %d: no rest was long enough to show anything", seed)
	}
}

// A caller of a Leaky comes at a time, and gives up some time later.
type caller struct {
	comes, patience time.Duration
	leaves          time.Duration // when the call returned
	err             error
}

// A leakyModel is a queue as one would draw it: a list of those who wait, and when
// the next may go.
type leakyModel struct {
	every time.Duration
	room  int
	next  time.Duration
	queue []*caller
}

// to plays what happens before a time: whose turn it is goes, who has no patience
// left goes.
func (m *leakyModel) to(now time.Duration) {
	for len(m.queue) > 0 {
		at, who, err := max(m.next, m.queue[0].comes), 0, error(nil)
		for i, c := range m.queue {
			if end := c.comes + c.patience; end < at {
				at, who, err = end, i, context.Canceled
			}
		}
		if at > now {
			return
		}
		c := m.queue[who]
		c.leaves, c.err = at, err
		m.queue = append(m.queue[:who:who], m.queue[who+1:]...)
		if err == nil {
			m.next = at + m.every
		}
	}
}

func (m *leakyModel) arrive(c *caller) {
	m.to(c.comes)
	if len(m.queue) == m.room && (len(m.queue) > 0 && m.next > c.comes) {
		c.leaves, c.err = c.comes, ratelimit.ErrFull
		return
	}
	m.queue = append(m.queue, c)
	m.to(c.comes)
}

func TestLeakyAgreesWithModel(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 6))
		m := &leakyModel{every: time.Duration(1+random.IntN(100)) * ms, room: 1 + random.IntN(8)}
		var want []*caller
		now := time.Duration(0)
		for i := range 200 {
			now += time.Duration(random.Int64N(int64(2*m.every))) / 2
			if random.IntN(30) == 0 {
				now += 10 * m.every
			}
			// No two things happen at one time, or their order would be open: those who
			// come do so at times of their own, and with them turns and ends of patience.
			now = now/ms*ms + time.Duration(i)*10
			c := &caller{comes: now, patience: 24 * time.Hour}
			if random.IntN(3) == 0 {
				c.patience = time.Duration(random.Int64N(int64(6*m.every)))/ms*ms + 5
			}
			want = append(want, c)
			m.arrive(c)
		}
		m.to(1 << 60)

		synctest.Test(t, func(t *testing.T) {
			l, err := ratelimit.NewLeaky(ratelimit.Limit{Events: 1, Period: m.every}, ratelimit.LeakyConfig{Queue: m.room})
			require.NoError(t, err)
			began := time.Now()
			got := make([]caller, len(want))
			var wg sync.WaitGroup
			for i, c := range want {
				wg.Go(func() {
					time.Sleep(c.comes)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					defer time.AfterFunc(c.patience, cancel).Stop()
					err := l.Wait(ctx)
					got[i] = caller{c.comes, c.patience, time.Since(began), err}
				})
			}
			wg.Wait()
			for i, c := range want {
				require.Equal(t, c.leaves, got[i].leaves, "seed %d: number %d, which came at %v", seed, i, c.comes)
				require.True(t, errors.Is(got[i].err, c.err), "seed %d: number %d: got %v, want %v", seed, i, got[i].err, c.err)
			}
		})
	}
}
