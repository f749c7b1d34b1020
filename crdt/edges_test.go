package crdt_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/crdt"
	"github.com/parley-go/parley/vclock"
)

// Elements and keys that == does not find, or that come back as others.

func TestTrapNaNComesInWithEveryMerge(t *testing.T) {
	nan := math.NaN()
	grow, two, stamped := new(crdt.GSet[float64]), new(crdt.TwoPhaseSet[float64]), new(crdt.LWWSet[float64])
	plain, other := crdt.NewLWWMap[float64, int]("a"), crdt.NewLWWMap[float64, int]("b")
	grow.Add(nan, 1)
	two.Add(nan)
	two.Remove(nan)
	stamped.Add(1, nan)
	require.False(t, grow.Merge(new(crdt.GSet[float64])))
	require.Equal(t, 1, grow.Len())
	require.Zero(t, two.Len()+stamped.Len())
	other.Merge(plain.Set(1, nan, 1))
	require.Zero(t, other.Len())

	set, peer := crdt.NewORSet[float64]("a"), crdt.NewORSet[float64]("b")
	peer.Merge(set.Add(nan))
	set.Add(nan)
	peer.Merge(set.Add(2))
	peer.Merge(set)
	require.Equal(t, 1, peer.Len())
	require.Equal(t, "a=3", peer.Seen().String(), "no gap")
	m := crdt.NewORMap[float64, *crdt.GCounter]("a")
	m.Update(nan, func(c *crdt.GCounter) { c.Add(1) })
	require.Zero(t, m.Len())
	require.NoError(t, new(crdt.ORSet[float64]).UnmarshalBinary(encoded(t, set)))
	require.NoError(t, new(crdt.GSet[float64]).UnmarshalBinary(encoded(t, grow)))
	require.NoError(t, new(crdt.ORMap[float64, *crdt.GCounter]).UnmarshalBinary(encoded(t, m)))
	require.ErrorIs(t, new(crdt.GSet[float64]).UnmarshalBinary([]byte("\x01\x08\x01\x08\x7f\xf8\x00\x00\x00\x00\x00\x01")), crdt.ErrCorrupt, "a NaN from elsewhere")

	r := crdt.NewLWWRegister[float64]("a")
	r.Set(1, nan)
	back := new(crdt.LWWRegister[float64])
	require.NoError(t, back.UnmarshalBinary(encoded(t, r)), "a value may be one")
}

func TestTrapZeroWithASignHasTwoForms(t *testing.T) {
	minus := math.Copysign(0, -1)
	a, b := crdt.NewORSet[float64]("a"), crdt.NewORSet[float64]("b")
	b.Merge(a.Add(0))
	a.Merge(b.Add(minus))
	require.Equal(t, 1, a.Len())
	require.Equal(t, string(encoded(t, a)), string(encoded(t, b)))
	x, y := new(crdt.GSet[float32]), new(crdt.GSet[float32])
	x.Add(0)
	y.Add(float32(minus))
	require.Equal(t, string(encoded(t, x)), string(encoded(t, y)))
	require.ErrorIs(t, x.UnmarshalBinary([]byte("\x01\x08\x01\x08\x80\x00\x00\x00\x00\x00\x00\x00")), crdt.ErrCorrupt, "a second form")

	r, back := crdt.NewLWWRegister[float64]("a"), new(crdt.LWWRegister[float64])
	r.Set(1, minus)
	require.NoError(t, back.UnmarshalBinary(encoded(t, r)))
	v, _ := back.Get()
	require.True(t, math.Signbit(v), "a value keeps its sign")
}

