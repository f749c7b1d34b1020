package crdt_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/crdt"
	"github.com/parley-go/parley/vclock"
)

// A coded is any state, without its type.
type coded interface {
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
	json.Marshaler
}

type sample struct {
	name  string
	value coded
	empty func() coded
}

func of[S interface {
	coded
	crdt.State[S]
}](name string, value S, empty func() S) sample {
	return sample{name, value, func() coded { return empty() }}
}

func samples() []sample {
	g := crdt.NewGCounter("b")
	g.Add(300)
	g.Merge(crdt.NewGCounter("a").Add(1))
	p := crdt.NewPNCounter("a")
	p.Add(3)
	p.Merge(crdt.NewPNCounter("b").Add(-5))
	bounded := crdt.NewBoundedCounter("a")
	bounded.Add(10)
	_, _ = bounded.Give("b", 4)
	_, _ = bounded.Take(1)
	lww := crdt.NewLWWRegister[string]("a")
	lww.Set(4096, "value")
	mv, mv2 := crdt.NewMVRegister[string]("a"), crdt.NewMVRegister[string]("b")
	mv.Set("x")
	mv.Merge(mv2.Set("y"))
	ew := crdt.NewEWFlag("a")
	ew.Enable()
	dw := crdt.NewDWFlag("a")
	dw.Enable()
	dw.Disable()
	gset := new(crdt.GSet[string])
	gset.Add("b", "a", "")
	two := new(crdt.TwoPhaseSet[int])
	two.Add(1)
	two.Remove(-2)
	lset := new(crdt.LWWSet[string])
	lset.Add(2, "in")
	lset.Remove(3, "out")
	set, other := crdt.NewORSet[string]("a"), crdt.NewORSet[string]("b")
	set.Add("x")
	set.Merge(other.Add("x"))
	set.Add("y")
	set.Remove("y")
	other.Add("lost")
	set.Merge(other.Add("z"))
	rw := crdt.NewRWSet[string]("a")
	rw.Add("in")
	rw.Remove("out")
	lmap := crdt.NewLWWMap[string, int]("a")
	lmap.Set(1, "one", 1)
	lmap.Set(1, "none", 1)
	lmap.Remove(2, "none")
	m := crdt.NewORMap[string, *crdt.PNCounter]("a")
	m.Update("milk", func(c *crdt.PNCounter) { c.Add(2) })
	nested := crdt.NewORMap[int, *inner]("a")
	nested.Update(7, func(in *inner) { in.Update("k", func(s *tags) { s.Add("x") }) })
	gone := nested.Remove(7)
	nested.Update(8, func(in *inner) { in.Update("k", func(s *tags) { s.Add("x") }) })
	return []sample{
		of("GCounter", g, func() *crdt.GCounter { return new(crdt.GCounter) }),
		of("GCounter, empty", new(crdt.GCounter), func() *crdt.GCounter { return new(crdt.GCounter) }),
		of("PNCounter", p, func() *crdt.PNCounter { return new(crdt.PNCounter) }),
		of("BoundedCounter", bounded, func() *crdt.BoundedCounter { return new(crdt.BoundedCounter) }),
		of("LWWRegister", lww, func() *crdt.LWWRegister[string] { return new(crdt.LWWRegister[string]) }),
		of("LWWRegister, empty", new(crdt.LWWRegister[string]), func() *crdt.LWWRegister[string] { return new(crdt.LWWRegister[string]) }),
		of("MVRegister", mv, func() *crdt.MVRegister[string] { return new(crdt.MVRegister[string]) }),
		of("EWFlag", ew, func() *crdt.EWFlag { return new(crdt.EWFlag) }),
		of("DWFlag", dw, func() *crdt.DWFlag { return new(crdt.DWFlag) }),
		of("GSet", gset, func() *crdt.GSet[string] { return new(crdt.GSet[string]) }),
		of("TwoPhaseSet", two, func() *crdt.TwoPhaseSet[int] { return new(crdt.TwoPhaseSet[int]) }),
		of("LWWSet", lset, func() *crdt.LWWSet[string] { return new(crdt.LWWSet[string]) }),
		of("ORSet, with a gap", set, func() *tags { return new(tags) }),
		of("ORSet, empty", new(tags), func() *tags { return new(tags) }),
		of("ORSet, delta of Add", set.Add("x"), func() *tags { return new(tags) }),
		of("ORSet, delta of Remove", set.Remove("x"), func() *tags { return new(tags) }),
		of("RWSet", rw, func() *crdt.RWSet[string] { return new(crdt.RWSet[string]) }),
		of("LWWMap", lmap, func() *crdt.LWWMap[string, int] { return new(crdt.LWWMap[string, int]) }),
		of("ORMap of PNCounter", m, func() *crdt.ORMap[string, *crdt.PNCounter] { return new(crdt.ORMap[string, *crdt.PNCounter]) }),
		of("ORMap of ORMap of ORSet", nested, func() *crdt.ORMap[int, *inner] { return new(crdt.ORMap[int, *inner]) }),
		of("ORMap, delta of Remove", gone, func() *crdt.ORMap[int, *inner] { return new(crdt.ORMap[int, *inner]) }),
	}
}

