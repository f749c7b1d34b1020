package ring

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
)

// PlanConfig bounds how much of a [Plan] is under way at once. The zero value is
// a good default.
type PlanConfig struct {
	// PerNode is the number of moves at a time that a node takes part in, whether
	// it gives or takes: 1 to 1,024, default 2. More end sooner and leave the node
	// less for its users.
	PerNode int
	// Total is the number of moves at a time altogether: 1 to 1,024, default 16.
	Total int
}

// A Plan takes a store from one state of a ring to another, range by range, and
// knows at every moment who answers for a key: for a range that does not move
// its owner, and for one that does the old owner until its move is complete, and
// the new one from then on. It is a [Partitioner].
//
// To carry a plan out, call [Plan.Run], or take moves with Next and give them
// back with Complete or Abandon. For each move
//
//  1. from the making of the plan on, ask [Plan.Moving] before a write: if it
//     names a move, write to m.From and to m.To, otherwise to the Owner;
//  2. copy the range from m.From to m.To, which keeps the newer of what is copied
//     and what has been written, while m.From goes on answering;
//  3. Complete: from now on m.To answers, and m.From may delete the range once the
//     reads and writes that began before have ended.
//
// A move is known by its range, so that everything may be done twice: a move may
// be tried again, and Complete repeated. The same two states give the same plan
// everywhere. A process that restarts, or another one that follows, makes the
// plan anew and calls Complete for the moves that are known to be complete.
//
// The node that has the most left to give goes first, so that the longest queue
// does not end last. All methods are safe for concurrent use; Owner and
// Moving take no lock.
type Plan struct {
	perNode, total int
	after          *Snapshot
	moves          []Move        // by Start
	complete       []atomic.Bool // of moves
	ends           [][2]int      // of moves: the numbers of From and To

	mu      sync.Mutex
	states  []moveState // of moves; guarded by mu
	queues  []queue     // by number of node: what it still has to give; guarded by mu
	busy    []int       // by number of node: moves under way; guarded by mu
	running int         // moves under way; guarded by mu
	left    int         // moves not complete; guarded by mu
}

// A queue holds the pending moves from one node.
type queue struct {
	moves []int // ascending
	share float64
}

type moveState uint8

const (
	pending moveState = iota
	underWay
	completed
)

// NewPlan returns the plan of what [Diff] finds between two states, with nothing
// done yet.
//
// Errors: ErrInvalid, and ErrNoNodes if either state has none.
func NewPlan(before, after Source, c PlanConfig) (*Plan, error) {
	b, a := before.Snapshot(), after.Snapshot()
	if b.Len() == 0 || a.Len() == 0 {
		return nil, fmt.Errorf("%w: a plan goes from %d nodes to %d", ErrNoNodes, b.Len(), a.Len())
	}
	perNode, err := planLimit("PerNode", c.PerNode, 2)
	if err != nil {
		return nil, err
	}
	total, err := planLimit("Total", c.Total, 16)
	if err != nil {
		return nil, err
	}
	p := &Plan{perNode: perNode, total: total, after: a, moves: slices.Collect(Diff(b, a))}
	p.left = len(p.moves)
	p.complete = make([]atomic.Bool, len(p.moves))
	p.states = make([]moveState, len(p.moves))
	p.ends = make([][2]int, len(p.moves))
	nodes := slices.Concat(b.names, a.names)
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	p.queues = make([]queue, len(nodes))
	p.busy = make([]int, len(nodes))
	for i, m := range p.moves {
		from, _ := slices.BinarySearch(nodes, m.From)
		to, _ := slices.BinarySearch(nodes, m.To)
		p.ends[i] = [2]int{from, to}
		p.queues[from].moves = append(p.queues[from].moves, i)
		p.queues[from].share += m.Share()
	}
	return p, nil
}

func planLimit(field string, value, otherwise int) (int, error) {
	if value == 0 {
		return otherwise, nil
	}
	if value < 0 || value > 1024 {
		return 0, fmt.Errorf("%w: PlanConfig.%s is %d, want 1 to 1024, or 0 for %d", ErrInvalid, field, value, otherwise)
	}
	return value, nil
}

