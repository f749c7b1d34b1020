package lb_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

// zoned returns n backends in each of the zones, named zone-number.
func zoned(n int, zones ...string) (all []lb.Backend) {
	for _, zone := range zones {
		for i := range n {
			all = append(all, lb.Backend{Name: fmt.Sprintf("%s-%d", zone, i), Zone: zone})
		}
	}
	return all
}

// inZone returns how many of n calls go to a zone.
func inZone(t testing.TB, b *lb.Balancer, zone string, n int) (count int) {
	t.Helper()
	for range n {
		p := pick(t, b, lb.Request{})
		if p.Backend().Zone == zone {
			count++
		}
		p.Done(nil)
	}
	return count
}

// Calls stay in the zone as long as its backends can take them, each 1.4 times its
// part; then the rest goes elsewhere.
func TestZoneSpillsOver(t *testing.T) {
	for _, policy := range []lb.Policy{lb.RoundRobin{}, lb.Weighted{}, lb.Random{}, lb.PowerOfTwo{}, lb.LeastConnections{}} {
		b := newBalancer(t, lb.Config{Policy: policy, Zone: "here", Seed: 1}, zoned(10, "here", "there", "yonder")...)
		const calls = 4000
		for ill := range 10 {
			stay := min(1, 1.4*float64(10-ill)/10)
			got := inZone(t, b, "here", calls)
			require.InDelta(t, stay*calls, got, 5*math.Sqrt(calls*stay*(1-stay))+calls/500, "%v with %d of 10 ill", policy, ill)
			require.NoError(t, b.SetHealth(fmt.Sprintf("here-%d", ill), false))
		}
		require.Zero(t, inZone(t, b, "here", calls), "%v: nobody is left here", policy)
		for i := range 10 {
			require.NoError(t, b.SetHealth(fmt.Sprintf("here-%d", i), true))
		}
		require.Equal(t, calls, inZone(t, b, "here", calls), "%v: all are back", policy)
	}
}

func TestZoneMinimum(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, Zone: "here", ZoneMinimum: 3}, zoned(2, "here", "there")...)
	require.Equal(t, 50, inZone(t, b, "here", 100), "two are too few to take it all")
	require.NoError(t, b.Add(lb.Backend{Name: "here-3", Zone: "here"}))
	require.Equal(t, 100, inZone(t, b, "here", 100))
	b = newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, Zone: "nowhere"}, zoned(2, "here", "there")...)
	require.Equal(t, 50, inZone(t, b, "here", 100))
}

// Every backend is in the subsets of as many clients as any other, give or take
// one.
func TestSubsetsAreEven(t *testing.T) {
	for _, tt := range []struct{ backends, subset, clients int }{{100, 10, 30}, {7, 3, 5}, {20, 20, 3}, {50, 8, 50}, {5, 10, 4}} {
		used := map[string]int{}
		for client := range tt.clients {
			b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, Subset: tt.subset, Client: client, Clients: tt.clients}, backends(tt.backends)...)
			counts := spread(t, b, 10*tt.backends)
			require.Len(t, counts, min(tt.subset, tt.backends))
			for name := range counts {
				used[name]++
			}
		}
		most, least := 0, math.MaxInt
		for _, be := range backends(tt.backends) {
			most, least = max(most, used[be.Name]), min(least, used[be.Name])
		}
		require.LessOrEqual(t, most-least, 1, "%+v", tt)
	}
}

// A backend that joins changes a client's subset by little, and an ill one is
// replaced.
func TestSubsetsAreStable(t *testing.T) {
	subset := func(b *lb.Balancer) map[string]int { return spread(t, b, 1000) }
	c := lb.Config{Policy: lb.RoundRobin{}, Subset: 10, Client: 3, Clients: 8, DisableSlowStart: true}
	b := newBalancer(t, c, backends(100)...)
	before := subset(b)
	require.NoError(t, b.Add(lb.Backend{Name: "new"}))
	after := subset(b)
	require.Len(t, after, 10)
	changed := 0
	for name := range after {
		if before[name] == 0 {
			changed++
		}
	}
	require.LessOrEqual(t, changed, 2)
	ill := ""
	for name := range after {
		ill = name
	}
	require.NoError(t, b.SetHealth(ill, false))
	require.Len(t, subset(b), 10)
	require.Zero(t, subset(b)[ill])
}

