package ring

import (
	"fmt"
	"iter"
	"math"
	"sync"
)

// Bounded hands out nodes by consistent hashing with bounded loads (Mirrokni,
// Thorup and Zadimoghaddam, SODA 2018): a key goes to its owner unless that has
// its fill, and else to the next node on the ring that has room. A node is given
// no more than factor times its fair part, rounded up, of all that is held at
// that moment, the new holder counted. A release can lower what is fair, but
// takes nothing from those who hold; until others have released, a node may then
// stand above.
//
// A Bounded follows its ring: a node that joins is filled up, one that left is
// given nothing more, and what is held on it counts for nothing until it is back.
// All methods are safe for concurrent use.
type Bounded struct {
	ring   *Ring
	factor float64

	mu     sync.Mutex
	state  *Snapshot        // what nodes goes by; guarded by mu
	nodes  []*load          // of state, by number; guarded by mu
	loads  map[string]*load // of members and of all that hold something; guarded by mu
	total  int              // held on members; guarded by mu
	factOK bool             // whether factor is in its bounds
}

// A load is what is held on a node.
type load struct {
	held   int
	member bool
}

// NewBounded returns a Bounded over a ring. factor is how much more than its fair
// part a node may hold: above 1 and at most 1,000, 1.25 being usual; the
// nearer to 1, the more keys are sent past their owners (about 1/(factor-1)^2
// nodes have to be asked). With a factor out of these bounds Acquire fails.
func NewBounded(r *Ring, factor float64) *Bounded {
	return &Bounded{
		ring:   r,
		factor: factor,
		factOK: factor > 1 && factor <= 1000,
		loads:  make(map[string]*load),
	}
}

// Acquire takes a place on the node for a key until release is called; to call
// it again does nothing. Takes some 100 ns and two small allocations.
//
// Errors: ErrNoNodes, and ErrInvalid for the factor of NewBounded.
func (b *Bounded) Acquire(key string) (name string, release func(), err error) {
	if !b.factOK {
		return "", nil, fmt.Errorf("%w: factor is %v, want above 1 and at most 1000", ErrInvalid, b.factor)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.follow(b.ring.Snapshot())
	if len(b.nodes) == 0 {
		return "", nil, ErrNoNodes
	}
	number := b.choose(Hash(key))
	l := b.nodes[number]
	l.held++
	b.total++
	return b.state.names[number], b.releaseOf(b.state.names[number], l), nil
}

// choose returns the first node with room on the way round from hash. There
// always is one: the room of all is at least factor times what will be held.
func (b *Bounded) choose(hash uint64) uint64 {
	fair := float64(b.total+1) / float64(b.state.weight)
	at := hash & placeMask
	i := b.state.search(at)
	var point uint64
	for behind, ahead := i-1, i; ; {
		point, behind, ahead = next(b.state.members(), at, behind, ahead)
		number := point & ownerMask
		room := math.Ceil(b.factor * fair * float64(b.state.nodes[number].Weight))
		if float64(b.nodes[number].held) < room {
			return number
		}
	}
}

// releaseOf returns the function that gives back a place on a node.
func (b *Bounded) releaseOf(name string, l *load) func() {
	done := false // guarded by mu
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if done {
			return
		}
		done = true
		l.held--
		if l.member {
			b.total--
		} else if l.held == 0 {
			delete(b.loads, name)
		}
	}
}

// follow brings the loads up to the members of a state.
func (b *Bounded) follow(s *Snapshot) {
	if s == b.state {
		return
	}
	for _, l := range b.nodes {
		l.member = false
	}
	b.total = 0
	nodes := make([]*load, len(s.nodes))
	for i, name := range s.names {
		l := b.loads[name]
		if l == nil {
			l = &load{}
			b.loads[name] = l
		}
		l.member = true
		b.total += l.held
		nodes[i] = l
	}
	if b.state != nil {
		for _, name := range b.state.names {
			if l := b.loads[name]; !l.member && l.held == 0 {
				delete(b.loads, name)
			}
		}
	}
	b.state, b.nodes = s, nodes
}

// Loads yields how much is held on each member, in the order of their names.
func (b *Bounded) Loads() iter.Seq2[string, int] {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.follow(b.ring.Snapshot())
	names, held := b.state.names, make([]int, len(b.nodes))
	for i, l := range b.nodes {
		held[i] = l.held
	}
	return func(yield func(string, int) bool) {
		for i, name := range names {
			if !yield(name, held[i]) {
				return
			}
		}
	}
}
