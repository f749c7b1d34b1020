package crdt

import (
	"math"
	"strconv"
)

// GCounter is a counter that only grows: how often something happened, at all
// replicas together.
//
// Deltas may be lost, repeated and come in any order: each carries all that its
// replica has counted, and a later one makes up for those before it. An entry stays
// for each replica that ever counted, for its count is a part of the value.
//
// The zero value belongs to no replica: it is merged and read. A counter is not
// safe for concurrent use, except that any number of goroutines may read it.
//
// The source is Shapiro et al., "A comprehensive study of Convergent and Commutative
// Replicated Data Types", 2011, section 3.1.
type GCounter struct {
	tally tally
	emit  func(delta *GCounter) // in a map
}

// NewGCounter returns a counter at 0 that is changed under the name of a replica, of
// at most MaxName bytes, and never by another with that name. With "" it is only
// merged and read. See the package comment for what a restart has to do.
func NewGCounter(replica string) *GCounter {
	return &GCounter{tally: tally{own: count{name: replica}, mine: replica != ""}}
}

// Add counts n and returns the delta. The count of one replica ends at the largest
// uint64 and stays there. It costs no allocation where the delta stays local.
func (c *GCounter) Add(n uint64) *GCounter {
	return &GCounter{tally: tally{own: c.add(n)}} // inlined, so that the delta can be on the caller's stack
}

func (c *GCounter) add(n uint64) count {
	t := &c.tally
	t.mutable()
	t.own.up = plus(t.own.up, n)
	if c.emit != nil {
		c.emit(&GCounter{tally: tally{own: t.own}})
	}
	return t.own
}

// Value returns the sum, in O(replicas); it ends at the largest uint64.
func (c *GCounter) Value() uint64 {
	up, _ := c.tally.sums()
	if up.high > 0 {
		return math.MaxUint64
	}
	return up.low
}

// Merge takes in another state or delta and reports whether anything changed, in
// O(replicas).
func (c *GCounter) Merge(other *GCounter) (changed bool) {
	if c.emit != nil {
		d := new(GCounter) // a copy, so that other can be on the caller's stack
		d.tally.merge(&other.tally)
		c.emit(d)
	}
	return c.tally.merge(&other.tally)
}

// Err returns a *ReuseError once a merge has shown that this replica went on from
// an old state of its name, and nil otherwise: what it counted since may be lost.
func (c *GCounter) Err() error { return c.tally.err() }

// AppendBinary appends the encoding of c to b. Equal counters have equal encodings.
// The error is ErrTooLarge; b is returned as it was then.
func (c *GCounter) AppendBinary(b []byte) ([]byte, error) { return c.tally.append(b, kindGCounter) }

// UnmarshalBinary replaces c by what AppendBinary encoded, as a state that belongs
// to no replica. The error is ErrCorrupt; c stays as it was then.
func (c *GCounter) UnmarshalBinary(data []byte) error {
	if c.emit != nil {
		refuse(inside)
	}
	t, err := readTally(data, kindGCounter)
	if err == nil {
		*c = GCounter{tally: t}
	}
	return err
}

// MarshalJSON returns the value, a number.
func (c *GCounter) MarshalJSON() ([]byte, error) {
	return strconv.AppendUint(nil, c.Value(), 10), nil
}

func (*GCounter) fresh() *GCounter { return new(GCounter) }
func (*GCounter) newStore() store  { return new(versions[*GCounter]) }

func (*GCounter) bind(c *causal) *GCounter {
	v := view(c, NewGCounter(c.root.name()))
	v.emit = func(delta *GCounter) { report(c, delta) }
	return v
}
