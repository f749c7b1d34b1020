package vclock_test

import (
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/vclock"
)

// clock makes a clock from its text form.
func clock(t testing.TB, text string) (c vclock.Clock) {
	t.Helper()
	require.NoError(t, c.UnmarshalText([]byte(text)))
	return c
}

func TestZeroClockIsReady(t *testing.T) {
	var c vclock.Clock
	require.Zero(t, c.Len())
	require.Zero(t, c.Get("a"))
	require.False(t, c.Contains(vclock.Dot{Node: "a", Counter: 1}))
	require.True(t, c.Contains(vclock.Dot{}))
	require.Equal(t, vclock.Equal, c.Compare(vclock.Clock{}))
	require.False(t, c.Merge(vclock.Clock{}))
	require.Equal(t, vclock.Dot{Node: "a", Counter: 1}, c.Tick("a"))
	require.Equal(t, vclock.Dot{Node: "a", Counter: 2}, c.Tick("a"))
	require.Equal(t, "a=2", c.String())
}

// TestCompareWrongForConcurrentClocks holds both directions of every pair, above
// all those where each side lacks a node that the other has.
func TestCompareWrongForConcurrentClocks(t *testing.T) {
	reverse := map[vclock.Order]vclock.Order{
		vclock.Before: vclock.After, vclock.After: vclock.Before,
		vclock.Equal: vclock.Equal, vclock.Concurrent: vclock.Concurrent,
	}
	for _, tt := range []struct {
		c, d string
		want vclock.Order
	}{
		{"", "", vclock.Equal},
		{"", "a=1", vclock.Before},
		{"a=1", "a=1", vclock.Equal},
		{"a=1", "a=2", vclock.Before},
		{"a=1", "b=1", vclock.Concurrent},
		{"b=1", "a=1,c=1", vclock.Concurrent},
		{"a=1", "a=1,b=1", vclock.Before},
		{"b=1", "a=1,b=1", vclock.Before},
		{"b=1", "a=1,b=1,c=1", vclock.Before},
		{"b=2", "a=1,b=1,c=1", vclock.Concurrent},
		{"a=2,b=1", "a=1,b=2", vclock.Concurrent},
		{"a=1,b=2", "a=2", vclock.Concurrent},
		{"a=1,b=1", "a=2", vclock.Concurrent},
		{"a=1,c=1", "b=1,c=1", vclock.Concurrent},
		{"a=1,c=1", "a=1,b=1", vclock.Concurrent},
		{"a=1,c=1", "a=1,b=9,c=1", vclock.Before},
		{"a=9223372036854775807", "a=9223372036854775806", vclock.After},
		{"a=1,aa=1", "a=1,aa=2", vclock.Before}, // names of which one begins another
		{"a1=1", "a=11", vclock.Concurrent},
		{"ab=1,c=1", "a=1,bc=1", vclock.Concurrent}, // the same letters in a row
	} {
		c, d := clock(t, tt.c), clock(t, tt.d)
		require.Equal(t, tt.want, c.Compare(d), "%q to %q", tt.c, tt.d)
		require.Equal(t, reverse[tt.want], d.Compare(c), "%q to %q", tt.d, tt.c)
	}
}

func TestOrderSaysItsName(t *testing.T) {
	for order, want := range map[vclock.Order]string{
		vclock.Before: "before", vclock.Equal: "equal", vclock.After: "after", vclock.Concurrent: "concurrent", 7: "Order(7)",
	} {
		require.Equal(t, want, order.String())
	}
}

func TestMergeTakesTheLaterOfEachNode(t *testing.T) {
	for _, tt := range []struct {
		c, d, want string
		changed    bool
	}{
		{"", "", "", false},
		{"", "a=1", "a=1", true},
		{"a=1", "", "a=1", false},
		{"a=1", "a=1", "a=1", false},
		{"a=2,b=1", "a=1,b=2", "a=2,b=2", true},
		{"b=1", "a=1,c=1", "a=1,b=1,c=1", true},
		{"a=5,b=1", "b=1", "a=5,b=1", false},
		{"a=1,b=1,c=1,d=1", "a=2", "a=2,b=1,c=1,d=1", true},
	} {
		c, d := clock(t, tt.c), clock(t, tt.d)
		require.Equal(t, tt.changed, c.Merge(d), "%q and %q", tt.c, tt.d)
		require.Equal(t, tt.want, c.String())
		require.Equal(t, tt.d, d.String(), "the other is left alone")
		require.False(t, c.Merge(d), "twice is once")
	}
}

