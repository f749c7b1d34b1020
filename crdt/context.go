package crdt

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/parley-go/parley/vclock"
)

// A context is the set of dots that a state has seen, whether what they made is
// still there or was removed. It is a version vector with gaps: deltas come in any
// order, and some never.
type context struct {
	replicas []replica // by name
}

// A replica has the dots of one name as spans.
type replica struct {
	name  string
	spans []span // rising, none touching the next, at least one
}

// A span is the counters from one to another, both included.
type span struct{ from, to uint64 }

func (c *context) find(name string) (int, bool) {
	low, high := 0, len(c.replicas)
	for low < high {
		middle := (low + high) / 2
		switch r := &c.replicas[middle]; {
		case r.name == name:
			return middle, true
		case r.name < name:
			low = middle + 1
		default:
			high = middle
		}
	}
	return low, false
}

func (c *context) contains(dot vclock.Dot) bool {
	i, found := c.find(dot.Node)
	return found && c.replicas[i].contains(dot.Counter)
}

func (r *replica) contains(counter uint64) bool {
	if first := r.spans[0]; len(r.spans) == 1 || counter <= first.to {
		return first.from <= counter && counter <= first.to
	}
	j := after(r.spans, counter)
	return j > 0 && counter <= r.spans[j-1].to
}

// adopt returns a dot of another state with the name as it is here, so that names are
// not kept once for each element, and whether it is new here.
func (c *context) adopt(dot vclock.Dot) (_ vclock.Dot, isNew bool) {
	i, found := c.find(dot.Node)
	if !found {
		return dot, true
	}
	dot.Node = c.replicas[i].name
	return dot, !c.replicas[i].contains(dot.Counter)
}

// after returns the place of the first span that begins after a counter.
func after(spans []span, counter uint64) int {
	j, _ := slices.BinarySearchFunc(spans, counter, func(s span, counter uint64) int {
		if s.from <= counter {
			return -1
		}
		return 1
	})
	return j
}

// top returns the highest counter of a name, 0 for none.
func (c *context) top(name string) uint64 {
	i, found := c.find(name)
	if !found {
		return 0
	}
	spans := c.replicas[i].spans
	return spans[len(spans)-1].to
}

// next adds the dot after the highest of a name.
func (c *context) next(name string) vclock.Dot {
	i, found := c.find(name)
	if !found {
		c.replicas = slices.Insert(c.replicas, i, replica{name, []span{{1, 1}}})
		return vclock.Dot{Node: name, Counter: 1}
	}
	r := &c.replicas[i]
	last := &r.spans[len(r.spans)-1]
	last.to++
	return vclock.Dot{Node: r.name, Counter: last.to}
}

// add adds one dot; the zero Dot is none.
func (c *context) add(dot vclock.Dot) {
	if dot.Counter == 0 {
		return
	}
	s := span{dot.Counter, dot.Counter}
	i, found := c.find(dot.Node)
	if found {
		c.replicas[i].add(s)
		return
	}
	c.replicas = slices.Insert(c.replicas, i, replica{dot.Node, []span{s}})
}

// add adds the dots of a span, and reports whether any was new.
func (r *replica) add(s span) (changed bool) {
	last := &r.spans[len(r.spans)-1]
	if last.from <= s.from && s.from <= last.to+1 { // as things are when nothing was lost
		if s.to <= last.to {
			return false
		}
		last.to = s.to
		return true
	}
	i := after(r.spans, s.from)
	if i > 0 && r.spans[i-1].to+1 >= s.from {
		i--
	}
	j := i
	for ; j < len(r.spans) && r.spans[j].from <= s.to+1; j++ {
		if r.spans[j].from <= s.from && s.to <= r.spans[j].to {
			return false
		}
		s = span{min(s.from, r.spans[j].from), max(s.to, r.spans[j].to)}
	}
	r.spans = slices.Replace(r.spans, i, j, s)
	return true
}

