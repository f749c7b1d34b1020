package crdt

import (
	"iter"

	"github.com/parley-go/parley/vclock"
)

// ORMap is an observed-remove map from keys to values that are CRDTs themselves:
// any type of this package but BoundedCounter, ORMap included, as a pointer:
//
//	cart := crdt.NewORMap[string, *crdt.PNCounter]("a")
//	delta := cart.Update("milk", func(n *crdt.PNCounter) { n.Add(2) })
//
// A key is in the map while its value holds something: there is no other way to put
// one in than to change its value, and a value emptied takes its key along. To
// remove a key takes from its value what is known of it here, and a concurrent change
// survives:
//
//   - In MVRegister, EWFlag, DWFlag, ORSet, RWSet and ORMap, that change alone
//     survives: an element added concurrently is there, and those that had been
//     seen are gone. A removal noted in a DWFlag or RWSet is something held.
//   - In the other types, which do not know their past, what a replica has brought
//     to a value since it last saw it removed is held together: of a counter that
//     was removed while replica b added to it, all that b has added since then
//     survives, also what the remover had seen, and nothing of the other replicas.
//     So it is in each LWW type, GSet and TwoPhaseSet: b's writes survive.
//
// Deltas may be repeated and come in any order. What was in one that is lost is
// missing until it comes with another state; removals leave no trace, so that only
// a whole state makes up for them. Deltas cost what they change, but for the removal
// of a key, which names all elements of its value, and for changes of the types in
// the second group, which carry all that this replica has brought.
//
// The zero value belongs to no replica: it is merged and read. A map is not safe for
// concurrent use, except that any number of goroutines may read it.
//
// Riak's maps are the model, and Almeida et al., "Delta state replicated data
// types", 2018, the source.
type ORMap[K comparable, V Nestable[V]] struct{ causal }

// NewORMap returns an empty map that is changed under the name of a replica, as
// NewORSet does.
func NewORMap[K comparable, V Nestable[V]](replica string) *ORMap[K, V] {
	return &ORMap[K, V]{newCausal(replica, new(fields[K, V]))}
}

// Update lets change have the value of a key, an empty one if the key is not in
// the map, and returns the delta of all that it did. The value must not be used
// after that: a later change of it ends the program. Meanwhile the map must not be
// changed in any other way.
func (m *ORMap[K, V]) Update(key K, change func(value V)) *ORMap[K, V] {
	m.mutable()
	f := m.store.(*fields[K, V])
	held, found := f.get(key)
	if !found {
		held = f.newValue()
		f.put(key, held)
	}
	record := newDelta(held.fresh())
	in := &visit{&record}
	defer func() { // also when change panics
		in.record = nil
		if !held.live() {
			f.remove(key)
		}
	}()
	var v V
	change(v.bind(&causal{m.root, held, in}))

	d := new(fields[K, V])
	if len(record.root.context.replicas) > 0 {
		d.put(key, record.store)
	}
	delta := &ORMap[K, V]{causal{root: record.root, store: d}}
	m.done(&delta.causal)
	return delta
}

// Remove removes what is known of the value of a key here, and with it the key, and
// returns the delta. To remove what is not in the map does nothing.
func (m *ORMap[K, V]) Remove(key K) *ORMap[K, V] {
	m.mutable()
	f := m.store.(*fields[K, V])
	d := newDelta(new(fields[K, V]))
	if held, found := f.get(key); found {
		gone := held.fresh()
		d.root.context.cover(held)
		held.kill(gone)
		f.remove(key)
		d.store.(*fields[K, V]).put(key, gone)
		m.done(&d)
	}
	return &ORMap[K, V]{d}
}

// Clear removes all keys that are known here and returns the delta.
func (m *ORMap[K, V]) Clear() *ORMap[K, V] { return &ORMap[K, V]{m.clear()} }

// Merge takes in another state or delta and reports whether anything changed.
func (m *ORMap[K, V]) Merge(other *ORMap[K, V]) (changed bool) {
	return m.mergeStanding(&other.causal)
}

// Get returns the value of a key and whether the key is in the map; if not, the
// value is an empty one. It is to be read, until the map is changed or merged: to
// change it ends the program, see Update. Types that do not know their past are put
// together anew with each call, in O(their size).
func (m *ORMap[K, V]) Get(key K) (value V, found bool) {
	if m.store != nil {
		f := m.store.(*fields[K, V])
		if held, found := f.get(key); found && held.live() {
			return m.look(held), true
		}
	}
	return value.fresh(), false
}

