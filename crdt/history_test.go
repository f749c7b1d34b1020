package crdt_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/crdt"
	"github.com/parley-go/parley/vclock"
)

// The model of every type is the set of the operations that a replica knows of.
// An operation on a type with removals lists the ones that it puts an end to: those
// that its replica knew and that were still alive there.
type operation struct {
	who   int
	what  string // which of the type's operations
	path  string // of an element, with / between the keys of maps
	n     int64
	stamp vclock.Stamp
	kills []int

	up, down uint64 // for counters in maps: all that who holds there, with this
}

type history struct {
	random *rand.Rand
	all    []operation
}

// A known is the set of operations that a replica knows, by number.
type known map[int]bool

// alive lists the known operations on what begins with a path that no known one has
// put an end to.
func (h *history) alive(k known, path string) (list []int) {
	killed := known{}
	for i := range k {
		for _, j := range h.all[i].kills {
			killed[j] = true
		}
	}
	for i := range h.all {
		if k[i] && !killed[i] && strings.HasPrefix(h.all[i].path, path) {
			list = append(list, i)
		}
	}
	return list
}

// A lab is one type under test.
type lab[S crdt.State[S]] struct {
	make func(name string) S
	// change does something at random to s and describes it.
	change func(h *history, s S, o *operation, k known) (delta S)
	show   func(s S) string
	// want is what show says of a replica that knows k, by definition.
	want func(h *history, k known) string
	// The delta of an operation carries all earlier ones of its replica.
	cumulative bool
}

// A site is one replica of a lab.
type site[S any] struct {
	name  string
	state S
	knows known
}

func name(i int) string { return fmt.Sprintf("r%d", i) }

// run makes a random history. Deltas arrive late, twice, out of order or never;
// whole states go around as well; replicas restart from what they have stored. After
// every step the replica concerned shows what the model says.
func (l lab[S]) run(t *testing.T, seed uint64) {
	h := &history{random: rand.New(rand.NewPCG(seed, 7))}
	sites := make([]*site[S], 2+h.random.IntN(3))
	for i := range sites {
		sites[i] = &site[S]{name(i), l.make(name(i)), known{}}
	}
	var deltas []S
	var sent [][]byte // the deltas as they were made
	var pool [][]byte // states and deltas of this history, for the laws
	for step := range 60 {
		who := h.random.IntN(len(sites))
		s := sites[who]
		before := encoded(t, s.state)
		switch dice := h.random.IntN(20); {
		case dice < 9:
			o := operation{who: who}
			delta := l.change(h, s.state, &o, s.knows)
			s.knows[len(h.all)] = true
			h.all, deltas, sent = append(h.all, o), append(deltas, delta), append(sent, encoded(t, delta))
		case dice < 15 && len(deltas) > 0: // any delta, also an old one, also again
			i := h.random.IntN(len(deltas))
			changed := s.state.Merge(deltas[i])
			require.Equal(t, changed, string(before) != string(encoded(t, s.state)), "seed %d step %d: what Merge reports", seed, step)
			s.knows[i] = true
			for j := range i {
				if l.cumulative && h.all[j].who == h.all[i].who {
					s.knows[j] = true
				}
			}
		case dice < 19:
			other := sites[h.random.IntN(len(sites))]
			changed := s.state.Merge(other.state)
			require.Equal(t, changed, string(before) != string(encoded(t, s.state)), "seed %d step %d: what Merge reports", seed, step)
			for i := range other.knows {
				s.knows[i] = true
			}
		default: // a restart from the newest state
			s.state = l.make(s.name)
			s.state.Merge(decoded[S](t, l, before))
			require.Equal(t, string(before), string(encoded(t, s.state)))
		}
		if got, want := l.show(s.state), l.want(h, s.knows); got != want {
			t.Fatalf("seed %d step %d: %s shows %q, want %q\n%+v\nof %+v", seed, step, s.name, got, want, s.knows, h.all)
		}
		pool = append(pool, encoded(t, s.state))
		if len(deltas) > 0 {
			pool = append(pool, encoded(t, deltas[h.random.IntN(len(deltas))]))
		}
		if e, ok := any(s.state).(interface{ Err() error }); ok {
			require.NoError(t, e.Err(), "seed %d step %d", seed, step)
		}
	}
	l.converge(t, h, sites, deltas)
	for i, delta := range deltas {
		require.Equal(t, string(sent[i]), string(encoded(t, delta)), "a delta stays as it was made")
	}
	l.laws(t, h, pool)
}

