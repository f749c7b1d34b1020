package ring_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/parley-go/parley/ring"
	"github.com/stretchr/testify/require"
)

// schemes makes each Partitioner that places by hash from a list of names.
func schemes() map[string]func(names []string) ring.Partitioner {
	return map[string]func([]string) ring.Partitioner{
		"ring": func(names []string) ring.Partitioner {
			r, _ := ring.New(ring.Config{}, nodesOf(names)...)
			return r
		},
		"snapshot": func(names []string) ring.Partitioner {
			r, _ := ring.New(ring.Config{}, nodesOf(names)...)
			return r.Snapshot()
		},
		"modulo":     func(names []string) ring.Partitioner { return ring.NewModulo(names) },
		"jump":       func(names []string) ring.Partitioner { return ring.NewJump(names) },
		"rendezvous": func(names []string) ring.Partitioner { return ring.NewRendezvous(names) },
		"maglev":     func(names []string) ring.Partitioner { return ring.NewMaglev(names) },
	}
}

func nodesOf(names []string) []ring.Node {
	nodes := make([]ring.Node, len(names))
	for i, name := range names {
		nodes[i].Name = name
	}
	return nodes
}

func TestPartitionersSpreadKeysEvenly(t *testing.T) {
	for name, scheme := range schemes() {
		p := scheme(names(10))
		count := map[string]int{}
		for _, key := range keys(20_000) {
			owner, ok := p.Owner(key)
			require.True(t, ok)
			count[owner]++
		}
		require.Len(t, count, 10, name)
		for node, n := range count {
			require.InDelta(t, 2000, n, 400, "%s gives %s", name, node)
		}
	}
}

// What moves when the last of eleven nodes joins, as a share of the keys, and
// whether anything may move between the others.
func TestPartitionersMoveWhatTheyPromise(t *testing.T) {
	for name, want := range map[string]struct{ least, most, between float64 }{
		"ring":       {0.06, 0.12, 0},
		"snapshot":   {0.06, 0.12, 0},
		"jump":       {0.06, 0.12, 0},
		"rendezvous": {0.06, 0.12, 0},
		"maglev":     {0.06, 0.16, 0.05},
		"modulo":     {0.88, 0.94, 1},
	} {
		before, after := schemes()[name](names(10)), schemes()[name](names(11))
		moved, between := 0, 0
		all := keys(20_000)
		for _, key := range all {
			from, _ := before.Owner(key)
			to, _ := after.Owner(key)
			if from != to {
				moved++
				if to != "node-10" {
					between++
				}
			}
		}
		share := float64(moved) / float64(len(all))
		require.GreaterOrEqual(t, share, want.least, name)
		require.LessOrEqual(t, share, want.most, name)
		require.LessOrEqual(t, float64(between)/float64(len(all)), want.between, name)
	}
}

func TestPartitionersWithoutNodes(t *testing.T) {
	for name, scheme := range schemes() {
		owner, ok := scheme(nil).Owner("key")
		require.False(t, ok, name)
		require.Empty(t, owner)
		one := scheme([]string{"only"})
		owner, ok = one.Owner("")
		require.True(t, ok)
		require.Equal(t, "only", owner)
	}
}

func TestPartitionersKeepTheirOwnNames(t *testing.T) {
	for name, scheme := range schemes() {
		list := names(3)
		p := scheme(list)
		before, _ := p.Owner("key")
		clear(list)
		after, _ := p.Owner("key")
		require.Equal(t, before, after, name)
	}
}

func TestSetsOfNamesDoNotDependOnOrderOrRepetition(t *testing.T) {
	list := names(20)
	shuffled := append(slices.Clone(list), list[3], list[7])
	slices.Reverse(shuffled)
	for _, name := range []string{"rendezvous", "maglev"} {
		a, b := schemes()[name](list), schemes()[name](shuffled)
		for _, key := range keys(500) {
			want, _ := a.Owner(key)
			got, _ := b.Owner(key)
			require.Equal(t, want, got, name)
		}
	}
}

func TestNamesThatStandTwiceGetTwoParts(t *testing.T) {
	for _, name := range []string{"modulo", "jump"} {
		p := schemes()[name]([]string{"a", "b", "b"})
		b := 0
		for _, key := range keys(9000) {
			if owner, _ := p.Owner(key); owner == "b" {
				b++
			}
		}
		require.InDelta(t, 6000, b, 300, name)
	}
}

// More names than a table of the least size serves well: the next size.
func TestMaglevStaysEvenWithManyNodes(t *testing.T) {
	const nodes = 700
	count := map[string]int{}
	p := ring.NewMaglev(names(nodes))
	all := keys(nodes * 300)
	for _, key := range all {
		owner, _ := p.Owner(key)
		count[owner]++
	}
	require.Len(t, count, nodes)
	for node, n := range count {
		require.InDelta(t, 300, n, 100, node) // 1% of the table and 5 sigma of the keys
	}
}