// Contains reports whether a key is in the map.
func (m *ORMap[K, V]) Contains(key K) bool {
	if m.store == nil {
		return false
	}
	held, found := m.store.(*fields[K, V]).get(key)
	return found && held.live()
}

// All yields the keys with their values, which are to be read as those of Get
// are, in no particular order. The map must not be changed meanwhile.
func (m *ORMap[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.store == nil {
			return
		}
		for key, held := range m.store.(*fields[K, V]).all() {
			if held.live() && !yield(key, m.look(held)) {
				return
			}
		}
	}
}

// Len returns the number of keys, in O(n).
func (m *ORMap[K, V]) Len() (n int) {
	if m.store == nil {
		return 0
	}
	for _, held := range m.store.(*fields[K, V]).all() {
		if held.live() {
			n++
		}
	}
	return n
}

// look returns a value that can only be read.
func (m *ORMap[K, V]) look(held store) (v V) {
	return v.bind(&causal{m.root, held, new(visit)})
}

// AppendBinary appends the encoding of m to b, as ORSet.AppendBinary does.
func (m *ORMap[K, V]) AppendBinary(b []byte) ([]byte, error) {
	return m.encode(b, kindORMap, new(fields[K, V]))
}

// UnmarshalBinary replaces m by what AppendBinary encoded, as
// ORSet.UnmarshalBinary does.
func (m *ORMap[K, V]) UnmarshalBinary(data []byte) error {
	return m.decode(data, kindORMap, new(fields[K, V]))
}

// MarshalJSON returns an object of the keys and the JSON of their values. Keys whose
// JSON is not a string are that JSON in a string. It is for people: what was seen is
// not in it.
func (m *ORMap[K, V]) MarshalJSON() ([]byte, error) { return marshalMap(m.All()) }

func (*ORMap[K, V]) fresh() *ORMap[K, V]         { return new(ORMap[K, V]) }
func (*ORMap[K, V]) newStore() store             { return new(fields[K, V]) }
func (*ORMap[K, V]) bind(c *causal) *ORMap[K, V] { return &ORMap[K, V]{*c} }

// fields are the keys of a map with the stores of their values, none of them
// shared with another state. Those that are not live stand only in deltas.
type fields[K comparable, V Nestable[V]] struct{ table[K, store] }

func (*fields[K, V]) newValue() store {
	var v V
	return v.newStore()
}

func (s *fields[K, V]) fresh() store { return new(fields[K, V]) }

func (s *fields[K, V]) join(other store, how *joining) (changed bool) {
	o, _ := other.(*fields[K, V])
	if o == nil {
		o = new(fields[K, V])
	}
	if how.whole {
		for key, ours := range s.all() {
			if _, mentioned := o.get(key); mentioned {
				continue
			}
			changed = ours.join(nil, how) || changed
			if !ours.live() && !how.delta {
				s.remove(key)
			}
		}
	}
	for key, theirs := range o.all() {
		ours, found := s.get(key)
		if !found {
			ours = theirs.fresh()
		}
		changed = ours.join(theirs, how) || changed
		switch live := ours.live() || how.delta; {
		case live && !found:
			s.put(key, ours)
		case !live && found:
			s.remove(key)
		}
	}
	return changed
}

func (s *fields[K, V]) live() bool {
	for _, held := range s.all() {
		if held.live() {
			return true
		}
	}
	return false
}

func (s *fields[K, V]) dots(yield func(vclock.Dot)) {
	for _, held := range s.all() {
		held.dots(yield)
	}
}

func (s *fields[K, V]) kill(gone store) {
	g := gone.(*fields[K, V])
	for key, held := range s.all() {
		mention := held.fresh()
		held.kill(mention)
		g.put(key, mention)
	}
	s.table = table[K, store]{}
}

func (s *fields[K, V]) append(b []byte, c *context) ([]byte, error) {
	return appendTable(b, &s.table, func(b []byte, held store) ([]byte, error) { return held.append(b, c) })
}

func (s *fields[K, V]) read(r *reader, c *context, delta bool) {
	readTable(r, &s.table, func() store {
		held := s.newValue()
		held.read(r, c, delta)
		if !held.live() && !delta {
			r.failMention()
		}
		return held
	})
}
