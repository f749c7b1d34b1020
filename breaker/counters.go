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
	n [8]atomic.Uint64 // countKinds of them are used; 8 fill the line
}

// counters are counts that goroutines on different processors add to without
// sharing a cache line. The length is a power of two.
type counters []countCell

func (c counters) add(kind int) { c[stripe.Of(len(c))].n[kind].Add(1) }

func (c counters) sum(kind int) (total uint64) {
	for i := range c {
		total += c[i].n[kind].Load()
	}
	return total
}
