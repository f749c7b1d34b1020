package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// turns notes when those who wait at a Keyed get their turns, in order.
type turns struct {
	keyed *ratelimit.Keyed[string]
	began time.Time
	mu    sync.Mutex
	names []string
	at    []time.Duration
}

func (q *turns) join(t *testing.T, ctx context.Context, key, name string, n int) {
	t.Helper()
	go func() {
		if q.keyed.WaitN(ctx, key, n) != nil {
			return
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.names, q.at = append(q.names, name), append(q.at, time.Since(q.began))
	}()
	synctest.Wait()
}

func TestKeyedWaitKeepsTheLimitAndTheOrderOfEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(10, time.Second), Burst: 2})
		q := &turns{keyed: k, began: time.Now()}
		gone, leave := context.WithCancel(t.Context())
		q.join(t, t.Context(), "a", "a1", 2)
		q.join(t, t.Context(), "a", "a2", 1)
		q.join(t, gone, "a", "never", 2)
		q.join(t, t.Context(), "a", "a3", 2)
		q.join(t, t.Context(), "a", "a4", 1)
		q.join(t, t.Context(), "b", "b1", 1)
		require.False(t, k.Allow("a"), "Allow does not overtake")
		require.True(t, k.Allow("b"), "keys do not wait for each other")
		require.Equal(t, 4, k.Stats().Waiting)
		time.Sleep(50 * ms)
		leave()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"a1", "b1", "a2", "a3", "a4"}, q.names)
		require.Equal(t, []time.Duration{0, 0, 100 * ms, 300 * ms, 400 * ms}, q.at, "who gave up left the place to those behind")
		require.Equal(t, ratelimit.KeyedStats{Keys: 2}, k.Stats(), "back in the table, both")
	})
}

// What the wait took stays taken when the key goes back to the others.
func TestKeyedWaitLeavesTheBucketAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(10, time.Second), Burst: 5})
		require.True(t, k.AllowN(time.Now(), "a", 5))
		require.NoError(t, k.WaitN(t.Context(), "a", 3)) // 300 ms
		require.False(t, k.Allow("a"))
		time.Sleep(250 * ms)
		require.Equal(t, 2, k.Decide(time.Now(), "a", 0).Remaining)
		time.Sleep(time.Second)
		require.Equal(t, 5, k.Decide(time.Now(), "a", 0).Remaining)
	})
}

func TestKeyedWaitErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Minute), Burst: 2})
		require.NoError(t, k.SetKeyLimit("own", ratelimit.Per(1, time.Minute), 2))
		cause := errors.New("gone")
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		for _, key := range []string{"a", "own"} {
			began := time.Now()
			short, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			require.ErrorIs(t, k.Wait(ended, key), cause)
			require.ErrorIs(t, k.WaitN(t.Context(), key, 3), ratelimit.ErrOverBurst)
			require.NoError(t, k.WaitN(t.Context(), key, 0))
			require.NoError(t, k.WaitN(t.Context(), key, -7))
			require.NoError(t, k.WaitN(t.Context(), key, 2))
			err := k.Wait(short, key)
			require.ErrorIs(t, err, ratelimit.ErrLimited)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			limited := new(ratelimit.LimitedError)
			require.ErrorAs(t, err, &limited)
			require.Equal(t, time.Minute, limited.RetryAfter)
			require.Equal(t, began, time.Now(), "all that at once")
			require.Zero(t, k.Stats().Waiting)
			require.NoError(t, k.Wait(t.Context(), key))
			require.Equal(t, time.Minute, time.Since(began), "what failed took nothing")
		}
	})
}

func TestKeyedWaitFollowsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(10, time.Second), Burst: 1})
		require.True(t, k.Allow("a"))
		q := &turns{keyed: k, began: time.Now()}
		for range 8 {
			q.join(t, t.Context(), "a", "", 1)
		}
		step := func() {
			time.Sleep(200*ms + 1)
			synctest.Wait()
		}
		step()
		require.Len(t, q.at, 2, "10 a second")
		require.NoError(t, k.SetLimit(ratelimit.Per(5, time.Second), 1))
		step()
		require.Len(t, q.at, 3, "5 a second, for all")
		require.NoError(t, k.SetKeyLimit("a", ratelimit.Per(10, time.Second), 1))
		step()
		require.Len(t, q.at, 5, "10, for this one")
		require.Equal(t, 1, k.Stats().Own)
		require.NoError(t, k.SetKeyLimit("a", ratelimit.Limit{}, 0))
		require.Zero(t, k.Stats().Own)
		step()
		require.Len(t, q.at, 6, "5, as for all again")
		require.False(t, k.Allow("a"))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, q.at, 8)
		require.Equal(t, ratelimit.KeyedStats{Keys: 1}, k.Stats())
	})
}

// Nothing is kept of a key for having been waited for, however many there were.
func TestKeyedWaitKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Second), Burst: 1, MaxKeys: 100})
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 1000 {
			key := strconv.Itoa(i)
			k.Allow(key)
			wg.Go(func() { _ = k.Wait(ctx, key) })
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		s := k.Stats()
		require.Zero(t, s.Waiting)
		require.LessOrEqual(t, s.Keys, 100)
	})
}

// Never over, with those who wait, give up and do not wait, changes of the limit of
// all and of one, and a table too small for the keys.
func TestKeyedWaitNeverOver(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			limit, burst := ratelimit.Per(50, time.Second), 5
			k := newKeyed(t, ratelimit.KeyedConfig{Limit: limit, Burst: burst, MaxKeys: 4})
			began := time.Now()
			var mu sync.Mutex
			events := map[string][]event{}
			var wg sync.WaitGroup
			for i := range uint64(20) {
				random := rand.New(rand.NewPCG(seed, i))
				wg.Go(func() {
					for time.Since(began) < 3*time.Second {
						key, n := strconv.Itoa(random.IntN(8)), 1+random.IntN(3)
						ctx, cancel := context.WithCancel(t.Context())
						stop := time.AfterFunc(time.Duration(random.Int64N(int64(300*ms))), cancel)
						ok := false
						if random.IntN(3) == 0 {
							ok = k.AllowN(time.Now(), key, n)
						} else {
							ok = k.WaitN(ctx, key, n) == nil
						}
						if ok {
							mu.Lock()
							events[key] = append(events[key], event{time.Since(began), n})
							mu.Unlock()
						}
						stop.Stop()
						cancel()
						if random.IntN(30) == 0 { // to the same one: all tokens keep their worth
							assert.NoError(t, k.SetLimit(limit, burst))
							assert.NoError(t, k.SetKeyLimit(key, limit, burst))
							assert.NoError(t, k.SetKeyLimit(key, ratelimit.Limit{}, 0))
						}
						time.Sleep(time.Duration(random.Int64N(int64(20 * ms))))
					}
				})
			}
			wg.Wait()
			total := 0
			for _, list := range events {
				requireWithin(t, list, limit, burst)
				total += len(list)
			}
			require.Greater(t, total, 200)
			require.Zero(t, k.Stats().Waiting)
		})
	}
}

// Trap: a NaN is equal to nothing, so what is kept for it could never be let go.
func TestKeyThatIsNotItself(t *testing.T) {
	k, err := ratelimit.NewKeyed[float64](ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Hour), Burst: 1, MaxKeys: 10})
	require.NoError(t, err)
	for range 1000 {
		require.NoError(t, k.Wait(t.Context(), math.NaN()))
		k.Allow(math.NaN())
	}
	require.ErrorContains(t, k.SetKeyLimit(math.NaN(), ratelimit.Per(1, time.Second), 1), "not equal to itself")
	s := k.Stats()
	require.LessOrEqual(t, s.Keys, 10)
	require.Zero(t, s.Own+s.Waiting)

	anything, err := ratelimit.NewKeyed[any](ratelimit.KeyedConfig{})
	require.NoError(t, err)
	require.Panics(t, func() { anything.Allow([]int{1}) }, "as with a map")
	require.True(t, anything.Allow("k"), "and no lock is left behind")
}