// Owner returns the node that answers for a key now. Takes 20 to 100 ns, with the
// number of moves.
func (p *Plan) Owner(key string) (name string, ok bool) {
	hash := Hash(key)
	if i := p.covering(hash); i >= 0 && !p.complete[i].Load() {
		return p.moves[i].From, true
	}
	return p.after.OwnerOf(hash)
}

// Moving returns the move that a key is part of, if it is not complete: m.From
// answers for the key now, and m.To will. To know where to write, ask Moving
// first and Owner after: between the two a move can only become complete.
func (p *Plan) Moving(key string) (m Move, ok bool) {
	if i := p.covering(Hash(key)); i >= 0 && !p.complete[i].Load() {
		return p.moves[i], true
	}
	return Move{}, false
}

// covering returns the move whose range hash is in, or -1.
func (p *Plan) covering(hash uint64) int {
	i, _ := slices.BinarySearchFunc(p.moves, hash, func(m Move, hash uint64) int { return cmp.Compare(m.End, hash) })
	if i < len(p.moves) && p.moves[i].Start <= hash {
		return i
	}
	return -1
}

// Next returns a move that may start now, and counts it as under way. ok is false
// if there is none: all are complete or under way, or their nodes are busy.
func (p *Plan) Next() (m Move, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == p.total {
		return Move{}, false
	}
	best, next := -1, 0
	for n := range p.queues {
		q := &p.queues[n]
		if p.busy[n] >= p.perNode || best >= 0 && q.share <= p.queues[best].share {
			continue
		}
		free := slices.IndexFunc(q.moves, func(i int) bool { return p.busy[p.ends[i][1]] < p.perNode })
		if free >= 0 {
			best, next = n, q.moves[free]
		}
	}
	if best < 0 {
		return Move{}, false
	}
	p.dequeue(next)
	p.states[next] = underWay
	p.running++
	for _, n := range p.ends[next] {
		p.busy[n]++
	}
	return p.moves[next], true
}

// dequeue and enqueue take a move out of the queue of its source and put it back.
func (p *Plan) dequeue(i int) {
	q := &p.queues[p.ends[i][0]]
	at, _ := slices.BinarySearch(q.moves, i)
	q.moves = slices.Delete(q.moves, at, at+1)
	q.share -= p.moves[i].Share()
}

func (p *Plan) enqueue(i int) {
	q := &p.queues[p.ends[i][0]]
	at, _ := slices.BinarySearch(q.moves, i)
	q.moves = slices.Insert(q.moves, at, i)
	q.share += p.moves[i].Share()
}

// Complete says that a move has been carried out, by whomever: from now on m.To
// answers for its range. It reports whether the move is one of the plan's.
func (p *Plan) Complete(m Move) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.covering(m.Start)
	if i < 0 || p.moves[i] != m {
		return false
	}
	switch p.states[i] {
	case completed:
		return true
	case pending:
		p.dequeue(i)
	case underWay:
		p.halt(i)
	}
	p.states[i] = completed
	p.left--
	p.complete[i].Store(true)
	return true
}

// Abandon gives a move back that was taken with Next and not carried out; it will
// be handed out again. It reports whether the move was under way.
func (p *Plan) Abandon(m Move) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.covering(m.Start)
	if i < 0 || p.moves[i] != m || p.states[i] != underWay {
		return false
	}
	p.halt(i)
	p.states[i] = pending
	p.enqueue(i)
	return true
}

// halt counts a move as no longer under way.
func (p *Plan) halt(i int) {
	p.running--
	for _, n := range p.ends[i] {
		p.busy[n]--
	}
}

// Moves yields all moves in ascending order of their ranges, and whether each is
// complete.
func (p *Plan) Moves() iter.Seq2[Move, bool] {
	return func(yield func(Move, bool) bool) {
		for i, m := range p.moves {
			if !yield(m, p.complete[i].Load()) {
				return
			}
		}
	}
}

// Left returns the number of moves that are not complete, those under way
// included.
func (p *Plan) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}