// converge has whole states repair what was lost, and compares with a replica that
// got every delta and nothing else, in some order.
func (l lab[S]) converge(t *testing.T, h *history, sites []*site[S], deltas []S) {
	everything := known{}
	for i := range h.all {
		everything[i] = true
	}
	all, byDeltas, group := l.make("all"), l.make("deltas"), l.make("group")
	for _, s := range sites {
		all.Merge(s.state)
	}
	for _, i := range h.random.Perm(len(deltas)) {
		byDeltas.Merge(deltas[i])
	}
	if len(deltas) > 0 { // deltas gathered into one, which is sent
		gathered := decoded(t, l, encoded(t, deltas[0]))
		for _, d := range deltas {
			gathered.Merge(d)
		}
		group.Merge(decoded(t, l, encoded(t, gathered)))
	}
	require.Equal(t, l.want(h, everything), l.show(all))
	require.Equal(t, string(encoded(t, all)), string(encoded(t, byDeltas)), "all deltas are the whole")
	require.Equal(t, string(encoded(t, all)), string(encoded(t, group)), "and so they are together")
	for _, s := range sites {
		s.state.Merge(all)
		require.Equal(t, string(encoded(t, all)), string(encoded(t, s.state)), "equal states, equal bytes")
	}
}

// laws holds the laws of a lattice on states and deltas of one history.
func (l lab[S]) laws(t *testing.T, h *history, pool [][]byte) {
	pick := func() []byte { return pool[h.random.IntN(len(pool))] }
	join := func(x, y []byte) []byte {
		s := decoded(t, l, x)
		s.Merge(decoded(t, l, y))
		return encoded(t, s)
	}
	for range 15 {
		a, b, c := pick(), pick(), pick()
		ab := join(a, b)
		require.Equal(t, string(ab), string(join(b, a)), "commutative")
		require.Equal(t, string(join(ab, c)), string(join(a, join(b, c))), "associative")
		require.Equal(t, string(a), string(join(a, a)), "idempotent")
		require.Equal(t, string(ab), string(join(ab, a)), "monotone: the join holds both")
		require.Equal(t, string(ab), string(join(b, ab)))
	}
}

func encoded[S crdt.State[S]](t testing.TB, s S) []byte {
	t.Helper()
	b, err := s.AppendBinary(nil)
	require.NoError(t, err)
	return b
}

func decoded[S crdt.State[S]](t testing.TB, l lab[S], data []byte) S {
	t.Helper()
	s := l.make("")
	require.NoError(t, s.UnmarshalBinary(data))
	return s
}

func (l lab[S]) test(t *testing.T) {
	for seed := range uint64(60) {
		l.run(t, seed)
	}
}

// one of a few elements, so that replicas meet at the same ones.
func (h *history) element() string { return string(rune('w' + h.random.IntN(4))) }

// text writes down a set.
func text(elements []string) string {
	slices.Sort(elements)
	return strings.Join(slices.Compact(elements), " ")
}

// paths is what is shown of a type whose elements are there if an addition is alive.
func paths(h *history, k known) string {
	var list []string
	for _, i := range h.alive(k, "") {
		if h.all[i].what == "add" {
			list = append(list, h.all[i].path)
		}
	}
	return text(list)
}

// addOrRemove chooses, and says what comes to its end with it.
func (h *history) addOrRemove(o *operation, k known, path string) (add bool) {
	o.path, o.what, o.kills = path, "add", h.alive(k, path)
	if h.random.IntN(5) < 2 {
		o.what = "remove"
	}
	return o.what == "add"
}

func TestORSetAgainstModel(t *testing.T) {
	lab[*crdt.ORSet[string]]{
		make: crdt.NewORSet[string],
		change: func(h *history, s *crdt.ORSet[string], o *operation, k known) *crdt.ORSet[string] {
			if h.random.IntN(20) == 0 {
				o.what, o.kills = "clear", h.alive(k, "")
				return s.Clear()
			}
			e := h.element()
			if h.addOrRemove(o, k, e) {
				return s.Add(e)
			}
			return s.Remove(e)
		},
		show: func(s *crdt.ORSet[string]) string {
			list := slices.Collect(s.All())
			for _, e := range list {
				if !s.Contains(e) || len(list) != s.Len() {
					return "All, Contains and Len do not agree"
				}
			}
			return text(list)
		},
		want: paths,
	}.test(t)
}