// A backend that drains gets no calls, not even in a panic, and Idle waits for
// those in flight.
func TestDrain(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.Random{}, CountInFlight: true}, backends(2)...)
	held := []lb.Pick{pickOf(t, b, "b0"), pickOf(t, b, "b0")}
	require.NoError(t, b.Drain("b0"))
	require.NoError(t, b.SetHealth("b1", false))
	require.Zero(t, spread(t, b, 100)["b0"])
	require.Equal(t, lb.Draining, status(t, b, "b0").State)

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errService)
	err := b.Idle(ended, "b0")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errService, "the cause")

	idle := make(chan error)
	go func() { idle <- b.Idle(t.Context(), "b0") }()
	held[0].Done(nil)
	held[0].Done(nil) // counts once
	select {
	case err := <-idle:
		t.Fatalf("idle with a call in flight: %v", err)
	default:
	}
	held[1].Done(errService)
	require.NoError(t, <-idle)
	require.NoError(t, b.Idle(t.Context(), "b0"), "it is idle still")
	require.NoError(t, b.Resume("b0"))
	require.NoError(t, b.SetHealth("b1", true))
	require.Positive(t, spread(t, b, 1000)["b0"])

	require.NoError(t, b.Drain("b0"))
	require.NoError(t, b.Drain("b1"))
	_, err = b.Pick(lb.Request{})
	require.ErrorIs(t, err, lb.ErrNoBackends)
}

func TestIdleNeedsCounts(t *testing.T) {
	for _, policy := range policies() {
		counts := false
		switch policy.(type) {
		case lb.LeastConnections, lb.PowerOfTwo, lb.LatencyAware, lb.ConsistentHash:
			counts = true
		}
		b := newBalancer(t, lb.Config{Policy: policy}, backends(1)...)
		if counts {
			require.NoError(t, b.Idle(t.Context(), "b0"), "%v", policy)
		} else {
			require.ErrorIs(t, b.Idle(t.Context(), "b0"), lb.ErrNotCounted, "%v", policy)
		}
		b = newBalancer(t, lb.Config{Policy: policy, CountInFlight: true}, backends(1)...)
		p := pick(t, b, lb.Request{})
		require.Equal(t, 1, status(t, b, "b0").InFlight, "%v", policy)
		p.Done(nil)
		p.Done(nil)
		require.Zero(t, status(t, b, "b0").InFlight, "%v", policy)
		require.ErrorIs(t, b.Idle(t.Context(), "nobody"), lb.ErrUnknown)
	}
}

// Tries of one request go to different backends while there are any.
func TestTried(t *testing.T) {
	for _, policy := range policies() {
		b := newBalancer(t, lb.Config{Policy: policy, DisableEjection: true}, backends(6)...)
		for i := range 50 {
			r := lb.Request{Key: fmt.Sprint(i), Tried: new(lb.Tried)}
			seen := map[string]bool{}
			for range 6 {
				p := pick(t, b, r)
				require.False(t, seen[p.Backend().Name], "%v: %s again, after %v", policy, p.Backend().Name, seen)
				seen[p.Backend().Name] = true
				p.Done(errService)
			}
			p := pick(t, b, r)
			p.Done(nil) // any: all have been tried
		}
	}
}

func TestTriedFrom(t *testing.T) {
	require.Nil(t, lb.TriedFrom(t.Context()))
	ctx := lb.WithTried(t.Context())
	require.NotNil(t, lb.TriedFrom(ctx))
	require.Same(t, lb.TriedFrom(ctx), lb.TriedFrom(ctx))
}

