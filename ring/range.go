package ring

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
)

// A KeyRange gives the keys from Start, included, up to the start of the next
// one to a node. Keys compare byte by byte.
type KeyRange struct {
	Start string // the first key; "" is before all others
	Node  string // "" for nobody
}

// A Range places keys by their order: neighbours lie together, so that a scan
// asks few nodes. In return nothing spreads the load by itself: the ranges have
// to be split where it is high. Look-ups take no lock and see one state. Make a
// Range with [NewRange]; it must not be copied.
type Range struct {
	ranges atomic.Pointer[[]KeyRange] // by Start
	mu     sync.Mutex                 // serialises changes
}

// NewRange returns a Range with the given ranges, in any order. Keys before the
// first one belong to nobody; Start "" begins with the first key there is.
//
// Errors: ErrDuplicate if two ranges have the same Start.
func NewRange(ranges ...KeyRange) (*Range, error) {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b KeyRange) int { return cmp.Compare(a.Start, b.Start) })
	for i := range max(len(sorted)-1, 0) {
		if sorted[i].Start == sorted[i+1].Start {
			return nil, fmt.Errorf("%w: KeyRange.Start %q", ErrDuplicate, sorted[i].Start)
		}
	}
	r := &Range{}
	r.ranges.Store(&sorted)
	return r, nil
}

// Owner returns the node of a key; ok is false if the key belongs to nobody.
// Takes a binary search.
func (r *Range) Owner(key string) (name string, ok bool) {
	ranges := *r.ranges.Load()
	i := rangeOf(ranges, key)
	if i < 0 || ranges[i].Node == "" {
		return "", false
	}
	return ranges[i].Node, true
}

// rangeOf returns the range that key is in, or -1.
func rangeOf(ranges []KeyRange, key string) int {
	i, found := slices.BinarySearchFunc(ranges, key, func(kr KeyRange, key string) int { return cmp.Compare(kr.Start, key) })
	if found {
		return i
	}
	return i - 1
}

// All yields the ranges in the order of their keys.
func (r *Range) All() iter.Seq[KeyRange] { return slices.Values(*r.ranges.Load()) }

// Between yields, in order, the ranges that a scan from first up to but not
// including last has to visit.
func (r *Range) Between(first, last string) iter.Seq[KeyRange] {
	ranges := *r.ranges.Load()
	return func(yield func(KeyRange) bool) {
		for _, kr := range ranges[max(rangeOf(ranges, first), 0):] {
			if kr.Start >= last || first >= last || !yield(kr) {
				return
			}
		}
	}
}

// Split begins a range at a key and gives it, up to the next one, to a node. If
// one begins there already, it changes hands.
func (r *Range) Split(at, node string) {
	r.change(func(ranges []KeyRange) []KeyRange {
		i := rangeOf(ranges, at)
		if i >= 0 && ranges[i].Start == at {
			ranges[i].Node = node
			return ranges
		}
		return slices.Insert(ranges, i+1, KeyRange{at, node})
	})
}

// Merge lets the range before the one that begins at a key go on over it, and
// reports whether one began there. Merging the first range leaves its keys to
// nobody.
func (r *Range) Merge(at string) bool {
	merged := false
	r.change(func(ranges []KeyRange) []KeyRange {
		return slices.DeleteFunc(ranges, func(kr KeyRange) bool {
			merged = merged || kr.Start == at
			return kr.Start == at
		})
	})
	return merged
}

// change publishes what f makes of a copy of the ranges.
func (r *Range) change(f func([]KeyRange) []KeyRange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ranges := f(slices.Clone(*r.ranges.Load()))
	r.ranges.Store(&ranges)
}
