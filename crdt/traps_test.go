package crdt_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/crdt"
	"github.com/parley-go/parley/vclock"
)

// What the replicated data types of others fell into, and what is easy to get
// wrong.

func TestTrapLWWTiesWithDifferentValuesConverge(t *testing.T) {
	// Clocks of two replicas agree to the tick.
	a, b := crdt.NewLWWRegister[string]("a"), crdt.NewLWWRegister[string]("b")
	fromA, fromB := a.Set(7, "z"), b.Set(7, "y")
	require.True(t, a.Merge(fromB))
	require.False(t, b.Merge(fromA))
	for _, r := range []*crdt.LWWRegister[string]{a, b} {
		value, _ := r.Get()
		require.Equal(t, "y", value, "the higher name")
	}
	// One replica uses a stamp twice, after a restart with a clock set back.
	c, d := crdt.NewLWWMap[string, int]("a"), crdt.NewLWWMap[string, int]("a")
	first, second := c.Set(7, "k", 300), d.Set(7, "k", 2)
	c.Merge(second)
	d.Merge(first)
	one, _ := c.Get("k")
	two, _ := d.Get("k")
	require.Equal(t, one, two)
	// The same value twice is no change.
	require.False(t, c.Merge(d))
	// A removal and a value of the same stamp and name.
	c.Remove(9, "k")
	d.Set(9, "k", 1)
	c.Merge(d)
	d.Merge(c)
	require.Equal(t, string(encoded(t, c)), string(encoded(t, d)))
}

func TestTrapRemoveSeenBeforeItsAdd(t *testing.T) {
	a, b := crdt.NewORSet[string]("a"), crdt.NewORSet[string]("b")
	add := a.Add("x")
	b.Merge(add)
	remove := b.Remove("x")
	late := crdt.NewORSet[string]("c")
	late.Merge(remove)
	late.Merge(add)
	require.False(t, late.Contains("x"))

	m := crdt.NewORMap[string, *crdt.GCounter]("a")
	count := m.Update("k", func(c *crdt.GCounter) { c.Add(1) })
	gone := m.Remove("k")
	far := crdt.NewORMap[string, *crdt.GCounter]("c")
	far.Merge(gone)
	far.Merge(count)
	require.False(t, far.Contains("k"))
}

func TestTrapAddAfterRemoveIsNotLost(t *testing.T) {
	a, b := crdt.NewORSet[string]("a"), crdt.NewORSet[string]("b")
	first := a.Add("x")
	b.Merge(first)
	removed := b.Remove("x")
	again := b.Add("x")
	for _, order := range [][]*crdt.ORSet[string]{{first, removed, again}, {again, removed, first}, {removed, again, first}, {again, first, again, removed}} {
		c := crdt.NewORSet[string]("c")
		for _, delta := range order {
			c.Merge(delta)
		}
		require.True(t, c.Contains("x"))
	}
	// And an addition that the removal had not seen.
	concurrent := a.Add("x")
	b.Merge(removed)
	b.Remove("x")
	b.Merge(concurrent)
	require.True(t, b.Contains("x"))
}

func TestTrapDeltasLostRepeatedReordered(t *testing.T) {
	a, b := crdt.NewORSet[int]("a"), crdt.NewORSet[int]("b")
	var deltas []*crdt.ORSet[int]
	for i := range 100 {
		deltas = append(deltas, a.Add(i))
	}
	for i := 99; i >= 0; i -= 3 { // backwards, two of three lost, each twice
		require.True(t, b.Merge(deltas[i]))
		require.False(t, b.Merge(deltas[i]))
	}
	require.Equal(t, 34, b.Len())
	require.Equal(t, "a=1", b.Seen().String(), "known without a gap")
	removed := a.Remove(98)
	b.Merge(removed) // its addition was lost
	b.Merge(deltas[98])
	require.False(t, b.Contains(98))
	require.True(t, b.Merge(a), "a whole state repairs all")
	require.Equal(t, 99, b.Len())
	require.Equal(t, string(encoded(t, a)), string(encoded(t, b)))
	require.Equal(t, "a=100", b.Seen().String())
}

