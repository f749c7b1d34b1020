package lb_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

var errService = errors.New("service failed")

// The two of a choice are different hosts: of two hosts, one of which hangs, the
// other gets every call but the first ones.
func TestTrapBothChoicesFallOnTheSameHungHost(t *testing.T) {
	for _, policy := range []lb.Policy{lb.PowerOfTwo{}, lb.LatencyAware{}} {
		for seed := uint64(1); seed < 20; seed++ {
			b := newBalancer(t, lb.Config{Policy: policy, Seed: seed}, backends(2)...)
			hung := 0
			for range 1000 {
				p := pick(t, b, lb.Request{})
				if p.Backend().Name == "b1" {
					hung++ // and is never Done
					continue
				}
				p.Done(nil)
			}
			require.LessOrEqual(t, hung, 2, "%v: calls to a host with one in flight, where the other has none", policy)
		}
	}
}

// Of a host that has never answered nothing is known: it must not look free, also
// where there are several such.
func TestTrapAHostThatNeverAnsweredLooksFree(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Seed: 1, Now: c.now}, backends(10)...)
	hung := 0
	for range 5000 {
		p := pick(t, b, lb.Request{})
		c.advance(time.Millisecond)
		if name := p.Backend().Name; name == "b3" || name == "b7" {
			hung++
			continue
		}
		p.Done(nil)
	}
	require.LessOrEqual(t, hung, 15)
}

// A host that fails at once has the fewest calls in flight and the lowest
// latency. It gets few calls all the same, also with ejection off.
func TestTrapTheHostThatFailsFastGetsEveryone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config lb.Config
		most   float64 // part of the calls
	}{
		{"latency-aware alone", lb.Config{DisableEjection: true}, 0.005},
		{"least connections with ejection", lb.Config{Policy: lb.LeastConnections{}}, 0.005},
		{"power of two with ejection", lb.Config{Policy: lb.PowerOfTwo{}}, 0.005},
	} {
		c := newClock()
		tt.config.Seed, tt.config.Now = 1, c.now
		b := newBalancer(t, tt.config, backends(10)...)
		const calls = 20_000
		failed := 0
		var underWay []lb.Pick
		for range calls {
			p := pick(t, b, lb.Request{})
			c.advance(time.Millisecond)
			if p.Backend().Name == "b0" {
				failed++
				p.Done(errService)
				continue
			}
			if underWay = append(underWay, p); len(underWay) == 10 {
				underWay[0].Done(nil)
				underWay = underWay[1:]
			}
		}
		require.LessOrEqual(t, float64(failed), tt.most*calls, tt.name)
	}
}

func TestTrapAllUnhealthyNobodyServed(t *testing.T) {
	for _, policy := range policies() {
		b := newBalancer(t, lb.Config{Policy: policy}, backends(10)...)
		for i := range 10 {
			require.NoError(t, b.SetHealth(fmt.Sprintf("b%d", i), false))
		}
		require.True(t, b.Stats().Panicked)
		p := pick(t, b, lb.Request{})
		p.Done(nil)
		require.Equal(t, lb.Stats{Backends: 10, InUse: 10, Panicked: true}, b.Stats(), "%v", policy)

		require.NoError(t, b.SetHealth("b1", true))
		require.True(t, b.Stats().Panicked, "1 of 10 is below the threshold of 0.2")
		require.NoError(t, b.SetHealth("b2", true))
		require.Equal(t, lb.Stats{Backends: 10, Available: 2, InUse: 2}, b.Stats(), "%v", policy)
	}
}

func TestPanicThresholdIsOptional(t *testing.T) {
	b := newBalancer(t, lb.Config{DisablePanicThreshold: true}, backends(10)...)
	for i := range 9 {
		require.NoError(t, b.SetHealth(fmt.Sprintf("b%d", i), false))
	}
	require.Equal(t, lb.Stats{Backends: 10, Available: 1, InUse: 1}, b.Stats())
	require.NoError(t, b.SetHealth("b9", false))
	require.Equal(t, lb.Stats{Backends: 10, InUse: 10, Panicked: true}, b.Stats(), "none at all is always a panic")
}

// A host that has recovered gets a tenth of its share at first, and more with
// time.
func TestTrapHerdOnTheRecoveredHost(t *testing.T) {
	for _, policy := range []lb.Policy{lb.RoundRobin{}, lb.Weighted{}, lb.Random{}, lb.PowerOfTwo{}, lb.LeastConnections{}} {
		c := newClock()
		b := newBalancer(t, lb.Config{Policy: policy, Seed: 1, Now: c.now}, backends(10)...)
		require.NoError(t, b.SetHealth("b0", false))
		require.Zero(t, spread(t, b, 1000)["b0"])
		require.NoError(t, b.SetHealth("b0", true))
		for _, step := range []struct{ warmth float64 }{{0.1}, {0.25}, {0.5}, {0.75}, {1}} {
			const calls = 6000
			want := calls * step.warmth / (9 + step.warmth)
			got := float64(spread(t, b, calls)["b0"])
			require.InDelta(t, want, got, 6*math.Sqrt(want), "%v at %v", policy, step.warmth)
			next := 2500 * time.Millisecond
			c.advance(next)
		}
	}
}

