package lb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

// pickOf picks until the pick is of that backend, and ends the others well.
func pickOf(t testing.TB, b *lb.Balancer, name string) lb.Pick {
	t.Helper()
	for range 1000 {
		p := pick(t, b, lb.Request{})
		if p.Backend().Name == name {
			return p
		}
		p.Done(nil)
	}
	t.Fatalf("%s is not picked", name)
	return lb.Pick{}
}

// fail makes n calls to a backend that fail.
func fail(t testing.TB, b *lb.Balancer, name string, n int) {
	t.Helper()
	for range n {
		p := pickOf(t, b, name)
		p.Done(errService)
	}
}

func TestFailuresInARowEject(t *testing.T) {
	for _, policy := range policies()[:5] {
		c := newClock()
		b := newBalancer(t, lb.Config{Policy: policy, Now: c.now, Seed: 1}, backends(4)...)
		fail(t, b, "b2", 4)
		p := pickOf(t, b, "b2")
		p.Done(nil) // breaks the row
		fail(t, b, "b2", 4)
		require.Equal(t, lb.Available, status(t, b, "b2").State, "%v", policy)
		fail(t, b, "b2", 1)
		require.Equal(t, lb.Ejected, status(t, b, "b2").State, "%v", policy)
		require.Zero(t, spread(t, b, 300)["b2"], "%v", policy)
		c.advance(10*time.Second - time.Nanosecond)
		require.Zero(t, spread(t, b, 300)["b2"], "%v", policy)
		c.advance(time.Nanosecond)
		require.Positive(t, spread(t, b, 300)["b2"], "%v", policy)
		require.Equal(t, 1, status(t, b, "b2").Ejections)
	}
}

// Each ejection is twice as long as the one before, up to MaxFor; a host that has
// come back goes at the first failure, unless it has succeeded since; and one that
// was well for MaxFor begins anew.
func TestEjectionsLengthen(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, Now: c.now, Ejection: lb.EjectionConfig{For: time.Second, MaxFor: 5 * time.Second}}, backends(3)...)
	ejectedFor := func() (d time.Duration) {
		for status(t, b, "b0").State == lb.Ejected {
			c.advance(100 * time.Millisecond)
			d += 100 * time.Millisecond
			p := pick(t, b, lb.Request{}) // notices
			p.Done(context.Canceled)      // and says nothing
		}
		return d
	}
	fail(t, b, "b0", 5)
	require.Equal(t, time.Second, ejectedFor())
	for _, want := range []time.Duration{2, 4, 5, 5} {
		fail(t, b, "b0", 1)
		require.Equal(t, want*time.Second, ejectedFor())
	}
	p := pickOf(t, b, "b0")
	p.Done(nil)
	fail(t, b, "b0", 4)
	require.Equal(t, lb.Available, status(t, b, "b0").State, "it has succeeded since")
	c.advance(6 * time.Second)
	fail(t, b, "b0", 1)
	require.Equal(t, time.Second, ejectedFor(), "it was well for MaxFor")
}

// Calls that were under way when a host was ejected, and fail after it has come
// back, tell of its past.
func TestResultsFromBeforeAnEjectionDoNotCount(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, Now: c.now}, backends(3)...)
	var old []lb.Pick
	for range 20 {
		old = append(old, pickOf(t, b, "b1"))
	}
	fail(t, b, "b1", 5)
	c.advance(10 * time.Second)
	notices := pick(t, b, lb.Request{})
	notices.Done(context.Canceled)
	require.Equal(t, lb.Available, status(t, b, "b1").State)
	for i := range old[:10] {
		old[i].Done(errService)
	}
	require.Equal(t, lb.Available, status(t, b, "b1").State)
	for i := range old[10:] {
		old[10+i].Done(nil)
	}
	fail(t, b, "b1", 1)
	require.Equal(t, lb.Ejected, status(t, b, "b1").State, "old successes are no more of a proof")
}

