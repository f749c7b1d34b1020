package crdt

import (
	"encoding/binary"
	"iter"

	"github.com/parley-go/parley/vclock"
)

// LWWSet is a last-writer-wins element set: each element is in it or not as the
// addition or removal with the highest stamp says; of equal stamps the addition
// wins. What LWWRegister says of stamps holds here, but no replica name is needed.
//
// The stamp of a removal has to be remembered: removed elements cost as much as
// others until Compact forgets them.
//
// Deltas may be repeated and come in any order. What was in one that is lost comes with
// a later change of that element or with a whole state. The zero value is an empty
// set, ready to use. A set is not safe for concurrent use, except that any number of
// goroutines may read it.
//
// The source is Shapiro et al., 2011, section 3.3.3.
type LWWSet[E comparable] struct {
	last table[E, change]
	emit func(delta *LWWSet[E]) // in a map
}

// A change is the last addition or removal of an element.
type change struct {
	stamp vclock.Stamp
	added bool
}

func (c change) beats(d change) bool {
	return c.stamp > d.stamp || c.stamp == d.stamp && c.added && !d.added
}

// Add puts an element in and returns the delta. An addition whose stamp is below that
// of the element is lost, here as everywhere else.
func (s *LWWSet[E]) Add(stamp vclock.Stamp, element E) *LWWSet[E] {
	return s.put(element, change{stamp, true})
}

// Remove takes an element out and returns the delta. A removal whose stamp is not
// above that of the element is lost. What is not in the set can be removed as well:
// that wins over older additions yet to come.
func (s *LWWSet[E]) Remove(stamp vclock.Stamp, element E) *LWWSet[E] {
	return s.put(element, change{stamp, false})
}

func (s *LWWSet[E]) put(element E, c change) *LWWSet[E] {
	d := new(LWWSet[E])
	d.last.put(element, c)
	s.Merge(d)
	return d
}

// Contains reports whether an element is in the set.
func (s *LWWSet[E]) Contains(element E) bool {
	c, _ := s.last.get(element)
	return c.added
}

// Stamp returns the stamp of what is known of an element last, its removal too, or
// 0.
func (s *LWWSet[E]) Stamp(element E) vclock.Stamp {
	c, _ := s.last.get(element)
	return c.stamp
}

// Len returns the number of elements, in O(n).
func (s *LWWSet[E]) Len() (n int) {
	for range s.All() {
		n++
	}
	return n
}

// All yields the elements, in no particular order. The set must not be changed
// meanwhile.
func (s *LWWSet[E]) All() iter.Seq[E] {
	return func(yield func(E) bool) {
		for element, c := range s.last.all() {
			if c.added && !yield(element) {
				return
			}
		}
	}
}

// Merge takes in another state or delta and reports whether anything changed, in
// O(the elements of other).
func (s *LWWSet[E]) Merge(other *LWWSet[E]) (changed bool) {
	if s == other {
		return false
	}
	if s.emit != nil {
		s.emit(other)
	}
	for element, theirs := range other.last.all() {
		if ours, found := s.last.get(element); !found || theirs.beats(ours) {
			s.last.put(element, theirs)
			changed = true
		}
	}
	return changed
}

// Compact forgets removed elements whose stamps are below before, and returns how
// many they were; the condition is that of LWWMap.Compact.
func (s *LWWSet[E]) Compact(before vclock.Stamp) (forgotten int) {
	for element, c := range s.last.all() {
		if !c.added && c.stamp < before {
			s.last.remove(element)
			forgotten++
		}
	}
	return forgotten
}

// AppendBinary appends the encoding of s to b, as ORSet.AppendBinary does.
func (s *LWWSet[E]) AppendBinary(b []byte) ([]byte, error) {
	out, err := appendTable(append(b, format, kindLWWSet), &s.last, func(b []byte, c change) ([]byte, error) {
		added := byte(0)
		if c.added {
			added = 1
		}
		return append(binary.AppendUvarint(b, uint64(c.stamp)), added), nil
	})
	if err != nil {
		return b, err
	}
	return out, nil
}

// UnmarshalBinary replaces s by what AppendBinary encoded, as
// ORSet.UnmarshalBinary does, ready to use.
func (s *LWWSet[E]) UnmarshalBinary(data []byte) error {
	if s.emit != nil {
		refuse(inside)
	}
	r := newReader(data, kindLWWSet)
	var decoded LWWSet[E]
	readTable(r, &decoded.last, func() change { return change{vclock.Stamp(r.number()), r.flag()} })
	if err := r.end(); err != nil {
		return err
	}
	*s = decoded
	return nil
}

// MarshalJSON returns the elements, as ORSet.MarshalJSON does.
func (s *LWWSet[E]) MarshalJSON() ([]byte, error) { return marshalSet(s.All()) }

func (*LWWSet[E]) fresh() *LWWSet[E] { return new(LWWSet[E]) }
func (*LWWSet[E]) newStore() store   { return new(versions[*LWWSet[E]]) }

func (*LWWSet[E]) bind(c *causal) *LWWSet[E] {
	v := view(c, new(LWWSet[E]))
	v.emit = func(delta *LWWSet[E]) { report(c, delta) }
	return v
}
