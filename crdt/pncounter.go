package crdt

import (
	"math"
	"strconv"
)

// PNCounter is a counter that goes up and down, below 0 as well. Where it must not,
// use a BoundedCounter.
//
// Deltas may be lost, repeated and come in any order, as those of GCounter. The zero
// value belongs to no replica: it is merged and read. A counter is not safe for
// concurrent use, except that any number of goroutines may read it.
//
// The source is Shapiro et al., 2011, section 3.1.
type PNCounter struct {
	tally tally
	emit  func(delta *PNCounter) // in a map
}

// NewPNCounter returns a counter at 0 that is changed under the name of a replica,
// as NewGCounter does.
func NewPNCounter(replica string) *PNCounter {
	return &PNCounter{tally: tally{own: count{name: replica}, mine: replica != ""}}
}

// Add counts n, up or down, and returns the delta. What one replica counts up, and
// what it counts down, end at the largest uint64 each.
func (c *PNCounter) Add(n int64) *PNCounter {
	return &PNCounter{tally: tally{own: c.add(n)}} // inlined, as that of GCounter
}

func (c *PNCounter) add(n int64) count {
	t := &c.tally
	t.mutable()
	if n >= 0 {
		t.own.up = plus(t.own.up, uint64(n))
	} else {
		t.own.down = plus(t.own.down, -uint64(n)) // right for the smallest int64 as well
	}
	if c.emit != nil {
		c.emit(&PNCounter{tally: tally{own: t.own}})
	}
	return t.own
}

// Value returns what was counted up less what was counted down, in O(replicas). It
// ends at the bounds of int64.
func (c *PNCounter) Value() int64 {
	up, down := c.tally.sums()
	high, low := up.less(&down)
	switch {
	case high == 0 && low <= math.MaxInt64:
		return int64(low)
	case int64(high) >= 0:
		return math.MaxInt64
	case high == math.MaxUint64 && low > math.MaxInt64:
		return int64(low)
	}
	return math.MinInt64
}

// Merge takes in another state or delta and reports whether anything changed, in
// O(replicas).
func (c *PNCounter) Merge(other *PNCounter) (changed bool) {
	if c.emit != nil {
		d := new(PNCounter) // a copy, so that other can be on the caller's stack
		d.tally.merge(&other.tally)
		c.emit(d)
	}
	return c.tally.merge(&other.tally)
}

// Err returns a *ReuseError, as that of GCounter does.
func (c *PNCounter) Err() error { return c.tally.err() }

// AppendBinary appends the encoding of c to b, as GCounter.AppendBinary does.
func (c *PNCounter) AppendBinary(b []byte) ([]byte, error) { return c.tally.append(b, kindPNCounter) }

// UnmarshalBinary replaces c by what AppendBinary encoded, as
// GCounter.UnmarshalBinary does.
func (c *PNCounter) UnmarshalBinary(data []byte) error {
	if c.emit != nil {
		refuse(inside)
	}
	t, err := readTally(data, kindPNCounter)
	if err == nil {
		*c = PNCounter{tally: t}
	}
	return err
}

// MarshalJSON returns the value, a number.
func (c *PNCounter) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, c.Value(), 10), nil
}

func (*PNCounter) fresh() *PNCounter { return new(PNCounter) }
func (*PNCounter) newStore() store   { return new(versions[*PNCounter]) }

func (*PNCounter) bind(c *causal) *PNCounter {
	v := view(c, NewPNCounter(c.root.name()))
	v.emit = func(delta *PNCounter) { report(c, delta) }
	return v
}