func binaryOf(t testing.TB, c coded) []byte {
	t.Helper()
	b, err := c.AppendBinary([]byte("before"))
	require.NoError(t, err)
	require.Equal(t, "before", string(b[:6]))
	return b[6:]
}

// What is stored may never change silently.
func TestGoldenEncodings(t *testing.T) {
	want, err := os.ReadFile("testdata/golden.txt")
	require.NoError(t, err)
	var got strings.Builder
	for _, s := range samples() {
		inJSON, err := json.Marshal(s.value)
		require.NoError(t, err)
		fmt.Fprintf(&got, "%s\n\t%+q\n\t%s\n", s.name, binaryOf(t, s.value), inJSON)
	}
	require.Equal(t, string(want), got.String())
}

// No encoding but the one that would have been written is taken, and a state that
// refuses stays as it was.
func TestDecodersRefuseOtherEncodings(t *testing.T) {
	for _, s := range samples() {
		good := binaryOf(t, s.value)
		into := s.empty()
		require.NoError(t, into.UnmarshalBinary(good), s.name)
		refused := func(data []byte, what string, at int) {
			err := into.UnmarshalBinary(data)
			if !errors.Is(err, crdt.ErrCorrupt) {
				t.Fatalf("%s, %s at %d: %q got %v, want ErrCorrupt", s.name, what, at, data, err)
			}
			require.Equal(t, string(good), string(binaryOf(t, into)), "%s stays as it was", s.name)
		}
		for n := range good {
			refused(good[:n], "cut", n)
		}
		refused(append(append([]byte{}, good...), 0), "bytes left over", len(good))
		for i := range good {
			for _, flip := range []byte{1, 2, 3, 0x80, 0xff} {
				data := append([]byte{}, good...)
				data[i] ^= flip
				other := s.empty()
				if i < 2 || other.UnmarshalBinary(data) != nil {
					refused(data, "another byte", i)
					continue
				}
				require.Equal(t, string(data), string(binaryOf(t, other)), "%s: what is taken is what would be written", s.name)
			}
		}
	}
	for what, data := range map[string]string{
		"elements out of order":           "\x01\x0b\x00\x01\x01a\x01\x01\x01\x02\x01y\x01\x00\x01\x01x\x01\x00\x02",
		"an element without dots":         "\x01\x0b\x00\x01\x01a\x01\x01\x00\x01\x01y\x00",
		"a dot that was not seen":         "\x01\x0b\x00\x01\x01a\x01\x01\x00\x01\x01y\x01\x00\x02",
		"a dot of nobody":                 "\x01\x0b\x00\x01\x01a\x01\x01\x00\x01\x01y\x01\x01\x01",
		"dots out of order":               "\x01\x0b\x00\x01\x01a\x01\x01\x01\x01\x01y\x02\x00\x02\x00\x01",
		"spans that touch":                "\x01\x0b\x00\x01\x01a\x02\x01\x00\x01\x00\x00",
		"a replica without a name":        "\x01\x0b\x00\x01\x00\x01\x01\x00\x00",
		"a replica without spans":         "\x01\x0b\x00\x01\x01a\x00\x00",
		"more replicas than there can be": "\x01\x0b\x00\xff\xff\x03",
		"a counter that is too large":     "\x01\x0b\x00\x01\x01a\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00",
		"a longer number":                 "\x01\x0b\x00\x81\x00\x01a\x01\x01\x00\x00",
		"a number without end":            "\x01\x0b\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		require.ErrorIs(t, new(tags).UnmarshalBinary([]byte(data)), crdt.ErrCorrupt, what)
	}
	require.ErrorIs(t, new(crdt.GSet[int]).UnmarshalBinary([]byte("\x01\x08\x01\x02\x80\x00")), crdt.ErrCorrupt, "an element in a longer form")
	require.ErrorIs(t, new(crdt.GSet[int8]).UnmarshalBinary([]byte("\x01\x08\x01\x02\x80\x04")), crdt.ErrCorrupt, "an element that does not fit")
	require.ErrorIs(t, new(crdt.TwoPhaseSet[int]).UnmarshalBinary([]byte("\x01\x09\x01\x01\x02\x01\x01\x02")), crdt.ErrCorrupt, "both added and removed")
	require.ErrorIs(t, new(crdt.GCounter).UnmarshalBinary([]byte("\x01\x01\x01\x01a\x00")), crdt.ErrCorrupt, "nothing counted")
}

