package crdt

import (
	"encoding/binary"
	"slices"

	"github.com/parley-go/parley/vclock"
)

// dots are the live dots of one element: the additions that no removal has seen.
// There is one, unless replicas added the same element concurrently. It is a value:
// more is never written to after it has been stored.
type dots struct {
	one  vclock.Dot    // the first; its counter is 0 if there are none
	more *[]vclock.Dot // the others in order, nil for none; a pointer, for there are many of us
}

func (d dots) live() bool { return d.one.Counter > 0 }

func (d dots) each(yield func(vclock.Dot)) {
	if d.live() {
		yield(d.one)
	}
	for _, dot := range d.others() {
		yield(dot)
	}
}

func (d dots) others() []vclock.Dot {
	if d.more == nil {
		return nil
	}
	return *d.more
}

// dotsOf returns dots that are in order. It does not keep the list.
func dotsOf(list []vclock.Dot) (d dots) {
	if len(list) > 0 {
		d.one = list[0]
	}
	if len(list) > 1 {
		more := slices.Clone(list[1:])
		d.more = &more
	}
	return d
}

// list appends the dots to a list.
func (d dots) list(to []vclock.Dot) []vclock.Dot {
	if d.live() {
		to = append(to, d.one)
	}
	return append(to, d.others()...)
}

// A joining is how two states are joined, one taking in another. It is what makes
// removals work without tombstones: a dot that a context has and its state has not
// was removed.
type joining struct {
	ours, theirs *context // as they were before
	// The other state is whole: it has seen removed whatever it has seen and does not
	// mention. A delta mentions all that it removes, and spares us the search.
	whole bool
	// What comes out is a delta again, and has to go on mentioning what it removes.
	delta bool
}

// joined returns the dots of one element in two states together.
func (d dots) joined(theirs dots, how *joining) (_ dots, changed bool) {
	if d.one == theirs.one && d.more == nil && theirs.more == nil {
		return d, false
	}
	var room [3][2]vclock.Dot // more are rare
	all, a, b := room[0][:0], d.list(room[1][:0]), theirs.list(room[2][:0])
	for len(a) > 0 || len(b) > 0 {
		order := -1
		switch {
		case len(a) == 0:
			order = 1
		case len(b) > 0:
			order = a[0].Compare(b[0])
		}
		// What only one of them has is new to the other, or was removed there.
		switch {
		case order == 0:
			all = append(all, a[0])
			a, b = a[1:], b[1:]
		case order < 0:
			if how.theirs.contains(a[0]) {
				changed = true
			} else {
				all = append(all, a[0])
			}
			a = a[1:]
		default:
			if dot, isNew := how.ours.adopt(b[0]); isNew {
				all = append(all, dot)
				changed = true
			}
			b = b[1:]
		}
	}
	if !changed {
		return d, false
	}
	return dotsOf(all), true
}

// append appends the dots as places in a context and counters.
func (d dots) append(b []byte, c *context) []byte {
	n := uint64(len(d.others()))
	if d.live() {
		n++
	}
	b = binary.AppendUvarint(b, n)
	d.each(func(dot vclock.Dot) { b = appendDot(b, c, dot) })
	return b
}

func appendDot(b []byte, c *context, dot vclock.Dot) []byte {
	place, _ := c.find(dot.Node) // every live dot is in the context
	b = binary.AppendUvarint(b, uint64(place))
	return binary.AppendUvarint(b, dot.Counter)
}

func (dots) read(r *reader, c *context) dots { return readDots(r, c) }

func readDots(r *reader, c *context) dots {
	var room [2]vclock.Dot
	list := room[:0]
	var last vclock.Dot
	for range r.count(2) {
		if last = readDot(r, c, last); r.err != nil {
			return dots{}
		}
		list = append(list, last)
	}
	return dotsOf(list)
}

// readDot reads a dot that comes after last and is in the context.
func readDot(r *reader, c *context, last vclock.Dot) vclock.Dot {
	place, counter := r.uvarint(0, MaxReplicas), r.uvarint(1, MaxCounter)
	if r.err != nil {
		return vclock.Dot{}
	}
	if place < uint64(len(c.replicas)) {
		dot := vclock.Dot{Node: c.replicas[place].name, Counter: counter}
		if c.contains(dot) && last.Compare(dot) < 0 {
			return dot
		}
	}
	r.fail(corrupt("a dot out of order or not in the context"))
	return vclock.Dot{}
}
