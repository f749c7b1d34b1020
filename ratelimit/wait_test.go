package ratelimit_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// queue starts a waiter and returns when it stands in the line.
func queue(t *testing.T, ctx context.Context, l *ratelimit.Limiter, n int, done func(error)) {
	t.Helper()
	go func() { done(l.WaitN(ctx, n)) }()
	synctest.Wait()
}

func TestWaitKeepsTheLimitAndTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := newLimiter(t, ratelimit.Per(10, time.Second), 2)
		var order []int
		var at []time.Duration
		var mu sync.Mutex
		for i := range 7 {
			queue(t, t.Context(), l, 1, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				assert.NoError(t, err)
				order, at = append(order, i), append(at, time.Since(began))
			})
		}
		require.False(t, l.Allow(), "Allow does not overtake")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6}, order)
		require.Equal(t, []time.Duration{0, 0, 100 * ms, 200 * ms, 300 * ms, 400 * ms, 500 * ms}, at)
	})
}

func TestTrapBigWaiterStarvesSmallOnesOrSmallOnesABigOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := newLimiter(t, ratelimit.Per(10, time.Second), 10)
		require.True(t, l.AllowN(time.Now(), 10))
		var mu sync.Mutex
		at := map[string]time.Duration{}
		wait := func(name string, n int) {
			queue(t, t.Context(), l, n, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				assert.NoError(t, err)
				at[name] = time.Since(began)
			})
		}
		wait("small 1", 1)
		wait("big", 10)
		wait("small 2", 1)
		wait("small 3", 1)
		for range 30 {
			time.Sleep(50 * ms)
			l.Allow() // and somebody else tries all the time
		}
		synctest.Wait()
		require.Equal(t, map[string]time.Duration{
			"small 1": 100 * ms, "big": 1100 * ms, "small 2": 1200 * ms, "small 3": 1300 * ms,
		}, at)
	})
}

func TestTrapCancelledWaiterKeepsItsPermit(t *testing.T) {
	for _, victim := range []int{0, 1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			l := newLimiter(t, ratelimit.Per(10, time.Second), 2)
			require.True(t, l.AllowN(time.Now(), 2))
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var at []time.Duration
			var mu sync.Mutex
			cause := errors.New("gone")
			for i, n := range []int{1, 2, 1, 1} {
				if i == victim {
					queue(t, ctx, l, n, func(err error) {
						assert.ErrorIs(t, err, context.Canceled)
						assert.ErrorIs(t, err, cause)
					})
					continue
				}
				queue(t, t.Context(), l, n, func(err error) {
					mu.Lock()
					defer mu.Unlock()
					assert.NoError(t, err)
					at = append(at, time.Since(began))
				})
			}
			time.Sleep(50 * ms)
			cancel(cause)
			time.Sleep(time.Second)
			synctest.Wait()
			want := map[int][]time.Duration{
				0: {200 * ms, 300 * ms, 400 * ms},
				1: {100 * ms, 200 * ms, 300 * ms},
				2: {100 * ms, 300 * ms, 400 * ms},
				3: {100 * ms, 300 * ms, 400 * ms},
			}
			require.Equal(t, want[victim], at, "those behind number %d move up", victim)
			require.True(t, l.AllowN(time.Now(), 2), "and nothing is lost")
		})
	}
}

// When the turn comes and the context ends at the same instant, the token is
// either the waiter's or still there.
func TestWaiterServedAndCancelledAtOnce(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(t, ratelimit.Per(1, time.Second), 1)
			require.True(t, l.Allow())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(time.Second, cancel)
			result := make(chan error, 1)
			queue(t, ctx, l, 1, func(err error) { result <- err })
			err := <-result
			require.Equal(t, err != nil, l.Allow())
		})
	}
}

func TestWaitReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := newLimiter(t, ratelimit.Per(1, time.Second), 5)
		cause := errors.New("cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		err := l.Wait(ctx)
		require.ErrorIs(t, err, context.Canceled, "even though there is a token")
		require.ErrorIs(t, err, cause)
		require.Equal(t, 5, l.Decide(time.Now(), 0).Remaining)

		require.True(t, l.AllowN(time.Now(), 5))
		short, cancelShort := context.WithTimeout(t.Context(), 999*ms)
		defer cancelShort()
		err = l.Wait(short)
		require.ErrorIs(t, err, ratelimit.ErrLimited)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var limited *ratelimit.LimitedError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, time.Second, limited.RetryAfter)
		require.ErrorContains(t, err, "1s")
		require.Equal(t, began, time.Now(), "nobody waited")

		enough, cancelEnough := context.WithTimeout(t.Context(), 1001*ms)
		defer cancelEnough()
		require.NoError(t, l.Wait(enough), "and nothing was taken")
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestWaitTooFarAhead(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(9_999_991, time.Second), 1e9)
	ahead := time.Now().Add(time.Minute)
	for n := int(1e9); n > 0; n /= 2 {
		for l.ReserveN(ahead, n).OK() {
			continue
		}
	}
	err := l.Wait(t.Context())
	require.ErrorIs(t, err, ratelimit.ErrLimited)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

func TestSetLimitMovesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := newLimiter(t, ratelimit.Per(1, time.Hour), 2)
		require.True(t, l.AllowN(time.Now(), 2))
		var at []time.Duration
		var mu sync.Mutex
		for _, n := range []int{1, 2, 1} {
			queue(t, t.Context(), l, n, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				assert.NoError(t, err)
				at = append(at, time.Since(began))
			})
		}
		require.NoError(t, l.SetLimit(ratelimit.Per(10, time.Second), 2))
		time.Sleep(150 * ms)
		require.NoError(t, l.SetLimit(ratelimit.Per(1, time.Second), 1), "a burst below what the second waits for")
		time.Sleep(time.Minute)
		synctest.Wait()
		// With the two that it waits for, the bucket lacks 3.5 at 150 ms, and may lack 1.
		require.Equal(t, []time.Duration{100 * ms, 2650 * ms, 3650 * ms}, at)
	})
}

// Waiters of all sizes, some of whom give up, between reservations: the turns
// keep to the limit, are in order, and nobody is forgotten.
func TestWaitersKeepTheLimit(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 6))
			began := time.Now()
			limit, burst := ratelimit.Per(1+random.IntN(1000), time.Second), 1+random.IntN(8)
			one := int64(limit.Period) / int64(limit.Events)
			l := newLimiter(t, limit, burst)
			var mu sync.Mutex
			var events []event
			turns := map[int]time.Duration{} // of those who waited to the end
			var waiters sync.WaitGroup
			add := func(d time.Duration, n int) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, event{time.Since(began) + d, n})
			}
			for i := range 200 {
				n := 1 + random.IntN(burst)
				switch random.IntN(6) {
				case 0:
					r := l.ReserveN(time.Now(), n)
					add(r.Delay(), n)
				case 1:
					if l.AllowN(time.Now(), n) {
						add(0, n)
					}
				default:
					ctx, cancel := context.WithCancel(t.Context())
					if random.IntN(3) == 0 {
						time.AfterFunc(time.Duration(random.Int64N(20*one)), cancel)
					}
					waiters.Add(1)
					queue(t, ctx, l, n, func(err error) {
						defer waiters.Done()
						defer cancel()
						if err == nil {
							add(0, n)
							mu.Lock()
							turns[i] = time.Since(began)
							mu.Unlock()
						}
					})
				}
				time.Sleep(time.Duration(random.Int64N(2 * one)))
			}
			waiters.Wait()
			requireWithin(t, events, limit, burst)
			last := time.Duration(0)
			for _, i := range slices.Sorted(maps.Keys(turns)) {
				require.LessOrEqual(t, last, turns[i], "seed %d: waiter %d came before an earlier one", seed, i)
				last = turns[i]
			}
			require.Greater(t, len(events), 20)
		})
	}
}

func TestThousandWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := newLimiter(t, ratelimit.Per(1000, time.Second), 1)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				for range 3 {
					assert.NoError(t, l.Wait(t.Context()))
				}
			})
		}
		wg.Wait()
		require.Equal(t, 2999*ms, time.Since(began), "the first one is free")
	})
}
