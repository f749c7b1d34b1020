package breaker

import (
	"sync/atomic"

	"github.com/parley-go/parley/internal/stripe"
)

// The events that a Breaker counts.
const (
	countSuccess = iota
	countFailure
	countIgnored
	countSlow
	countRejected
	countLate
	countKinds
)

// A countCell holds counts on a cache line of its own.
type countCell struct {
	n   [countKinds]atomic.Uint64
	met atomic.Uint32
	_   [64 - 8*countKinds - 4]byte
}

// counters are counts that goroutines on different processors add to without
// sharing a cache line.
type counters struct {
	cells  []countCell // as many as a power of two
	spread stripe.Spread
}

func (c *counters) add(kind int) {
	cell := &c.cells[c.spread.Of(len(c.cells))]
	n := &cell.n[kind]
	if before := n.Load(); n.Add(1) != before+1 {
		c.spread.Met(&cell.met)
	}
}

func (c *counters) sum(kind int) (total uint64) {
	for i := range c.cells {
		total += c.cells[i].n[kind].Load()
	}
	return total
}
