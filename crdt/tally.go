package crdt

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// A tally is what each replica has counted, up and down: the inside of GCounter
// and PNCounter. Each replica raises its own counts only, so that the higher of
// two is the later.
type tally struct {
	// Of the replica whose state this is, without a name if it belongs to none; in
	// a delta, the one count that it has.
	own   count
	rest  []count // of the others, by name
	mine  bool    // own may be raised here
	reuse reuse
}

// A count is that of one replica.
type count struct {
	name     string
	up, down uint64
}

func (c *count) raise(d *count) (changed bool) {
	changed = c.up < d.up || c.down < d.down
	c.up, c.down = max(c.up, d.up), max(c.down, d.down)
	return changed
}

func (c *count) zero() bool { return c.up == 0 && c.down == 0 }

// mutable ends the program unless the counter may be changed.
func (t *tally) mutable() {
	if !t.mine {
		refuse(nobody)
	}
	t.reuse.issued = true
}

func (t *tally) err() error { return t.reuse.err(t.own.name) }

func (t *tally) raiseOwn(c *count) (changed bool) {
	had := plus(t.own.up, t.own.down)
	changed = t.own.raise(c)
	if t.mine {
		t.reuse.saw(had, plus(t.own.up, t.own.down))
	}
	return changed
}

func (t *tally) merge(other *tally) (changed bool) {
	if t == other {
		return false
	}
	var missing []count
	if c := &other.own; !c.zero() {
		i, found := slices.BinarySearchFunc(t.rest, c.name, func(c count, name string) int { return strings.Compare(c.name, name) })
		switch {
		case c.name == t.own.name:
			changed = t.raiseOwn(c)
		case found:
			changed = t.rest[i].raise(c)
		default:
			t.rest = slices.Insert(t.rest, i, *c)
			changed = true
		}
	}
	at := 0
	for i := range other.rest {
		c := &other.rest[i]
		if c.name == t.own.name {
			changed = t.raiseOwn(c) || changed
			continue
		}
		for at < len(t.rest) && t.rest[at].name < c.name {
			at++
		}
		if at < len(t.rest) && t.rest[at].name == c.name {
			changed = t.rest[at].raise(c) || changed
			at++
		} else {
			missing = append(missing, *c)
		}
	}
	switch len(missing) {
	case 0:
		return changed
	case 1: // as deltas bring them
		i, _ := slices.BinarySearchFunc(t.rest, missing[0], compareCounts)
		t.rest = slices.Insert(t.rest, i, missing[0])
		return true
	}
	t.rest = append(t.rest, missing...)
	slices.SortFunc(t.rest, compareCounts)
	return true
}

func compareCounts(c, d count) int { return strings.Compare(c.name, d.name) }

// A sum has 128 bits, so that it does not end while it is added up.
type sum struct{ high, low uint64 }

func (s *sum) add(n uint64) {
	low, carry := bits.Add64(s.low, n, 0)
	s.high, s.low = s.high+carry, low
}

// less returns s less t, in 128 bits of which the first is the sign.
func (s *sum) less(t *sum) (high, low uint64) {
	low, borrow := bits.Sub64(s.low, t.low, 0)
	high, _ = bits.Sub64(s.high, t.high, borrow)
	return high, low
}

// sums returns the sums of all counts.
func (t *tally) sums() (up, down sum) {
	up.add(t.own.up)
	down.add(t.own.down)
	for i := range t.rest {
		up.add(t.rest[i].up)
		down.add(t.rest[i].down)
	}
	return up, down
}

// append appends the counts by name, without those down if there are none.
func (t *tally) append(b []byte, kind byte) ([]byte, error) {
	all := t.rest
	if !t.own.zero() {
		i, _ := slices.BinarySearchFunc(all, t.own, compareCounts)
		all = slices.Insert(slices.Clone(all), i, t.own)
	}
	if err := checkReplicas(len(all)); err != nil {
		return b, err
	}
	out := append(b, format, kind)
	out = binary.AppendUvarint(out, uint64(len(all)))
	for _, c := range all {
		if err := checkName(c.name); err != nil {
			return b, err
		}
		out = appendBytes(out, c.name)
		out = binary.AppendUvarint(out, c.up)
		if kind == kindPNCounter {
			out = binary.AppendUvarint(out, c.down)
		}
	}
	return out, nil
}

func readTally(data []byte, kind byte) (t tally, err error) {
	r := newReader(data, kind)
	n := r.count(3)
	if n > MaxReplicas {
		r.fail(corrupt("%d replicas, at most %d", n, MaxReplicas))
		n = 0
	}
	t.rest = make([]count, 0, n)
	last := ""
	for range n {
		last = r.name(last)
		c := count{name: last, up: r.number()}
		if kind == kindPNCounter {
			c.down = r.number()
		}
		if c.zero() {
			r.fail(corrupt("a count of nothing"))
		}
		t.rest = append(t.rest, c)
	}
	return t, r.end()
}

// plus adds, and stays at the largest number rather than begin again.
func plus(x, y uint64) uint64 {
	sum, carry := bits.Add64(x, y, 0)
	if carry > 0 {
		return math.MaxUint64
	}
	return sum
}
