package vclock

import "slices"

// Prune forgets the nodes that keep refuses and returns how many they were. It
// is for nodes that have left for good, whose entries would otherwise stay in
// every clock.
//
// It has a price: to a pruned clock, the events forgotten look as if they had
// never been known. Compared with a clock that was not pruned, it looks older
// than it is: Concurrent where it was After, and Before where all it had over the
// other came from a node forgotten. A store would drop the newer value then. So
// prune a node only when
//
//   - it makes no more events, and its name is never used again;
//   - all its events are known to every replica; and
//   - every replica forgets it, and no clock from before, in a message, in a
//     backup, or in the hands of a client, is compared with one from after.
//
// Where the last cannot be had, cut such clocks down with the same keep when they
// come in. keep is called once for each node, in the order of names.
func (c *Clock) Prune(keep func(node string) bool) (pruned int) {
	var list []string
	var counters []uint64
	for node, counter := range c.All() {
		if keep(node) {
			list, counters = append(list, node), append(counters, counter)
		}
	}
	if pruned = c.Len() - len(list); pruned > 0 {
		*c = Clock{newNames(list), counters}
	}
	return pruned
}

// Prune forgets the nodes that keep refuses in the clock of the set, and returns
// how many they were. Nodes of whose writes a value is still held are kept
// whatever keep says. The conditions are those of Clock.Prune; where they do
// not hold, a value that was replaced or deleted comes back from a replica that
// still has it.
func (s *Siblings[T]) Prune(keep func(node string) bool) (pruned int) {
	return s.clock.Prune(func(node string) bool {
		written := slices.ContainsFunc(s.values, func(v sibling[T]) bool { return v.dot.Node == node })
		return written || keep(node)
	})
}