// merge adds the dots of many spans, and reports whether any was new.
func (r *replica) merge(spans []span) (changed bool) {
	if len(spans) < 4 { // as deltas have
		for _, s := range spans {
			changed = r.add(s) || changed
		}
		return changed
	}
	all := make([]span, 0, len(r.spans)+len(spans))
	for a, b := r.spans, spans; len(a) > 0 || len(b) > 0; {
		var next span
		if len(b) == 0 || len(a) > 0 && a[0].from <= b[0].from {
			next, a = a[0], a[1:]
		} else {
			next, b = b[0], b[1:]
		}
		if last := len(all) - 1; last >= 0 && next.from <= all[last].to+1 {
			all[last].to = max(all[last].to, next.to)
		} else {
			all = append(all, next)
		}
	}
	if slices.Equal(all, r.spans) {
		return false
	}
	r.spans = slices.Clip(all)
	return true
}

// merge adds all dots of another context, and reports whether any was new.
func (c *context) merge(other *context) (changed bool) {
	var missing []replica
	at := 0
	for i := range other.replicas {
		theirs := &other.replicas[i]
		// Contexts that have met are alike: the next is the one, mostly.
		if at >= len(c.replicas) || c.replicas[at].name != theirs.name {
			var found bool
			if at, found = c.find(theirs.name); !found {
				missing = append(missing, replica{theirs.name, slices.Clone(theirs.spans)})
				continue
			}
		}
		changed = c.replicas[at].merge(theirs.spans) || changed
		at++
	}
	switch len(missing) {
	case 0:
		return changed
	case 1: // as deltas bring them
		i, _ := c.find(missing[0].name)
		c.replicas = slices.Insert(c.replicas, i, missing[0])
		return true
	}
	c.replicas = append(c.replicas, missing...)
	slices.SortFunc(c.replicas, func(r, s replica) int { return strings.Compare(r.name, s.name) })
	return true
}

// clock returns, for each replica, how many of its dots are there without a gap.
func (c *context) clock() vclock.Clock { return clockOf(c.replicas) }

// clockOf puts a clock together of halves: with every name that is added to it, a
// clock copies those that it has.
func clockOf(replicas []replica) (clock vclock.Clock) {
	switch n := len(replicas); n {
	case 0:
	case 1:
		if first := replicas[0].spans[0]; first.from == 1 {
			clock.Add(vclock.Dot{Node: replicas[0].name, Counter: first.to})
		}
	default:
		clock = clockOf(replicas[:n/2])
		clock.Merge(clockOf(replicas[n/2:]))
	}
	return clock
}

// append appends the replicas with their spans: the distance from the end of the
// one before, and the length.
func (c *context) append(b []byte) ([]byte, error) {
	if err := checkReplicas(len(c.replicas)); err != nil {
		return b, err
	}
	b = binary.AppendUvarint(b, uint64(len(c.replicas)))
	for _, r := range c.replicas {
		if err := checkName(r.name); err != nil {
			return b, err
		}
		b = appendBytes(b, r.name)
		b = binary.AppendUvarint(b, uint64(len(r.spans)))
		end := uint64(0)
		for _, s := range r.spans {
			if s.to > MaxCounter {
				return b, fmt.Errorf("%w: counter %d of %q, at most %d", ErrTooLarge, s.to, r.name, uint64(MaxCounter))
			}
			b = binary.AppendUvarint(b, s.from-end)
			b = binary.AppendUvarint(b, s.to-s.from)
			end = s.to
		}
	}
	return b, nil
}

func readContext(r *reader) (c context) {
	last := ""
	n := r.count(5)
	if n > MaxReplicas {
		r.fail(corrupt("%d replicas, at most %d", n, MaxReplicas))
		return context{}
	}
	c.replicas = make([]replica, 0, n)
	for range n {
		last = r.name(last)
		spans := make([]span, 0, r.count(2))
		end := uint64(0)
		for i := range cap(spans) {
			low := uint64(1)
			if i > 0 {
				low = 2 // a span that touches the one before is a part of it
			}
			from := end + r.uvarint(low, MaxCounter-min(end, MaxCounter))
			end = from + r.uvarint(0, MaxCounter-min(from, MaxCounter))
			spans = append(spans, span{from, end})
		}
		if len(spans) == 0 {
			r.fail(corrupt("a replica without dots"))
		}
		if r.err != nil {
			return context{}
		}
		c.replicas = append(c.replicas, replica{last, spans})
	}
	return c
}
