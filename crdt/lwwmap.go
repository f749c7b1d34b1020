package crdt

import (
	"iter"

	"github.com/parley-go/parley/vclock"
)

// LWWMap is a last-writer-wins map: each key has the value that was written with the
// highest stamp, or is gone if that was a removal. Its values are plain ones; for
// values that are CRDTs, use ORMap. What LWWRegister says of stamps holds here.
//
// The stamp of a removal has to be remembered, to win over older writes yet to come:
// removed keys cost as much as others until Compact forgets them.
//
// Deltas may be repeated and come in any order. What was in one that is lost comes with
// a later write of that key or with a whole state. The zero value belongs to no
// replica: it is merged and read. A map is not safe for concurrent use, except that
// any number of goroutines may read it.
type LWWMap[K comparable, V any] struct {
	replica string
	writes  table[K, write[V]]
	emit    func(delta *LWWMap[K, V]) // in a map
}

// NewLWWMap returns an empty map that is changed under the name of a replica, as
// NewLWWRegister does.
func NewLWWMap[K comparable, V any](replica string) *LWWMap[K, V] {
	return &LWWMap[K, V]{replica: replica}
}

// Set writes the value of a key and returns the delta. A write whose stamp is not
// above that of the key is lost, here as everywhere else.
func (m *LWWMap[K, V]) Set(stamp vclock.Stamp, key K, value V) *LWWMap[K, V] {
	return m.put(key, write[V]{stamp: stamp, value: value})
}

// Remove removes a key and returns the delta. A removal whose stamp is not above
// that of the key is lost. Keys that are not in the map can be removed as well: that
// wins over older writes yet to come.
func (m *LWWMap[K, V]) Remove(stamp vclock.Stamp, key K) *LWWMap[K, V] {
	return m.put(key, write[V]{stamp: stamp, removed: true})
}

func (m *LWWMap[K, V]) put(key K, w write[V]) *LWWMap[K, V] {
	if m.replica == "" {
		refuse(nobody)
	}
	w.by = m.replica
	d := new(LWWMap[K, V])
	d.writes.put(key, w)
	m.Merge(d)
	return d
}

// Get returns the value of a key and whether it is in the map.
func (m *LWWMap[K, V]) Get(key K) (value V, found bool) {
	w, found := m.writes.get(key)
	return w.value, found && !w.removed
}

// Stamp returns the stamp of what is known of a key last, its removal too, or 0.
func (m *LWWMap[K, V]) Stamp(key K) vclock.Stamp {
	w, _ := m.writes.get(key)
	return w.stamp
}

// Len returns the number of keys, in O(n).
func (m *LWWMap[K, V]) Len() (n int) {
	for range m.All() {
		n++
	}
	return n
}

// All yields the keys with their values, in no particular order. The map must not
// be changed meanwhile.
func (m *LWWMap[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for key, w := range m.writes.all() {
			if !w.removed && !yield(key, w.value) {
				return
			}
		}
	}
}

// Merge takes in another state or delta and reports whether anything changed, in
// O(the keys of other).
func (m *LWWMap[K, V]) Merge(other *LWWMap[K, V]) (changed bool) {
	if m == other {
		return false
	}
	if m.emit != nil {
		m.emit(other)
	}
	for key, theirs := range other.writes.all() {
		if ours, found := m.writes.get(key); !found || theirs.beats(&ours) {
			m.writes.put(key, theirs)
			changed = true
		}
	}
	return changed
}

// Compact forgets removed keys whose stamps are below before, and returns how many
// they were. No write with a stamp below that may be still on its way or ever be
// made: it would bring the key back. In a map inside an ORMap it has no lasting
// effect.
func (m *LWWMap[K, V]) Compact(before vclock.Stamp) (forgotten int) {
	for key, w := range m.writes.all() {
		if w.removed && w.stamp < before {
			m.writes.remove(key)
			forgotten++
		}
	}
	return forgotten
}

// AppendBinary appends the encoding of m to b, as ORSet.AppendBinary does.
func (m *LWWMap[K, V]) AppendBinary(b []byte) ([]byte, error) {
	out, err := appendTable(append(b, format, kindLWWMap), &m.writes, func(b []byte, w write[V]) ([]byte, error) { return w.append(b) })
	if err != nil {
		return b, err
	}
	return out, nil
}

// UnmarshalBinary replaces m by what AppendBinary encoded, as
// ORSet.UnmarshalBinary does.
func (m *LWWMap[K, V]) UnmarshalBinary(data []byte) error {
	if m.emit != nil {
		refuse(inside)
	}
	r := newReader(data, kindLWWMap)
	var decoded LWWMap[K, V]
	readTable(r, &decoded.writes, func() write[V] { return readWrite[V](r) })
	if err := r.end(); err != nil {
		return err
	}
	*m = decoded
	return nil
}

// MarshalJSON returns an object of the keys and values, as ORMap.MarshalJSON does.
func (m *LWWMap[K, V]) MarshalJSON() ([]byte, error) { return marshalMap(m.All()) }

func (*LWWMap[K, V]) fresh() *LWWMap[K, V] { return new(LWWMap[K, V]) }
func (*LWWMap[K, V]) newStore() store      { return new(versions[*LWWMap[K, V]]) }

func (*LWWMap[K, V]) bind(c *causal) *LWWMap[K, V] {
	v := view(c, NewLWWMap[K, V](c.root.name()))
	v.emit = func(delta *LWWMap[K, V]) { report(c, delta) }
	return v
}