func TestInvalid(t *testing.T) {
	for _, tt := range []struct {
		config lb.Config
		names  []string
	}{
		{lb.Config{Policy: lb.ConsistentHash{LoadFactor: 1}}, []string{"Policy.LoadFactor is 1", "above 1"}},
		{lb.Config{Policy: lb.ConsistentHash{LoadFactor: math.NaN()}}, []string{"Policy.LoadFactor is NaN"}},
		{lb.Config{Policy: lb.Maglev{}, Subset: 3}, []string{"Config.Subset is 3", "hashing"}},
		{lb.Config{Subset: -1, ZoneMinimum: -2}, []string{"Config.Subset is -1", "Config.ZoneMinimum is -2"}},
		{lb.Config{Client: 4, Clients: 4}, []string{"Config.Client is 4"}},
		{lb.Config{SlowStart: -time.Second}, []string{"Config.SlowStart is -1s", "24h"}},
		{lb.Config{SlowStart: time.Second, DisableSlowStart: true}, []string{"Config.SlowStart"}},
		{lb.Config{PanicThreshold: 1.5}, []string{"Config.PanicThreshold is 1.5"}},
		{lb.Config{PanicThreshold: math.NaN()}, []string{"Config.PanicThreshold is NaN"}},
		{lb.Config{Ejection: lb.EjectionConfig{Consecutive: -1, Latency: 1, SuccessRate: 2}}, []string{"Ejection.Consecutive is -1", "Ejection.Latency is 1", "Ejection.SuccessRate is 2"}},
		{lb.Config{Ejection: lb.EjectionConfig{For: time.Hour, MaxFor: time.Minute}}, []string{"Ejection.MaxFor is 1m0s", "For"}},
		{lb.Config{Ejection: lb.EjectionConfig{MaxShare: -0.1, MinimumCalls: -1, Interval: 1}}, []string{"MaxShare", "MinimumCalls", "Interval is 1ns"}},
		{lb.Config{DisableEjection: true, Ejection: lb.EjectionConfig{Consecutive: 3}}, []string{"Config.Ejection"}},
	} {
		_, err := lb.New(tt.config)
		require.ErrorIs(t, err, lb.ErrInvalid)
		for _, name := range tt.names {
			require.ErrorContains(t, err, name)
		}
	}
	for _, tt := range []struct {
		backends []lb.Backend
		name     string
	}{
		{[]lb.Backend{{Name: "a"}, {}}, "backend 1 is empty"},
		{[]lb.Backend{{Name: "a"}, {Name: "a"}}, `"a" stands twice`},
		{[]lb.Backend{{Name: "a", Weight: 1001}}, `"a" is 1001`},
		{[]lb.Backend{{Name: "a", Weight: -1}}, `"a" is -1`},
	} {
		b := newBalancer(t, lb.Config{}, backends(2)...)
		err := b.Set(tt.backends...)
		require.ErrorIs(t, err, lb.ErrInvalid)
		require.ErrorContains(t, err, tt.name)
		require.Equal(t, 2, b.Stats().Backends, "nothing has changed")
	}
	b := newBalancer(t, lb.Config{}, backends(2)...)
	require.ErrorIs(t, b.Add(lb.Backend{Name: "b1"}), lb.ErrInvalid)
	for _, err := range []error{b.SetHealth("x", true), b.Drain("x"), b.Resume("x")} {
		require.ErrorIs(t, err, lb.ErrUnknown)
		require.ErrorContains(t, err, `"x"`)
	}
}

// A heap of heavy backends is too much for a ring, and says so instead of being
// forgotten.
func TestConsistentHashBoundsTheWeights(t *testing.T) {
	all := backends(600)
	for i := range all {
		all[i].Weight = lb.MaxWeight
	}
	_, err := lb.New(lb.Config{Policy: lb.ConsistentHash{}}, all...)
	require.ErrorIs(t, err, lb.ErrInvalid)
	require.ErrorContains(t, err, "600000")
}