func TestTrapElementsThatComeBackUnequal(t *testing.T) {
	now := time.Now()
	for what, times := range map[string][]time.Time{
		"two with one form": {now, now.Round(0)},
		"a zone":            {now.Round(0).In(time.FixedZone("there", 3600))},
	} {
		s := crdt.NewORSet[time.Time]("a")
		for _, at := range times {
			s.Add(at)
		}
		_, err := s.AppendBinary(nil)
		require.ErrorIs(t, err, crdt.ErrUnsupported, what)
	}
	pointers := new(crdt.GSet[*point])
	pointers.Add(&point{1, 2})
	_, err := pointers.AppendBinary(nil)
	require.ErrorIs(t, err, crdt.ErrUnsupported)

	s, back := crdt.NewORSet[time.Time]("a"), new(crdt.ORSet[time.Time])
	s.Add(now.UTC().Round(0))
	require.NoError(t, back.UnmarshalBinary(encoded(t, s)))
	require.False(t, s.Merge(back))
	require.Equal(t, 1, s.Len())
}

type document []byte

func TestTypesBasedOnBytes(t *testing.T) {
	a, back := crdt.NewLWWRegister[document]("a"), new(crdt.LWWRegister[document])
	a.Set(1, document("text"))
	data := encoded(t, a)
	require.NoError(t, back.UnmarshalBinary(data))
	clear(data)
	v, _ := back.Get()
	require.Equal(t, "text", string(v))
	raw := crdt.NewMVRegister[json.RawMessage]("a")
	raw.Set(json.RawMessage("{}"))
	require.NoError(t, new(crdt.MVRegister[json.RawMessage]).UnmarshalBinary(encoded(t, raw)))
}

// What is changed behind the back of a map leaves a key that holds nothing, and the
// encoding is one that no decoder takes.
func TestTrapCompactBehindTheMap(t *testing.T) {
	sets, flags := crdt.NewORMap[string, *crdt.RWSet[string]]("a"), crdt.NewORMap[string, *crdt.DWFlag]("a")
	sets.Update("k", func(s *crdt.RWSet[string]) { s.Remove("x") })
	flags.Update("k", func(f *crdt.DWFlag) { f.Disable() })
	set, _ := sets.Get("k")
	flag, _ := flags.Get("k")
	require.Panics(t, func() { set.Compact(sets.Seen()) })
	require.Panics(t, func() { flag.Compact(flags.Seen()) })
	sets.Update("k", func(s *crdt.RWSet[string]) { require.Equal(t, 1, s.Compact(sets.Seen())) })
	flags.Update("k", func(f *crdt.DWFlag) { require.True(t, f.Compact(flags.Seen())) })
	require.Zero(t, sets.Len()+flags.Len())
	require.NoError(t, new(crdt.ORMap[string, *crdt.RWSet[string]]).UnmarshalBinary(encoded(t, sets)))
	require.NoError(t, new(crdt.ORMap[string, *crdt.DWFlag]).UnmarshalBinary(encoded(t, flags)))
}

func TestCompactedDeltaStillRemoves(t *testing.T) {
	a, b := crdt.NewRWSet[string]("a"), crdt.NewRWSet[string]("b")
	b.Merge(a.Add("x"))
	delta := a.Remove("x")
	require.Zero(t, delta.Compact(a.Seen()))
	b.Merge(delta)
	require.False(t, b.Contains("x"))
}

// A replica has forgotten a removal and adds the element again. Where the removal is
// remembered, the delta of that does not say what it undoes.
func TestTrapCompactForgetsALaterAddition(t *testing.T) {
	a, b := crdt.NewRWSet[string]("a"), crdt.NewRWSet[string]("b")
	a.Remove("x")
	b.Merge(a)
	a.Merge(b)
	stable := a.Seen()
	require.Equal(t, 1, a.Compact(stable))
	b.Merge(a.Add("x"))
	require.False(t, b.Contains("x"), "it remembers the removal")
	require.Zero(t, b.Compact(stable), "the addition is not stable")
	a.Merge(b)
	b.Merge(a)
	require.True(t, a.Contains("x"))
	require.True(t, b.Contains("x"))
}

