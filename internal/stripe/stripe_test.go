package stripe

import (
	"math/bits"
	"runtime"
	"sync"
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
				used[of(0xc000_100000+i*size+size/3, cells)] = true
			}
			require.GreaterOrEqual(t, len(used), cells/2, "%d cells, stacks of %d bytes", cells, size)
		}
	}
}

func TestOfIsBelowN(t *testing.T) {
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if n := Of(8); n < 0 || n > 7 {
				t.Errorf("got %d", n)
			}
		})
	}
	wg.Wait()
}

func BenchmarkOf(b *testing.B) {
	for b.Loop() {
		_ = Of(8)
	}
}
