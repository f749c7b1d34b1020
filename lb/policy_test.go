package lb_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

func TestRoundRobinGoesRoundInTheGivenOrder(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}}, backends(3)...)
	var names []string
	for range 9 {
		p := pick(t, b, lb.Request{})
		names = append(names, p.Backend().Name)
		p.Done(nil)
	}
	first := slices.Index([]string{"b0", "b1", "b2"}, names[0])
	for i, name := range names {
		require.Equal(t, fmt.Sprintf("b%d", (first+i)%3), name, "pick %d of %v", i, names)
	}
}

// The clients of a fleet must not all begin with the same backend.
func TestRoundRobinBeginsAnywhere(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(64) {
		b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, Seed: seed + 1}, backends(4)...)
		p := pick(t, b, lb.Request{})
		seen[p.Backend().Name] = true
	}
	require.Len(t, seen, 4)
}

func TestRoundRobinIgnoresWeights(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}}, lb.Backend{Name: "a", Weight: 9}, lb.Backend{Name: "b"})
	require.Equal(t, map[string]int{"a": 50, "b": 50}, spread(t, b, 100))
}

// In every round each backend has exactly its weight of turns, wherever the round
// is taken to begin; and its turns are spread over the round: at any moment it has
// had what is due to it by then, give or take a few turns, and never waits for
// longer than three times its mean.
func TestWeightedIsExactAndSmooth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		n := 1 + random.IntN(12)
		all := backends(n)
		total := 0
		for i := range all {
			all[i].Weight = 1 + random.IntN(40)
			total += all[i].Weight
		}
		b := newBalancer(t, lb.Config{Policy: lb.Weighted{}, Seed: random.Uint64() | 1}, all...)
		counts, last := map[string]int{}, map[string]int{}
		offset := random.IntN(3 * total)
		spread(t, b, offset)
		for turn := range total {
			p := pick(t, b, lb.Request{})
			be := p.Backend()
			p.Done(nil)
			counts[be.Name]++
			mean := float64(total) / float64(be.Weight)
			if before, ok := last[be.Name]; ok {
				require.LessOrEqual(t, float64(turn-before), math.Ceil(3*mean), "weights %v", all)
			}
			last[be.Name] = turn
			for _, other := range all {
				due := float64(turn+1) * float64(other.Weight) / float64(total)
				require.InDelta(t, due, counts[other.Name], 3, "weights %v after %d", all, turn+1)
			}
		}
		for _, be := range all {
			require.Equal(t, be.Weight, counts[be.Name], "weights %v", all)
		}
	}
}

func TestWeightedOfManyAndHeavyBackendsIsNearlyExact(t *testing.T) {
	all := backends(2000)
	total := 0
	for i := range all {
		all[i].Weight = 1 + i%1000
		total += all[i].Weight
	}
	b := newBalancer(t, lb.Config{Policy: lb.Weighted{}}, all...)
	const picks = 4 * 65536
	counts := spread(t, b, picks)
	for _, be := range all {
		want := float64(picks) * float64(be.Weight) / float64(total)
		require.Positive(t, counts[be.Name], "%s starves", be.Name)
		// A turn has to be whole: half of one in a round, of which there are four,
		// and one at least.
		require.InDelta(t, want, counts[be.Name], 6, "%s of weight %d", be.Name, be.Weight)
	}
}

// Policies that draw do so in proportion to weights while nothing else tells
// backends apart.
func TestDrawsAreInProportionToWeights(t *testing.T) {
	for _, policy := range []lb.Policy{lb.Random{}, lb.LeastConnections{}, lb.PowerOfTwo{}} {
		all := backends(5)
		total := 0
		for i := range all {
			all[i].Weight = 1 + 3*i
			total += all[i].Weight
		}
		b := newBalancer(t, lb.Config{Policy: policy, Seed: 3}, all...)
		const picks = 40_000
		counts := spread(t, b, picks)
		for _, be := range all {
			chance := float64(be.Weight) / float64(total)
			deviation := math.Sqrt(picks * chance * (1 - chance))
			require.InDelta(t, picks*chance, counts[be.Name], 5*deviation, "%v: %s of weight %d", policy, be.Name, be.Weight)
		}
	}
}