// Otherwise what is done to the value afterwards is lost without a word.
func TestValuesInAMapAreNotDecodedAlone(t *testing.T) {
	refuses(t, func(c *crdt.GCounter) error { return c.UnmarshalBinary(nil) })
	refuses(t, func(c *crdt.PNCounter) error { return c.UnmarshalBinary(nil) })
	refuses(t, func(s *crdt.GSet[int]) error { return s.UnmarshalBinary(nil) })
	refuses(t, func(s *crdt.TwoPhaseSet[int]) error { return s.UnmarshalBinary(nil) })
	refuses(t, func(s *crdt.LWWSet[int]) error { return s.UnmarshalBinary(nil) })
	refuses(t, func(r *crdt.LWWRegister[int]) error { return r.UnmarshalBinary(nil) })
	refuses(t, func(m *crdt.LWWMap[int, int]) error { return m.UnmarshalBinary(nil) })
	refuses(t, func(s *crdt.ORSet[int]) error { return s.UnmarshalBinary(nil) })
}

func refuses[V crdt.Nestable[V]](t *testing.T, decode func(value V) error) {
	t.Helper()
	crdt.NewORMap[string, V]("a").Update("k", func(value V) {
		require.PanicsWithValue(t, "crdt: a value inside a map is decoded with its map", func() { _ = decode(value) })
	})
}

func TestBoundedCounterAtItsBounds(t *testing.T) {
	const half = 1 << 62
	a, b := crdt.NewBoundedCounter("a"), crdt.NewBoundedCounter("b")
	b.Merge(a.Add(half))
	there, err := a.Give("b", half)
	require.NoError(t, err)
	b.Merge(there)
	back, err := b.Give("a", half)
	require.NoError(t, err)
	a.Merge(back)
	_, err = a.Give("b", half)
	require.ErrorIs(t, err, crdt.ErrTooLarge, "not given, and said so")
	require.EqualValues(t, int64(half), a.Rights("a"))
	_, err = a.Give("b", half-1)
	require.NoError(t, err)
	require.EqualValues(t, 1, a.Rights("a"))

	var all crdt.BoundedCounter // three times the largest int64, two taken
	for _, who := range []string{"x", "y", "z"} {
		c := crdt.NewBoundedCounter(who)
		all.Merge(c.Add(math.MaxInt64))
		if who < "z" {
			taken, err := c.Take(math.MaxInt64)
			require.NoError(t, err)
			all.Merge(taken)
		}
	}
	require.EqualValues(t, uint64(math.MaxInt64), all.Value())
}

// What copies all names for each name would take minutes here.
func TestTrapManyReplicasAreSlow(t *testing.T) {
	const many = 50_000
	set, count := crdt.NewORSet[int]("me"), crdt.NewGCounter("me")
	var states crdt.ORSet[int]
	for i := range many {
		who := fmt.Sprintf("replica-%05d", i*7919%many)
		if i < many/10 {
			set.Merge(crdt.NewORSet[int](who).Add(i))
			var delta crdt.GCounter // as it comes from afar
			require.NoError(t, delta.UnmarshalBinary(encoded(t, crdt.NewGCounter(who).Add(1))))
			count.Merge(&delta)
		}
	}
	require.Equal(t, many/10, set.Seen().Len())
	require.EqualValues(t, many/10, count.Value())
	require.NoError(t, states.UnmarshalBinary(wide(many)))
	seen := states.Seen()
	require.Equal(t, many, seen.Len())
	require.True(t, seen.Contains(vclock.Dot{Node: "00042", Counter: 1}))
}

// wide is the encoding of an empty set that has seen one event of each of n replicas.
func wide(n int) []byte {
	b := binary.AppendUvarint([]byte("\x01\x0b\x00"), uint64(n))
	for i := range n {
		b = fmt.Appendf(b, "\x05%05d\x01\x01\x00", i)
	}
	return append(b, 0)
}

// A set that was larger once allocates no more than others.
func TestCostsOfASetThatHasShrunk(t *testing.T) {
	for _, most := range []int{9, 100} {
		s := crdt.NewORSet[int]("a")
		for i := range most {
			s.Add(i)
		}
		for i := range most {
			s.Remove(i)
		}
		require.Zero(t, testing.AllocsPerRun(100, func() { s.Add(1); s.Remove(1) }))
	}
}
