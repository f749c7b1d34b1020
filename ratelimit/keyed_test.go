package ratelimit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

func TestKeyedLimitsEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Second), Burst: 2, Name: "users"})
		for _, key := range []string{"a", "b", ""} {
			require.True(t, k.Allow(key))
			require.True(t, k.Allow(key))
			require.False(t, k.Allow(key), "%q", key)
		}
		time.Sleep(500 * ms)
		d, err := k.Take(t.Context(), "a", 1)
		require.NoError(t, err)
		want := ratelimit.Decision{RetryAfter: 500 * ms, Limit: ratelimit.Per(1, time.Second), Burst: 2, Policy: "users"}
		require.Equal(t, want, d)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = k.Take(ctx, "c", 1)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2, k.Decide(time.Now(), "c", 0).Remaining)
		require.False(t, k.AllowN(time.Now(), "c", 3), "more than the burst")
		require.Equal(t, ratelimit.Never, k.Decide(time.Now(), "c", 3).RetryAfter)
		require.Equal(t, 3, k.Stats().Keys, "who only asks takes no place")
	})
}

func TestKeyedDefaults(t *testing.T) {
	k, err := ratelimit.NewKeyed[int](ratelimit.KeyedConfig{})
	require.NoError(t, err)
	d := k.Decide(time.Now(), 7, 1)
	require.Equal(t, ratelimit.Decision{Allowed: true, Remaining: 99, Limit: ratelimit.Per(100, time.Second), Burst: 100, Policy: "default"}, d)
	k, err = ratelimit.NewKeyed[int](ratelimit.KeyedConfig{Limit: ratelimit.Per(3, time.Hour)})
	require.NoError(t, err)
	require.Equal(t, 1, k.Decide(time.Now(), 7, 0).Burst, "a second's worth, at least 1")
	for want, c := range map[string]ratelimit.KeyedConfig{
		"KeyedConfig.Limit.Events is -1":          {Limit: ratelimit.Per(-1, time.Second)},
		"KeyedConfig.Burst is -1":                 {Burst: -1},
		"KeyedConfig.MaxKeys is -1: must be from": {MaxKeys: -1},
		"KeyedConfig.MaxKeys is 100000001":        {MaxKeys: 1e8 + 1},
		"KeyedConfig.Name is é":                   {Name: "é"},
	} {
		_, err := ratelimit.NewKeyed[int](c)
		require.ErrorContains(t, err, "ratelimit: "+want)
	}
}

func TestTrapEvictingALimitedKeyForgivesIt(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 7))
		limit, burst := ratelimit.Per(10, time.Second), 3
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: limit, Burst: burst, MaxKeys: 50})
		events := map[string][]event{}
		var now time.Duration
		for range 5000 {
			now += time.Duration(random.Int64N(int64(2 * ms)))
			at := now - time.Duration(random.Int64N(int64(5*ms))) // not quite in order
			key := strconv.Itoa(random.IntN(300))                 // six times what it keeps
			if n := 1 + random.IntN(3); k.AllowN(after(at), key, n) {
				events[key] = append(events[key], event{at, n})
			}
		}
		for _, e := range events {
			requireWithin(t, e, limit, burst)
		}
		s := k.Stats()
		require.Equal(t, 50, s.Keys, "bounded")
		require.Positive(t, s.Early, "and they were limited when they went")
	}
}

// A flood of new keys does not free a limited one, and those that are kept do
// not suffer.
func TestFloodOfKeys(t *testing.T) {
	k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Minute), Burst: 3, MaxKeys: 2000})
	require.True(t, k.AllowN(start, "limited", 3))
	for i := range 50_000 {
		k.AllowN(start, "flood "+strconv.Itoa(i), 1)
		require.False(t, k.AllowN(start, "limited", 1))
	}
	require.LessOrEqual(t, k.Stats().Keys, 2000)
	require.True(t, k.AllowN(after(3*time.Minute), "new", 3), "a bucket's time later all is as new")
}

func TestExpiredKeysMakeRoom(t *testing.T) {
	k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Second), Burst: 1, MaxKeys: 100_000})
	for i := range 60_000 {
		require.True(t, k.AllowN(after(time.Duration(i)*10*ms), strconv.Itoa(i), 1)) // a hundred are limited at a time
	}
	require.Less(t, k.Stats().Keys, 5000, "those that are full again do not pile up")
	require.Zero(t, k.Stats().Early)
}

func TestKeyedSetLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Hour), Burst: 2})
		for i := range 1000 {
			require.True(t, k.AllowN(time.Now(), strconv.Itoa(i), 2))
		}
		require.ErrorContains(t, k.SetLimit(ratelimit.Limit{}, 2), "Limit.Period")
		require.NoError(t, k.SetLimit(ratelimit.Per(10, time.Second), 2))
		time.Sleep(100 * ms)
		for i := range 1000 {
			require.True(t, k.Allow(strconv.Itoa(i)))
			require.False(t, k.Allow(strconv.Itoa(i)))
		}
	})
}

func TestKeyLimitOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Second), Burst: 4})
		require.True(t, k.AllowN(time.Now(), "gold", 4))
		require.ErrorContains(t, k.SetKeyLimit("gold", ratelimit.Per(1, time.Second), 0), "burst")
		require.NoError(t, k.SetKeyLimit("gold", ratelimit.Per(100, time.Second), 40))
		require.Equal(t, 36, k.Decide(time.Now(), "gold", 0).Remaining, "four were taken")
		require.Equal(t, 4, k.Decide(time.Now(), "tin", 0).Remaining, "others as before")
		require.True(t, k.AllowN(time.Now(), "gold", 36))
		require.NoError(t, k.SetKeyLimit("gold", ratelimit.Per(1000, time.Second), 40))
		require.False(t, k.Allow("gold"), "and it is not emptied twice")
		time.Sleep(1 * ms)
		require.True(t, k.Allow("gold"))
		require.Equal(t, ratelimit.KeyedStats{Own: 1}, k.Stats())
		require.NoError(t, k.SetLimit(ratelimit.Per(2, time.Second), 4))
		require.Equal(t, 40, k.Decide(time.Now(), "gold", 0).Burst)

		require.NoError(t, k.SetKeyLimit("gold", ratelimit.Limit{}, 0))
		require.NoError(t, k.SetKeyLimit("never set", ratelimit.Limit{}, 0))
		require.Equal(t, ratelimit.KeyedStats{Keys: 1}, k.Stats())
		require.False(t, k.Allow("gold"), "forty are lacking")
		time.Sleep(18 * time.Second)
		require.False(t, k.Allow("gold"))
		time.Sleep(500 * ms)
		require.True(t, k.Allow("gold"))
	})
}

// Whoever tells the time tells it to all methods.
func TestKeyedLimitsChangeAtATimeThatIsTold(t *testing.T) {
	quick := ratelimit.Per(100, time.Second)
	k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Hour), Burst: 1, MaxKeys: 10}) // one shard
	for _, key := range []string{"a", "b", "own"} {
		require.True(t, k.AllowN(start, key, 1))
	}
	require.NoError(t, k.SetKeyLimitAt(start, "own", quick, 1))
	require.False(t, k.AllowN(after(9*ms), "own", 1))
	require.True(t, k.AllowN(after(10*ms), "own", 1))
	require.NoError(t, k.SetKeyLimitAt(after(10*ms), "own", ratelimit.Limit{}, 0))
	require.False(t, k.AllowN(after(20*ms), "own", 1))
	require.False(t, k.AllowN(after(20*ms), "a", 1))
	require.NoError(t, k.SetLimitAt(after(20*ms), quick, 1))
	for _, key := range []string{"a", "b", "own"} {
		require.False(t, k.AllowN(after(29*ms), key, 1), key)
		require.True(t, k.AllowN(after(30*ms), key, 1), key)
	}
}

func TestKeyedRunsForYears(t *testing.T) {
	k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(1_000_003, time.Second), Burst: 10})
	for at := time.Duration(0); at < 50*365*24*time.Hour; at = at*2 + 7*time.Minute {
		require.True(t, k.AllowN(after(at), "a", 10), "%v", at)
		require.False(t, k.AllowN(after(at), "a", 1), "%v", at)
		require.True(t, k.AllowN(after(at+10*time.Microsecond), "a", 9), "%v", at)
	}
	require.False(t, k.AllowN(start, "a", 1), "before all that it knows of")
}

