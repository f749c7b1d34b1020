package breaker_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
)

// hammer makes 20,000 calls from a thousand goroutines, three in ten of which
// fail.
func hammer(t *testing.T, b *breaker.Breaker) {
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			for j := range 20 {
				if (i+j)%10 < 3 {
					do(t, b, 1, fail)
				} else {
					do(t, b, 1, succeed)
				}
			}
		})
	}
	wg.Wait()
}

func TestCountWindowLosesNothingUnderConcurrency(t *testing.T) {
	b := newBreaker(t, breaker.Config{WindowCalls: 20_000, FailureRate: 1})
	hammer(t, b)
	require.Equal(t, breaker.Stats{Generation: 1, Failures: 6000, WindowCalls: 20_000, WindowFailures: 6000}, b.Stats())

	b = newBreaker(t, breaker.Config{WindowCalls: 64, MinimumCalls: 64, FailureRate: 1})
	hammer(t, b) // overwrites each slot hundreds of times
	do(t, b, 64, succeed)
	require.Equal(t, breaker.Stats{Generation: 1, Failures: 6000, WindowCalls: 64}, b.Stats())
}

func TestTimeWindowLosesNothingUnderConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{WindowTime: time.Hour, FailureRate: 1})
		hammer(t, b)
		require.Equal(t, breaker.Stats{Generation: 1, Failures: 6000, WindowCalls: 20_000, WindowFailures: 6000}, b.Stats())
		time.Sleep(time.Hour)
		require.Equal(t, breaker.Stats{Generation: 1, Failures: 6000}, b.Stats())
	})
}

// While the window moves on under the feet of those who record, nothing is left
// over in the end.
func TestTimeWindowMovesUnderConcurrency(t *testing.T) {
	b := newBreaker(t, breaker.Config{WindowTime: 10 * time.Millisecond, FailureRate: 1, MinimumCalls: 1 << 30})
	hammer(t, b)
	hammer(t, b)
	for b.Stats().WindowCalls > 0 { // until all of it is past
		runtime.Gosched()
	}
	require.Zero(t, b.Stats().WindowFailures)
}