// A latency-aware client has no calls in flight at a host that has just recovered
// and no bad word for it: the greatest herd of all, without slow start.
func TestTrapHerdOnTheRecoveredHostLatencyAware(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Seed: 1, Now: c.now}, backends(10)...)
	work := func(n int) (counts map[string]int) {
		counts = map[string]int{}
		var underWay []lb.Pick
		for range n {
			p := pick(t, b, lb.Request{})
			counts[p.Backend().Name]++
			underWay = append(underWay, p)
			c.advance(100 * time.Microsecond)
			if len(underWay) == 50 {
				underWay[0].Done(nil)
				underWay = underWay[1:]
			}
		}
		for i := range underWay {
			underWay[i].Done(nil)
		}
		return counts
	}
	work(1000)
	require.NoError(t, b.SetHealth("b0", false))
	work(1000)
	require.NoError(t, b.SetHealth("b0", true))
	require.Less(t, work(1000)["b0"], 40, "of 100 that would be its share")
}

// However often weights and backends change, everyone gets calls in proportion.
func TestTrapWeightsChangedSomeoneStarves(t *testing.T) {
	for _, policy := range []lb.Policy{lb.RoundRobin{}, lb.Weighted{}, lb.Random{}, lb.LeastConnections{}, lb.PowerOfTwo{}, lb.LatencyAware{}} {
		for _, every := range []int{1, 2, 3, 7} {
			c := newClock()
			b := newBalancer(t, lb.Config{Policy: policy, Seed: 1, DisableSlowStart: true, Now: c.now}, backends(4)...)
			counts := map[string]int{}
			const picks = 4000
			for i := range picks {
				if i%every == 0 {
					// The weights go to and fro, and the last backend comes and goes.
					all := backends(4 - i/every%2)
					all[0].Weight = 1 + 2*(i/every%2)
					require.NoError(t, b.Set(all...))
				}
				p := pick(t, b, lb.Request{})
				counts[p.Backend().Name]++
				c.advance(time.Millisecond)
				p.Done(nil)
			}
			for _, name := range []string{"b0", "b1", "b2", "b3"} {
				require.Greater(t, counts[name], picks/20, "%v, changed every %d picks: %v", policy, every, counts)
			}
		}
	}
}

// What is known of a backend that stays is kept when others change: its calls in
// flight, its ejection, its latency.
func TestStateOfABackendThatStaysIsKept(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Seed: 1, Now: c.now}, backends(3)...)
	var held []lb.Pick
	for range 30 {
		p := pick(t, b, lb.Request{})
		c.advance(time.Millisecond)
		if p.Backend().Name == "b1" {
			held = append(held, p)
			continue
		}
		p.Done(nil)
	}
	before := status(t, b, "b1")
	require.Positive(t, before.InFlight)
	require.NoError(t, b.Set(lb.Backend{Name: "b9"}, lb.Backend{Name: "b1", Weight: 5, Zone: "z"}))
	after := status(t, b, "b1")
	require.Equal(t, before.InFlight, after.InFlight)
	require.Equal(t, before.Latency, after.Latency)
	require.Equal(t, 5, after.Weight)
	for i := range held {
		require.Equal(t, 5, held[i].Backend().Weight)
		held[i].Done(nil)
	}
	require.Zero(t, status(t, b, "b1").InFlight)
}

// A check that does not heed its context does not pile up goroutines: there is
// one, and no second check before it has returned.
func TestTrapATimedOutHealthCheckLeaksItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, lb.Config{}, backends(1)...)
		running, most := 0, 0
		free := make(chan struct{})
		checker, err := lb.StartChecker(b, lb.CheckConfig{
			Interval: time.Second, Timeout: 100 * time.Millisecond, Fall: 1,
			Check: func(ctx context.Context, be lb.Backend) error {
				running++ // one at a time, so without a lock
				most = max(most, running)
				<-free // not ctx
				running--
				return nil
			},
		})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, most)
		require.Equal(t, lb.Unhealthy, status(t, b, "b0").State, "it had run out of time")
		close(free)
		time.Sleep(10 * time.Second)
		require.Equal(t, lb.Available, status(t, b, "b0").State)
		require.NoError(t, checker.Close())
		require.Zero(t, running)
	})
}
