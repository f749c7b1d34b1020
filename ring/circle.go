package ring

import "math/bits"

// A key's nodes are those of the points around it, in the order of their distance
// in either direction; the first is the owner.
//
// A ring that gives a key to the point that follows it makes a node's share the
// sum of gaps between points. Half the gap on either side varies less: this is as
// even as a ring of twice the points. It is just as stable: a point that comes
// enters the order without changing that of the others. That the later owners go
// by distance, too, and not on in one direction from the first, is what keeps
// them as stable when zones are spread over.

// search returns the first point on the place at or after it, which may be
// endOfRing. There must be points.
func (s *Snapshot) search(at uint64) int {
	i := int(s.index[at>>(s.shift&63)])
	// Most searches end within two steps. Taken as borrows of a subtraction they
	// cost no branch, which could not be foreseen.
	_, step := bits.Sub64(s.points[i], at, 0)
	i += int(step)
	_, step = bits.Sub64(s.points[i], at, 0)
	i += int(step)
	for s.points[i] < at {
		i++
	}
	return i
}

// next returns the next point around the place at, and what it leaves on either
// side: behind is the next point before the place, ahead the next one on it or
// after. Begin with search(at)-1 and search(at). points are without endOfRing.
//
// Of two points at the same distance the one behind goes first. Of points on one
// place the first by name is met first from before, and the last from behind.
func next(points []uint64, at uint64, behind, ahead int) (point uint64, leftBehind, leftAhead int) {
	behind, ahead = wrap(points, behind, ahead)
	b, a := points[behind], points[ahead]
	// The distance back is never 0: from a point to itself it is a whole turn,
	// 2^64, which is why it is compared less 1. A borrow instead of a branch, for
	// this is a toss of a coin.
	_, back := bits.Sub64(at-b&placeMask-1, a&placeMask-at, 0)
	return a ^ (a^b)&-back, behind - int(back), ahead + 1 - int(back)
}

// wrap takes both to the other end of points where they are past theirs.
func wrap(points []uint64, behind, ahead int) (wrappedBehind, wrappedAhead int) {
	if behind < 0 {
		behind = len(points) - 1
	}
	if ahead >= len(points) {
		ahead = 0
	}
	return behind, ahead
}

// reach returns how far the place at may go ahead without changing the order of
// the first points around it, steps of them.
func (s *Snapshot) reach(at uint64, steps int) uint64 {
	points := s.members()
	i := s.search(at)
	reach := s.points[i]&placeMask - at // then that point is behind
	for behind, ahead := i-1, i; steps > 0; steps-- {
		behind, ahead = wrap(points, behind, ahead)
		b, a := points[behind], points[ahead]
		var point uint64
		if point, behind, ahead = next(points, at, behind, ahead); point == b {
			// The point behind was nearer, and is so for half of the difference.
			reach = min(reach, (a&placeMask-at-(at-b&placeMask))/2)
		}
	}
	return reach
}

// members returns the points without endOfRing.
func (s *Snapshot) members() []uint64 { return s.points[:len(s.points)-1] }