func TestKeyedWithAThousandGoroutines(t *testing.T) {
	limit := ratelimit.Per(50_000, time.Second)
	k := newKeyed(t, ratelimit.KeyedConfig{Limit: limit, Burst: 20, MaxKeys: 64})
	var admitted [128]atomic.Int64
	began := time.Now()
	var wg sync.WaitGroup
	for g := range 1000 {
		wg.Go(func() {
			for i := range 100 {
				key := (g*31 + i) % len(admitted)
				switch {
				case i == 50 && g%100 == 0:
					if err := k.SetLimit(limit, 20-g%3); err != nil {
						t.Error(err)
					}
				case k.Allow(strconv.Itoa(key)):
					admitted[key].Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := range admitted {
		require.LessOrEqual(t, admitted[i].Load(), most(limit, 20, time.Since(began)))
	}
}

func TestAllowAllTakesOfAllOrNone(t *testing.T) {
	second := ratelimit.Per(1, time.Second)
	users := newKeyed(t, ratelimit.KeyedConfig{Limit: second, Burst: 5, Name: "user"})
	tenants := newKeyed(t, ratelimit.KeyedConfig{Limit: second, Burst: 8, Name: "tenant"})
	require.NoError(t, tenants.SetKeyLimit("big", second, 10))
	global := newLimiter(t, second, 12)
	ask := func(user, tenant string, n int) ratelimit.Decision {
		return ratelimit.AllowAll(start, n, users.Level(user), tenants.Level(tenant), global)
	}
	require.Equal(t, ratelimit.Decision{Allowed: true, Remaining: 1, Limit: second, Burst: 5, Policy: "user"}, ask("a", "t", 4))
	d := ask("b", "t", 5)
	require.False(t, d.Allowed)
	require.Equal(t, "tenant", d.Policy)
	require.Equal(t, time.Second, d.RetryAfter)
	require.Equal(t, 5, users.Decide(start, "b", 0).Remaining, "given back")
	require.Equal(t, 8, global.Decide(start, 0).Remaining, "never asked")
	require.True(t, ask("b", "big", 5).Allowed)
	d = ask("c", "big", 4)
	require.False(t, d.Allowed, "the service has three left")
	require.Equal(t, 12, d.Burst)
	require.Equal(t, 5, users.Decide(start, "c", 0).Remaining)
	require.Equal(t, 5, tenants.Decide(start, "big", 0).Remaining, "of a limit of its own, too")
	require.True(t, ask("c", "big", 3).Allowed)
	require.True(t, ratelimit.AllowAll(start, 1).Allowed)
	require.True(t, ask("a", "t", 0).Allowed)
}

// The same as one bucket each, asked one after the other: all-or-nothing among
// random levels agrees with models that look first and take then.
func TestAllowAllAgreesWithModel(t *testing.T) {
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 8))
		var levels []ratelimit.Level
		var models []*model
		for i := range 4 {
			limit, burst := ratelimit.Per(1<<random.IntN(6), time.Second), 1+random.IntN(20)
			if i%2 == 0 {
				levels = append(levels, newLimiter(t, limit, burst))
			} else {
				levels = append(levels, newKeyed(t, ratelimit.KeyedConfig{Limit: limit, Burst: burst}).Level("k"))
			}
			models = append(models, newModel(limit, burst))
		}
		var now time.Duration
		for i := range 500 {
			now += time.Duration(random.Int64N(int64(time.Second)))
			n := 1 + random.IntN(3)
			want := true
			for _, m := range models {
				m.fill(now)
				want = want && m.remaining() >= n
			}
			for _, m := range models {
				if want {
					require.True(t, m.allow(now, n))
				}
			}
			require.Equal(t, want, ratelimit.AllowAll(after(now), n, levels...).Allowed, "seed %d, step %d", seed, i)
		}
	}
}

func TestAllowAllUnderLoad(t *testing.T) {
	limit := ratelimit.Per(1000, time.Second)
	users := newKeyed(t, ratelimit.KeyedConfig{Limit: limit, Burst: 3})
	global := newLimiter(t, limit, 50)
	now := time.Now() // one instant: nothing comes back by itself
	var admitted atomic.Int64
	try := func(user int) bool {
		ok := ratelimit.AllowAll(now, 1, users.Level(fmt.Sprint(user)), global).Allowed
		if ok {
			admitted.Add(1)
		}
		return ok
	}
	var wg sync.WaitGroup
	for g := range 1000 {
		wg.Go(func() {
			for range 50 {
				try(g % 20)
			}
		})
	}
	wg.Wait()
	left := 0
	for user := range 20 {
		for try(user) {
		}
		left += users.Decide(now, fmt.Sprint(user), 0).Remaining
	}
	require.EqualValues(t, 50, admitted.Load(), "all that the service has, and no more")
	require.Equal(t, 20*3-50, left, "what users took in vain they have back")
}
