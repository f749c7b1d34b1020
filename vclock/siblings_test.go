package vclock_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/vclock"
)

func valuesOf[T any](s vclock.Siblings[T]) []T {
	values, _ := s.Get()
	return values
}

func TestSiblingsZeroIsReady(t *testing.T) {
	var s vclock.Siblings[string]
	values, context := s.Get()
	require.Empty(t, values)
	require.Zero(t, context.Len())
	require.False(t, s.Merge(vclock.Siblings[string]{}))
	require.False(t, s.Delete(context))
	require.Equal(t, vclock.Dot{Node: "a", Counter: 1}, s.Put("a", context, "x"))
	require.Equal(t, []string{"x"}, valuesOf(s))
}

func TestSiblingsReplaceWhatWasRead(t *testing.T) {
	var s vclock.Siblings[string]
	s.Put("a", vclock.Clock{}, "1")
	_, early := s.Get()
	s.Put("a", early, "2")
	require.Equal(t, []string{"2"}, valuesOf(s))

	s.Put("a", early, "3") // concurrent with 2, though through the same replica
	values, context := s.Get()
	require.Equal(t, []string{"2", "3"}, values)
	s.Put("a", context, "4")
	require.Equal(t, []string{"4"}, valuesOf(s))
}

// TestSiblingsDoNotExplodeUnderInterleavedWriters has writers take turns, each with
// the context that it got right after its own last write. Plain version vectors
// make a sibling with every write then.
func TestSiblingsDoNotExplodeUnderInterleavedWriters(t *testing.T) {
	for writers := 1; writers <= 5; writers++ {
		var s vclock.Siblings[int]
		contexts := make([]vclock.Clock, writers)
		for i := range 100 {
			w := i % writers
			s.Put("a", contexts[w], i)
			_, contexts[w] = s.Get()
			require.LessOrEqual(t, s.Len(), writers)
		}
		require.Equal(t, writers, s.Len(), "and none of the latest is lost")
		for i, value := range valuesOf(s) {
			require.Equal(t, 100-writers+i, value)
		}
	}
}

// TestSiblingsDoNotExplodeUnderBlindWriters has writers that never read, and know
// only the dots of their own writes.
func TestSiblingsDoNotExplodeUnderBlindWriters(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		const writers = 4
		var replicas [2]vclock.Siblings[int]
		var own [writers]vclock.Dot
		for i := range 200 {
			w := random.IntN(writers)
			at := w % 2 // each writer has its replica
			own[w] = replicas[at].Put("ab"[at:at+1], vclock.Clock{}, i*writers+w, own[w])
			if random.IntN(4) == 0 {
				replicas[at].Merge(replicas[1-at])
			}
			require.LessOrEqual(t, replicas[at].Len(), writers, "seed %d", seed)
		}
		replicas[0].Merge(replicas[1])
		dots := slices.Collect(maps.Keys(maps.Collect(replicas[0].All())))
		require.ElementsMatch(t, own[:], dots, "seed %d: the last of each writer", seed)
	}
}

// A dot that is replaced before it arrives becomes a sibling. To keep it out, the
// clock would have to claim all earlier writes of its node, and lose one.
func TestSiblingsReplacedBeforeItArrives(t *testing.T) {
	var a, b vclock.Siblings[string]
	b.Put("b", vclock.Clock{}, "of somebody else")
	dot := b.Put("b", vclock.Clock{}, "mine")
	a.Put("a", vclock.Clock{}, "mine, later", dot)
	a.Merge(b)
	require.Equal(t, []string{"mine, later", "of somebody else", "mine"}, valuesOf(a))
}

func TestSiblingsDelete(t *testing.T) {
	var a vclock.Siblings[string]
	a.Put("a", vclock.Clock{}, "read")
	_, context := a.Get()
	b := a.Clone()
	a.Put("a", vclock.Clock{}, "unread")

	require.True(t, a.Delete(context))
	require.False(t, a.Delete(context))
	require.Equal(t, []string{"unread"}, valuesOf(a), "what the deleter had not read stays")

	require.False(t, a.Merge(b), "deleted keys do not come back")
	require.True(t, b.Merge(a))
	require.Equal(t, []string{"unread"}, valuesOf(b))

	_, context = b.Get()
	b.Delete(context)
	require.Zero(t, b.Len())
	a.Merge(b)
	require.Zero(t, a.Len(), "an empty set remembers what was deleted")
	require.Equal(t, vclock.Dot{Node: "b", Counter: 1}, b.Put("b", vclock.Clock{}, "again"))
}

// A delete reaches a replica that never held the value: when the value comes
// there, late, it stays out.
func TestSiblingsDeleteBeforeItsWrite(t *testing.T) {
	var a, b vclock.Siblings[string]
	a.Put("a", vclock.Clock{}, "x")
	_, context := a.Get()
	b.Delete(context)
	require.False(t, b.Merge(a))
	require.Zero(t, b.Len())
}