// A replica saves its state, goes on, crashes, and starts again from what it had
// saved.
func TestTrapReplicaIDReusedAfterARestart(t *testing.T) {
	a, peer := crdt.NewORSet[string]("a"), crdt.NewORSet[string]("peer")
	a.Add("saved")
	saved := encoded(t, a)
	peer.Merge(a.Add("sent"))
	peer.Merge(a.Remove("saved"))
	stored := new(crdt.ORSet[string])
	require.NoError(t, stored.UnmarshalBinary(saved))
	require.PanicsWithValue(t, "crdt: this state belongs to no replica and is only merged and read: change one made by New with a name",
		func() { stored.Add("x") }, "what was stored is nobody's until somebody takes it in on purpose")

	t.Run("under a new name nothing is lost", func(t *testing.T) {
		next := crdt.NewORSet[string](crdt.Incarnation("a", 2))
		next.Merge(stored)
		delta := next.Add("new")
		var p crdt.ORSet[string]
		p.Merge(peer)
		p.Merge(delta)
		next.Merge(&p)
		require.Equal(t, "new sent", text(slices.Collect(p.All())))
		require.Equal(t, string(encoded(t, &p)), string(encoded(t, next)))
		require.NoError(t, next.Err())
	})
	t.Run("brought up to date before it changes anything", func(t *testing.T) {
		next := crdt.NewORSet[string]("a")
		next.Merge(stored)
		next.Merge(peer)
		require.NoError(t, next.Err())
		next.Add("new")
		require.Equal(t, "a=3", next.Seen().String(), "above all that it ever let out")
	})
	t.Run("under its old name it is told, and goes on above", func(t *testing.T) {
		next := crdt.NewORSet[string]("a")
		next.Merge(stored)
		next.Remove("saved")
		require.NoError(t, next.Err())
		peer.Merge(a.Add("also sent"))
		next.Add("new") // the dot of "sent"
		require.NoError(t, next.Err(), "nobody can know yet")
		next.Merge(peer)
		var reuse *crdt.ReuseError
		require.ErrorAs(t, next.Err(), &reuse)
		require.Equal(t, crdt.ReuseError{Name: "a", Had: 2, Received: 3}, *reuse)
		peer.Merge(next.Add("newer"))
		require.Equal(t, "a=4", next.Seen().String())
		require.True(t, peer.Contains("newer"))
	})
	t.Run("counters", func(t *testing.T) {
		c, old := crdt.NewGCounter("a"), crdt.NewGCounter("a")
		c.Add(5)
		require.NoError(t, old.Err())
		old.Add(2)
		old.Merge(c)
		require.Error(t, old.Err())
		require.EqualValues(t, 5, old.Value())
		old.Add(1)
		require.EqualValues(t, 6, old.Value(), "above, never below again")

		fresh := crdt.NewPNCounter("a")
		fresh.Merge(crdt.NewPNCounter("a").Add(-3))
		require.NoError(t, fresh.Err(), "it has let out nothing")
		fresh.Add(-1)
		fresh.Merge(crdt.NewPNCounter("a").Add(2))
		require.Error(t, fresh.Err(), "fewer, and other ones")

		b, stale := crdt.NewBoundedCounter("a"), crdt.NewBoundedCounter("a")
		b.Add(5)
		_, err := stale.Take(1)
		require.ErrorIs(t, err, crdt.ErrRights)
		stale.Merge(b)
		require.NoError(t, stale.Err(), "a refusal lets out nothing")
		b.Add(1)
		stale.Add(1)
		stale.Merge(b)
		require.NoError(t, stale.Err(), "5+1 twice cannot be told from once")
		b.Add(1)
		stale.Merge(b)
		require.Error(t, stale.Err())
	})
}

