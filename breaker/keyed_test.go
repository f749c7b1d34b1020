package breaker_test

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
)

func newKeyed(t testing.TB, c breaker.KeyedConfig) *breaker.Keyed[string] {
	t.Helper()
	k, err := breaker.NewKeyed[string](c)
	require.NoError(t, err)
	return k
}

func TestKeysDoNotTouchEachOther(t *testing.T) {
	k := newKeyed(t, breaker.KeyedConfig{Breaker: breaker.Config{Name: "hosts"}})
	do(t, k.Get("a"), 5, fail)
	require.ErrorContains(t, do(t, k.Get("a"), 1, succeed), "hosts/a: open")
	require.NoError(t, do(t, k.Get("b"), 1, succeed))
	require.Same(t, k.Get("a"), k.Get("a"))
	require.Equal(t, 2, k.Len())
	names := map[string]breaker.State{}
	for key, b := range k.All() {
		names[key] = b.State()
	}
	require.Equal(t, map[string]breaker.State{"a": breaker.Open, "b": breaker.Closed}, names)
}

func TestOpenBreakerIsNeverEvictedIntoClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, breaker.KeyedConfig{MaxKeys: 100, Breaker: breaker.Config{OpenFor: time.Hour}})
		for i := range 10 {
			do(t, k.Get(fmt.Sprint("down", i)), 5, fail)
		}
		for i := range 10_000 {
			do(t, k.Get(fmt.Sprint("key", i)), 1, succeed)
			require.LessOrEqual(t, k.Len(), 100)
		}
		for i := range 10 {
			require.ErrorIs(t, do(t, k.Get(fmt.Sprint("down", i)), 1, succeed), breaker.ErrOpen)
		}
		require.Zero(t, k.Untracked())
	})
}

func TestKeysFullOfOpenBreakersLetNewKeysThroughUntracked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, breaker.KeyedConfig{MaxKeys: 10, Breaker: breaker.Config{OpenFor: time.Hour}})
		for i := range 10 {
			do(t, k.Get(fmt.Sprint("down", i)), 5, fail)
		}
		for i := range 100 {
			require.ErrorIs(t, do(t, k.Get(fmt.Sprint("new", i)), 10, fail), errService)
		}
		require.EqualValues(t, 100, k.Untracked())
		for i := range 10 {
			require.Equal(t, breaker.Open, k.Get(fmt.Sprint("down", i)).State())
		}
	})
}

func TestKeysOfServicesThatAreGoneForGoodMakeRoomAndComeBackHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, breaker.KeyedConfig{MaxKeys: 10, Breaker: breaker.Config{OpenFor: time.Second}})
		for i := range 10 {
			do(t, k.Get(fmt.Sprint("gone", i)), 5, fail)
		}
		time.Sleep(time.Hour)
		for i := range 10 {
			do(t, k.Get(fmt.Sprint("new", i)), 1, succeed)
		}
		require.Zero(t, k.Untracked())
		require.Equal(t, 10, k.Len())
		for i := range 10 {
			b := k.Get(fmt.Sprint("gone", i))
			require.Equal(t, breaker.HalfOpen, b.State())
			do(t, b, 1, fail)
			require.Equal(t, breaker.Open, b.State(), "one failed probe is enough")
		}
	})
}

func TestEvictionPrefersWhatIsLeastMissed(t *testing.T) {
	k := newKeyed(t, breaker.KeyedConfig{MaxKeys: 3})
	marked, forced := k.Get("marked"), k.Get("forced")
	do(t, marked, 4, fail)
	require.NoError(t, forced.SetMode(breaker.ForceClosed))
	for i := range 50 {
		k.Get(fmt.Sprint("idle", i))
	}
	require.Same(t, marked, k.Get("marked"))
	require.Same(t, forced, k.Get("forced"))
}

func TestEvictionSparesWhatIsInUse(t *testing.T) {
	k := newKeyed(t, breaker.KeyedConfig{MaxKeys: 4})
	busy := k.Get("busy")
	for i := range 1000 {
		require.Same(t, busy, k.Get("busy"))
		k.Get(fmt.Sprint("passing", i))
	}
}

func TestKeyedChangesAreThoseOfAllKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, breaker.KeyedConfig{Breaker: breaker.Config{Name: "h", Consecutive: 1}})
		stop := collect(t, k.Changes)
		do(t, k.Get("a"), 1, fail)
		do(t, k.Get("b"), 1, fail)
		synctest.Wait()
		changes := stop()
		require.Len(t, changes, 2)
		require.Equal(t, "h/a", changes[0].Name)
		require.Equal(t, "h/b", changes[1].Name)
	})
}

func TestKeyedSeedsDifferByKeyAndRepeatByRun(t *testing.T) {
	draw := func(key string) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			k := newKeyed(t, breaker.KeyedConfig{Breaker: breaker.Config{Consecutive: 1, Seed: 5}})
			do(t, k.Get("a"), 1, fail)
			do(t, k.Get("b"), 1, fail)
			d = k.Get(key).Stats().RetryAfter
		})
		return d
	}
	require.Equal(t, draw("a"), draw("a"))
	require.NotEqual(t, draw("a"), draw("b"))
}

func TestKeysThatAreNotThemselvesTakeNoRoom(t *testing.T) {
	k, err := breaker.NewKeyed[float64](breaker.KeyedConfig{MaxKeys: 5})
	require.NoError(t, err)
	for range 100 {
		k.Get(math.NaN())
	}
	require.Zero(t, k.Len())
	require.EqualValues(t, 100, k.Untracked())
}

func TestKeyedConfigIsChecked(t *testing.T) {
	_, err := breaker.NewKeyed[int](breaker.KeyedConfig{MaxKeys: -1})
	require.ErrorContains(t, err, "KeyedConfig.MaxKeys is -1")
	_, err = breaker.NewKeyed[int](breaker.KeyedConfig{Breaker: breaker.Config{Probes: -1}})
	require.ErrorContains(t, err, "Config.Probes is -1")
}

func TestKeyedGetDoesNotAllocateForAKnownKey(t *testing.T) {
	k := newKeyed(t, breaker.KeyedConfig{})
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = breaker.Do(ctx, k.Get("a"), succeed) }))
}

func TestKeyedTakesTheMemoryItSays(t *testing.T) {
	const n = 20_000
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("host-", i)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	k := newKeyed(t, breaker.KeyedConfig{MaxKeys: n})
	for _, key := range keys {
		k.Get(key)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perKey := int(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d bytes a key", perKey)
	require.Less(t, perKey, 800)
	runtime.KeepAlive(k)
}

func TestKeyedUnderAThousandGoroutines(t *testing.T) {
	k := newKeyed(t, breaker.KeyedConfig{MaxKeys: 50, Breaker: breaker.Config{Consecutive: 1, OpenFor: time.Millisecond, MaxOpenFor: time.Millisecond}})
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			for j := range 20 {
				key := fmt.Sprint((i * j) % 200)
				if i%7 == 0 {
					do(t, k.Get(key), 1, fail)
				} else {
					do(t, k.Get(key), 1, succeed)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, k.Len(), 50)
}
