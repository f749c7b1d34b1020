package crdt

import (
	"iter"
	"maps"
)

// few is up to how many pairs a table holds without a map. Most deltas and many
// nested values hold one. A table that shrinks goes back to a list at less than half
// of that, so that one that swings about few makes no map each time.
const few = 8

// A table is a map that is a list while it is small, and gives memory back when
// it shrinks. The zero value is empty.
type table[K comparable, V any] struct {
	list []pair[K, V] // while hashed is nil; in any order
	// Made when there are more than few, and made anew when there are less than
	// a quarter of peak.
	hashed map[K]V
	peak   int // the largest number of pairs since hashed was made
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func (t *table[K, V]) len() int { return len(t.list) + len(t.hashed) }

func (t *table[K, V]) get(key K) (value V, found bool) {
	if t.hashed != nil {
		value, found = t.hashed[key]
		return value, found
	}
	for i := range t.list {
		if t.list[i].key == key {
			return t.list[i].value, true
		}
	}
	return value, false
}

// put does nothing with a key that is not equal to itself, a NaN: it would never be
// found again, and come in once more with every merge.
func (t *table[K, V]) put(key K, value V) {
	if unequal(key) {
		return
	}
	if t.hashed != nil {
		t.hashed[key] = value
		t.peak = max(t.peak, len(t.hashed))
		return
	}
	for i := range t.list {
		if t.list[i].key == key {
			t.list[i].value = value
			return
		}
	}
	if len(t.list) < few {
		t.list = append(t.list, pair[K, V]{key, value})
		return
	}
	t.rehash()
	t.hashed[key] = value
	t.peak = max(t.peak, len(t.hashed))
}

// unequal reports whether a key is not equal to itself.
func unequal[K comparable](key K) bool {
	again := key
	return again != key
}

// remove takes out a pair. What is being visited by all may be removed.
func (t *table[K, V]) remove(key K) {
	if t.hashed != nil {
		delete(t.hashed, key)
		if len(t.hashed) < t.peak/4 {
			t.rehash()
		}
		return
	}
	for i := range t.list {
		if t.list[i].key == key {
			last := len(t.list) - 1
			t.list[i] = t.list[last]
			t.list[last] = pair[K, V]{}
			t.list = t.list[:last]
			return
		}
	}
}

// rehash moves all pairs into a map of their number, or a list if they are few.
func (t *table[K, V]) rehash() {
	if t.len() < few/2 {
		list := make([]pair[K, V], 0, few)
		for key, value := range t.all() {
			list = append(list, pair[K, V]{key, value})
		}
		t.list, t.hashed, t.peak = list, nil, 0
		return
	}
	hashed := make(map[K]V, t.len()+1)
	maps.Insert(hashed, t.all())
	t.list, t.hashed, t.peak = nil, hashed, max(len(hashed), 2*few)
}

// all yields the pairs in no particular order. Beside the pair that is being
// visited, nothing may be added or removed meanwhile.
func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		// Backwards: remove fills the gap with the last one.
		for i := len(t.list) - 1; i >= 0; i-- {
			if !yield(t.list[i].key, t.list[i].value) {
				return
			}
		}
		for key, value := range t.hashed { // any order: whoever sends or stores it sorts it first
			if !yield(key, value) {
				return
			}
		}
	}
}