func TestLeastConnectionsTakesTheLeastLoaded(t *testing.T) {
	all := backends(20)
	all[7].Weight = 4
	b := newBalancer(t, lb.Config{Policy: lb.LeastConnections{}, Seed: 1}, all...)
	random := rand.New(rand.NewPCG(3, 4))
	load := map[string]int{}
	var held []lb.Pick
	for range 2000 {
		if len(held) > 0 && random.IntN(3) == 0 {
			i := random.IntN(len(held))
			load[held[i].Backend().Name]--
			held[i].Done(nil)
			held = slices.Delete(held, i, i+1)
			continue
		}
		p := pick(t, b, lb.Request{})
		name := p.Backend().Name
		for _, be := range all {
			ours := float64(load[name]) / float64(p.Backend().Weight)
			theirs := float64(load[be.Name]) / float64(max(be.Weight, 1))
			require.LessOrEqual(t, ours, theirs, "%s with %d in flight, where %s has %d", name, load[name], be.Name, load[be.Name])
		}
		load[name]++
		held = append(held, p)
	}
}

// With bounded loads no backend has more than the factor times its fair part of
// all calls in flight, rounded up, at the moment at which it gets one.
func TestConsistentHashBoundsTheLoad(t *testing.T) {
	all := backends(10)
	all[3].Weight = 3
	b := newBalancer(t, lb.Config{Policy: lb.ConsistentHash{LoadFactor: 1.25}}, all...)
	random := rand.New(rand.NewPCG(5, 6))
	load, total := map[string]int{}, 0
	var held []lb.Pick
	for range 8000 {
		if random.IntN(100) < 45 && len(held) > 0 {
			i := random.IntN(len(held))
			load[held[i].Backend().Name]--
			total--
			held[i].Done(nil)
			held = slices.Delete(held, i, i+1)
			continue
		}
		// A few keys are most of the requests.
		p := pick(t, b, lb.Request{Key: fmt.Sprint(random.IntN(1 + random.IntN(20)))})
		be := p.Backend()
		load[be.Name]++
		total++
		held = append(held, p)
		require.LessOrEqual(t, float64(load[be.Name]), math.Ceil(1.25*float64(total)*float64(be.Weight)/12), "%s of %d", be.Name, total)
	}
	for i := range held {
		held[i].Done(nil)
	}
	for s := range b.Backends() {
		require.Zero(t, s.InFlight, s.Name)
	}
}

// Without load, a key has one backend, and only the keys of a backend that goes
// move.
func TestHashingPoliciesAreConsistent(t *testing.T) {
	for _, tt := range []struct {
		policy lb.Policy
		stray  float64 // part of the other keys that may move, too
	}{{lb.ConsistentHash{}, 0}, {lb.Maglev{}, 0.05}} {
		b := newBalancer(t, lb.Config{Policy: tt.policy}, backends(10)...)
		const keys = 5000
		owners := func() (names [keys]string) {
			for key := range keys {
				p := pick(t, b, lb.Request{Key: fmt.Sprint("key", key)})
				names[key] = p.Backend().Name
				p.Done(nil)
			}
			return names
		}
		before := owners()
		require.Equal(t, before, owners(), "%v", tt.policy)
		require.NoError(t, b.SetHealth("b4", false))
		after := owners()
		moved := 0
		for key := range keys {
			require.NotEqual(t, "b4", after[key], "%v", tt.policy)
			if before[key] != "b4" && before[key] != after[key] {
				moved++
			}
		}
		require.LessOrEqual(t, float64(moved), tt.stray*keys, "%v", tt.policy)
		require.NoError(t, b.SetHealth("b4", true))
		require.Equal(t, before, owners(), "%v: keys return with their backend", tt.policy)
	}
}

