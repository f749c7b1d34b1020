package ring

import (
	"fmt"
	"iter"
	"math"
	"slices"
)

// A Span is a part of the hashes of keys: all from Start to End, both included,
// so that the whole is 0 to math.MaxUint64. Start is never above End.
type Span struct {
	Start uint64 // the first hash
	End   uint64 // the last one
}

// Contains reports whether a key with that [Hash] is in the range.
func (s Span) Contains(hash uint64) bool { return s.Start <= hash && hash <= s.End }

// Share returns the part of all hashes that lies in the range, above 0 and at
// most 1.
func (s Span) Share() float64 { return (float64(s.End-s.Start) + 1) / (1 << 64) }

// String returns the bounds in hexadecimal.
func (s Span) String() string { return fmt.Sprintf("%016x-%016x", s.Start, s.End) }

// A Move is a range of keys that changes its owner.
type Move struct {
	Span
	From string // the owner before; "" if there was no node
	To   string // the owner after; "" if there is no node
}

// String returns the move in words, for logs.
func (m Move) String() string { return fmt.Sprintf("%v: %s -> %s", m.Span, m.From, m.To) }

// A Handover is a range of keys whose list of owners changes.
type Handover struct {
	Span
	Before, After []string // as Owners has them; they belong to the receiver
}

// A Source is what has a state to compare: a [Ring], which gives its present
// one, or a [Snapshot].
type Source interface {
	// Snapshot returns the state to compare.
	Snapshot() *Snapshot
}

// Diff yields the ranges of keys whose owner differs between two states, in
// ascending order; neighbours that move alike are one. After one node of n has
// joined, these are its own ranges, about 1/n of the hashes in up to twice as
// many pieces as it has points, and every move goes to it. Takes one pass over
// both rings. To keep the state before a change, take a Snapshot of the ring.
func Diff(before, after Source) iter.Seq[Move] {
	return func(yield func(Move) bool) {
		for h := range walk(before.Snapshot(), after.Snapshot(), 1) {
			m := Move{h.Span, first(h.Before), first(h.After)}
			if m.From != m.To && !yield(m) {
				return
			}
		}
	}
}

// DiffOwners is as [Diff] for the first n owners of each key, in their order:
// what a store with n replicas has to hand over. Takes as long as finding the n
// owners of each arc of both rings, some 30 ns each.
func DiffOwners(before, after Source, n int) iter.Seq[Handover] {
	return func(yield func(Handover) bool) {
		for h := range walk(before.Snapshot(), after.Snapshot(), n) {
			if slices.Equal(h.Before, h.After) {
				continue
			}
			h.Before, h.After = slices.Clone(h.Before), slices.Clone(h.After)
			if !yield(h) {
				return
			}
		}
	}
}

// Spans yields all spans in ascending order, each with its first n owners, in
// their order; neighbours with the same owners are one. The slice is valid until
// the next step. Without nodes there is one range, without owners.
func (s *Snapshot) Spans(n int) iter.Seq2[Span, []string] {
	return func(yield func(Span, []string) bool) {
		for h := range walk(s, &Snapshot{}, n) {
			if !yield(h.Span, h.Before) {
				return
			}
		}
	}
}

// walk yields the ranges into which the first n owners in two states cut the
// hashes. The slices are valid until the next step.
func walk(before, after *Snapshot, n int) iter.Seq[Handover] {
	return func(yield func(Handover) bool) {
		var b, a cursor
		var h Handover
		for start := uint64(0); ; start = h.End + 1 {
			b.advance(before, start, n)
			a.advance(after, start, n)
			if !slices.Equal(h.Before, b.owners) || !slices.Equal(h.After, a.owners) {
				if start > 0 && !yield(h) {
					return
				}
				h.Start = start
				h.Before, h.After = append(h.Before[:0], b.owners...), append(h.After[:0], a.owners...)
			}
			h.End = min(b.end, a.end)
			if h.End == math.MaxUint64 {
				yield(h)
				return
			}
		}
	}
}

// A cursor holds the owners of all hashes up to end.
type cursor struct {
	owners []string
	end    uint64
}

// advance brings the cursor to a hash, at which it is or which follows its end.
func (c *cursor) advance(s *Snapshot, hash uint64, n int) {
	switch {
	case len(s.names) == 0 || n <= 0:
		c.end = math.MaxUint64
	case hash == 0 || hash > c.end:
		var steps int
		c.owners, steps = s.owners(c.owners[:0], hash, n)
		c.end = hash + s.reach(hash, steps) | ownerMask
	}
}

// first returns the first of names, or "".
func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}
