package lb_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

// Whatever befalls a fleet, in whatever order, a pick is of a backend that is there
// and does not drain, and of an ill one only in a panic.
func TestRandomLives(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := newClock()
		config := lb.Config{
			Policy: policies()[seed%8], Now: c.now, Seed: seed + 1, CountInFlight: true,
			Zone: []string{"", "z0"}[random.IntN(2)], ZoneMinimum: random.IntN(3), PanicThreshold: random.Float64(),
			Ejection: lb.EjectionConfig{Consecutive: 1 + random.IntN(3), SuccessRate: random.Float64(), MinimumCalls: 1, MaxShare: 0.01 + 0.99*random.Float64()},
		}
		steps := 60 // tables and rings take some ms to make
		if seed%8 < 6 {
			steps = 600
			config.Subset = random.IntN(6)
			config.Clients = random.IntN(4)
		}
		b := newBalancer(t, config)
		var underWay []lb.Pick
		for step := range steps {
			befall(b, random)
			c.advance(time.Duration(random.IntN(2000)) * time.Millisecond)
			r := lb.Request{Key: fmt.Sprint(random.IntN(50))}
			if random.IntN(2) == 0 {
				r.Tried = new(lb.Tried)
			}
			p, err := b.Pick(r)
			if err := checkFleet(b, p.Backend().Name, config.Subset); err != nil {
				t.Fatalf("seed %d, step %d, %v, %+v: %v", seed, step, config.Policy, b.Stats(), err)
			}
			if err != nil {
				continue
			}
			underWay = append(underWay, p)
			if i := random.IntN(len(underWay)); random.IntN(8) > 0 {
				underWay[i].Done([]error{nil, nil, errService}[random.IntN(3)])
				underWay[i] = underWay[len(underWay)-1]
				underWay = underWay[:len(underWay)-1]
			}
		}
		for i := range underWay {
			underWay[i].Done(nil)
		}
		for s := range b.Backends() {
			require.Zero(t, s.InFlight, "seed %d", seed)
		}
	}
}

// befall changes one thing about a fleet of up to eight.
func befall(b *lb.Balancer, random *rand.Rand) {
	be := lb.Backend{Name: fmt.Sprintf("b%d", random.IntN(8)), Zone: fmt.Sprintf("z%d", random.IntN(2)), Weight: random.IntN(5)}
	switch random.IntN(12) {
	case 0, 1:
		_ = b.Add(be)
	case 2:
		b.Remove(be.Name)
	case 3:
		_ = b.Drain(be.Name)
	case 4, 5:
		_ = b.Resume(be.Name)
	case 6:
		_ = b.SetHealth(be.Name, false)
	case 7, 8:
		_ = b.SetHealth(be.Name, true)
	case 9:
		var all []lb.Backend
		for s := range b.Backends() {
			s.Weight = 1 + random.IntN(lb.MaxWeight)
			all = append(all, s.Backend)
		}
		_ = b.Set(all...)
	}
}

// checkFleet says what is wrong with a pick, "" for none, as the backends stand.
func checkFleet(b *lb.Balancer, picked string, subset int) error {
	stats := b.Stats()
	open, inUse, total, found := 0, 0, 0.0, picked == ""
	for s := range b.Backends() {
		total += s.Share
		if s.Share > 0 {
			inUse++
		}
		if s.State != lb.Draining {
			open++
		}
		found = found || s.Name == picked && s.Share > 0
		if s.InFlight < 0 || s.Share > 0 && (s.State == lb.Draining || s.State != lb.Available && !stats.Panicked) {
			return fmt.Errorf("%+v", s)
		}
	}
	switch {
	case !found:
		return fmt.Errorf("picked %q, which has no share", picked)
	case (open > 0) != (picked != ""):
		return fmt.Errorf("%d backends do not drain, and the pick is %q", open, picked)
	case inUse != stats.InUse || subset > 0 && inUse > subset:
		return fmt.Errorf("%d have a share, with a subset of %d", inUse, subset)
	case open > 0 && math.Abs(total-1) > 1e-9:
		return fmt.Errorf("shares add up to %v", total)
	}
	return nil
}