func TestSiblingsCopiesGoTheirOwnWay(t *testing.T) {
	var s vclock.Siblings[string]
	s.Put("a", vclock.Clock{}, "1")
	s.Put("a", vclock.Clock{}, "2")
	values, context := s.Get()
	values[0] = "changed by the caller"
	context.Tick("z")
	c, d := s, s.Clone()
	c.Put("a", vclock.Clock{}, "3")
	d.Delete(context)
	require.Equal(t, []string{"1", "2"}, valuesOf(s))
	require.Equal(t, []string{"1", "2", "3"}, valuesOf(c))
	require.Zero(t, d.Len())
	for dot, value := range s.All() { // goes on with what it began with
		require.Equal(t, value, strconv.FormatUint(dot.Counter, 10))
		s.Delete(context)
	}
	require.Zero(t, s.Len())
	for range c.All() {
		break
	}
}

func TestSiblingsPruneKeepsWhoWroteWhatIsHeld(t *testing.T) {
	var s vclock.Siblings[string]
	s.Put("gone", vclock.Clock{}, "x")
	_, context := s.Get()
	s.Put("held", context, "y")
	require.Equal(t, 1, s.Prune(func(string) bool { return false }))
	values, context := s.Get()
	require.Equal(t, []string{"y"}, values)
	require.Equal(t, "held=1", context.String())
}

// A write is one write of the model: what it is and all writes that it knew of.
// There are no dots and no clocks in it, and a delete is a write of nothing.
type write struct {
	past  map[int]bool
	value string // "" for a delete
}

// A model is a replica that keeps causal histories: the writes that no other write
// it has knows of.
type model map[int]write

func (m model) put(id int, read map[int]bool, value string) {
	past := maps.Clone(read)
	m[id] = write{past, value}
	m.settle()
}

func (m model) merge(other model) {
	maps.Copy(m, other)
	m.settle()
}

func (m model) settle() {
	for id := range m {
		for _, later := range m {
			if later.past[id] {
				delete(m, id)
				break
			}
		}
	}
}

// read returns what a reader knows: the current writes and their past.
func (m model) read() map[int]bool {
	known := map[int]bool{}
	for id, w := range m {
		known[id] = true
		maps.Copy(known, w.past)
	}
	return known
}

func (m model) values() (values []string) {
	for _, w := range m {
		if w.value != "" {
			values = append(values, w.value)
		}
	}
	slices.Sort(values)
	return values
}

// TestSiblingsAgainstCausalHistories has replicas and clients do random things:
// reads anywhere, writes and deletes with contexts new, old, of elsewhere, or
// none, merges in any direction.
func TestSiblingsAgainstCausalHistories(t *testing.T) {
	type context struct {
		clock vclock.Clock
		known map[int]bool
	}
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 0))
		n := 2 + random.IntN(3)
		sets, models := make([]vclock.Siblings[string], n), make([]model, n)
		for i := range models {
			models[i] = model{}
		}
		contexts := []context{{known: map[int]bool{}}}
		for id := range 120 {
			at := random.IntN(n)
			c := contexts[random.IntN(len(contexts))]
			name := fmt.Sprintf("seed %d, step %d", seed, id)
			switch random.IntN(8) {
			case 0, 1, 2:
				value := strconv.Itoa(id)
				sets[at].Put("r"+strconv.Itoa(at), c.clock, value)
				models[at].put(id, c.known, value)
			case 3:
				sets[at].Delete(c.clock)
				models[at].put(id, c.known, "")
			case 4, 5:
				_, clock := sets[at].Get()
				contexts = append(contexts, context{clock, models[at].read()})
			default:
				from := random.IntN(n)
				before, _ := sets[at].MarshalJSON()
				changed := sets[at].Merge(sets[from])
				after, _ := sets[at].MarshalJSON()
				require.Equal(t, string(before) != string(after), changed, name)
				models[at].merge(models[from])
			}
			values := valuesOf(sets[at])
			slices.Sort(values)
			require.Equal(t, models[at].values(), slices.Clip(append([]string(nil), values...)), name)
		}
		converge(t, sets)
	}
}

// converge merges the sets in two orders, which must come to the same.
func converge(t *testing.T, sets []vclock.Siblings[string]) {
	t.Helper()
	var there, back vclock.Siblings[string]
	for i := range sets {
		there.Merge(sets[i])
		back.Merge(sets[len(sets)-1-i])
	}
	x, err := there.MarshalJSON()
	require.NoError(t, err)
	y, err := back.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, string(x), string(y), "commutative and associative")
	require.False(t, there.Merge(back), "idempotent")
}