// Lengths that promise what does not come cost nothing.
func TestDecodingIsBounded(t *testing.T) {
	for _, s := range samples() {
		head := binaryOf(t, s.value)[:2]
		for _, tail := range []string{"\xff\xff\x03", "\x00\xff\xff\x03", "\x00\x00\xff\xff\xff\xff\x7f", "\x01\x01a\xff\xff\xff\xff\x7f", "\x00\x01\x01a\xff\xff\xff\xff\x7f"} {
			data := append(append([]byte{}, head...), tail...)
			into := s.empty()
			require.LessOrEqual(t, testing.AllocsPerRun(10, func() { _ = into.UnmarshalBinary(data) }), 20.0, "%s %q", s.name, tail)
		}
	}
}

type userID string

// A point encodes itself.
type point struct{ X, Y byte }

func (p point) MarshalBinary() ([]byte, error) {
	if p.X == 0xff {
		return nil, errBroken
	}
	return []byte{p.X, p.Y}, nil
}

func (p *point) UnmarshalBinary(data []byte) error {
	if len(data) != 2 {
		return errBroken
	}
	p.X, p.Y = data[0], data[1]
	return nil
}

var errBroken = errors.New("broken point")

func TestElementsOfManyTypes(t *testing.T) {
	roundTrip(t, "a", "", "\x00\xff")
	roundTrip(t, userID("a"), userID(""))
	roundTrip(t, 0, -1, math.MaxInt, math.MinInt)
	roundTrip(t, int64(math.MaxInt64), math.MinInt64)
	roundTrip(t, int8(-128), 127)
	roundTrip(t, uint64(math.MaxUint64), 0)
	roundTrip(t, time.Hour, -time.Second)
	roundTrip(t, true, false)
	roundTrip(t, 1.5, math.Inf(-1))
	roundTrip(t, float32(0.1), -2)
	roundTrip(t, struct{}{})
	roundTrip(t, point{1, 2}, point{0, 0})
	roundTrip(t, vclock.Dot{Node: "a", Counter: 3}, vclock.Dot{})

	bytes, back := crdt.NewMVRegister[[]byte]("a"), new(crdt.MVRegister[[]byte])
	bytes.Set([]byte("value"))
	data := encoded(t, bytes)
	require.NoError(t, back.UnmarshalBinary(data))
	clear(data) // belongs to the caller
	for v := range back.All() {
		require.Equal(t, "value", string(v))
	}
	pointer, back2 := crdt.NewLWWRegister[*point]("a"), new(crdt.LWWRegister[*point])
	pointer.Set(1, &point{1, 2})
	require.NoError(t, back2.UnmarshalBinary(encoded(t, pointer)))
	v, _ := back2.Get()
	require.Equal(t, point{1, 2}, *v)
}

func roundTrip[E comparable](t *testing.T, elements ...E) {
	t.Helper()
	s, back := crdt.NewORSet[E]("a"), new(crdt.ORSet[E])
	for _, e := range elements {
		s.Add(e)
	}
	data := encoded(t, s)
	require.NoError(t, back.UnmarshalBinary(data))
	for _, e := range elements {
		require.True(t, back.Contains(e), "%v", e)
	}
	require.Equal(t, string(data), string(encoded(t, back)))
	require.False(t, back.Merge(s))
}

func TestElementsThatCannotBeEncoded(t *testing.T) {
	s := crdt.NewORSet[[2]int]("a")
	b, err := s.AppendBinary([]byte("before"))
	require.NoError(t, err, "nothing to encode")
	require.ErrorIs(t, new(crdt.ORSet[[2]int]).UnmarshalBinary([]byte("\x01\x0b\x00\x01\x01a\x01\x01\x00\x01\x01y\x01\x00\x01")), crdt.ErrUnsupported)
	s.Add([2]int{1, 2})
	b, err = s.AppendBinary(b[:6])
	require.ErrorIs(t, err, crdt.ErrUnsupported)
	require.ErrorContains(t, err, "[2]int")
	require.Equal(t, "before", string(b))

	broken := crdt.NewLWWMap[string, point]("a")
	broken.Set(1, "k", point{X: 0xff})
	b, err = broken.AppendBinary([]byte("before"))
	require.ErrorIs(t, err, errBroken)
	require.Equal(t, "before", string(b))
	require.ErrorIs(t, new(crdt.GSet[point]).UnmarshalBinary([]byte("\x01\x08\x01\x01x")), errBroken)

	_, err = json.Marshal(crdt.NewMVRegister[func()]("a").Set(func() {}))
	require.Error(t, err)
}

