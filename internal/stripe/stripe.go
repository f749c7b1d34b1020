// Package stripe spreads goroutines over cells of memory, so that those that run
// at one time on different processors rarely write to the same cache line.
package stripe

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Count returns how many cells keep the goroutines that run at one time apart:
// some more than processors, because they are chosen by a hash. It is a power of
// two, and at most 64.
func Count() int {
	return 1 << bits.Len(uint(4*min(runtime.GOMAXPROCS(0), 16)-1))
}

// A Spread chooses the cells of goroutines by a hash, and draws another hash when
// some that run at one time keep meeting at one cell: of two goroutines, one pair
// in as many as there are cells has the same, and would keep it. The zero value is
// ready for use.
//
// Where there are about as many goroutines as cells, some meet under every hash.
// Each draw therefore needs twice the meetings of the one before, up to a million.
type Spread struct {
	word atomic.Uint64 // the hash, and the number of draws in the lowest bits
}

const (
	firstMeetings = 64
	mostDoublings = 14

	drawsShift = 1 // bit 0 is left alone: the factor must be odd
	drawsMask  = 15
)

// Of returns a number below n, a power of two, that stays the same for a goroutine
// most of the time and differs between goroutines. The stacks of two goroutines
// lie in different places, so the address of a local variable tells them apart for
// about a nanosecond.
func (s *Spread) Of(n int) int {
	var here byte
	return of(uintptr(unsafe.Pointer(&here)), s.word.Load(), n)
}

func of(place uintptr, word uint64, n int) int {
	stack := uint64(place) >> 11             // the smallest has 2 KiB
	h := stack * (0x9e3779b97f4a7c15 ^ word) // by the golden ratio at first: neighbours go far apart
	return int(h>>((65-bits.Len(uint(n)))&63)) & (n - 1)
}

// Met notes that a goroutine has lost a race for its cell. count belongs to the
// cell: it lies on the cache line that was fought for already.
func (s *Spread) Met(count *atomic.Uint32) {
	word := s.word.Load()
	draws := word >> drawsShift & drawsMask
	if count.Add(1)%(firstMeetings<<draws) != 0 {
		return
	}
	next := (word + 0x632be59bd9b4e019) * 0xd1342543de82ef95 // any that differs in the high bits
	next = next&^(drawsMask<<drawsShift|1) | min(draws+1, mostDoublings)<<drawsShift
	s.word.CompareAndSwap(word, next)
}
