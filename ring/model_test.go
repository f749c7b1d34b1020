package ring

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A model is the ring as one would explain it, without tables: all points, looked
// through for every key.
type model struct {
	nodes  map[string]Node
	points []modelPoint // in the order of the ring
}

type modelPoint struct {
	place uint64
	node  string
}

func newModel(virtual int, nodes ...Node) *model {
	m := &model{nodes: map[string]Node{}}
	for _, n := range nodes {
		m.nodes[n.Name] = n
		for i := range max(n.Weight, 1) * virtual {
			m.points = append(m.points, modelPoint{pointHash(Hash(n.Name), i) / (1 << 20), n.Name})
		}
	}
	slices.SortFunc(m.points, func(a, b modelPoint) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.node, b.node))
	})
	return m
}

// round returns the points by their distance from a place, in either direction:
// of two equally far, the one behind first. A point on the place is ahead, and
// points on one place come in the order in which one walks over them.
func (m *model) round(place uint64) []modelPoint {
	type met struct {
		modelPoint
		distance uint64
		ahead    bool
		order    int
	}
	var all []met
	for i, p := range m.points {
		ahead := (p.place - place) % (1 << 44)
		behind := (1 << 44) - ahead
		if ahead < behind {
			all = append(all, met{p, ahead, true, i})
		} else {
			all = append(all, met{p, behind, false, -i})
		}
	}
	slices.SortStableFunc(all, func(a, b met) int {
		if a.distance != b.distance {
			return cmp.Compare(a.distance, b.distance)
		}
		if a.ahead != b.ahead {
			if b.ahead {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.order, b.order)
	})
	out := make([]modelPoint, len(all))
	for i := range all {
		out[i] = all[i].modelPoint
	}
	return out
}

func (m *model) owners(hash uint64, n int) []string {
	var out []string
	if n <= 0 {
		return nil
	}
	round := m.round(hash / (1 << 20))
	for _, newZonesOnly := range []bool{true, false} {
		for _, p := range round {
			sameZone := slices.ContainsFunc(out, func(o string) bool { return m.nodes[o].Zone == m.nodes[p.node].Zone })
			if len(out) < n && !slices.Contains(out, p.node) && !(newZonesOnly && sameZone) {
				out = append(out, p.node)
			}
		}
	}
	return out
}

// TestAgreesWithTheObviousModel compares owners over a sequence of changes with a
// model that is made anew after each.
func TestAgreesWithTheObviousModel(t *testing.T) {
	for _, virtual := range []int{1, 3, 20} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("virtual=%d/seed=%d", virtual, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, uint64(virtual)))
				r, err := New(Config{VirtualNodes: virtual})
				require.NoError(t, err)
				members := map[string]Node{}
				for range 20 {
					changeOne(t, r, members, random)
					m := newModel(virtual, slices.Collect(r.Nodes())...)
					require.Len(t, members, r.Len())
					for range 20 {
						hash := random.Uint64()
						n := random.IntN(6)
						require.Equal(t, m.owners(hash, n), r.Snapshot().OwnersOf(nil, hash, n), "hash %x, %d owners", hash, n)
						owner, ok := r.Snapshot().OwnerOf(hash)
						require.Equal(t, len(members) > 0, ok)
						if ok {
							require.Equal(t, m.owners(hash, 1)[0], owner)
						}
					}
				}
			})
		}
	}
}

// changeOne adds, removes or replaces a node of the ring and of members.
func changeOne(t *testing.T, r *Ring, members map[string]Node, random *rand.Rand) {
	t.Helper()
	n := Node{
		Name:   fmt.Sprint("n", random.IntN(12)),
		Zone:   fmt.Sprint("z", random.IntN(3)),
		Weight: 1 + random.IntN(4),
	}
	if _, member := members[n.Name]; !member {
		require.NoError(t, r.Add(n))
		members[n.Name] = n
		return
	}
	if random.IntN(2) == 0 {
		require.True(t, r.Remove(n.Name))
		delete(members, n.Name)
		return
	}
	members[n.Name] = n
	var all []Node
	for _, m := range members {
		all = append(all, m)
	}
	require.NoError(t, r.Set(all...))
}

// FuzzMembership lets each byte of the input change a ring, and asks for the
// very tables that a new ring with the same members has.
func FuzzMembership(f *testing.F) {
	f.Add([]byte{1, 2, 3, 1, 0x81, 0x42, 0xff})
	f.Add([]byte("add and remove, add and remove"))
	f.Fuzz(func(t *testing.T, script []byte) {
		r, err := New(Config{VirtualNodes: 3})
		require.NoError(t, err)
		for _, b := range script[:min(len(script), 64)] {
			n := Node{Name: fmt.Sprint(b % 16), Zone: fmt.Sprint(b >> 6), Weight: int(b>>4) % 4}
			if !r.Remove(n.Name) {
				require.NoError(t, r.Add(n))
			}
		}
		fresh, err := New(Config{VirtualNodes: 3}, slices.Collect(r.Nodes())...)
		require.NoError(t, err)
		got, want := *r.Snapshot(), *fresh.Snapshot()
		got.version = want.version
		require.Equal(t, want.points, got.points)
		require.Equal(t, want.index, got.index)
		require.Equal(t, want.names, got.names)
	})
}

// The tables hold what the search relies on.
func TestTablesAreConsistent(t *testing.T) {
	for _, n := range []int{1, 2, 3, 17, 300} {
		var nodes []Node
		for i := range n {
			nodes = append(nodes, Node{Name: fmt.Sprint(i)})
		}
		for _, virtual := range []int{1, 2, 128} {
			r, err := New(Config{VirtualNodes: virtual}, nodes...)
			require.NoError(t, err)
			s := r.Snapshot()
			require.Len(t, s.points, n*virtual+1)
			require.True(t, slices.IsSorted(s.points))
			for top, first := range s.index[:min(len(s.index), 4096)] {
				start := uint64(top) << s.shift
				want := slices.IndexFunc(s.points, func(p uint64) bool { return p >= start })
				require.Equal(t, want, int(first))
			}
		}
	}
}

func TestSortedSorts(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 3, 100, 1000} {
		words := make([]uint64, n)
		for i := range words {
			words[i] = random.Uint64() >> (random.IntN(2) * 60)
		}
		want := slices.Sorted(slices.Values(words))
		require.ElementsMatch(t, want, sorted(words))
		require.True(t, slices.IsSorted(sorted(words)))
	}
}