// A backend that is four times as slow gets few calls, and one that has become
// quick again gets its part back.
func TestLatencyAwareFollowsLatency(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Seed: 1, Now: c.now}, backends(5)...)
	run := func(slow string, n int) (share float64) {
		const atOnce = 5
		for range n / atOnce {
			var quick, late []lb.Pick
			for range atOnce {
				if p := pick(t, b, lb.Request{}); p.Backend().Name == slow {
					late = append(late, p)
				} else {
					quick = append(quick, p)
				}
			}
			c.advance(10e6)
			for i := range quick {
				quick[i].Done(nil)
			}
			if len(late) > 0 {
				c.advance(30e6)
			}
			for i := range late {
				late[i].Done(nil)
			}
			share += float64(len(late))
		}
		return share / float64(n)
	}
	run("b2", 2000)
	require.Less(t, run("b2", 5000), 0.05, "of a slow one among five")
	require.Greater(t, status(t, b, "b2").Latency, 2*status(t, b, "b1").Latency)
	random := rand.New(rand.NewPCG(7, 8))
	counts := map[string]int{}
	for i := range 20_000 {
		p := pick(t, b, lb.Request{})
		if i >= 10_000 {
			counts[p.Backend().Name]++
		}
		c.advance(time.Duration(10e6 * random.ExpFloat64()))
		p.Done(nil)
	}
	require.InDelta(t, 2000, counts["b2"], 400, "%v", counts)
}

// However bad a backend was, it is tried again within half a minute: nobody else
// would find out that it is well.
func TestLatencyAwareTriesAgain(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Seed: 1, Now: c.now, DisableEjection: true}, backends(10)...)
	for range 200 {
		p := pick(t, b, lb.Request{})
		c.advance(5 * time.Millisecond)
		if p.Backend().Name == "b6" {
			c.advance(time.Second)
			p.Done(errService)
			continue
		}
		p.Done(nil)
	}
	began := c.now()
	for {
		p := pick(t, b, lb.Request{})
		c.advance(5 * time.Millisecond)
		p.Done(nil)
		if p.Backend().Name == "b6" {
			break
		}
		require.Less(t, c.now().Sub(began), 30*time.Second)
	}
	require.Greater(t, c.now().Sub(began), time.Second)
}

// One answer that took very long does not stand for the latency of a backend.
func TestLatencyAwareDoesNotOverreactToOneStall(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Seed: 1, Now: c.now}, backends(1)...)
	for range 1000 {
		p := pick(t, b, lb.Request{})
		c.advance(10e6)
		p.Done(nil)
	}
	p := pick(t, b, lb.Request{})
	c.advance(1e9)
	p.Done(nil)
	require.Less(t, status(t, b, "b0").Latency.Milliseconds(), int64(30))
}

func TestOneAndNoBackend(t *testing.T) {
	for _, policy := range policies() {
		b := newBalancer(t, lb.Config{Policy: policy})
		_, err := b.Pick(lb.Request{})
		require.ErrorIs(t, err, lb.ErrNoBackends, "%v", policy)
		require.NoError(t, b.Add(lb.Backend{Name: "only"}))
		for range 10 {
			p := pick(t, b, lb.Request{Tried: new(lb.Tried)})
			require.Equal(t, "only", p.Backend().Name)
			p.Done(nil)
		}
		require.True(t, b.Remove("only"))
		require.False(t, b.Remove("only"))
		_, err = b.Pick(lb.Request{})
		require.ErrorIs(t, err, lb.ErrNoBackends, "%v", policy)
	}
}

// The same seed and the same calls give the same picks.
func TestSeedReplays(t *testing.T) {
	for _, policy := range policies() {
		play := func() (names []string) {
			c := newClock()
			b := newBalancer(t, lb.Config{Policy: policy, Seed: 11, Now: c.now}, backends(7)...)
			for i := range 200 {
				p := pick(t, b, lb.Request{Key: fmt.Sprint(i)})
				names = append(names, p.Backend().Name)
				c.advance(1e6)
				if i%3 > 0 {
					p.Done(nil)
				}
			}
			return names
		}
		require.Equal(t, play(), play(), "%v", policy)
	}
}