func TestHashPartitionersDoNotAllocate(t *testing.T) {
	for name, scheme := range schemes() {
		p := scheme(names(100))
		require.Zero(t, testing.AllocsPerRun(100, func() { p.Owner("user:42") }), name)
	}
}

func TestRangeGivesKeysInOrder(t *testing.T) {
	r, err := ring.NewRange(ring.KeyRange{Start: "m", Node: "b"}, ring.KeyRange{Start: "c", Node: "a"}, ring.KeyRange{Start: "x"})
	require.NoError(t, err)
	for key, want := range map[string]string{
		"": "", "b\xff": "", "c": "a", "c\x00": "a", "lzzz": "a", "m": "b", "wz": "b", "x": "", "zz": "",
	} {
		got, ok := r.Owner(key)
		require.Equal(t, want, got, "key %q", key)
		require.Equal(t, want != "", ok, "key %q", key)
	}
	require.Equal(t, []ring.KeyRange{{"c", "a"}, {"m", "b"}, {"x", ""}}, slices.Collect(r.All()))
}

func TestRangeErrors(t *testing.T) {
	_, err := ring.NewRange(ring.KeyRange{"a", "1"}, ring.KeyRange{"b", "1"}, ring.KeyRange{"a", "2"})
	require.ErrorIs(t, err, ring.ErrDuplicate)
	require.ErrorContains(t, err, `"a"`)
	r, err := ring.NewRange()
	require.NoError(t, err)
	_, ok := r.Owner("key")
	require.False(t, ok)
}

func TestRangeBetweenIsWhatAScanVisits(t *testing.T) {
	r, err := ring.NewRange(ring.KeyRange{"b", "1"}, ring.KeyRange{"d", "2"}, ring.KeyRange{"f", "3"})
	require.NoError(t, err)
	for _, c := range []struct {
		first, last string
		want        []string
	}{
		{"", "z", []string{"1", "2", "3"}},
		{"a", "b", nil},
		{"a", "b\x00", []string{"1"}},
		{"c", "d", []string{"1"}},
		{"c", "e", []string{"1", "2"}},
		{"d", "e", []string{"2"}},
		{"g", "h", []string{"3"}},
		{"e", "e", nil},
		{"e", "c", nil},
	} {
		var got []string
		for kr := range r.Between(c.first, c.last) {
			got = append(got, kr.Node)
		}
		require.Equal(t, c.want, got, "from %q to %q", c.first, c.last)
	}
	for range r.Between("", "z") {
		break
	}
}

func TestRangeSplitAndMerge(t *testing.T) {
	r, err := ring.NewRange(ring.KeyRange{"", "a"})
	require.NoError(t, err)
	r.Split("m", "b")
	r.Split("f", "c")
	require.Equal(t, []ring.KeyRange{{"", "a"}, {"f", "c"}, {"m", "b"}}, slices.Collect(r.All()))
	r.Split("f", "d")
	require.Equal(t, []ring.KeyRange{{"", "a"}, {"f", "d"}, {"m", "b"}}, slices.Collect(r.All()))
	require.True(t, r.Merge("m"))
	require.False(t, r.Merge("m"))
	owner, _ := r.Owner("z")
	require.Equal(t, "d", owner)
	require.True(t, r.Merge(""))
	_, ok := r.Owner("a")
	require.False(t, ok)
}

func TestRangeLookupsGoOnWhileItIsSplit(t *testing.T) {
	r, err := ring.NewRange(ring.KeyRange{"", "a"})
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 300 {
			r.Split(fmt.Sprint(i), "b")
		}
		for i := range 300 {
			r.Merge(fmt.Sprint(i))
		}
	})
	for i := range 5000 {
		if _, ok := r.Owner(fmt.Sprint(i)); !ok {
			t.Error("a key without an owner")
		}
	}
	wg.Wait()
}

func TestDirectoryAssignsKeysAndLeavesTheRest(t *testing.T) {
	d := ring.NewDirectory(ring.NewModulo([]string{"rest"}))
	d.Assign("vip", "big")
	d.Assign("vip", "bigger")
	owner, ok := d.Owner("vip")
	require.True(t, ok)
	require.Equal(t, "bigger", owner)
	owner, _ = d.Owner("other")
	require.Equal(t, "rest", owner)
	require.Equal(t, 1, d.Len())
	require.True(t, d.Unassign("vip"))
	require.False(t, d.Unassign("vip"))
	owner, _ = d.Owner("vip")
	require.Equal(t, "rest", owner)
	require.Zero(t, d.Len())
	alone := ring.NewDirectory(nil)
	_, ok = alone.Owner("key")
	require.False(t, ok)
}

func TestDirectoryConcurrently(t *testing.T) {
	d := ring.NewDirectory(nil)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 500 {
				key := fmt.Sprint(worker, " ", i)
				d.Assign(key, key)
				if owner, ok := d.Owner(key); !ok || owner != key {
					t.Errorf("%q belongs to %q, %v", key, owner, ok)
				}
				if i%2 == 0 {
					d.Unassign(key)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1000, d.Len())
}