// A million additions and removals leave what is there and who was there.
func TestTrapTombstonesDoNotGrow(t *testing.T) {
	sets := []*crdt.ORSet[int]{crdt.NewORSet[int]("a"), crdt.NewORSet[int]("b"), crdt.NewORSet[int]("c")}
	for i := range 500_000 {
		s := sets[i%3]
		s.Add(i)
		if i >= 10 {
			s.Remove(i - 9) // of the same replica, a multiple of 3 ago
		}
		if i%50_000 == 0 {
			for _, other := range sets {
				other.Merge(s)
			}
		}
	}
	for range 2 {
		for i := range sets {
			sets[i].Merge(sets[(i+1)%3])
		}
	}
	for _, s := range sets {
		require.Less(t, s.Len(), 20)
		require.Less(t, len(encoded(t, s)), 20*10+3*12)
	}
	m := crdt.NewORMap[int, *crdt.ORSet[int]]("a")
	for i := range 20_000 {
		m.Update(i, func(s *crdt.ORSet[int]) { s.Add(i) })
		m.Remove(i)
	}
	require.Less(t, len(encoded(t, m)), 16)
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What was needed when there was much is given back.
func TestTrapMemoryStaysAfterAllWasRemoved(t *testing.T) {
	s := crdt.NewORSet[int]("a")
	before := heapInUse()
	for i := range 100_000 {
		s.Add(i)
	}
	full := heapInUse()
	for i := range 100_000 {
		s.Remove(i)
	}
	empty := heapInUse()
	require.Greater(t, full, before+2<<20)
	require.Less(t, empty, before+1<<18)
	require.Zero(t, s.Len())
}

// Each delta brings the name of its replica in a string of its own.
func TestTrapNamesAreKeptForEveryElement(t *testing.T) {
	a, b := crdt.NewORSet[int](strings.Repeat("a", crdt.MaxName)), crdt.NewORSet[int]("b")
	before := heapInUse()
	for i := range 20_000 {
		var delta crdt.ORSet[int]
		require.NoError(t, delta.UnmarshalBinary(encoded(t, a.Add(i))))
		b.Merge(&delta)
	}
	require.Less(t, heapInUse(), before+4<<20, "20,000 names have 5 MB")
	require.Equal(t, a.Len(), b.Len())
}

// A lost delta leaves a gap; gaps that are filled leave nothing.
func TestTrapGapsDoNotGrow(t *testing.T) {
	a, b := crdt.NewORSet[int]("a"), crdt.NewORSet[int]("b")
	var odd []*crdt.ORSet[int]
	for i := range 2000 {
		delta := a.Add(i)
		if i%2 == 0 {
			b.Merge(delta)
		} else {
			odd = append(odd, delta)
		}
		b.Merge(a.Remove(i))
	}
	for _, delta := range slices.Backward(odd) {
		b.Merge(delta)
	}
	require.Zero(t, b.Len())
	require.Equal(t, string(encoded(t, a)), string(encoded(t, b)))
	require.Less(t, len(encoded(t, b)), 12)
}

// What takes the square of what is there would take minutes here.
func TestTrapManyDotsAtOnceAreSlow(t *testing.T) {
	a, b := crdt.NewORSet[int]("a"), crdt.NewORSet[int]("b")
	for i := range 200_000 {
		delta := a.Add(i)
		if i%2 == 0 {
			b.Merge(delta)
		}
	}
	for i := range 200_000 {
		if i%4 == 0 {
			a.Remove(i)
		}
	}
	b.Merge(a) // 100,000 gaps
	require.Equal(t, 150_000, b.Len())
	a.Merge(b.Clear()) // 150,000 dots, with gaps between them
	require.Zero(t, a.Len())
}

func TestTrapRemoveWinsComesBackWhenCompactedTooEarly(t *testing.T) {
	a, b, c := crdt.NewRWSet[string]("a"), crdt.NewRWSet[string]("b"), crdt.NewRWSet[string]("c")
	all := []*crdt.RWSet[string]{a, b, c}
	late := c.Add("x") // on its way
	a.Remove("x")
	b.Merge(a)
	require.Zero(t, a.Compact(vclock.Clock{}), "nothing is stable")

	b.Merge(late)
	require.False(t, b.Contains("x"), "remove wins")
	for _, s := range all { // now everybody has the removal, and a has c's state
		s.Merge(b)
	}
	a.Merge(c)
	stable := a.Seen()
	require.Equal(t, "a=1,c=1", stable.String())
	require.Equal(t, 1, a.Compact(stable))
	require.False(t, a.Contains("x"), "nor does the addition that lost come back")
	require.False(t, a.Merge(late))
	require.True(t, c.Merge(a), "and others forget, too")
	require.Equal(t, string(encoded(t, a)), string(encoded(t, c)))
	b.Merge(a)
	a.Merge(b.Add("x"))
	require.True(t, a.Contains("x"))
	require.Zero(t, a.Compact(a.Seen()), "only what is removed")
}

func TestPruneForgetsWhoHasLeft(t *testing.T) {
	a := crdt.NewORSet[string]("a")
	for i := range 10 {
		b := crdt.NewORSet[string](fmt.Sprint("left-", i))
		b.Add("x")
		a.Merge(b)
	}
	kept := crdt.NewORSet[string]("b")
	kept.Add("y")
	a.Merge(kept)
	a.Add("x")
	only := func(name string) bool { return !strings.HasPrefix(name, "left-") && name != "b" }
	require.Equal(t, 10, a.Prune(only), "b has something in the set")
	require.Equal(t, "a=1,b=1", a.Seen().String())
	require.Equal(t, "x y", text(slices.Collect(a.All())))
	empty := crdt.NewORSet[string]("a")
	empty.Add("x")
	empty.Remove("x")
	require.Zero(t, empty.Prune(func(string) bool { return false }), "not itself")
	empty.Add("x")
	require.Equal(t, "a=2", empty.Seen().String(), "or it would use a dot twice")
	require.Zero(t, new(crdt.ORSet[string]).Prune(only))
}

func TestLWWCompact(t *testing.T) {
	m := crdt.NewLWWMap[string, int]("a")
	m.Set(1, "kept", 1)
	m.Set(1, "gone", 1)
	m.Remove(2, "gone")
	m.Remove(9, "later")
	require.Equal(t, 1, m.Compact(9))
	require.Zero(t, m.Stamp("gone"))
	require.EqualValues(t, 9, m.Stamp("later"))
	require.Equal(t, 1, m.Len())
	var s crdt.LWWSet[string]
	s.Add(1, "kept")
	s.Remove(2, "gone")
	require.EqualValues(t, 2, s.Stamp("gone"))
	require.Equal(t, 1, s.Compact(3))
	require.Zero(t, s.Stamp("gone"))
	require.Equal(t, 1, s.Len())
}

func TestDWFlagInAMapIsForgottenWithCompact(t *testing.T) {
	m := crdt.NewORMap[string, *crdt.DWFlag]("a")
	m.Update("k", func(f *crdt.DWFlag) { f.Enable(); f.Disable() })
	require.True(t, m.Contains("k"), "it has to win against concurrent Enables")
	f := crdt.NewDWFlag("a")
	f.Disable()
	require.False(t, f.Compact(vclock.Clock{}))
	require.True(t, f.Compact(f.Seen()))
	require.False(t, f.Compact(f.Seen()))
	require.False(t, f.Enabled())
}

// Removal of a key against a concurrent change of its value, for every type that can
// be one.
func TestRemovedKeyAgainstConcurrentChange(t *testing.T) {
	survives(t, "two", func(r *crdt.MVRegister[string], v string) { r.Set(v) },
		func(r *crdt.MVRegister[string]) string { return text(slices.Collect(r.All())) })
	survives(t, "two", func(s *crdt.ORSet[string], v string) { s.Add(v) },
		func(s *crdt.ORSet[string]) string { return text(slices.Collect(s.All())) })
	survives(t, "two", func(s *crdt.RWSet[string], v string) { s.Add(v) },
		func(s *crdt.RWSet[string]) string { return text(slices.Collect(s.All())) })
	survives(t, "on", func(f *crdt.EWFlag, _ string) { f.Enable() }, func(f *crdt.EWFlag) string { return on(f.Enabled()) })
	survives(t, "on", func(f *crdt.DWFlag, _ string) { f.Enable() }, func(f *crdt.DWFlag) string { return on(f.Enabled()) })
	survives(t, "two", func(m *inner, v string) { m.Update(v, func(s *tags) { s.Add("x") }) },
		func(m *inner) (all string) {
			for key := range m.All() {
				all += key
			}
			return all
		})
	// These do not know their past: what b had brought before is there as well, and
	// what a had brought is not.
	survives(t, "2", func(c *crdt.GCounter, v string) { c.Add(map[string]uint64{"theirs": 10, "one": 1, "two": 1}[v]) },
		func(c *crdt.GCounter) string { return fmt.Sprint(c.Value()) })
	survives(t, "-2", func(c *crdt.PNCounter, v string) { c.Add(map[string]int64{"theirs": 10, "one": -1, "two": -1}[v]) },
		func(c *crdt.PNCounter) string { return fmt.Sprint(c.Value()) })
	survives(t, "two", func(r *crdt.LWWRegister[string], v string) { r.Set(r.Stamp()+1, v) },
		func(r *crdt.LWWRegister[string]) string { v, _ := r.Get(); return v })
	survives(t, "one two", func(s *crdt.GSet[string], v string) { s.Add(v) },
		func(s *crdt.GSet[string]) string { return text(slices.Collect(s.All())) })
	survives(t, "one two", func(s *crdt.TwoPhaseSet[string], v string) { s.Add(v) },
		func(s *crdt.TwoPhaseSet[string]) string { return text(slices.Collect(s.All())) })
	survives(t, "one two", func(s *crdt.LWWSet[string], v string) { s.Add(5, v) },
		func(s *crdt.LWWSet[string]) string { return text(slices.Collect(s.All())) })
	survives(t, "one two", func(m *crdt.LWWMap[string, int], v string) { m.Set(5, v, 1) },
		func(m *crdt.LWWMap[string, int]) string {
			var list []string
			for key := range m.All() {
				list = append(list, key)
			}
			return text(list)
		})
}

// survives has a change a value to "theirs", b to "one", and then a remove the key,
// having seen both, while b makes a change to "two". In the end everybody must show
// want; and nothing may be left of it when the key is removed again.
func survives[V crdt.Nestable[V]](t *testing.T, want string, change func(value V, to string), show func(V) string) {
	t.Helper()
	a, b, c := crdt.NewORMap[string, V]("a"), crdt.NewORMap[string, V]("b"), crdt.NewORMap[string, V]("c")
	b.Merge(a.Update("k", func(v V) { change(v, "theirs") }))
	a.Merge(b.Update("k", func(v V) { change(v, "one") }))
	c.Merge(b)
	removed := a.Remove("k")
	require.False(t, a.Contains("k"))
	again := b.Update("k", func(v V) { change(v, "two") })
	a.Merge(again)
	b.Merge(removed)
	c.Merge(removed)
	c.Merge(again)
	for _, m := range []*crdt.ORMap[string, V]{a, b, c} {
		value, found := m.Get("k")
		require.True(t, found, "%T", value)
		require.Equal(t, want, show(value), "%T", value)
		require.Equal(t, string(encoded(t, a)), string(encoded(t, m)), "%T", value)
	}
	a.Merge(c.Remove("k"))
	require.Zero(t, a.Len())
	value, found := a.Get("k")
	require.False(t, found)
	require.Empty(t, strings.Trim(show(value), "0"), "empty")
}

func TestChangesWhereTheyWouldBeLostEndTheProgram(t *testing.T) {
	for name, change := range map[string]func(){
		"GCounter":       func() { new(crdt.GCounter).Add(1) },
		"PNCounter":      func() { crdt.NewPNCounter("").Add(1) },
		"BoundedCounter": func() { new(crdt.BoundedCounter).Add(1) },
		"a delta":        func() { crdt.NewGCounter("a").Add(1).Add(1) },
		"ORSet":          func() { new(crdt.ORSet[int]).Add(1) },
		"its delta":      func() { crdt.NewORSet[int]("a").Add(1).Remove(1) },
		"MVRegister":     func() { new(crdt.MVRegister[int]).Set(1) },
		"LWWRegister":    func() { new(crdt.LWWRegister[int]).Set(1, 1) },
		"LWWMap":         func() { new(crdt.LWWMap[int, int]).Set(1, 1, 1) },
		"ORMap":          func() { new(inner).Remove("x") },
		"EWFlag":         func() { new(crdt.EWFlag).Disable() },
		"DWFlag":         func() { new(crdt.DWFlag).Disable() },
	} {
		require.Panics(t, change, name)
	}
	m := crdt.NewORMap[string, *tags]("a")
	var kept *tags
	m.Update("k", func(s *tags) { s.Add("x"); kept = s })
	read, _ := m.Get("k")
	for _, s := range []*tags{kept, read} {
		require.Panics(t, func() { s.Add("y") })
		require.Panics(t, func() { s.Remove("x") })
		require.Panics(t, func() { s.Merge(crdt.NewORSet[string]("b")) })
		require.Panics(t, func() { _ = s.UnmarshalBinary(nil) })
	}
	n := crdt.NewORMap[string, *crdt.GSet[string]]("a")
	var set *crdt.GSet[string]
	n.Update("k", func(s *crdt.GSet[string]) { s.Add("x"); set = s })
	require.Panics(t, func() { set.Add("y") })
}

// Counters two maps deep: the delta of the outer map has what was done in the inner
// ones, and the removal of an outer key reaches them.
func TestCountersInMapsInMaps(t *testing.T) {
	type line = crdt.ORMap[string, *crdt.PNCounter]
	a, b := crdt.NewORMap[string, *line]("a"), crdt.NewORMap[string, *line]("b")
	delta := a.Update("ann", func(l *line) {
		l.Update("milk", func(c *crdt.PNCounter) { c.Add(2); c.Add(1) })
		l.Update("eggs", func(c *crdt.PNCounter) { c.Add(6) })
		eggs, _ := l.Get("eggs")
		require.EqualValues(t, 6, eggs.Value(), "seen at once")
		require.Panics(t, func() { eggs.Add(1) })
		l.Remove("eggs")
	})
	require.True(t, b.Merge(delta))
	require.False(t, b.Merge(a), "the delta has it all")
	more := b.Update("ann", func(l *line) { l.Update("milk", func(c *crdt.PNCounter) { c.Add(4) }) })
	removed := a.Remove("ann")
	a.Merge(more)
	b.Merge(removed)
	require.Equal(t, string(encoded(t, a)), string(encoded(t, b)))
	inJSON, err := a.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, `{"ann":{"milk":4}}`, string(inJSON))
}

