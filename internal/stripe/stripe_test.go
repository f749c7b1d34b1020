package stripe

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCountIsAPowerOfTwoAboveTheProcessors(t *testing.T) {
	for _, procs := range []int{1, 2, 3, 8, 100} {
		before := runtime.GOMAXPROCS(procs)
		n := Count()
		runtime.GOMAXPROCS(before)
		require.Equal(t, 1, bits.OnesCount(uint(n)), "%d for %d processors", n, procs)
		require.GreaterOrEqual(t, n, min(64, 4*procs))
		require.LessOrEqual(t, n, 64)
	}
}

// Stacks lie side by side, with sizes that are powers of two.
func TestStacksAreSpreadOverMostCells(t *testing.T) {
	for size := uintptr(2 << 10); size <= 256<<10; size *= 2 {
		for _, cells := range []int{8, 64} {
			used := map[int]bool{}
			for i := range uintptr(2 * cells) {
				used[of(0x4010_0000+i*size+size/3, 0, cells)] = true
			}
			require.GreaterOrEqual(t, len(used), cells/2, "%d cells, stacks of %d bytes", cells, size)
		}
	}
}

func TestOfIsBelowN(t *testing.T) {
	var wg sync.WaitGroup
	var spread Spread
	for range 100 {
		wg.Go(func() {
			if n := spread.Of(8); n < 0 || n > 7 {
				t.Errorf("got %d", n)
			}
		})
	}
	wg.Wait()
}

// meetUntil lets goroutines with their stacks in these places meet as long as some
// have the same cell, and returns how often they did.
func meetUntil(spread *Spread, places []uintptr, cells, most int) (meetings int) {
	counts := make([]atomic.Uint32, cells)
	for ; meetings < most; meetings++ {
		at := map[int]bool{}
		for _, place := range places {
			at[of(place, spread.word.Load(), cells)] = true
		}
		if len(at) == len(places) {
			break
		}
		spread.Met(&counts[0])
	}
	return meetings
}

func TestGoroutinesThatMeetPart(t *testing.T) {
	const base, size, cells = 0x4010_0000, 8 << 10, 8
	pairs := 0
	for a := range uintptr(64) {
		for b := range a {
			places := []uintptr{base + a*size, base + b*size}
			if of(places[0], 0, cells) != of(places[1], 0, cells) {
				continue
			}
			pairs++
			var spread Spread
			require.Less(t, meetUntil(&spread, places, cells, 10_000), 10_000, "stacks %d and %d", a, b)
			require.NotZero(t, spread.word.Load())
		}
	}
	require.NotZero(t, pairs)
}

// With nine goroutines and eight cells, two meet under every hash.
func TestDrawsBecomeRareWhereTheyDoNotHelp(t *testing.T) {
	var spread Spread
	var count atomic.Uint32
	draws, last := 0, uint64(0)
	for range 3 << 20 {
		spread.Met(&count)
		if word := spread.word.Load(); word != last {
			draws, last = draws+1, word
			require.Zero(t, word&1, "an even factor takes fewer bits of the address into account")
		}
	}
	require.InDelta(t, 14+3, draws, 2, "doubling from 64 to a million, then one each million")
}

func BenchmarkOf(b *testing.B) {
	var spread Spread
	for b.Loop() {
		_ = spread.Of(8)
	}
}
