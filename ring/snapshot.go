package ring

import (
	"iter"
	"slices"
)

// A Snapshot is one state of a [Ring], which never changes: take one where
// several look-ups have to agree, and to compare before and after with [Diff].
// It costs nothing to take; while one is held, so is its memory. All methods are
// safe for concurrent use.
type Snapshot struct {
	version uint64
	virtual int
	weight  int      // sum over nodes
	nodes   []Node   // by name, weights filled in
	names   []string // of nodes: what look-ups read
	zoneOf  []uint32 // of nodes
	zones   int      // different ones
	points  []uint64 // sorted, then endOfRing; see build.go
	index   []uint32 // first point that may be ahead, by the upper bits of a hash
	shift   uint8    // 1 to 63: of a hash, for index
}

// Snapshot returns s itself, so that a Snapshot serves wherever a Ring does.
func (s *Snapshot) Snapshot() *Snapshot { return s }

// Version returns the number of changes that led to this state: New makes
// version 1, every change one more. It counts the changes of one Ring in one
// process; it does not tell whether two processes have the same members.
func (s *Snapshot) Version() uint64 { return s.version }

// Len returns the number of nodes.
func (s *Snapshot) Len() int { return len(s.nodes) }

// Nodes yields the nodes in the order of their names, with the weights that
// apply.
func (s *Snapshot) Nodes() iter.Seq[Node] { return slices.Values(s.nodes) }

// Node returns the node of that name.
func (s *Snapshot) Node(name string) (n Node, ok bool) {
	i, ok := s.number(name)
	if !ok {
		return Node{}, false
	}
	return s.nodes[i], true
}

func (s *Snapshot) number(name string) (int, bool) { return slices.BinarySearch(s.names, name) }

// Owner is as [Ring.Owner].
func (s *Snapshot) Owner(key string) (name string, ok bool) {
	if len(s.names) == 0 {
		return "", false
	}
	// Not by way of OwnerOf: a call more is a tenth of the time.
	at := Hash(key) & placeMask
	i := s.search(at)
	point, _, _ := next(s.members(), at, i-1, i)
	return s.names[point&ownerMask], true
}

// OwnerOf returns the owner of the keys with that [Hash].
func (s *Snapshot) OwnerOf(hash uint64) (name string, ok bool) {
	if len(s.names) == 0 {
		return "", false
	}
	at := hash & placeMask
	i := s.search(at)
	point, _, _ := next(s.members(), at, i-1, i)
	return s.names[point&ownerMask], true
}

// Shares yields the nodes in the order of their names, each with the part of all
// hashes that it owns, from 0 to 1. One pass over the ring.
func (s *Snapshot) Shares() iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		shares := make([]float64, len(s.nodes))
		points := s.members()
		before := uint64(0)
		if len(points) > 0 {
			before = points[len(points)-1]
		}
		for i, p := range points {
			// A gap is shared half and half. The one that closes the circle may be a
			// whole turn, 2^64; any other of 0 is between points on one place.
			gap := float64(p&placeMask - before&placeMask)
			if i == 0 && gap == 0 {
				gap = 1 << 64
			}
			shares[before&ownerMask] += gap / (1 << 65)
			shares[p&ownerMask] += gap / (1 << 65)
			before = p
		}
		for i, share := range shares {
			if !yield(s.names[i], share) {
				return
			}
		}
	}
}
