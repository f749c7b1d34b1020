package ratelimit

import (
	"sync/atomic"

	"github.com/parley-go/parley/internal/stripe"
)

// A till keeps goroutines on different processors from meeting at the tat of a
// large bucket. While it is open, the bucket's tokens are handed out by batches to
// cells, each with a cache line of its own, and Allow takes them from there, which
// is a few nanoseconds and needs no clock. Everything else shuts the till first:
// what is left in the cells goes back, and the bucket is as it would be without.
//
// That admits nothing extra: a token in a cell keeps its place in the bucket. Let
// lent be how many were in the cells, at most, since the last batch. Until the next
// one the bucket fills up to burst - lent and no further, whether they are used
// early or late. So what is in the bucket and in the cells is never more than the
// burst, and grows no faster than the limit.
//
// Nor does it lose anything but this: when a till is shut, tokens that were taken
// out of the cells since the last batch count as taken now, though some of them
// would have come back. They are no more than a thousandth of the burst, and none
// where the bucket lacks as many anyway.
type till struct {
	cells  []tillCell
	spread stripe.Spread
	batch  int64

	// Guarded by Limiter.mu.
	tat  int64 // that of the bucket, while the one in the bucket is frozen
	lent int64
}

type tillCell struct {
	n   atomic.Int64
	met atomic.Uint32
	_   [52]byte
}

const (
	tillShare    = 1024 // all batches together are at most so small a part of the burst
	tillBatch    = 256  // tokens, at most
	tillMinBatch = 8    // fewer are not worth it
	tillRounds   = 4    // batches for each cell that must be in the bucket
	tillAfter    = 64   // meetings at the bucket, after which its till is opened
)

// take takes a token from the cell of this goroutine.
func (t *till) take() bool {
	cell := &t.cells[t.spread.Of(len(t.cells))]
	n := cell.n.Load()
	if n <= 0 {
		return false
	}
	taken := cell.n.CompareAndSwap(n, n-1)
	if !taken {
		t.spread.Met(&cell.met)
	}
	return taken
}

// meet notes that two goroutines met at the bucket, and opens the till when that has
// happened often, if the bucket is large and holds enough for some rounds.
func (l *Limiter) meet(b *bucket) {
	if b.met.Add(1)%tillAfter != 0 {
		return
	}
	cells := stripe.Count()
	batch := min(tillBatch, b.burst/tillShare/cells)
	if batch < tillMinBatch || b.ramp != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket.Load() != b || b.till.Load() != nil || l.line.head != nil {
		return
	}
	if b.tat.Load()-b.clock(l.now()-b.origin) > b.depth-b.need(tillRounds*batch*cells) {
		return
	}
	if l.till == nil || len(l.till.cells) != cells {
		l.till = &till{cells: make([]tillCell, cells)}
	}
	t := l.till
	t.tat, t.lent, t.batch = b.tat.Swap(frozen), 0, int64(batch)
	b.till.Store(t)
}

// draw takes a token out of the bucket while its till is open, and a batch for the
// cell of this goroutine with it. It reports whether there was room for all of it;
// if not, the till is shut.
func (l *Limiter) draw(b *bucket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := b.till.Load()
	if t == nil || l.bucket.Load() != b {
		return false
	}
	batch, inside := t.batch, t.inside()
	if inside+batch > t.batch*int64(len(t.cells)) {
		batch = 1 // the others have their share already
	}
	elapsed := l.now() - b.origin
	v := b.clock(elapsed)
	next, room := b.after(t.filled(b, v), v, batch*b.cost)
	if elapsed > b.reach || !room {
		l.shut(b)
		return false
	}
	t.tat, t.lent = next, inside+batch-1
	t.cells[t.spread.Of(len(t.cells))].n.Add(batch - 1)
	return true
}

// filled returns the tat at v, before anything more is taken: the bucket has room
// for what is not lent.
func (t *till) filled(b *bucket, v int64) int64 { return max(t.tat, v+t.lent*b.cost) }

// inside returns how many tokens the cells hold. There may be fewer at once.
func (t *till) inside() (sum int64) {
	for i := range t.cells {
		sum += t.cells[i].n.Load()
	}
	return sum
}

// shut shuts the till of a bucket, if it is open: from now on its tat tells all. The
// caller holds mu.
func (l *Limiter) shut(b *bucket) {
	t := b.till.Load()
	if t == nil {
		return
	}
	b.till.Store(nil)
	back := int64(0)
	for i := range t.cells {
		back += t.cells[i].n.Swap(0)
	}
	v := b.clock(l.now() - b.origin) // after the last token has left its cell
	b.tat.Store(t.filled(b, v) - back*b.cost)
}
