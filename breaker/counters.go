package breaker

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
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

func (c counters) add(kind int) { c[stripe(len(c))].n[kind].Add(1) }

func (c counters) sum(kind int) (total uint64) {
	for i := range c {
		total += c[i].n[kind].Load()
	}
	return total
}

// stripes returns how many cells keep the goroutines that run at one time apart:
// some more than processors, because they are chosen by a hash.
func stripes() int {
	return 1 << bits.Len(uint(4*min(runtime.GOMAXPROCS(0), 16)-1))
}

// stripe returns a number below n, a power of two, that stays the same for a
// goroutine most of the time and differs between goroutines. The stacks of two
// goroutines lie in different places, so the address of a local variable tells
// them apart for less than a nanosecond.
func stripe(n int) int {
	var here byte
	place := uint64(uintptr(unsafe.Pointer(&here))) >> 11 // the smallest stack has 2 KiB
	return int(place*0x9e3779b97f4a7c15>>32) & (n - 1)
}
