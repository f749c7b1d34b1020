package breaker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/stripe"
)

// BulkheadConfig says how many calls a Bulkhead lets run and wait. The zero value
// is 16 that run and 64 that wait.
type BulkheadConfig struct {
	// Concurrent is how many calls run at a time, or the sum of their weights: 1
	// to 2^30. Default 16.
	Concurrent int
	// Waiting is how many more calls may wait, whatever their weight: 1 to 2^20.
	// A long queue does not serve more calls, it serves them later: their callers
	// may have gone by then. Default 64.
	Waiting int
	// DisableWaiting rejects a call at once that cannot run at once.
	DisableWaiting bool
}

// Priority says who must leave a full queue first.
type Priority int8

// The priorities. Anything below Low counts as Low, above High as High.
const (
	Low    Priority = -1
	Normal Priority = 0 // the zero value
	High   Priority = 1
)

const priorities = 3

func (p Priority) index() int { return int(min(max(p, Low), High) - Low) }

// Class is a kind of calls through a Bulkhead.
type Class struct {
	// Weight is how much of Concurrent a call takes up. Default 1.
	Weight int
	// Priority decides who has to leave a full queue; who is served first, the
	// order of arrival decides. Default Normal.
	Priority Priority
}

// A Bulkhead bounds how many calls run at a time, so that one slow service cannot
// take all the goroutines, connections or memory of a process. Calls over the
// bound wait, in the order of their arrival, as long as their context lets them;
// calls over the bound of the queue are rejected with ErrFull, or push out the
// newest waiter of a lower priority, who gets ErrShed.
//
// A heavy call waits at the head of the queue until there is room for all of it,
// and those behind it wait with it: neither can starve the other.
//
// All methods are safe for concurrent use. While there is room, a call takes and
// returns its permit without a lock.
type Bulkhead struct {
	plain class
	// Permits that were returned, each to the cell of the goroutine that had taken
	// it: its next call finds one there without meeting other processors. All the
	// others are in free.
	cells  []permitCell
	spread stripe.Spread
	// strict is 1 while a call waits, or the limit is overrun after it was
	// lowered. Permits then pass through the lock only. Who returns one first
	// puts it in a cell and then reads strict; who wants one first sets strict
	// and then looks into the cells: one of them sees the other.
	strict atomic.Int32

	mu      sync.Mutex
	limit   int
	waiting int               // the bound of the queue
	free    int               // below 0 while more is in use than a lowered limit allows
	queues  [priorities]queue // together they are one queue, in the order of turn
	queued  int
	turn    uint64
	stats   BulkheadStats // only its totals
}

// A permitCell has a cache line of its own.
type permitCell struct {
	n   atomic.Int64
	met atomic.Uint32
	_   [52]byte
}

// NewBulkhead returns an empty Bulkhead, or an error that names each field of the
// configuration that is out of bounds.
func NewBulkhead(config BulkheadConfig) (*Bulkhead, error) {
	c, check := config, checker{config: "BulkheadConfig"}
	c.Concurrent = orDefault(c.Concurrent, 16)
	check.field(validLimit(c.Concurrent), "Concurrent", c.Concurrent, "from 1 to 2^30")
	if c.DisableWaiting {
		check.field(c.Waiting == 0, "Waiting", c.Waiting, "0 if DisableWaiting is set")
	} else {
		c.Waiting = orDefault(c.Waiting, 64)
		check.field(c.Waiting >= 1 && c.Waiting <= maxWaiting, "Waiting", c.Waiting, "from 1 to 2^20")
	}
	if err := check.err(); err != nil {
		return nil, err
	}
	b := &Bulkhead{
		cells: make([]permitCell, stripe.Count()),
		limit: c.Concurrent, free: c.Concurrent, waiting: c.Waiting,
	}
	b.plain = class{b, Class{Weight: 1}}
	return b, nil
}

const maxWaiting = 1 << 20

func validLimit(n int) bool { return n >= 1 && n <= 1<<30 }

// A class is a Bulkhead as calls of one Class see it.
type class struct {
	bulkhead *Bulkhead
	Class
}

// For returns the Bulkhead as a Guard for calls of one class. It costs one
// allocation: make it once. A weight below 1 counts as 1.
func (b *Bulkhead) For(c Class) Guard {
	c.Weight = max(c.Weight, 1)
	return &class{b, c}
}

// Acquire returns the permit of one call of weight 1 and normal priority, once
// there is room. The error is ErrFull or ErrShed, or that of a ctx that ended
// before there was.
func (b *Bulkhead) Acquire(ctx context.Context) (Permit, error) { return b.plain.Acquire(ctx) }

// Acquire is Bulkhead.Acquire for the class.
func (c *class) Acquire(ctx context.Context) (Permit, error) {
	if ctx.Err() != nil {
		return Permit{}, contextError(ctx)
	}
	b := c.bulkhead
	home := b.spread.Of(len(b.cells))
	p := Permit{owner: c, start: int64(home)} // it goes back to where the next call from here looks for it
	cell := &b.cells[home]
	if n := cell.n.Load(); n >= int64(c.Weight) && b.strict.Load() == 0 {
		if cell.n.CompareAndSwap(n, n-int64(c.Weight)) {
			return p, nil
		}
		b.spread.Met(&cell.met)
	}
	w, err := b.enter(c)
	if err != nil {
		return Permit{}, err
	}
	if w != nil {
		if err := b.wait(ctx, w); err != nil {
			return Permit{}, err
		}
	}
	return p, nil
}

