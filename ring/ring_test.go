package ring_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parley-go/parley/ring"
	"github.com/stretchr/testify/require"
)

func TestBalance(t *testing.T) {
	patterns := []string{"node-%d", "node%d", "10.0.0.%d:7000", "server-%04d", "%d", "cache.eu-west-1.example.com/%d"}
	for n, limit := range map[int]float64{10: 1.2, 100: 1.25, 1000: 1.3} {
		for _, pattern := range patterns {
			r := newRing(t)
			nodes := named(n)
			for i := range nodes {
				nodes[i].Name = fmt.Sprintf(pattern, i)
			}
			require.NoError(t, r.Set(nodes...))
			most, sum := 0.0, 0.0
			for _, share := range r.Snapshot().Shares() {
				most = max(most, share*float64(n))
				sum += share
			}
			require.InDelta(t, 1, sum, 1e-9)
			if most > limit {
				t.Errorf("%d nodes named %s: max/mean is %.3f, want at most %v", n, pattern, most, limit)
			}
		}
	}
}

// The shares of the hashes are those of real keys.
func TestSharesAreThoseOfKeys(t *testing.T) {
	r := newRing(t, named(10)...)
	count := map[string]int{}
	for _, key := range keys(100_000) {
		owner, _ := r.Owner(key)
		count[owner]++
	}
	for name, share := range r.Snapshot().Shares() {
		require.InEpsilon(t, share, float64(count[name])/100_000, 0.05, name)
	}
}

func TestWeightIsTheShareOfKeys(t *testing.T) {
	nodes := named(20)
	total := 0
	for i := range nodes {
		nodes[i].Weight = 1 + i%4
		total += nodes[i].Weight
	}
	r := newRing(t, nodes...)
	for name, share := range r.Snapshot().Shares() {
		n, _ := r.Snapshot().Node(name)
		require.InEpsilon(t, float64(n.Weight)/float64(total), share, 0.2, name)
	}
}

func TestJoinAndLeaveMoveOnlyTheNodesOwnKeys(t *testing.T) {
	r := newRing(t, named(100)...)
	before := r.Snapshot()
	require.NoError(t, r.Add(ring.Node{Name: "joiner"}))
	joined := r.Snapshot()
	require.True(t, r.Remove("node-7"))
	moved := 0
	for _, key := range keys(50_000) {
		first, _ := before.Owner(key)
		second, _ := joined.Owner(key)
		third, _ := r.Owner(key)
		if first != second {
			moved++
			require.Equal(t, "joiner", second)
		}
		if second != third {
			require.Equal(t, "node-7", second)
		}
	}
	require.InEpsilon(t, 50_000.0/101, moved, 0.3)
}

func TestRaisingAWeightMovesKeysOnlyToTheNode(t *testing.T) {
	nodes := named(30)
	r := newRing(t, nodes...)
	light := r.Snapshot()
	nodes[4].Weight = 3
	require.NoError(t, r.Set(nodes...))
	moves := slices.Collect(ring.Diff(light, r))
	require.NotEmpty(t, moves)
	for _, m := range moves {
		require.Equal(t, "node-4", m.To)
	}
	for m := range ring.Diff(r, light) {
		require.Equal(t, "node-4", m.From)
	}
}

// A change of one node changes at most one of each key's owners, with zones, too.
func TestOwnersChangeByAtMostOne(t *testing.T) {
	for zones := 1; zones <= 4; zones++ {
		nodes := named(12)
		for i := range nodes {
			nodes[i].Zone = fmt.Sprint("zone-", i%zones)
		}
		r := newRing(t, nodes[1:]...)
		without := r.Snapshot()
		require.NoError(t, r.Add(nodes[0]))
		for n := 1; n <= 6; n++ {
			for h := range ring.DiffOwners(without, r, n) {
				lost := slices.DeleteFunc(slices.Clone(h.Before), func(s string) bool { return slices.Contains(h.After, s) })
				won := slices.DeleteFunc(slices.Clone(h.After), func(s string) bool { return slices.Contains(h.Before, s) })
				require.Len(t, lost, len(won), "%d zones, %d owners: %v to %v", zones, n, h.Before, h.After)
				if len(won) > 0 {
					require.Equal(t, []string{"node-0"}, won)
				}
			}
		}
	}
}

func TestOwnersPreferOtherZones(t *testing.T) {
	nodes := named(60)
	zone := map[string]string{}
	for i := range nodes {
		nodes[i].Zone = fmt.Sprint("zone-", i%3)
		zone[nodes[i].Name] = nodes[i].Zone
	}
	r := newRing(t, nodes...)
	for _, key := range keys(1000) {
		owners := r.Owners(nil, key, 5)
		first, _ := r.Owner(key)
		require.Equal(t, first, owners[0])
		seen := map[string]bool{}
		for _, o := range owners[:3] {
			seen[zone[o]] = true
		}
		require.Len(t, seen, 3, "the first three of %v lie in three zones", owners)
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(owners))), 5)
	}
}

func TestOwnersAppendsToTheBuffer(t *testing.T) {
	r := newRing(t, named(5)...)
	buf := make([]string, 1, 8)
	buf[0] = "kept"
	out := r.Owners(buf, "key", 3)
	require.Len(t, out, 4)
	require.Equal(t, "kept", out[0])
	require.Same(t, &buf[0], &out[0])
	require.Equal(t, buf, r.Owners(buf, "key", 0))
	require.Equal(t, buf, r.Owners(buf, "key", -1))
}

