package ring_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/parley-go/parley/ring"
	"github.com/stretchr/testify/require"
)

// What other rings fall into, each by its name.

// Points made from name+number are the same for server1, 11 and server11, 1: the
// two nodes then share places and one of them goes short.
func TestTrapServer1And11IsServer11And1(t *testing.T) {
	places := map[uint64]string{}
	for _, name := range []string{"server1", "server11", "server111"} {
		// A node alone on the ring: the cuts between its spans with a second one
		// show where its points are.
		r := newRing(t, ring.Node{Name: name}, ring.Node{Name: "other"})
		for span, owners := range r.Snapshot().Spans(1) {
			if owners[0] == name && span.Start > 0 {
				require.Empty(t, places[span.Start], "%s and %s share a place", name, places[span.Start])
				places[span.Start] = name
			}
		}
	}
	r := newRing(t, ring.Node{Name: "server1"}, ring.Node{Name: "server11"}, ring.Node{Name: "server111"})
	for name, share := range r.Snapshot().Shares() {
		require.InDelta(t, 1.0/3, share, 0.07, name)
	}
}

// These two nodes have a point each on the place f427bac1b23: found by trying a
// hundred thousand names.
func TestTrapEqualHashesDoNotDependOnInsertionOrder(t *testing.T) {
	const place = 0xf427bac1b23
	a, b := ring.Node{Name: "node-22082"}, ring.Node{Name: "node-38577"}
	forward, backward := newRing(t, a, b), newRing(t)
	require.NoError(t, backward.Add(b))
	require.NoError(t, backward.Add(a))
	require.Empty(t, slices.Collect(ring.Diff(forward, backward)))
	require.Empty(t, slices.Collect(ring.DiffOwners(forward, backward, 2)))
	// The first by name has the keys up to the place, the other those after it.
	for hash, want := range map[uint64]string{place<<20 - 1: a.Name, place << 20: a.Name, (place + 1) << 20: b.Name} {
		got, _ := forward.Snapshot().OwnerOf(hash)
		require.Equal(t, want, got, "hash %x", hash)
	}
	// Of each, the keys next to the place are the other's when it is gone.
	require.True(t, forward.Remove(a.Name))
	got, _ := forward.Snapshot().OwnerOf(place << 20)
	require.Equal(t, b.Name, got)
}

func TestTrapInsertionOrderDoesNotMatter(t *testing.T) {
	nodes := named(50)
	forward := newRing(t, nodes...)
	slices.Reverse(nodes)
	oneByOne := newRing(t)
	for _, n := range nodes {
		require.NoError(t, oneByOne.Add(n))
	}
	require.Empty(t, slices.Collect(ring.DiffOwners(forward, oneByOne, 3)))
}

// A ring of 271 partitions, which is another library's default, has no room for
// 272 nodes.
func TestTrap272Nodes(t *testing.T) {
	r := newRing(t, named(272)...)
	for name, share := range r.Snapshot().Shares() {
		require.Positive(t, share, name)
	}
	require.NoError(t, r.Add(ring.Node{Name: "one more"}))
}

func TestTrapMoreReplicasThanNodes(t *testing.T) {
	r := newRing(t, named(3)...)
	owners := r.Owners(nil, "key", 5)
	require.ElementsMatch(t, names(3), owners)
	many := newRing(t, named(100)...)
	require.ElementsMatch(t, names(100), many.Owners(nil, "key", 1000))
}

func TestTrapMoreReplicasThanZones(t *testing.T) {
	r := newRing(t, ring.Node{Name: "a", Zone: "1"}, ring.Node{Name: "b", Zone: "1"},
		ring.Node{Name: "c", Zone: "1"}, ring.Node{Name: "d", Zone: "2"})
	for _, key := range keys(100) {
		owners := r.Owners(nil, key, 3)
		require.Len(t, owners, 3)
		require.Contains(t, owners[:2], "d", "zone 2 has only d, which therefore is first or second")
		require.ElementsMatch(t, []string{"a", "b", "c", "d"}, r.Owners(nil, key, 4))
	}
}