// done returns the permit to its cell.
func (c *class) done(home int64, _ Outcome) {
	b := c.bulkhead
	b.cells[home].n.Add(int64(c.Weight))
	if b.strict.Load() != 0 {
		b.mu.Lock()
		b.serve()
		b.mu.Unlock()
	}
}

// judge is of no consequence: to a bulkhead, all outcomes are one.
func (c *class) judge(error) Outcome { return Ignored }

func (c *class) lasts() bool { return true }

// enter takes a permit under the lock, or puts a waiter in the queue.
func (b *Bulkhead) enter(c *class) (*waiter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.Weight > b.limit {
		b.stats.Rejected++
		return nil, fmt.Errorf("%w: a call of weight %d, with room for %d", ErrFull, c.Weight, b.limit)
	}
	if b.queued == 0 {
		if b.take(c.Weight) {
			return nil, nil
		}
		b.strict.Store(1)
		if b.take(c.Weight) { // returned since, by somebody who has not seen strict
			b.serve()
			return nil, nil
		}
	}
	if b.queued >= b.waiting && !b.shed(c.Priority) {
		b.stats.Rejected++
		b.serve()
		return nil, ErrFull
	}
	b.turn++
	w := &waiter{weight: c.Weight, turn: b.turn, ready: make(chan error, 1)}
	b.queues[c.Priority.index()].push(w)
	b.queued++
	b.stats.Waited++
	b.serve() // who was shed may have been a heavy one at the head
	return w, nil
}

// wait waits until w is answered or ctx ends.
func (b *Bulkhead) wait(ctx context.Context, w *waiter) error {
	select {
	case err := <-w.ready:
		return err
	case <-ctx.Done():
	}
	end := contextError(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.leave(w) {
		if err := <-w.ready; err != nil {
			return err
		}
		b.free += w.weight // it was handed a permit in this very moment
	}
	b.stats.GaveUp++
	b.serve() // those behind it may have been waiting for its weight only
	return end
}

// leave takes w out of the queue; false if it has been answered. The caller holds
// mu, here and below.
func (b *Bulkhead) leave(w *waiter) bool {
	if !w.remove() {
		return false
	}
	b.queued--
	return true
}

// shed makes room in the queue for an arrival, if a lower priority waits.
func (b *Bulkhead) shed(arrival Priority) bool {
	for i := range arrival.index() {
		if w := b.queues[i].last; w != nil {
			b.leave(w)
			b.stats.Shed++
			w.ready <- ErrShed
			return true
		}
	}
	return false
}

// head returns the waiter that came first; nil if nobody waits.
func (b *Bulkhead) head() (head *waiter) {
	for i := range b.queues {
		if w := b.queues[i].first; w != nil && (head == nil || w.turn < head.turn) {
			head = w
		}
	}
	return head
}

// serve hands permits to those whose turn it is, and lets calls past the lock
// again once nobody waits.
func (b *Bulkhead) serve() {
	for w := b.head(); w != nil && b.take(w.weight); w = b.head() {
		b.leave(w)
		w.ready <- nil
	}
	if b.queued == 0 && b.take(0) {
		b.strict.Store(0)
	}
}

// take takes so many permits, from free or else from the cells, and reports
// whether there were enough. Taking 0 is possible unless the limit is overrun.
func (b *Bulkhead) take(weight int) bool {
	for i := 0; b.free < weight && i < len(b.cells); i++ {
		if b.cells[i].n.Load() > 0 {
			b.free += int(b.cells[i].n.Swap(0))
		}
	}
	if b.free < weight {
		return false
	}
	b.free -= weight
	return true
}

// Resize changes how many calls run at a time: 1 to 2^30. With a higher limit,
// those who wait are let in at once. With a lower one, nobody is let in until
// enough have left, and those who wait and are heavier than the new limit get
// ErrFull.
func (b *Bulkhead) Resize(concurrent int) error {
	if !validLimit(concurrent) {
		return fmt.Errorf("breaker: Resize to %d: must be from 1 to 2^30", concurrent)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.strict.Store(1)
	b.free += concurrent - b.limit
	b.limit = concurrent
	for i := range b.queues {
		for w := b.queues[i].first; w != nil; {
			next := w.next
			if w.weight > concurrent {
				b.leave(w)
				b.stats.Rejected++
				w.ready <- ErrFull
			}
			w = next
		}
	}
	b.serve()
	return nil
}

// BulkheadStats is a snapshot of a Bulkhead.
type BulkheadStats struct {
	Limit   int // the weight that may run at a time
	InUse   int // the weight that runs; above Limit for a while after Resize
	Waiting int // the calls that wait

	// Totals of calls: those that had to wait; of them, those that gave up
	// because their context ended, and those that had to go for others; and those
	// that were rejected at once.
	Waited, GaveUp, Shed, Rejected uint64
}

// Stats returns a snapshot. InUse is exact when no call begins or ends meanwhile.
func (b *Bulkhead) Stats() BulkheadStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Limit, s.Waiting = b.limit, b.queued
	s.InUse = b.limit - b.free
	for i := range b.cells {
		s.InUse -= int(b.cells[i].n.Load())
	}
	return s
}
