package ratelimit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

// Three seconds in virtual time, twice as much asked as is allowed: what is
// allowed is the limit to 0.1%, and never more. The goroutines share a clock that
// goes on with every call, so their times are out of order, too.
func TestAccuracy(t *testing.T) {
	for _, test := range []struct{ perSecond, burst, n int }{
		{1, 2, 1}, {1000, 1, 1}, {1000, 10, 1}, {100_000, 1000, 10}, {10_000_000, 100_000, 1000}, {9_999_991, 100_000, 1000}, {1_000_000_007, 10_000_000, 100_000},
	} {
		for _, goroutines := range []int{2, 1000} {
			t.Run(fmt.Sprintf("%d per second/%d goroutines", test.perSecond, goroutines), func(t *testing.T) {
				limit := ratelimit.Per(test.perSecond, time.Second)
				l := newLimiter(t, limit, test.burst)
				step := max(1, time.Second*time.Duration(test.n)/time.Duration(2*test.perSecond))
				if test.perSecond < 100 {
					step = ms
				}
				var clock, admitted atomic.Int64
				var wg sync.WaitGroup
				for range goroutines {
					wg.Go(func() {
						for {
							now := time.Duration(clock.Add(int64(step)))
							if now > 3*time.Second {
								return
							}
							if l.AllowN(after(now), test.n) {
								admitted.Add(int64(test.n))
							}
						}
					})
				}
				wg.Wait()
				want := most(limit, test.burst, 3*time.Second-step)
				require.LessOrEqual(t, admitted.Load(), want)
				if test.burst > 1 { // without any, a token that is asked for late is lost
					require.GreaterOrEqual(t, float64(admitted.Load()+int64(test.n-1)), 0.999*float64(want))
				}
			})
		}
	}
}

// The same through Wait and the limiter's own clock.
func TestAccuracyOfWait(t *testing.T) {
	for _, perSecond := range []int{1, 1000, 100_000} {
		for _, goroutines := range []int{2, 1000} {
			t.Run(fmt.Sprintf("%d per second/%d goroutines", perSecond, goroutines), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const burst = 5
					lasts := 3 * time.Second
					if perSecond > 10_000 {
						lasts = 300 * ms
					}
					limit := ratelimit.Per(perSecond, time.Second)
					l := newLimiter(t, limit, burst)
					began := time.Now()
					var admitted atomic.Int64
					var wg sync.WaitGroup
					for range goroutines {
						wg.Go(func() {
							for l.Wait(t.Context()) == nil && time.Since(began) <= lasts {
								admitted.Add(1)
							}
						})
					}
					wg.Wait()
					require.Equal(t, most(limit, burst, lasts), admitted.Load())
				})
			})
		}
	}
}

// 10 million a second leave a processor 100 ns for an event: when the operating
// system takes it away, the callers are behind at once. What the burst holds they
// get when they come back, to the event; what came on top of it while nobody asked
// is lost: any bucket loses that, and only that.
func TestPauseLosesWhatTheBurstDoesNotHold(t *testing.T) {
	const perSecond, burst = 10_000_000, 100_000 // 10 ms worth
	for _, test := range []struct {
		pause time.Duration
		want  int
	}{
		{time.Microsecond, 10},
		{ms, 10_000},
		{9999 * time.Microsecond, 99_990},
		{10 * ms, burst},
		{11 * ms, burst},
		{time.Second, burst},
	} {
		l := newLimiter(t, ratelimit.Per(perSecond, time.Second), burst)
		var now time.Duration
		for range 5 {
			got := 0
			for l.AllowN(after(now), 1) {
				got++
			}
			if now > 0 {
				require.Equal(t, test.want, got, "after %v", test.pause)
			}
			now += test.pause
		}
	}
}
