package crdt

import "strconv"

// A State is any of the types of this package, as a pointer: what a program that
// stores, sends and merges states needs, whichever they are. It is a constraint
// for type parameters, as in func load[S crdt.State[S]](into S, data []byte) error.
// Only types of this package implement it.
type State[S any] interface {
	// Merge takes in another state or delta and reports whether anything
	// changed. It keeps no reference to what it is given.
	Merge(other S) (changed bool)
	// AppendBinary appends the encoding to b. States that hold the same have
	// equal encodings. On an error, b is returned as it was.
	AppendBinary(b []byte) ([]byte, error)
	// UnmarshalBinary replaces the state by what AppendBinary encoded, one that
	// belongs to no replica; see the package comment. It does not refer to data
	// afterwards, and the state stays as it was on an error.
	UnmarshalBinary(data []byte) error

	fresh() S // an empty state of no replica; the receiver may be nil
}

// A Nestable is a type that an ORMap can hold as its values: all of this package
// but BoundedCounter, whose rights cannot be taken back by a removal.
type Nestable[V any] interface {
	State[V]

	// The receiver may be nil.
	newStore() store
	bind(c *causal) V // the value that is held in c.store
}

// Incarnation returns a name for a replica that starts again: node, and after a #
// the number of the start in base 36. A replica that does not have for certain the
// newest state that it ever let out, such as one that saves now and then, must go
// on under a name that was never used. number must be another one on each start:
// a counter kept in a file, or a vclock.Stamp from a vclock.Durable.
//
// Each name that has changed something costs an entry in the states; see Prune.
func Incarnation(node string, number uint64) string {
	return node + "#" + strconv.FormatUint(number, 36)
}