func TestTrapMoreThanSixteenReplicasAndZones(t *testing.T) {
	nodes := named(90)
	for i := range nodes {
		nodes[i].Zone = fmt.Sprint(i % 30)
	}
	r := newRing(t, nodes...)
	for _, key := range keys(20) {
		owners := r.Owners(nil, key, 40)
		zones := map[string]bool{}
		for _, o := range owners[:30] {
			n, _ := r.Snapshot().Node(o)
			zones[n.Zone] = true
		}
		require.Len(t, zones, 30)
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(owners))), 40)
	}
}

func TestTrapWeightZeroIsOneAndHugeIsAnError(t *testing.T) {
	zero, one := newRing(t, ring.Node{Name: "a"}, ring.Node{Name: "b"}), newRing(t, ring.Node{Name: "a", Weight: 1}, ring.Node{Name: "b", Weight: 1})
	require.Empty(t, slices.Collect(ring.Diff(zero, one)))
	_, err := ring.New(ring.Config{}, ring.Node{Name: "whale", Weight: 1 << 30})
	require.ErrorIs(t, err, ring.ErrInvalid)
	require.ErrorContains(t, err, "whale")
	require.ErrorContains(t, err, "1073741824")
	heaviest := newRing(t, ring.Node{Name: "whale", Weight: ring.MaxWeight}, ring.Node{Name: "minnow"})
	for name, share := range heaviest.Snapshot().Shares() {
		if name == "minnow" {
			require.InDelta(t, 1.0/(ring.MaxWeight+1), share, 0.0005)
		}
	}
}

func TestTrapEmptyRing(t *testing.T) {
	r := newRing(t)
	_, ok := r.Owner("key")
	require.False(t, ok)
	require.Empty(t, r.Owners(nil, "key", 3))
	require.Empty(t, slices.Collect(r.Nodes()))
	require.False(t, r.Remove("nobody"))
	require.NoError(t, r.Add(ring.Node{Name: "a"}))
	require.True(t, r.Remove("a"))
	_, ok = r.Owner("key")
	require.False(t, ok)
	_, _, err := ring.NewBounded(r, 1.25).Acquire("key")
	require.ErrorIs(t, err, ring.ErrNoNodes)
}

func TestTrapDuplicateNames(t *testing.T) {
	_, err := ring.New(ring.Config{}, ring.Node{Name: "a"}, ring.Node{Name: "a", Zone: "elsewhere"})
	require.ErrorIs(t, err, ring.ErrDuplicate)
	r := newRing(t, ring.Node{Name: "a"})
	require.ErrorIs(t, r.Add(ring.Node{Name: "a"}), ring.ErrDuplicate)
	require.ErrorIs(t, r.Set(ring.Node{Name: "b"}, ring.Node{Name: "b"}), ring.ErrDuplicate)
}

func TestTrapEmptyAndNULKeysAreKeys(t *testing.T) {
	r := newRing(t, named(100)...)
	owners := map[string]bool{}
	for _, key := range []string{"", "\x00", "\x00\x00", "\x00\x00\x00", "a", "a\x00", "a\x00b", "a\x00c", "\xff\xfe"} {
		owner, ok := r.Owner(key)
		require.True(t, ok)
		require.Equal(t, owner, r.Owners(nil, key, 3)[0])
		owners[owner] = true
	}
	require.Greater(t, len(owners), 5, "different keys, different places")
}

func TestTrapRemoveThenAddIsTheIdentity(t *testing.T) {
	nodes := named(40)
	nodes[9].Weight, nodes[9].Zone = 3, "z"
	r := newRing(t, nodes...)
	before := r.Snapshot()
	require.True(t, r.Remove("node-9"))
	require.NotEmpty(t, slices.Collect(ring.Diff(before, r)))
	require.NoError(t, r.Add(nodes[9]))
	require.Empty(t, slices.Collect(ring.DiffOwners(before, r, 4)))
}

func TestTrapKeysMoveBetweenOldNodes(t *testing.T) {
	for _, n := range []int{1, 2, 10, 300} {
		r := newRing(t, named(n)...)
		before := r.Snapshot()
		require.NoError(t, r.Add(ring.Node{Name: "joiner"}))
		share := 0.0
		for m := range ring.Diff(before, r) {
			require.Equal(t, "joiner", m.To)
			share += m.Share()
		}
		require.InEpsilon(t, 1/float64(n+1), share, 0.3, "%d nodes", n)
		after := r.Snapshot()
		require.True(t, r.Remove("node-0"))
		for m := range ring.Diff(after, r) {
			require.Equal(t, "node-0", m.From)
		}
	}
}