// wins is what is shown of a type whose elements are there if an addition is alive
// and no removal is.
func wins(h *history, k known) string {
	var added, removed, list []string
	for _, i := range h.alive(k, "") {
		if h.all[i].what == "add" {
			added = append(added, h.all[i].path)
		} else {
			removed = append(removed, h.all[i].path)
		}
	}
	for _, e := range added {
		if !slices.Contains(removed, e) {
			list = append(list, e)
		}
	}
	return text(list)
}

func TestRWSetAgainstModel(t *testing.T) {
	lab[*crdt.RWSet[string]]{
		make: crdt.NewRWSet[string],
		change: func(h *history, s *crdt.RWSet[string], o *operation, k known) *crdt.RWSet[string] {
			e := h.element()
			if h.addOrRemove(o, k, e) {
				return s.Add(e)
			}
			return s.Remove(e)
		},
		show: func(s *crdt.RWSet[string]) string { return text(slices.Collect(s.All())) },
		want: wins,
	}.test(t)
}

func on(enabled bool) string {
	if enabled {
		return "on"
	}
	return ""
}

func TestEWFlagAgainstModel(t *testing.T) {
	lab[*crdt.EWFlag]{
		make: crdt.NewEWFlag,
		change: func(h *history, f *crdt.EWFlag, o *operation, k known) *crdt.EWFlag {
			if h.addOrRemove(o, k, "on") {
				return f.Enable()
			}
			return f.Disable()
		},
		show: func(f *crdt.EWFlag) string { return on(f.Enabled()) },
		want: paths,
	}.test(t)
}

func TestDWFlagAgainstModel(t *testing.T) {
	lab[*crdt.DWFlag]{
		make: crdt.NewDWFlag,
		change: func(h *history, f *crdt.DWFlag, o *operation, k known) *crdt.DWFlag {
			if h.addOrRemove(o, k, "on") {
				return f.Enable()
			}
			return f.Disable()
		},
		show: func(f *crdt.DWFlag) string { return on(f.Enabled()) },
		want: wins,
	}.test(t)
}

func TestMVRegisterAgainstModel(t *testing.T) {
	lab[*crdt.MVRegister[string]]{
		make: crdt.NewMVRegister[string],
		change: func(h *history, r *crdt.MVRegister[string], o *operation, k known) *crdt.MVRegister[string] {
			o.kills = h.alive(k, "")
			if h.random.IntN(5) == 0 {
				o.what = "clear"
				return r.Clear()
			}
			o.what, o.path = "add", fmt.Sprintf("v%d", len(h.all))
			return r.Set(o.path)
		},
		show: func(r *crdt.MVRegister[string]) string { return text(slices.Collect(r.All())) },
		want: paths,
	}.test(t)
}

type (
	tags  = crdt.ORSet[string]
	inner = crdt.ORMap[string, *tags]
	outer = crdt.ORMap[string, *inner]
)

func TestORMapOfSetsAgainstModel(t *testing.T) {
	lab[*inner]{
		make: crdt.NewORMap[string, *tags],
		change: func(h *history, m *inner, o *operation, k known) *inner {
			key := h.element()
			if h.random.IntN(6) == 0 {
				o.what, o.path, o.kills = "remove", "", h.alive(k, key+"/")
				return m.Remove(key)
			}
			return changeTags(h, m, key, "", o, k)
		},
		show: func(m *inner) string { return text(pathsOf(m, "")) },
		want: paths,
	}.test(t)
}

// changeTags changes a set in a map once, or twice in one Update.
func changeTags(h *history, m *inner, key, prefix string, o *operation, k known) *inner {
	return m.Update(key, func(s *tags) {
		e := h.element()
		if h.addOrRemove(o, k, prefix+key+"/"+e) {
			s.Add("passing") // in and out in the same delta
			s.Add(e)
			s.Remove("passing")
			return
		}
		s.Remove(e)
	})
}

