package sim_test

import (
	"testing"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/sim"
	"github.com/parley-go/parley/transport/transporttest"
)

// Every case runs in a world of its own and under two seeds, so that more than one
// order of what the contract leaves open is tried.
func TestConformance(t *testing.T) {
	const calls = 2000
	for _, c := range transporttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			sim.Seeds(t, 2, func(t *testing.T, seed uint64) {
				sim.Run(t, sim.Config{Seed: seed, Queue: calls}, func(w *sim.World) {
					c.Run(w.T(), transporttest.Network{
						Join:     func(name string) transport.Transport { return w.Join(name) },
						MaxCalls: calls,
					})
				})
			})
		})
	}
}