// An Update that ends in a panic leaves a map that can be used, and what it did until
// then comes with the whole state.
func TestUpdateThatPanics(t *testing.T) {
	m, other := crdt.NewORMap[string, *tags]("a"), crdt.NewORMap[string, *tags]("b")
	require.Panics(t, func() {
		m.Update("k", func(s *tags) { s.Add("x"); panic("user") })
	})
	require.Panics(t, func() { m.Update("none", func(*tags) { panic("user") }) })
	require.Equal(t, 1, m.Len())
	m.Update("k", func(s *tags) { s.Add("y") })
	other.Merge(m)
	require.Equal(t, "k/x k/y", text(pathsOf(other, "")))
}

func TestUpdateThatDoesNothing(t *testing.T) {
	m := crdt.NewORMap[string, *tags]("a")
	delta := m.Update("k", func(s *tags) { s.Remove("x") })
	require.Zero(t, m.Len())
	require.False(t, new(inner).Merge(delta))
	require.False(t, m.Contains("k"))
	counters := crdt.NewORMap[string, *crdt.GCounter]("a")
	counters.Update("k", func(c *crdt.GCounter) { c.Add(0) })
	require.True(t, counters.Contains("k"), "a counter at 0 is held")
}

func TestCountersEndAtTheirBounds(t *testing.T) {
	g := crdt.NewGCounter("a")
	g.Add(math.MaxUint64)
	require.False(t, new(crdt.GCounter).Merge(crdt.NewGCounter("a").Add(0)))
	g.Add(1)
	require.EqualValues(t, uint64(math.MaxUint64), g.Value())
	g.Merge(crdt.NewGCounter("b").Add(1))
	require.EqualValues(t, uint64(math.MaxUint64), g.Value())

	sum := func(parts ...int64) int64 {
		all := crdt.NewPNCounter("")
		for i, n := range parts {
			all.Merge(crdt.NewPNCounter(name(i)).Add(n))
		}
		return all.Value()
	}
	const most, least = int64(math.MaxInt64), int64(math.MinInt64)
	require.EqualValues(t, most, sum(most, 1))
	require.EqualValues(t, most, sum(most, most, most))
	require.EqualValues(t, least, sum(least))
	require.EqualValues(t, least, sum(least, -1))
	require.EqualValues(t, least, sum(least, least, least))
	require.EqualValues(t, -1, sum(most, least))
	require.EqualValues(t, most-2, sum(most, most, least, -1))

	b := crdt.NewBoundedCounter("a")
	b.Add(math.MaxUint64)
	require.EqualValues(t, uint64(math.MaxInt64), b.Value())
	_, err := b.Take(math.MaxUint64)
	require.ErrorIs(t, err, crdt.ErrRights)
}

