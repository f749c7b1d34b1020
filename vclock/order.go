package vclock

import (
	"strconv"
	"strings"
)

// An Order is how one event stands to another.
type Order int8

// The orders of two events a and b, as a.Compare(b) returns them.
const (
	Before     Order = -1 // a happened before b: b knows of a
	Equal      Order = 0  // a and b are the same
	After      Order = 1  // b happened before a
	Concurrent Order = 2  // neither knows of the other
)

// String returns the order in lower case.
func (o Order) String() string {
	switch o {
	case Before:
		return "before"
	case Equal:
		return "equal"
	case After:
		return "after"
	case Concurrent:
		return "concurrent"
	}
	return "Order(" + strconv.Itoa(int(o)) + ")"
}

// Compare returns how the event of c stands to that of d. It takes one pass over
// both and allocates nothing.
func (c Clock) Compare(d Clock) Order {
	var behind, ahead bool // c lacks an event of d; d lacks one of c
	i, j := 0, 0
	if c.names.equal(d.names) {
		for ; i < len(c.counters) && i < len(d.counters); i++ {
			behind = behind || c.counters[i] < d.counters[i]
			ahead = ahead || c.counters[i] > d.counters[i]
		}
		j = i
	}
	a, b := c.names.all(), d.names.all()
	for i < len(a) && j < len(b) && (!behind || !ahead) {
		switch order := strings.Compare(a[i], b[j]); {
		case order == 0:
			behind = behind || c.counters[i] < d.counters[j]
			ahead = ahead || c.counters[i] > d.counters[j]
			i++
			j++
		case order < 0:
			ahead = true
			i++
		default:
			behind = true
			j++
		}
	}
	behind = behind || j < len(b)
	ahead = ahead || i < len(a)
	switch {
	case behind && ahead:
		return Concurrent
	case behind:
		return Before
	case ahead:
		return After
	}
	return Equal
}
