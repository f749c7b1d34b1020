package crdt

import "iter"

// MVRegister is a multi-value register: it holds the value written last, and if
// values were written concurrently all of them, for a reader to resolve with another
// write.
//
// Deltas may be repeated and come in any order; what was in one that is lost comes with
// another state, but for a lost Clear, for which only a whole state makes up. For
// the values of a replicated store with contexts from its clients, see
// vclock.Siblings.
//
// Values are not copied: change none that was put in or taken out. The zero value
// belongs to no replica: it is merged and read. A register is not safe for
// concurrent use, except that any number of goroutines may read it.
type MVRegister[V any] struct{ causal }

// NewMVRegister returns a register without a value that is changed under the name of
// a replica, as NewORSet does.
func NewMVRegister[V any](replica string) *MVRegister[V] {
	return &MVRegister[V]{newCausal(replica, new(versions[V]))}
}

// Set writes a value and returns the delta. It takes the place of the values that
// are known here.
func (r *MVRegister[V]) Set(value V) *MVRegister[V] {
	r.mutable()
	all := func(version[V]) bool { return true }
	return &MVRegister[V]{r.store.(*versions[V]).replace(&r.causal, value, all)}
}

// Clear removes the values that are known here and returns the delta.
func (r *MVRegister[V]) Clear() *MVRegister[V] { return &MVRegister[V]{r.clear()} }

// Merge takes in another state or delta and reports whether anything changed.
func (r *MVRegister[V]) Merge(other *MVRegister[V]) (changed bool) {
	return r.mergeStanding(&other.causal)
}

// All yields the values, in the order of their replicas: none if nothing was written
// or all was cleared, more than one after concurrent writes. The register must not
// be changed meanwhile.
func (r *MVRegister[V]) All() iter.Seq[V] {
	return func(yield func(V) bool) {
		if r.store == nil {
			return
		}
		for _, v := range r.store.(*versions[V]).list {
			if !yield(v.value) {
				return
			}
		}
	}
}

// Len returns how many values All yields.
func (r *MVRegister[V]) Len() int {
	if r.store == nil {
		return 0
	}
	return len(r.store.(*versions[V]).list)
}

// AppendBinary appends the encoding of r to b, as ORSet.AppendBinary does.
func (r *MVRegister[V]) AppendBinary(b []byte) ([]byte, error) {
	return r.encode(b, kindMVRegister, new(versions[V]))
}

// UnmarshalBinary replaces r by what AppendBinary encoded, as
// ORSet.UnmarshalBinary does.
func (r *MVRegister[V]) UnmarshalBinary(data []byte) error {
	return r.decode(data, kindMVRegister, new(versions[V]))
}

// MarshalJSON returns the values as an array, as ORSet.MarshalJSON does.
func (r *MVRegister[V]) MarshalJSON() ([]byte, error) { return marshalSet(r.All()) }

func (*MVRegister[V]) fresh() *MVRegister[V]         { return new(MVRegister[V]) }
func (*MVRegister[V]) newStore() store               { return new(versions[V]) }
func (*MVRegister[V]) bind(c *causal) *MVRegister[V] { return &MVRegister[V]{*c} }
