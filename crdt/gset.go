package crdt

import "iter"

// GSet is a set that only grows.
//
// Deltas may be repeated and come in any order. The elements of one that is lost come
// with a whole state. The zero value is an empty set, ready to use; it needs no
// replica name. A set is not safe for concurrent use, except that any number of
// goroutines may read it.
//
// The source is Shapiro et al., 2011, section 3.3.1.
type GSet[E comparable] struct {
	elements table[E, struct{}]
	emit     func(delta *GSet[E]) // in a map
}

// Add puts elements in and returns the delta, which has them all.
func (s *GSet[E]) Add(elements ...E) *GSet[E] {
	d := new(GSet[E])
	for _, element := range elements {
		d.elements.put(element, struct{}{})
	}
	s.Merge(d)
	return d
}

// Contains reports whether an element is in the set.
func (s *GSet[E]) Contains(element E) bool {
	_, found := s.elements.get(element)
	return found
}

// Len returns the number of elements.
func (s *GSet[E]) Len() int { return s.elements.len() }

// All yields the elements, in no particular order. The set must not be changed
// meanwhile.
func (s *GSet[E]) All() iter.Seq[E] {
	return func(yield func(E) bool) {
		for element := range s.elements.all() {
			if !yield(element) {
				return
			}
		}
	}
}

// Merge takes in another state or delta and reports whether anything changed, in
// O(the elements of other).
func (s *GSet[E]) Merge(other *GSet[E]) (changed bool) {
	if s == other {
		return false
	}
	if s.emit != nil {
		s.emit(other)
	}
	before := s.Len()
	for element := range other.elements.all() {
		s.elements.put(element, struct{}{})
	}
	return s.Len() > before
}

// AppendBinary appends the encoding of s to b, as ORSet.AppendBinary does.
func (s *GSet[E]) AppendBinary(b []byte) ([]byte, error) {
	out, err := s.append(append(b, format, kindGSet))
	if err != nil {
		return b, err
	}
	return out, nil
}

func (s *GSet[E]) append(b []byte) ([]byte, error) {
	return appendTable(b, &s.elements, func(b []byte, _ struct{}) ([]byte, error) { return b, nil })
}

func (s *GSet[E]) read(r *reader) {
	readTable(r, &s.elements, func() struct{} { return struct{}{} })
}

// UnmarshalBinary replaces s by what AppendBinary encoded, as
// ORSet.UnmarshalBinary does, ready to use.
func (s *GSet[E]) UnmarshalBinary(data []byte) error {
	if s.emit != nil {
		refuse(inside)
	}
	r := newReader(data, kindGSet)
	var decoded GSet[E]
	decoded.read(r)
	if err := r.end(); err != nil {
		return err
	}
	*s = decoded
	return nil
}

// MarshalJSON returns the elements, as ORSet.MarshalJSON does.
func (s *GSet[E]) MarshalJSON() ([]byte, error) { return marshalSet(s.All()) }

func (*GSet[E]) fresh() *GSet[E] { return new(GSet[E]) }
func (*GSet[E]) newStore() store { return new(versions[*GSet[E]]) }

func (*GSet[E]) bind(c *causal) *GSet[E] {
	v := view(c, new(GSet[E]))
	v.emit = func(delta *GSet[E]) { report(c, delta) }
	return v
}
