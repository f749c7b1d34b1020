package crdt

import "iter"

// TwoPhaseSet is a set from which each element can be removed once, and then never
// comes back: of an addition and a removal the removal wins, whatever came first. What
// was removed is remembered for ever. It suits elements that have one life, such
// as sessions with unique names; otherwise use an ORSet.
//
// Deltas may be repeated and come in any order. What was in one that is lost comes with
// a whole state. The zero value is an empty set, ready to use; it needs no replica
// name. A set is not safe for concurrent use, except that any number of goroutines
// may read it.
//
// The source is Shapiro et al., 2011, section 3.3.2.
type TwoPhaseSet[E comparable] struct {
	added   GSet[E] // without those that are removed
	removed GSet[E]
	emit    func(delta *TwoPhaseSet[E]) // in a map
}

// Add puts an element in, unless it was ever removed, and returns the delta.
func (s *TwoPhaseSet[E]) Add(element E) *TwoPhaseSet[E] {
	d := new(TwoPhaseSet[E])
	d.added.Add(element)
	s.Merge(d)
	return d
}

// Remove takes an element out for ever, whether or not it is known to have been
// added, and returns the delta.
func (s *TwoPhaseSet[E]) Remove(element E) *TwoPhaseSet[E] {
	d := new(TwoPhaseSet[E])
	d.removed.Add(element)
	s.Merge(d)
	return d
}

// Contains reports whether an element is in the set.
func (s *TwoPhaseSet[E]) Contains(element E) bool { return s.added.Contains(element) }

// Removed reports whether an element was removed, and can not come back.
func (s *TwoPhaseSet[E]) Removed(element E) bool { return s.removed.Contains(element) }

// Len returns the number of elements.
func (s *TwoPhaseSet[E]) Len() int { return s.added.Len() }

// All yields the elements, in no particular order. The set must not be changed
// meanwhile.
func (s *TwoPhaseSet[E]) All() iter.Seq[E] { return s.added.All() }

// Merge takes in another state or delta and reports whether anything changed, in
// O(the elements of other).
func (s *TwoPhaseSet[E]) Merge(other *TwoPhaseSet[E]) (changed bool) {
	if s == other {
		return false
	}
	if s.emit != nil {
		s.emit(other)
	}
	changed = s.removed.Merge(&other.removed)
	for element := range other.removed.All() {
		s.added.elements.remove(element)
	}
	for element := range other.added.All() {
		if !s.removed.Contains(element) && !s.added.Contains(element) {
			s.added.elements.put(element, struct{}{})
			changed = true
		}
	}
	return changed
}

// AppendBinary appends the encoding of s to b, as ORSet.AppendBinary does.
func (s *TwoPhaseSet[E]) AppendBinary(b []byte) ([]byte, error) {
	out, err := s.added.append(append(b, format, kindTwoPhaseSet))
	if err == nil {
		out, err = s.removed.append(out)
	}
	if err != nil {
		return b, err
	}
	return out, nil
}

// UnmarshalBinary replaces s by what AppendBinary encoded, as
// ORSet.UnmarshalBinary does, ready to use.
func (s *TwoPhaseSet[E]) UnmarshalBinary(data []byte) error {
	if s.emit != nil {
		refuse(inside)
	}
	r := newReader(data, kindTwoPhaseSet)
	var decoded TwoPhaseSet[E]
	decoded.added.read(r)
	decoded.removed.read(r)
	for element := range decoded.added.All() {
		if decoded.removed.Contains(element) {
			r.fail(corrupt("an element both added and removed"))
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	*s = decoded
	return nil
}

// MarshalJSON returns the elements, as ORSet.MarshalJSON does.
func (s *TwoPhaseSet[E]) MarshalJSON() ([]byte, error) { return marshalSet(s.All()) }

func (*TwoPhaseSet[E]) fresh() *TwoPhaseSet[E] { return new(TwoPhaseSet[E]) }
func (*TwoPhaseSet[E]) newStore() store        { return new(versions[*TwoPhaseSet[E]]) }

func (*TwoPhaseSet[E]) bind(c *causal) *TwoPhaseSet[E] {
	v := view(c, new(TwoPhaseSet[E]))
	v.emit = func(delta *TwoPhaseSet[E]) { report(c, delta) }
	return v
}
