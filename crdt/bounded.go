package crdt

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// BoundedCounter is a counter that never goes below 0, although every replica takes
// from it on its own: stock, seats, a budget. (Another bound is 0 moved: begin by
// adding the distance.) Each replica has rights, a part of the value that it alone
// may take. What it adds is its own; what it has it can give to another, which has
// to ask for it by other means.
//
// Deltas may be lost, repeated and come in any order, as those of GCounter: each
// carries all that its replica has done. A transfer whose delta is lost arrives with
// the giver's next, and until then belongs to nobody. So do, for good, the rights
// of a replica that never returns: it should give them away before.
//
// A replica that goes on from an old state takes what it had taken before once more:
// here it must have its newest state, or begin with no rights under a new name. The
// zero value belongs to no replica: it is merged and read. A counter is not safe for
// concurrent use, except that any number of goroutines may read it.
//
// The source is Balegas et al., "Extending Eventually Consistent Cloud Databases for
// Enforcing Numeric Invariants", 2015.
type BoundedCounter struct {
	name  string
	rows  []row // by name
	reuse reuse
}

// A row is what one replica has done. It alone changes it, and only to more.
type row struct {
	name  string
	taken uint64
	given []grant // by the name of who got it; what it gave itself is what it added
}

type grant struct {
	to string
	n  uint64
}

// NewBoundedCounter returns a counter at 0 that is changed under the name of a
// replica, as NewGCounter does.
func NewBoundedCounter(replica string) *BoundedCounter { return &BoundedCounter{name: replica} }

// Add adds n, which this replica may take later, and returns the delta. What one
// replica adds ends at the largest int64 and stays there.
func (c *BoundedCounter) Add(n uint64) *BoundedCounter {
	r := c.own()
	r.give(c.name, n)
	return c.delta(r)
}

// Take takes n and returns the delta. The error is ErrRights if this replica has not
// the right to so much; nothing has been taken then, and the delta is nil.
func (c *BoundedCounter) Take(n uint64) (*BoundedCounter, error) {
	r := c.own()
	if rights := c.Rights(c.name); n > rights {
		return nil, fmt.Errorf("%w: %q has %d of %d", ErrRights, c.name, rights, n)
	}
	r.taken += n
	return c.delta(r), nil
}

// Give hands the right to take n to another replica and returns the delta; to give
// something to itself, or to "", does nothing. The error is ErrRights if this replica
// has not so much itself, as in Take, and ErrTooLarge if the other's name is too long
// or all that it ever gave to the other came to more than the largest int64.
func (c *BoundedCounter) Give(to string, n uint64) (*BoundedCounter, error) {
	r := c.own()
	if rights := c.Rights(c.name); n > rights {
		return nil, fmt.Errorf("%w: %q has %d of %d", ErrRights, c.name, rights, n)
	}
	if to == c.name || to == "" { // it would look like an addition
		return c.delta(r), nil
	}
	if err := checkName(to); err != nil {
		return nil, err
	}
	if i, found := r.find(to); found && n > math.MaxInt64-r.given[i].n || n > math.MaxInt64 {
		return nil, fmt.Errorf("%w: %q has given %q as much as can be counted", ErrTooLarge, c.name, to)
	}
	r.give(to, n)
	return c.delta(r), nil
}

// Rights returns how much a replica may take, as far as is known here. Of itself, a
// replica knows all but what others have given it lately.
func (c *BoundedCounter) Rights(replica string) uint64 {
	var in, out uint64
	for _, r := range c.rows {
		for _, g := range r.given {
			switch {
			case g.to == replica: // what it added as well
				in = plus(in, g.n)
			case r.name == replica:
				out = plus(out, g.n)
			}
		}
		if r.name == replica {
			out = plus(out, r.taken)
		}
	}
	return in - min(in, out)
}

// Value returns what was added less what was taken, as far as is known here; it ends
// at the largest uint64. It is 0 while more is known of what was taken than of what was
// added.
func (c *BoundedCounter) Value() uint64 {
	var added, taken sum
	for _, r := range c.rows {
		taken.add(r.taken)
		if i, found := r.find(r.name); found {
			added.add(r.given[i].n)
		}
	}
	high, low := added.less(&taken)
	switch {
	case int64(high) < 0:
		return 0
	case high > 0:
		return math.MaxUint64
	}
	return low
}