// Picks go on without harm while everything changes.
func TestPicksWhileEverythingChanges(t *testing.T) {
	for _, policy := range policies() {
		b := newBalancer(t, lb.Config{
			Policy: policy, Zone: "z", CountInFlight: true,
			Ejection: lb.EjectionConfig{SuccessRate: 0.2, Interval: 10 * time.Millisecond, For: time.Millisecond},
		}, zoned(4, "z", "y")...)
		var wait sync.WaitGroup
		for g := range 8 {
			wait.Go(func() {
				var tried lb.Tried
				for i := range 2000 {
					r := lb.Request{Key: fmt.Sprint(i)}
					if i%10 == 0 {
						r.Tried = &tried
					}
					p, err := b.Pick(r)
					if errors.Is(err, lb.ErrNoBackends) {
						continue
					}
					if p.Backend().Name == "" {
						t.Error("a pick without a backend")
					}
					if (i+g)%5 == 0 {
						p.Done(errService)
					} else {
						p.Done(nil)
					}
				}
			})
		}
		wait.Go(func() {
			for i := range 300 {
				name := fmt.Sprintf("z-%d", i%4)
				switch i % 6 {
				case 0:
					_ = b.SetHealth(name, i%12 == 0)
				case 1:
					_ = b.Drain(name)
				case 2:
					_ = b.Resume(name)
				case 3:
					_ = b.Set(zoned(1+i%5, "z", "y")...)
				case 4:
					b.Remove(name)
				case 5:
					_ = b.Add(lb.Backend{Name: name, Weight: 1 + i%7})
				}
				for range b.Backends() {
				}
				b.Stats()
			}
		})
		wait.Wait()
		for s := range b.Backends() {
			require.Zero(t, s.InFlight, "%v: %s", policy, s.Name)
		}
	}
}

func TestPickAndDoneDoNotAllocate(t *testing.T) {
	for _, policy := range policies() {
		all := zoned(10, "z", "y")
		all[0].Weight = 5
		b := newBalancer(t, lb.Config{Policy: policy, CountInFlight: true, Zone: "z", Ejection: lb.EjectionConfig{SuccessRate: 0.5}}, all...)
		var tried lb.Tried
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			p, _ := b.Pick(lb.Request{Key: "user:42"})
			p.Answered()
			p.Done(nil)
			p.Done(nil)
			q, _ := b.Pick(lb.Request{Key: "user:42", Tried: &tried})
			q.Done(context.Canceled)
		}), "%v", policy)
	}
}

// Shares add up to 1 and follow weight, warmth and zone.
func TestStatusShares(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Now: c.now}, lb.Backend{Name: "a", Weight: 3}, lb.Backend{Name: "b"})
	require.InDelta(t, 0.75, status(t, b, "a").Share, 1e-9)
	require.InDelta(t, 0.25, status(t, b, "b").Share, 1e-9)
	require.NoError(t, b.Add(lb.Backend{Name: "c", Weight: 10}))
	require.InDelta(t, 0.2, status(t, b, "c").Share, 1e-9, "a tenth of its weight, of 5")
	require.NoError(t, b.SetHealth("a", false))
	require.Zero(t, status(t, b, "a").Share)
}

// When all have been tried, the policy chooses as if none had: the third try of two
// does not go by chance to the one that is busy.
func TestTriedAllIsAsNone(t *testing.T) {
	for _, policy := range []lb.Policy{lb.LeastConnections{}, lb.PowerOfTwo{}, lb.LatencyAware{}} {
		b := newBalancer(t, lb.Config{Policy: policy, Now: newClock().now, DisableEjection: true}, backends(2)...)
		for range 20 {
			busy := pickOf(t, b, "b1")
			r := lb.Request{Tried: new(lb.Tried)}
			for range 2 {
				p := pick(t, b, r)
				p.Done(nil)
			}
			p := pick(t, b, r)
			require.Equal(t, "b0", p.Backend().Name, "%v", policy)
			p.Done(nil)
			busy.Done(nil)
		}
	}
}

