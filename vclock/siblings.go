package vclock

import (
	"iter"
	"slices"
)

// Siblings is a dotted version vector set: the current values of one key at one
// replica of a store, with what it takes to tell a value that was overwritten from
// one that nobody who wrote later had seen. Values that were written concurrently
// are siblings and are all kept, until a write whose context covers them takes
// their place. The zero value holds nothing and is ready to use.
//
// A reader gets the values and a context; a writer gives the context of what it
// had read, and its write replaces exactly that. Only replicas count in the clock,
// not clients, so it stays as small as the replicas are few.
//
// Like a Clock it is a value: assigning it copies it in constant time, any number
// of goroutines may read it, and to change it needs exclusive use of the variable.
// Values are not copied: change none that was put in or taken out.
//
// The source is Almeida et al., "Scalable and Accurate Causality Tracking for
// Eventually Consistent Stores", 2014. Their sets are the same with the values
// grouped by node; here each has its dot, so that one can be taken out alone.
type Siblings[T any] struct {
	clock Clock // every write that this replica knows of, the replaced ones too
	// By dot, each in clock. Never written to after it has been stored here.
	values []sibling[T]
}

type sibling[T any] struct {
	dot   Dot
	value T
}

// Put writes a value through the replica named node, which takes the place of the
// values that context covers, and returns the dot of the write. node is the
// replica whose set this is: it must hold the newest state of this key that node
// ever had, or two writes get one dot.
//
// context is what the writer's last Get of this key returned, from any replica, or
// the zero Clock from one who has read nothing. A writer that never reads makes a sibling with every write;
// it can keep to one by giving the dots of its own earlier writes as replaces,
// which go while the values of others stay. (To Add such a dot to a context
// would be wrong: it would claim to have read all earlier writes through that
// replica.) A dot to be replaced that has not reached this replica yet is passed
// over, and becomes a sibling when it comes.
//
// Nothing limits how many siblings blind writers make: a store should refuse a
// write when Len is beyond its own bound.
func (s *Siblings[T]) Put(node string, context Clock, value T, replaces ...Dot) Dot {
	s.clock.Merge(context)
	dot := s.clock.Tick(node)
	kept := make([]sibling[T], 0, len(s.values)+1)
	for _, v := range s.values {
		if !context.Contains(v.dot) && !slices.Contains(replaces, v.dot) {
			kept = append(kept, v)
		}
	}
	i, _ := slices.BinarySearchFunc(kept, dot, compareDot[T])
	s.values = slices.Insert(kept, i, sibling[T]{dot, value})
	return dot
}

// Delete removes the values that context covers, and reports whether it removed
// any. Values that the one who deletes had not read stay. What was
// deleted stays away when another replica still has it, for the clock remembers
// it: keep the Siblings, empty as it may be, until every replica knows.
func (s *Siblings[T]) Delete(context Clock) (removed bool) {
	s.clock.Merge(context)
	var kept []sibling[T]
	for _, v := range s.values {
		if !context.Contains(v.dot) {
			kept = append(kept, v)
		}
	}
	if removed = len(kept) < len(s.values); removed {
		s.values = kept
	}
	return removed
}

// Get returns the current values, in the order of their dots, and the context
// that covers them. Both are the caller's to change. More than one value is
// a conflict for the caller to resolve, by a Put of what they come to.
func (s Siblings[T]) Get() (values []T, context Clock) {
	values = make([]T, len(s.values))
	for i, v := range s.values {
		values[i] = v.value
	}
	return values, s.clock
}

// All yields the current values with their dots, in the order of the dots. It goes
// on with what the set was when the loop began.
func (s Siblings[T]) All() iter.Seq2[Dot, T] {
	return func(yield func(Dot, T) bool) {
		for _, v := range s.values {
			if !yield(v.dot, v.value) {
				return
			}
		}
	}
}

// Len returns how many values there are: 0 if nothing was written or all was
// deleted, above 1 after concurrent writes.
func (s Siblings[T]) Len() int { return len(s.values) }

// Clone returns a copy, as an assignment does, in constant time.
func (s Siblings[T]) Clone() Siblings[T] { return s }

// Merge takes in what another replica holds of the same key, and reports whether
// anything changed here. Merging is commutative, associative and idempotent:
// replicas that have merged the same sets, in any order, hold the same.
func (s *Siblings[T]) Merge(other Siblings[T]) (changed bool) {
	merged := make([]sibling[T], 0, len(s.values)+len(other.values))
	a, b := s.values, other.values
	for len(a) > 0 || len(b) > 0 {
		order := -1
		switch {
		case len(a) == 0:
			order = 1
		case len(b) > 0:
			order = a[0].dot.Compare(b[0].dot)
		}
		// A value that only one of them has is new to the other, or the other
		// has seen it replaced.
		switch {
		case order == 0:
			merged = append(merged, a[0])
			a, b = a[1:], b[1:]
		case order < 0:
			if other.clock.Contains(a[0].dot) {
				changed = true
			} else {
				merged = append(merged, a[0])
			}
			a = a[1:]
		default:
			if !s.clock.Contains(b[0].dot) {
				merged = append(merged, b[0])
				changed = true
			}
			b = b[1:]
		}
	}
	if changed {
		s.values = merged
	}
	return s.clock.Merge(other.clock) || changed
}

func compareDot[T any](v sibling[T], dot Dot) int { return v.dot.Compare(dot) }