// TestCopiesGoTheirOwnWay changes a copy, however made, and then the original.
// Neither may show in the other: the arrays beneath are shared.
func TestCopiesGoTheirOwnWay(t *testing.T) {
	changes := map[string]func(*vclock.Clock){
		"Tick known":   func(c *vclock.Clock) { c.Tick("b") },
		"Tick new":     func(c *vclock.Clock) { c.Tick("bb") },
		"Add":          func(c *vclock.Clock) { c.Add(vclock.Dot{Node: "a", Counter: 9}) },
		"Merge later":  func(c *vclock.Clock) { c.Merge(clock(t, "a=8,b=8,c=8")) },
		"Merge others": func(c *vclock.Clock) { c.Merge(clock(t, "a=7,d=1")) },
		"Prune":        func(c *vclock.Clock) { c.Prune(func(node string) bool { return node != "a" }) },
	}
	copies := map[string]func(vclock.Clock) vclock.Clock{
		"assigned": func(c vclock.Clock) vclock.Clock { return c },
		"cloned":   func(c vclock.Clock) vclock.Clock { return c.Clone() },
		"merged":   func(c vclock.Clock) (d vclock.Clock) { d.Merge(c); return d },
	}
	for how, duplicate := range copies {
		for first, change := range changes {
			for second, changeToo := range changes {
				c := clock(t, "a=1,b=2,c=3")
				d := duplicate(c)
				change(&d)
				require.Equal(t, "a=1,b=2,c=3", c.String(), "%s, %s", how, first)
				changed := d.String()
				changeToo(&c)
				require.Equal(t, changed, d.String(), "%s, %s and then %s", how, first, second)
			}
		}
	}
}

func TestAddKnowsAllEarlierEvents(t *testing.T) {
	c := clock(t, "b=5")
	require.True(t, c.Add(vclock.Dot{Node: "a", Counter: 3}))
	require.True(t, c.Contains(vclock.Dot{Node: "a", Counter: 1}))
	require.False(t, c.Contains(vclock.Dot{Node: "a", Counter: 4}))
	require.False(t, c.Add(vclock.Dot{Node: "b", Counter: 5}), "known")
	require.False(t, c.Add(vclock.Dot{Node: "b", Counter: 1}), "known")
	require.False(t, c.Add(vclock.Dot{Node: "z"}), "names no event")
	require.Equal(t, map[string]uint64{"a": 3, "b": 5}, maps.Collect(c.All()))
	require.Equal(t, 2, c.Len())
}

// A loop over a clock may change it, and may end early.
func TestAllGoesOnWithWhatItBeganWith(t *testing.T) {
	c := clock(t, "a=1,b=2,c=3")
	var seen []string
	for node := range c.All() {
		seen = append(seen, node)
		c.Tick("aa")
		if node == "b" {
			break
		}
	}
	require.Equal(t, []string{"a", "b"}, seen)
	require.Equal(t, "a=1,aa=2,b=2,c=3", c.String())
}

// TestReadersShareAClock is for the race detector: copies are made and changed
// while others read.
func TestReadersShareAClock(t *testing.T) {
	shared := clock(t, "a=1,b=2,c=3")
	var wg sync.WaitGroup
	for _, node := range []string{"a", "b", "x"} {
		wg.Go(func() {
			own := shared.Clone()
			for range 1000 {
				own.Tick(node)
				if shared.Compare(own) != vclock.Before || own.Len() < shared.Len() {
					t.Error("a copy that ticked is after the original")
					return
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, "a=1,b=2,c=3", shared.String())
}

func TestClockAllocations(t *testing.T) {
	c := clock(t, "a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8")
	later := clock(t, "a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=9")
	others := clock(t, "a=1,b=2,c=3,d=4,e=5,f=6,g=8,h=7")
	for name, f := range map[string]func(){
		"Compare":             func() { c.Compare(later) },
		"Compare, concurrent": func() { later.Compare(others) },
		"Clone":               func() { _ = c.Clone() },
		"Get":                 func() { c.Get("h") },
		"Contains":            func() { c.Contains(vclock.Dot{Node: "h", Counter: 8}) },
		"Merge of an older":   func() { later.Merge(c) },
		"Merge of a later":    func() { d := c; d.Merge(later) },
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { d := c; d.Tick("e") }), 1.0, "Tick")
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { d := later; d.Merge(others) }), 1.0, "Merge of concurrent clocks")
}

// TestPruningHasAPrice shows what the documentation warns of, and that pruning
// everywhere alike has none.
func TestPruningHasAPrice(t *testing.T) {
	keep := func(node string) bool { return node != "gone" }
	newer, older := clock(t, "a=1,gone=2"), clock(t, "a=1,gone=1")
	require.Equal(t, vclock.After, newer.Compare(older))

	pruned := newer.Clone()
	require.Equal(t, 1, pruned.Prune(keep))
	require.Zero(t, pruned.Prune(keep), "gone already")
	require.Equal(t, "a=1", pruned.String())
	require.Equal(t, vclock.Before, pruned.Compare(older), "the newer one looks older")

	c, d := clock(t, "a=2,b=1,gone=7"), clock(t, "a=1,b=1,gone=7")
	c.Prune(keep)
	require.Equal(t, vclock.Concurrent, c.Compare(d), "pruned on one side only")
	d.Prune(keep)
	require.Equal(t, vclock.After, c.Compare(d), "pruned on both")

	require.Equal(t, 2, c.Prune(func(string) bool { return false }))
	require.Equal(t, vclock.Equal, c.Compare(vclock.Clock{}))
}