// Tries that are made at once go to different backends, too, and keep no place at
// one that another try has just taken.
func TestTriedAtOnce(t *testing.T) {
	for _, policy := range []lb.Policy{lb.ConsistentHash{}, lb.Maglev{}, lb.LatencyAware{}} {
		b := newBalancer(t, lb.Config{Policy: policy}, backends(8)...)
		for i := range 500 {
			r := lb.Request{Key: fmt.Sprint(i), Tried: new(lb.Tried)}
			var picks [8]lb.Pick
			var wait sync.WaitGroup
			start := make(chan struct{})
			for j := range picks {
				wait.Go(func() {
					<-start
					picks[j], _ = b.Pick(r)
				})
			}
			close(start)
			wait.Wait()
			names := map[string]bool{}
			for j := range picks {
				names[picks[j].Backend().Name] = true
				picks[j].Done(nil)
			}
			require.Len(t, names, len(picks), "%v", policy)
		}
		for s := range b.Backends() {
			require.Zero(t, s.InFlight, "%v: a place was taken and not given back", policy)
		}
	}
}

// Beyond 8 tries the earliest are forgotten, and not the latest.
func TestTriedForgetsTheEarliest(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}}, backends(9)...)
	var tried lb.Tried
	var names []string
	for range 18 {
		p := pick(t, b, lb.Request{Tried: &tried})
		names = append(names, p.Backend().Name)
		p.Done(nil)
	}
	require.Equal(t, names[:9], names[9:], "the one that is forgotten is the only one left")
}

// Weights that a ring cannot hold are refused whole: the backends that stay keep
// theirs.
func TestSetThatFailsChangesNothing(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.ConsistentHash{}}, lb.Backend{Name: "b0", Weight: 2, Zone: "old"})
	heavy := backends(600)
	for i := range heavy {
		heavy[i].Weight, heavy[i].Zone = lb.MaxWeight, "new"
	}
	require.ErrorIs(t, b.Set(heavy...), lb.ErrInvalid)
	require.Equal(t, lb.Backend{Name: "b0", Weight: 2, Zone: "old"}, status(t, b, "b0").Backend)
}

// Policies are values. What else is one by the rules of the language is refused
// rather than met with a panic later.
func TestPolicyThatIsNoValueIsInvalid(t *testing.T) {
	for _, policy := range []lb.Policy{&lb.ConsistentHash{}, (*lb.RoundRobin)(nil), &lb.Maglev{}, struct{ lb.Policy }{}, struct{ lb.ConsistentHash }{}} {
		_, err := lb.New(lb.Config{Policy: policy}, backends(2)...)
		require.ErrorIs(t, err, lb.ErrInvalid)
		require.ErrorContains(t, err, "Config.Policy is a ")
	}
}

// A clock that goes back, which it must not, spoils no more than latencies.
func TestClockThatGoesBack(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Now: c.now}, backends(1)...)
	for _, step := range []time.Duration{-2, -1, 1, 0, -time.Hour, 2 * time.Hour} {
		c.advance(step)
		p := pick(t, b, lb.Request{})
		p.Done(nil)
		require.Zero(t, status(t, b, "b0").InFlight)
	}
}

// Backends of the zone that drain take no place in a subset: those behind them are
// as good, and have their share.
func TestZoneWithASubsetThatDrains(t *testing.T) {
	for _, policy := range policies()[:6] {
		b := newBalancer(t, lb.Config{Policy: policy, Zone: "here", Subset: 2, Seed: 1}, zoned(3, "here", "there")...)
		for s := range b.Backends() {
			if s.Zone == "here" && s.Share > 0 {
				require.NoError(t, b.Drain(s.Name))
			}
		}
		require.Equal(t, 100, inZone(t, b, "here", 100), "%v", policy)
	}
}

// 45 of 63, each with 1.4 times its part, are enough also in floating point.
func TestZoneThatIsJustEnough(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, Zone: "here"}, zoned(63, "here", "there")...)
	for i := range 18 {
		require.NoError(t, b.SetHealth(fmt.Sprintf("here-%d", i), false))
	}
	require.Equal(t, 45, b.Stats().InUse)
}