// Merge takes in another state or delta and reports whether anything changed.
func (c *BoundedCounter) Merge(other *BoundedCounter) (changed bool) {
	if c == other {
		return false
	}
	for _, theirs := range other.rows {
		i, found := c.find(theirs.name)
		if !found {
			c.rows = slices.Insert(c.rows, i, row{name: theirs.name})
		}
		had := c.rows[i].done()
		changed = c.rows[i].merge(theirs) || changed
		if theirs.name == c.name {
			c.reuse.saw(had, c.rows[i].done())
		}
	}
	return changed
}

// Err returns a *ReuseError, as that of GCounter does: more may have been taken than
// there was.
func (c *BoundedCounter) Err() error { return c.reuse.err(c.name) }

// own returns the row of this replica, and ends the program if it has none.
func (c *BoundedCounter) own() *row {
	if c.name == "" {
		refuse(nobody)
	}
	i, found := c.find(c.name)
	if !found {
		c.rows = slices.Insert(c.rows, i, row{name: c.name})
	}
	return &c.rows[i]
}

// delta lets out what a row has become.
func (c *BoundedCounter) delta(r *row) *BoundedCounter {
	c.reuse.issued = true
	return &BoundedCounter{rows: []row{{r.name, r.taken, slices.Clone(r.given)}}}
}

func (c *BoundedCounter) find(name string) (int, bool) {
	return slices.BinarySearchFunc(c.rows, name, func(r row, name string) int { return strings.Compare(r.name, name) })
}

func (r *row) find(to string) (int, bool) {
	return slices.BinarySearchFunc(r.given, to, func(g grant, to string) int { return strings.Compare(g.to, to) })
}

func (r *row) give(to string, n uint64) {
	if n == 0 {
		return
	}
	i, found := r.find(to)
	if !found {
		r.given = slices.Insert(r.given, i, grant{to: to})
	}
	r.given[i].n = min(plus(r.given[i].n, n), math.MaxInt64)
}

func (r *row) merge(theirs row) (changed bool) {
	if r.taken < theirs.taken {
		r.taken, changed = theirs.taken, true
	}
	for _, g := range theirs.given {
		i, found := r.find(g.to)
		if !found {
			r.given = slices.Insert(r.given, i, grant{to: g.to})
		}
		if r.given[i].n < g.n {
			r.given[i].n, changed = g.n, true
		}
	}
	return changed
}

// done returns a number that rises with everything that a replica does.
func (r *row) done() uint64 {
	sum := r.taken
	for _, g := range r.given {
		sum = plus(sum, g.n)
	}
	return sum
}

// AppendBinary appends the encoding of c to b, as GCounter.AppendBinary does.
func (c *BoundedCounter) AppendBinary(b []byte) ([]byte, error) {
	if err := checkReplicas(len(c.rows)); err != nil {
		return b, err
	}
	rows := slices.DeleteFunc(slices.Clone(c.rows), func(r row) bool { return r.done() == 0 })
	out := binary.AppendUvarint(append(b, format, kindBoundedCounter), uint64(len(rows)))
	for _, r := range rows {
		if err := checkName(r.name); err != nil {
			return b, err
		}
		out = appendBytes(out, r.name)
		out = binary.AppendUvarint(out, r.taken)
		out = binary.AppendUvarint(out, uint64(len(r.given)))
		for _, g := range r.given {
			if err := checkName(g.to); err != nil {
				return b, err
			}
			out = appendBytes(out, g.to)
			out = binary.AppendUvarint(out, g.n)
		}
	}
	return out, nil
}

// UnmarshalBinary replaces c by what AppendBinary encoded, as
// GCounter.UnmarshalBinary does.
func (c *BoundedCounter) UnmarshalBinary(data []byte) error {
	r := newReader(data, kindBoundedCounter)
	n := r.count(4)
	if n > MaxReplicas {
		r.fail(corrupt("%d replicas, at most %d", n, MaxReplicas))
		n = 0
	}
	rows := make([]row, 0, n)
	last := ""
	for range n {
		last = r.name(last)
		one := row{name: last, taken: r.number()}
		one.given = make([]grant, 0, r.count(3))
		to := ""
		for range cap(one.given) {
			to = r.name(to)
			one.given = append(one.given, grant{to, r.uvarint(1, math.MaxInt64)})
		}
		if one.done() == 0 {
			r.fail(corrupt("a replica that has done nothing"))
		}
		if r.err != nil {
			break
		}
		rows = append(rows, one)
	}
	if err := r.end(); err != nil {
		return err
	}
	*c = BoundedCounter{rows: rows}
	return nil
}

// MarshalJSON returns the value, a number.
func (c *BoundedCounter) MarshalJSON() ([]byte, error) {
	return strconv.AppendUint(nil, c.Value(), 10), nil
}

func (*BoundedCounter) fresh() *BoundedCounter { return new(BoundedCounter) }