func TestWhatCountsAsAFailure(t *testing.T) {
	ejects := func(c lb.Config, err error) bool {
		c.Policy = lb.RoundRobin{}
		b := newBalancer(t, c, backends(2)...)
		for range 10 {
			p := pickOf(t, b, "b0")
			if p.Done(err); status(t, b, "b0").State == lb.Ejected {
				return true
			}
		}
		return false
	}
	wrapped := fmt.Errorf("call: %w", context.Canceled)
	require.True(t, ejects(lb.Config{}, errService))
	require.True(t, ejects(lb.Config{}, context.DeadlineExceeded))
	require.False(t, ejects(lb.Config{}, wrapped), "the caller gave up")
	require.False(t, ejects(lb.Config{DisableEjection: true}, errService))
	require.False(t, ejects(lb.Config{Ejection: lb.EjectionConfig{DisableConsecutive: true}}, errService))
	mine := func(err error) bool { return !errors.Is(err, errService) }
	require.False(t, ejects(lb.Config{Failed: mine}, errService))
	require.True(t, ejects(lb.Config{Failed: mine}, errors.New("other")))
}

func TestSuccessRateEjectsTheOutlier(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{
		Policy: lb.RoundRobin{}, Now: c.now, Seed: 1,
		Ejection: lb.EjectionConfig{DisableConsecutive: true, SuccessRate: 0.2, Interval: time.Second},
	}, backends(5)...)
	run := func(failing map[string]int) { // percent of calls
		for i := range 1000 {
			p := pick(t, b, lb.Request{})
			c.advance(2 * time.Millisecond)
			if i/5%100 < failing[p.Backend().Name] {
				p.Done(errService)
			} else {
				p.Done(nil)
			}
		}
	}
	run(map[string]int{"b0": 40, "b1": 40, "b2": 40, "b3": 40, "b4": 40})
	require.Zero(t, b.Stats().Ejections, "all are alike: it is not the host's fault")
	run(map[string]int{"b3": 60})
	require.Positive(t, status(t, b, "b3").Ejections)
	require.Equal(t, uint64(status(t, b, "b3").Ejections), b.Stats().Ejections, "and no other")
}

func TestLatencyEjectsTheOutlier(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{
		Policy: lb.RoundRobin{}, Now: c.now,
		Ejection: lb.EjectionConfig{Latency: 3, Interval: time.Second, MinimumCalls: 10},
	}, backends(5)...)
	for range 1000 {
		p := pick(t, b, lb.Request{})
		c.advance(time.Millisecond)
		if p.Backend().Name == "b1" {
			c.advance(4 * time.Millisecond)
		}
		p.Done(nil)
	}
	require.Positive(t, status(t, b, "b1").Ejections)
	require.Equal(t, uint64(status(t, b, "b1").Ejections), b.Stats().Ejections)
}

func TestAtMostAShareIsEjected(t *testing.T) {
	for _, tt := range []struct {
		backends, most int
		share          float64
	}{{10, 3, 0}, {10, 5, 0.5}, {2, 1, 0}, {3, 1, 0.01}, {1, 0, 1}, {4, 4, 1}} {
		b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, Ejection: lb.EjectionConfig{MaxShare: tt.share}}, backends(tt.backends)...)
		for range 100 * tt.backends {
			p := pick(t, b, lb.Request{})
			p.Done(errService)
		}
		out := 0
		for s := range b.Backends() {
			if s.State == lb.Ejected {
				out++
			}
		}
		require.Equal(t, tt.most, out, "of %d with %v", tt.backends, tt.share)
	}
}

// A model of the state machine of ejection by failures in a row, for one host
// among enough others, played against the real one.
type modelHost struct {
	row, streak  int
	outUntil     time.Time // zero: in
	back         time.Time
	total        int
	returnedFail bool // the next failure ejects
}

func (m *modelHost) settle(now time.Time) {
	if !m.outUntil.IsZero() && !now.Before(m.outUntil) {
		m.outUntil, m.back = time.Time{}, now
		m.returnedFail, m.row = true, 0
	}
}