func TestBoundedCounterRights(t *testing.T) {
	a, b := crdt.NewBoundedCounter("a"), crdt.NewBoundedCounter("b")
	b.Merge(a.Add(10))
	require.EqualValues(t, 10, b.Value())
	_, err := b.Take(1)
	require.ErrorIs(t, err, crdt.ErrRights, "it is all a's")
	require.ErrorContains(t, err, `"b" has 0 of 1`)
	give, err := a.Give("b", 4)
	require.NoError(t, err)
	require.EqualValues(t, 6, a.Rights("a"))
	_, err = b.Take(4)
	require.ErrorIs(t, err, crdt.ErrRights, "it has not arrived")
	b.Merge(give)
	b.Merge(give)
	require.EqualValues(t, 4, b.Rights("b"), "repeated, given once")
	take, err := b.Take(4)
	require.NoError(t, err)
	var seen crdt.BoundedCounter
	seen.Merge(take)
	require.Zero(t, seen.Value(), "what was added has not come")
	a.Merge(take)
	require.EqualValues(t, 6, a.Value())
	_, err = a.Take(7)
	require.ErrorIs(t, err, crdt.ErrRights)
	_, err = a.Give("b", 7)
	require.ErrorIs(t, err, crdt.ErrRights)
	_, err = a.Give("a", 6)
	require.NoError(t, err)
	require.EqualValues(t, 6, a.Value(), "to oneself is nothing")
	require.False(t, a.Merge(a))
}

