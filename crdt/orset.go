package crdt

import (
	"iter"

	"github.com/parley-go/parley/vclock"
)

// ORSet is an observed-remove set: elements can be added and removed any number of
// times, and of an addition and a removal that did not know of each other the
// addition wins. Nothing is kept of removed elements: its size is that of the
// elements that are in it and of the replicas that ever added one.
//
// Deltas may be repeated and come in any order, a removal before the addition that
// it removes as well. The addition in a delta that is lost is missing until it comes
// with another state; a lost removal leaves no trace, so that only a whole state, from
// any replica that knows of it, makes up for it.
//
// The zero value belongs to no replica: it is merged and read. A set is not safe for
// concurrent use, except that any number of goroutines may read it.
//
// The source is Bieniusa et al., "An optimized conflict-free replicated set", 2012,
// with the deltas of Almeida et al., "Delta state replicated data types", 2018.
type ORSet[E comparable] struct {
	causal
	// A delta of one change is no more than this until another is merged into it. So
	// it can be made without an allocation; most are encoded and forgotten.
	one oneChange[E]
}

// NewORSet returns an empty set that is changed under the name of a replica, of at
// most MaxName bytes, and never by another with that name. With "" it is only merged
// and read. See the package comment for what a restart has to do.
func NewORSet[E comparable](replica string) *ORSet[E] {
	return &ORSet[E]{causal: newCausal(replica, new(elements[E]))}
}

// Add puts an element in and returns the delta. It takes the place of the
// additions of the same element that are known here. It costs no allocation where
// the delta stays local.
func (s *ORSet[E]) Add(element E) *ORSet[E] {
	return &ORSet[E]{one: s.add(element)} // inlined, so that the delta can be on the caller's stack
}

func (s *ORSet[E]) add(element E) oneChange[E] {
	now := s.issue()
	t := &s.store.(*elements[E]).table
	before, _ := t.get(element)
	t.put(element, dots{one: now})
	return s.changed(oneChange[E]{element, before, now})
}

// Remove takes an element out, as far as its additions are known here, and returns
// the delta. To remove what is not in the set does nothing. It costs no allocation
// where the delta stays local.
func (s *ORSet[E]) Remove(element E) *ORSet[E] {
	return &ORSet[E]{one: s.remove(element)}
}

func (s *ORSet[E]) remove(element E) oneChange[E] {
	s.mutable()
	t := &s.store.(*elements[E]).table
	before, found := t.get(element)
	if !found {
		return oneChange[E]{}
	}
	t.remove(element)
	return s.changed(oneChange[E]{element: element, before: before})
}

func (s *ORSet[E]) changed(c oneChange[E]) oneChange[E] {
	if s.in != nil {
		s.done(c.delta())
	}
	return c
}

// Clear takes out all elements that are known here and returns the delta, which
// names them all.
func (s *ORSet[E]) Clear() *ORSet[E] { return &ORSet[E]{causal: s.clear()} }

// Merge takes in another state or delta and reports whether anything changed. A
// delta costs O(its elements), a whole state O(the elements of both).
func (s *ORSet[E]) Merge(other *ORSet[E]) (changed bool) {
	if s == other {
		return false
	}
	s.causal, s.one = *s.parts(), oneChange[E]{}
	return s.mergeStanding(other.parts())
}

// Contains reports whether an element is in the set.
func (s *ORSet[E]) Contains(element E) bool {
	e, _ := s.parts().store.(*elements[E])
	if e == nil {
		return false
	}
	d, _ := e.get(element)
	return d.live()
}

// Len returns the number of elements.
func (s *ORSet[E]) Len() (n int) {
	if s.store != nil && !s.root.delta {
		return s.store.(*elements[E]).len()
	}
	for range s.All() {
		n++
	}
	return n
}

// All yields the elements, in no particular order. The set must not be changed
// meanwhile.
func (s *ORSet[E]) All() iter.Seq[E] {
	return func(yield func(E) bool) {
		e, _ := s.parts().store.(*elements[E])
		if e == nil {
			return
		}
		for element, d := range e.all() {
			if d.live() && !yield(element) {
				return
			}
		}
	}
}

// Seen returns, for each replica, up to which of its additions all are known here,
// whether by name or as removed. Beyond the first that is missing, others may be
// known as well. Removals are not among them.
func (s *ORSet[E]) Seen() vclock.Clock { return s.parts().Seen() }

// AppendBinary appends the encoding of s to b. Equal sets have equal encodings. The
// errors are ErrTooLarge, ErrUnsupported and those of elements that encode
// themselves; b is returned as it was then.
func (s *ORSet[E]) AppendBinary(b []byte) ([]byte, error) {
	return s.parts().encode(b, kindORSet, new(elements[E]))
}

// UnmarshalBinary replaces s by what AppendBinary encoded, as a state that belongs
// to no replica. The errors are ErrCorrupt and ErrUnsupported; s stays as it was
// then.
func (s *ORSet[E]) UnmarshalBinary(data []byte) error {
	err := s.decode(data, kindORSet, new(elements[E]))
	if err == nil {
		s.one = oneChange[E]{}
	}
	return err
}

// MarshalJSON returns the elements, as an array in the order of their JSON. It is
// for people: what was seen is not in it.
func (s *ORSet[E]) MarshalJSON() ([]byte, error) { return marshalSet(s.All()) }

func (*ORSet[E]) fresh() *ORSet[E]         { return new(ORSet[E]) }
func (*ORSet[E]) newStore() store          { return new(elements[E]) }
func (*ORSet[E]) bind(c *causal) *ORSet[E] { return &ORSet[E]{causal: *c} }

// parts returns the inside of the set, made anew for the delta of one change: to
// read from, and to keep only by who changes the set.
func (s *ORSet[E]) parts() *causal {
	if s.one.now.Counter == 0 && !s.one.before.live() {
		return &s.causal
	}
	return s.one.delta()
}

// A oneChange makes the dots of an element into one, or into none.
type oneChange[E comparable] struct {
	element E
	before  dots
	now     vclock.Dot
}

// A oneDelta is the delta of one change, in one allocation.
type oneDelta[E comparable] struct {
	causal
	store    elements[E]
	root     root
	list     [1]pair[E, dots]
	replicas [1]replica
	spans    [2]span
}

func (c *oneChange[E]) delta() *causal {
	d := new(oneDelta[E])
	d.store.list = d.list[:0]
	d.store.put(c.element, dots{one: c.now})
	d.root.delta = true
	d.root.context.replicas = d.replicas[:0]
	add := func(dot vclock.Dot) {
		if dot.Counter > 0 && len(d.root.context.replicas) == 0 { // usually the only one
			d.spans[0] = span{dot.Counter, dot.Counter}
			d.root.context.replicas = append(d.replicas[:0], replica{dot.Node, d.spans[:1]})
			return
		}
		d.root.context.add(dot)
	}
	c.before.each(add)
	add(c.now)
	d.causal = causal{root: &d.root, store: &d.store}
	return &d.causal
}

// elements are the elements of a set with their live dots; those without are
// mentioned in a delta.
type elements[E comparable] = entries[E, dots]