func TestInvalidConfigsAndNodesAreErrorsThatNameThem(t *testing.T) {
	for _, c := range []struct {
		config ring.Config
		nodes  []ring.Node
		is     error
		says   []string
	}{
		{ring.Config{VirtualNodes: -1}, nil, ring.ErrInvalid, []string{"VirtualNodes", "-1"}},
		{ring.Config{VirtualNodes: 1 << 20}, nil, ring.ErrInvalid, []string{"VirtualNodes", "1048576", "65536"}},
		{ring.Config{}, []ring.Node{{Name: "a"}, {}}, ring.ErrInvalid, []string{"Name", "1"}},
		{ring.Config{}, []ring.Node{{Name: "a", Weight: -3}}, ring.ErrInvalid, []string{"Weight", `"a"`, "-3", "1024"}},
		{ring.Config{}, []ring.Node{{Name: "a", Weight: 1 << 30}}, ring.ErrInvalid, []string{"Weight", `"a"`}},
		{ring.Config{VirtualNodes: 1 << 16}, []ring.Node{{Name: "a", Weight: 1024}, {Name: "b"}}, ring.ErrInvalid, []string{"Weight", `"b"`, "67108864"}},
		{ring.Config{}, []ring.Node{{Name: "a"}, {Name: "b"}, {Name: "a"}}, ring.ErrDuplicate, []string{`"a"`}},
	} {
		_, err := ring.New(c.config, c.nodes...)
		require.ErrorIs(t, err, c.is)
		for _, s := range c.says {
			require.ErrorContains(t, err, s)
		}
	}
}

func TestAFailedChangeChangesNothing(t *testing.T) {
	r := newRing(t, named(3)...)
	before := r.Snapshot()
	require.ErrorIs(t, r.Add(ring.Node{Name: "new"}, ring.Node{Name: "node-1"}), ring.ErrDuplicate)
	require.ErrorIs(t, r.Set(ring.Node{Name: "x", Weight: -1}), ring.ErrInvalid)
	require.False(t, r.Remove("stranger"))
	require.NoError(t, r.Set(named(3)...))
	require.Same(t, before, r.Snapshot())
	require.Equal(t, uint64(1), r.Version())
}

func TestSetDoesNotKeepOrChangeTheCallersSlice(t *testing.T) {
	nodes := []ring.Node{{Name: "b"}, {Name: "a"}}
	r := newRing(t)
	require.NoError(t, r.Set(nodes...))
	require.Equal(t, []ring.Node{{Name: "b"}, {Name: "a"}}, nodes)
	nodes[0].Name = "changed"
	require.Equal(t, []ring.Node{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}, slices.Collect(r.Nodes()))
}

func TestSnapshotStaysAsItIs(t *testing.T) {
	r := newRing(t, named(10)...)
	s := r.Snapshot()
	owner, _ := s.Owner("key")
	require.True(t, r.Remove(owner))
	again, _ := s.Owner("key")
	require.Equal(t, owner, again)
	require.Equal(t, uint64(1), s.Version())
	require.Equal(t, uint64(2), r.Version())
	require.Equal(t, 10, s.Len())
	require.Equal(t, 9, r.Len())
	now, _ := r.Owner("key")
	require.NotEqual(t, owner, now)
}

// While a writer changes members, readers always get an answer, from one state or
// the other.
func TestLookupsGoOnWhileMembersChange(t *testing.T) {
	r := newRing(t, named(20)...)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for reader := range 3 {
		wg.Go(func() {
			var buf [3]string
			for i := reader; !stop.Load(); i++ {
				key := fmt.Sprint(i)
				if owner, ok := r.Owner(key); !ok || !strings.HasPrefix(owner, "node-") {
					t.Errorf("owner of %s is %q, %v", key, owner, ok)
					return
				}
				owners := r.Owners(buf[:0], key, 3)
				if len(owners) != 3 || owners[0] == owners[1] || owners[1] == owners[2] || owners[0] == owners[2] {
					t.Errorf("owners of %s are %q", key, owners)
					return
				}
			}
		})
	}
	for i := range 60 {
		if err := r.Add(ring.Node{Name: fmt.Sprintf("node-x%d", i)}); err != nil {
			t.Error(err)
		}
		if i%2 == 0 && !r.Remove(fmt.Sprintf("node-x%d", i)) {
			t.Error("the node just added is no member")
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestConcurrentChangesAreAllMade(t *testing.T) {
	r := newRing(t)
	var wg sync.WaitGroup
	for _, n := range named(40) {
		wg.Go(func() {
			if err := r.Add(n); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 40, r.Len())
	require.Equal(t, uint64(41), r.Version())
	for range ring.Diff(r, newRing(t, named(40)...)) {
		t.Fatal("placement depends on the order of joining")
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	nodes := named(1000)
	for i := range nodes {
		nodes[i].Zone = fmt.Sprint(i % 5)
	}
	flat, zoned := newRing(t, named(1000)...), newRing(t, nodes...)
	buf := make([]string, 0, 16)
	for what, f := range map[string]func(){
		"Owner":             func() { flat.Owner("user:42") },
		"Owners 3":          func() { flat.Owners(buf, "user:42", 3) },
		"Owners 16":         func() { flat.Owners(buf, "user:42", 16) },
		"Owners 3 in zones": func() { zoned.Owners(buf, "user:42", 3) },
		"Snapshot":          func() { flat.Snapshot().OwnerOf(42) },
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), what)
	}
}

func TestStringSaysTheSize(t *testing.T) {
	require.Equal(t, "ring version 1: 2 nodes, 256 points", newRing(t, named(2)...).String())
}

func TestSharesOfOneNode(t *testing.T) {
	for _, share := range newRing(t, named(1)...).Snapshot().Shares() {
		require.Equal(t, 1.0, share)
	}
	require.Equal(t, 1.0, ring.Span{End: math.MaxUint64}.Share())
}
