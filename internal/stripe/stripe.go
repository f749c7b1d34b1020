// Package stripe spreads goroutines over cells of memory, so that those that run
// at one time on different processors rarely write to the same cache line.
package stripe

import (
	"math/bits"
	"runtime"
	"unsafe"
)

// Count returns how many cells keep the goroutines that run at one time apart:
// some more than processors, because they are chosen by a hash. It is a power of
// two, and at most 64.
func Count() int {
	return 1 << bits.Len(uint(4*min(runtime.GOMAXPROCS(0), 16)-1))
}

// Of returns a number below n, a power of two, that stays the same for a goroutine
// most of the time and differs between goroutines. The stacks of two goroutines
// lie in different places, so the address of a local variable tells them apart for
// less than a nanosecond.
func Of(n int) int {
	var here byte
	return of(uintptr(unsafe.Pointer(&here)), n)
}

func of(place uintptr, n int) int {
	stack := uint64(place) >> 11    // the smallest has 2 KiB
	h := stack * 0x9e3779b97f4a7c15 // by the golden ratio: neighbours go far apart
	return int(h>>((65-bits.Len(uint(n)))&63)) & (n - 1)
}
