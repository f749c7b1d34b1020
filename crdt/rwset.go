package crdt

import (
	"iter"

	"github.com/parley-go/parley/vclock"
)

// RWSet is a remove-wins set: elements can be added and removed any number of times,
// and of an addition and a removal that did not know of each other the removal wins.
// To win against additions yet to come, a removal has to be remembered: removed
// elements cost as much as others until Compact forgets them.
//
// Deltas may be repeated and come in any order. What was in one that is lost, an
// addition or a removal, is missing until it comes with another state.
//
// The zero value belongs to no replica: it is merged and read. A set is not safe for
// concurrent use, except that any number of goroutines may read it.
type RWSet[E comparable] struct{ causal }

// NewRWSet returns an empty set that is changed under the name of a replica, as
// NewORSet does.
func NewRWSet[E comparable](replica string) *RWSet[E] {
	return &RWSet[E]{newCausal(replica, new(ballots[E]))}
}

// Add puts an element in and returns the delta. It undoes the removals that are
// known here.
func (s *RWSet[E]) Add(element E) *RWSet[E] {
	return s.vote(element, ballot{added: dots{one: s.issue()}})
}

// Remove takes an element out and returns the delta. To remove what is not in the
// set is a removal all the same: it wins against concurrent additions.
func (s *RWSet[E]) Remove(element E) *RWSet[E] {
	return s.vote(element, ballot{removed: dots{one: s.issue()}})
}

// vote puts a ballot in the place of those that are known here.
func (s *RWSet[E]) vote(element E, now ballot) *RWSet[E] {
	t := &s.store.(*ballots[E]).table
	before, _ := t.get(element)
	t.put(element, now)
	d := new(ballots[E])
	d.put(element, now)
	delta := newDelta(d)
	before.each(delta.root.context.add)
	now.each(delta.root.context.add)
	s.done(&delta)
	return &RWSet[E]{delta}
}

// Merge takes in another state or delta and reports whether anything changed.
func (s *RWSet[E]) Merge(other *RWSet[E]) (changed bool) { return s.mergeStanding(&other.causal) }

// Contains reports whether an element is in the set.
func (s *RWSet[E]) Contains(element E) bool {
	if s.store == nil {
		return false
	}
	b, _ := s.store.(*ballots[E]).get(element)
	return b.won()
}

// Len returns the number of elements, in O(n).
func (s *RWSet[E]) Len() (n int) {
	for range s.All() {
		n++
	}
	return n
}

// All yields the elements, in no particular order. The set must not be changed
// meanwhile.
func (s *RWSet[E]) All() iter.Seq[E] {
	return func(yield func(E) bool) {
		if s.store == nil {
			return
		}
		for element, b := range s.store.(*ballots[E]).all() {
			if b.won() && !yield(element) {
				return
			}
		}
	}
}

// Compact forgets removed elements of which all removals, and all additions that they
// win against, are in stable, and returns how many they were. An event is stable when
// every replica has seen it, and a whole state that says so in its Seen has come from
// each and was merged here: the meet of these clocks. An addition that is still on its
// way would otherwise bring the element back.
//
// That something was forgotten goes to others with whole states only. To where a
// removal is still remembered, so do additions made after it was forgotten: a delta
// does not say that it undoes it, and the element stays out until then. A delta
// itself forgets nothing.
func (s *RWSet[E]) Compact(stable vclock.Clock) (forgotten int) {
	if s.in != nil && s.in.record == nil {
		refuse(outside)
	}
	if s.store == nil || s.root.delta {
		return 0
	}
	t := &s.store.(*ballots[E]).table
	for element, b := range t.all() {
		settled := b.removed.live()
		// An addition that is not stable may be later than the removal, from a replica
		// that had forgotten it.
		b.each(func(dot vclock.Dot) { settled = settled && stable.Contains(dot) })
		if settled {
			t.remove(element)
			forgotten++
		}
	}
	return forgotten
}

// AppendBinary appends the encoding of s to b, as ORSet.AppendBinary does.
func (s *RWSet[E]) AppendBinary(b []byte) ([]byte, error) {
	return s.encode(b, kindRWSet, new(ballots[E]))
}

// UnmarshalBinary replaces s by what AppendBinary encoded, as ORSet.UnmarshalBinary
// does.
func (s *RWSet[E]) UnmarshalBinary(data []byte) error {
	return s.decode(data, kindRWSet, new(ballots[E]))
}

// MarshalJSON returns the elements, as ORSet.MarshalJSON does.
func (s *RWSet[E]) MarshalJSON() ([]byte, error) { return marshalSet(s.All()) }

func (*RWSet[E]) fresh() *RWSet[E]         { return new(RWSet[E]) }
func (*RWSet[E]) newStore() store          { return new(ballots[E]) }
func (*RWSet[E]) bind(c *causal) *RWSet[E] { return &RWSet[E]{*c} }

// A ballot is what is to be said of one element, as far as nothing later has taken
// its place.
type ballot struct{ added, removed dots }

func (b ballot) won() bool  { return b.added.live() && !b.removed.live() }
func (b ballot) live() bool { return b.added.live() || b.removed.live() }

func (b ballot) each(yield func(vclock.Dot)) {
	b.added.each(yield)
	b.removed.each(yield)
}

func (b ballot) joined(theirs ballot, how *joining) (ballot, bool) {
	added, differs := b.added.joined(theirs.added, how)
	removed, differs2 := b.removed.joined(theirs.removed, how)
	return ballot{added, removed}, differs || differs2
}

func (b ballot) append(out []byte, c *context) []byte {
	return b.removed.append(b.added.append(out, c), c)
}

func (ballot) read(r *reader, c *context) ballot {
	return ballot{added: readDots(r, c), removed: readDots(r, c)}
}

// ballots are the elements of a remove-wins set, removed ones too.
type ballots[E comparable] = entries[E, ballot]