func TestTooLargeToEncode(t *testing.T) {
	long := strings.Repeat("x", crdt.MaxName+1)
	set := crdt.NewORSet[string](long)
	set.Add("x")
	g := crdt.NewGCounter(long)
	g.Add(1)
	lww := crdt.NewLWWRegister[string](long)
	lww.Set(1, "x")
	bounded, giver := crdt.NewBoundedCounter(long), crdt.NewBoundedCounter("a")
	bounded.Add(1)
	giver.Add(1)
	_, err := giver.Give(long, 1)
	require.ErrorIs(t, err, crdt.ErrTooLarge, "nothing may get into the state that cannot be encoded")
	require.EqualValues(t, 1, giver.Rights("a"))
	many := crdt.NewGCounter("a")
	for i := range crdt.MaxReplicas + 1 {
		many.Merge(crdt.NewGCounter(fmt.Sprintf("%06d", i)).Add(1))
	}
	for _, c := range []coded{set, g, lww, bounded, many} {
		b, err := c.AppendBinary([]byte("before"))
		require.ErrorIs(t, err, crdt.ErrTooLarge, "%T", c)
		require.Equal(t, "before", string(b))
	}
}

func TestJSONKeys(t *testing.T) {
	m := crdt.NewLWWMap[vclock.Dot, userID]("a")
	m.Set(1, vclock.Dot{Node: "n", Counter: 1}, `a"b`)
	data, err := json.Marshal(m)
	require.NoError(t, err)
	require.Equal(t, `{"n=1":"a\"b"}`, string(data))
	n := crdt.NewORMap[int, *crdt.LWWRegister[int]]("a")
	n.Update(-1, func(r *crdt.LWWRegister[int]) { r.Set(1, 5) })
	data, err = json.Marshal(n)
	require.NoError(t, err)
	require.Equal(t, `{"-1":5}`, string(data))
}

// What a decoder takes is what the encoder writes, and can be worked with.
func fuzz(f *testing.F, kinds string) {
	var all []sample
	for _, s := range samples() {
		if data := binaryOf(f, s.value); strings.IndexByte(kinds, data[1]) >= 0 {
			all = append(all, s)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range all {
			into := s.empty()
			if into.UnmarshalBinary(data) != nil {
				continue
			}
			require.Equal(t, string(data), string(binaryOf(t, into)), s.name)
			_, err := json.Marshal(into)
			require.NoError(t, err)
		}
	})
}

func FuzzCounters(f *testing.F)           { fuzz(f, "\x01\x02\x03") }
func FuzzRegistersAndFlags(f *testing.F)  { fuzz(f, "\x04\x05\x06\x07") }
func FuzzPlainSetsAndLWWMap(f *testing.F) { fuzz(f, "\x08\x09\x0a\x0d") }
func FuzzORSetAndRWSet(f *testing.F)      { fuzz(f, "\x0b\x0c") }
func FuzzORMap(f *testing.F)              { fuzz(f, "\x0e") }

// States from outside can be merged and changed, whatever is in them, and what comes
// out can be encoded.
func FuzzMergeOfStrangers(f *testing.F) {
	for _, s := range samples() {
		f.Add(binaryOf(f, s.value), binaryOf(f, s.value))
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		set := crdt.NewORSet[string]("a")
		strangers(t, set, new(tags), new(tags), x, y, func() { set.Add("x"); set.Remove("y"); set.Clear() })
		m := crdt.NewORMap[string, *crdt.PNCounter]("a")
		strangers(t, m, new(crdt.ORMap[string, *crdt.PNCounter]), new(crdt.ORMap[string, *crdt.PNCounter]), x, y, func() {
			m.Update("milk", func(c *crdt.PNCounter) { c.Add(1) })
			m.Clear()
		})
		n := crdt.NewORMap[int, *inner]("a")
		strangers(t, n, new(crdt.ORMap[int, *inner]), new(crdt.ORMap[int, *inner]), x, y, func() {
			n.Update(7, func(m *inner) { m.Update("k", func(s *tags) { s.Add("x") }); m.Remove("j") })
			n.Remove(8)
		})
		flag := crdt.NewDWFlag("a")
		strangers(t, flag, new(crdt.DWFlag), new(crdt.DWFlag), x, y, func() { flag.Enable() })
	})
}

func strangers[S crdt.State[S]](t *testing.T, mine, a, b S, x, y []byte, change func()) {
	if a.UnmarshalBinary(x) != nil || b.UnmarshalBinary(y) != nil {
		return
	}
	mine.Merge(a)
	mine.Merge(b)
	require.False(t, mine.Merge(b))
	require.False(t, mine.Merge(a))
	change()
	if _, err := mine.AppendBinary(nil); err != nil {
		require.ErrorIs(t, err, crdt.ErrTooLarge, "after a counter that was at its end")
	}
}