func pathsOf(m *inner, prefix string) (list []string) {
	for key, s := range m.All() {
		for e := range s.All() {
			list = append(list, prefix+key+"/"+e)
		}
	}
	return list
}

func TestORMapOfMapsAgainstModel(t *testing.T) {
	lab[*outer]{
		make: crdt.NewORMap[string, *inner],
		change: func(h *history, m *outer, o *operation, k known) *outer {
			first, second := h.element(), h.element()
			switch h.random.IntN(10) {
			case 0:
				o.what, o.kills = "remove", h.alive(k, first+"/")
				return m.Remove(first)
			case 1:
				o.what, o.kills = "remove", h.alive(k, first+"/"+second+"/")
				return m.Update(first, func(in *inner) { in.Remove(second) })
			case 2:
				o.what, o.kills = "remove", h.alive(k, "")
				return m.Clear()
			}
			return m.Update(first, func(in *inner) { changeTags(h, in, second, first+"/", o, k) })
		},
		show: func(m *outer) string {
			var list []string
			for key, in := range m.All() {
				list = append(list, pathsOf(in, key+"/")...)
			}
			return text(list)
		},
		want: paths,
	}.test(t)
}

// Counters in a map: what a replica has brought is held together, and goes to a new
// dot with each change.
func TestORMapOfCountersAgainstModel(t *testing.T) {
	type counters = crdt.ORMap[string, *crdt.PNCounter]
	lab[*counters]{
		make: crdt.NewORMap[string, *crdt.PNCounter],
		change: func(h *history, m *counters, o *operation, k known) *counters {
			key := h.element()
			if h.random.IntN(4) == 0 {
				o.what, o.kills = "remove", h.alive(k, key)
				return m.Remove(key)
			}
			o.what, o.path, o.n = "count", key, h.random.Int64N(9)-4
			for _, i := range h.alive(k, key) {
				if was := h.all[i]; was.who == o.who {
					o.up, o.down, o.kills = was.up, was.down, append(o.kills, i)
				}
			}
			if o.n > 0 {
				o.up += uint64(o.n)
			} else {
				o.down += uint64(-o.n)
			}
			return m.Update(key, func(c *crdt.PNCounter) { c.Add(o.n) })
		},
		show: func(m *counters) string {
			var list []string
			for key, c := range m.All() {
				list = append(list, fmt.Sprintf("%s=%d", key, c.Value()))
			}
			return text(list)
		},
		want: func(h *history, k known) string {
			type held struct{ up, down uint64 }
			byKey := map[string]map[int]held{}
			for _, i := range h.alive(k, "") {
				o := h.all[i]
				if o.what != "count" {
					continue
				}
				if byKey[o.path] == nil {
					byKey[o.path] = map[int]held{}
				}
				was := byKey[o.path][o.who] // more than one only while a removal is on its way
				byKey[o.path][o.who] = held{max(was.up, o.up), max(was.down, o.down)}
			}
			var list []string
			for key, all := range byKey {
				sum := int64(0)
				for _, one := range all {
					sum += int64(one.up) - int64(one.down)
				}
				list = append(list, fmt.Sprintf("%s=%d", key, sum))
			}
			return text(list)
		},
	}.test(t)
}

func TestORMapThreeDeepAgainstModel(t *testing.T) {
	type house = crdt.ORMap[string, *outer]
	lab[*house]{
		make: crdt.NewORMap[string, *outer],
		change: func(h *history, m *house, o *operation, k known) *house {
			first, second, third := h.element(), h.element(), h.element()
			depth := h.random.IntN(12)
			path := strings.Join([]string{first, second, third}[:min(depth, 2)+1], "/") + "/"
			if depth < 3 {
				o.what, o.kills = "remove", h.alive(k, path)
			}
			if depth == 0 {
				return m.Remove(first)
			}
			return m.Update(first, func(out *outer) {
				if depth == 1 {
					out.Remove(second)
					return
				}
				out.Update(second, func(in *inner) {
					if depth == 2 {
						in.Remove(third)
						return
					}
					changeTags(h, in, third, first+"/"+second+"/", o, k)
				})
			})
		},
		show: func(m *house) string {
			var list []string
			for first, out := range m.All() {
				for second, in := range out.All() {
					list = append(list, pathsOf(in, first+"/"+second+"/")...)
				}
			}
			return text(list)
		},
		want: paths,
	}.test(t)
}