func (m *modelHost) result(now time.Time, failed bool, began int) {
	if !m.outUntil.IsZero() || began != m.total {
		return
	}
	if !failed {
		m.row, m.returnedFail = 0, false
		return
	}
	if m.row++; m.row < 3 && !m.returnedFail {
		return
	}
	if now.Sub(m.back) > 8*time.Second {
		m.streak = 0
	}
	m.outUntil = now.Add(min(8*time.Second, time.Second<<min(m.streak, 4)))
	m.streak++
	m.total++
	m.row, m.returnedFail = 0, false
}

func TestEjectionAgainstAModel(t *testing.T) {
	type call struct {
		pick  lb.Pick
		began int // the ejections there had been
	}
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := newClock()
		b := newBalancer(t, lb.Config{
			Policy: lb.RoundRobin{}, Now: c.now, DisableSlowStart: true,
			Ejection: lb.EjectionConfig{Consecutive: 3, For: time.Second, MaxFor: 8 * time.Second},
		}, backends(5)...)
		m := &modelHost{back: c.now()}
		var underWay []call
		for step := range 2000 {
			c.advance(time.Duration(random.IntN(300)) * time.Millisecond)
			p := pick(t, b, lb.Request{}) // notices what time has brought
			m.settle(c.now())
			if p.Backend().Name == "b0" {
				m.result(c.now(), false, m.total)
			}
			p.Done(nil)
			require.Equal(t, !m.outUntil.IsZero(), status(t, b, "b0").State == lb.Ejected, "seed %d step %d", seed, step)
			require.Equal(t, m.total, status(t, b, "b0").Ejections, "seed %d step %d", seed, step)
			if m.outUntil.IsZero() && random.IntN(2) == 0 {
				underWay = append(underWay, call{pickOf(t, b, "b0"), m.total})
				continue
			}
			if len(underWay) > 0 {
				i := random.IntN(len(underWay))
				u := underWay[i]
				underWay = append(underWay[:i], underWay[i+1:]...)
				failed := random.IntN(100) < 60
				if failed {
					u.pick.Done(errService)
				} else {
					u.pick.Done(nil)
				}
				m.result(c.now(), failed, u.began)
			}
		}
		require.Positive(t, m.total, "the model was never ejected: nothing was tested")
	}
}

// What a host did before it was ejected does not eject it again by its success
// rate either: not calls that it had answered by then, nor those that end later.
func TestCallsFromBeforeAnEjectionDoNotCountForItsRate(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{
		Policy: lb.RoundRobin{}, Now: c.now, DisableSlowStart: true,
		Ejection: lb.EjectionConfig{SuccessRate: 0.2, MinimumCalls: 5, Interval: 10 * time.Second, For: time.Second},
	}, backends(4)...)
	var old []lb.Pick
	for range 20 {
		old = append(old, pickOf(t, b, "b1"))
	}
	fail(t, b, "b1", 5)
	require.Equal(t, lb.Ejected, status(t, b, "b1").State)
	for i := range old[:10] {
		old[i].Done(errService) // while it is out
	}
	c.advance(2 * time.Second)
	spread(t, b, 100)
	require.Equal(t, lb.Available, status(t, b, "b1").State)
	for i := range old[10:] {
		old[10+i].Done(errService) // after it has come back
	}
	c.advance(9 * time.Second)
	spread(t, b, 100)
	require.Equal(t, 1, status(t, b, "b1").Ejections)
}

// 0.29 of 100 is 29, and 7 of 100 are not fewer than 0.07 of them, also in floating
// point.
func TestSharesAreOfWholeBackends(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, PanicThreshold: 0.07, Ejection: lb.EjectionConfig{MaxShare: 0.29}}, backends(100)...)
	for range 100 * 10 {
		p := pick(t, b, lb.Request{})
		p.Done(errService)
	}
	require.Equal(t, uint64(29), b.Stats().Ejections)
	b = newBalancer(t, lb.Config{PanicThreshold: 0.07}, backends(100)...)
	for i := range 93 {
		require.NoError(t, b.SetHealth(fmt.Sprintf("b%d", i), false))
	}
	require.False(t, b.Stats().Panicked)
	require.NoError(t, b.SetHealth("b93", false))
	require.True(t, b.Stats().Panicked)
}
