package vclock

import (
	"iter"
	"slices"
)

// A Clock is a vector clock: for each node, how many of its events are known.
// Seen otherwise, it is a set of dots that has, with every dot, all earlier ones
// of the same node. The zero value knows of no event and is ready to use.
//
// A Clock is a value. Assigning it, passing it and Clone cost nothing and make a
// copy that goes its own way: the entries are shared until one of the two
// changes, which takes a new array. Any number of goroutines may read one Clock;
// to change it needs exclusive use of that variable, not of its copies.
type Clock struct {
	names    *names
	counters []uint64 // one a name, none zero; never written to after it has been stored here
}

// Tick counts one event of node and returns its dot. Each node ticks its own name
// only, and never goes on from a counter older than one that it has shown to
// others; see the package comment.
func (c *Clock) Tick(node string) Dot {
	i, found := c.find(node)
	counter := uint64(1)
	if found {
		counter = c.counters[i] + 1
	}
	c.set(i, found, Dot{node, counter})
	return Dot{c.names.list[i], counter}
}

// Add adds one event and all earlier ones of its node, and reports whether any
// was new. To know that event means to know all that its node did before; for
// a dot without its past, see Siblings.Put. Adding the zero Dot does nothing.
func (c *Clock) Add(dot Dot) (changed bool) {
	i, found := c.find(dot.Node)
	if dot.Counter == 0 || found && c.counters[i] >= dot.Counter {
		return false
	}
	c.set(i, found, dot)
	return true
}

// set stores a dot at place i, in a new array.
func (c *Clock) set(i int, found bool, dot Dot) {
	if found {
		c.counters = slices.Clone(c.counters)
		c.counters[i] = dot.Counter
		return
	}
	list := c.names.all()
	c.names = newNames(slices.Concat(list[:i], []string{dot.Node}, list[i:]))
	c.counters = slices.Concat(c.counters[:i], []uint64{dot.Counter}, c.counters[i:])
}

// Merge adds all events of d, and reports whether any was new. Receiving a
// message is a Merge of the sender's clock and then a Tick. The merge of
// clocks of which one knows all of the other allocates nothing.
func (c *Clock) Merge(d Clock) (changed bool) {
	switch c.Compare(d) {
	case Equal, After:
		return false
	case Before:
		c.names, c.counters = c.names.union(d.names), d.counters
	case Concurrent:
		c.join(d)
	}
	return true
}

// join takes the later counter of each node, in a new array.
func (c *Clock) join(d Clock) {
	all := c.names.union(d.names)
	counters := make([]uint64, len(all.list))
	i, j := 0, 0
	for k, name := range all.list {
		if i < c.Len() && c.names.list[i] == name {
			counters[k] = c.counters[i]
			i++
		}
		if j < d.Len() && d.names.list[j] == name {
			counters[k] = max(counters[k], d.counters[j])
			j++
		}
	}
	c.names, c.counters = all, counters
}

// Get returns how many events of node are known, 0 for none. It takes O(log n).
func (c Clock) Get(node string) uint64 {
	if i, found := c.find(node); found {
		return c.counters[i]
	}
	return 0
}

// Contains reports whether an event is known. The zero Dot always is.
func (c Clock) Contains(dot Dot) bool { return dot.Counter <= c.Get(dot.Node) }

// Len returns of how many nodes an event is known.
func (c Clock) Len() int { return len(c.counters) }

// All yields the nodes, in the order of their names, with how many of their
// events are known. It goes on with what the clock was when the loop began.
func (c Clock) All() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for i, name := range c.names.all() {
			if !yield(name, c.counters[i]) {
				return
			}
		}
	}
}

// Clone returns a copy, as an assignment does, in constant time.
func (c Clock) Clone() Clock { return c }

// find returns the place of a node among the names, or the place where it belongs.
func (c Clock) find(node string) (i int, found bool) {
	return slices.BinarySearch(c.names.all(), node)
}