// Any number of goroutines may read, the zero value as well.
func TestConcurrentReaders(t *testing.T) {
	s := crdt.NewORSet[string]("a")
	s.Add("x")
	m := crdt.NewORMap[string, *crdt.GCounter]("a")
	m.Update("k", func(c *crdt.GCounter) { c.Add(1) })
	var zero crdt.ORSet[string]
	var none inner
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, _ = zero.Contains("x"), zero.Len()
			_, _ = s.AppendBinary(nil)
			_, _ = s.MarshalJSON()
			_, _ = none.MarshalJSON()
			_, _ = none.Get("k")
			value, _ := m.Get("k")
			_ = value.Value()
			_, _, _ = s.Seen(), s.Err(), zero.Seen()
			other := crdt.NewORSet[string]("b")
			other.Merge(s)
			other.Merge(&zero)
		})
	}
	wg.Wait()
}

func TestCosts(t *testing.T) {
	c, d := crdt.NewGCounter("replica-1"), crdt.NewGCounter("replica-2")
	d.Merge(c.Add(1))
	require.Zero(t, testing.AllocsPerRun(100, func() { d.Merge(c.Add(1)) }), "a local delta of a counter is on the stack")
	p := crdt.NewPNCounter("replica-1")
	require.Zero(t, testing.AllocsPerRun(100, func() { p.Add(-1) }))
	s, _ := large()
	require.LessOrEqual(t, len(encoded(t, s.Add("a new element"))), 64, "the delta of one addition")
	require.LessOrEqual(t, len(encoded(t, s.Add("element-000007"))), 64, "and of one made again")
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Add("element-000008") }), "a local delta of a set as well")
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Remove("element-000008") }))
}
