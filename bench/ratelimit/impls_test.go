// Package ratelimit_test compares rate limiters: ours, x/time/rate,
// go.uber.org/ratelimit, failsafe-go, throttled and sethvargo/go-limiter.
//
// Each is called in its quickest way: failsafe's limiter directly and without an
// executor, throttled and go-limiter with their stores in memory. Uber's has one
// call, which blocks; it can be compared where nobody has to wait, and in what it
// lets through in a time.
package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/parley-go/parley/ratelimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/stretchr/testify/require"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	uber "go.uber.org/ratelimit"
	"golang.org/x/time/rate"
)

// names is the order of the columns.
var names = []string{"parley", "x-time", "uber", "failsafe", "throttled", "go-limiter"}

// oneKey returns a limiter of n events in each period, and up to burst at once
// for those that have one, of each implementation. wait leaves in only those that
// block.
func oneKey(b *testing.B, n, burst int, period time.Duration) map[string]func() bool {
	ctx := b.Context()
	ours, err := ratelimit.New(ratelimit.Per(n, period), burst)
	require.NoError(b, err)
	xtime := rate.NewLimiter(rate.Limit(float64(n)/period.Seconds()), burst)
	blocking := uber.New(n, uber.Per(period), uber.WithoutSlack)
	smooth := ratelimiter.NewSmooth[any](uint(n), period)
	return map[string]func() bool{
		"parley":   ours.Allow,
		"x-time":   xtime.Allow,
		"uber":     func() bool { blocking.Take(); return true },
		"failsafe": smooth.TryAcquirePermit,
		"throttled": func() func() bool {
			allow := throttledKeys(b, n, burst, period, 0)
			return func() bool { return allow("key") }
		}(),
		"go-limiter": func() func() bool {
			store, err := memorystore.New(&memorystore.Config{Tokens: uint64(n), Interval: period})
			require.NoError(b, err)
			b.Cleanup(func() { _ = store.Close(context.Background()) })
			return func() bool {
				_, _, _, ok, _ := store.Take(ctx, "key")
				return ok
			}
		}(),
	}
}

func throttledKeys(b *testing.B, n, burst int, period time.Duration, maxKeys int) func(string) bool {
	store, err := memstore.NewCtx(maxKeys)
	require.NoError(b, err)
	limiter, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerDuration(n, period), MaxBurst: burst - 1})
	require.NoError(b, err)
	ctx := b.Context()
	return func(key string) bool {
		limited, _, err := limiter.RateLimitCtx(ctx, key, 1)
		return !limited && err == nil
	}
}

// manyKeys returns a limiter for many keys of each implementation. x/time/rate
// has none: it is put into a map, as its users do.
func manyKeys(b *testing.B, n, burst int, period time.Duration, keys int) map[string]func() func(string) bool {
	ctx := b.Context()
	return map[string]func() func(string) bool{
		"parley": func() func(string) bool {
			ours, err := ratelimit.NewKeyed[string](ratelimit.KeyedConfig{Limit: ratelimit.Per(n, period), Burst: burst, MaxKeys: 2 * keys})
			require.NoError(b, err)
			return ours.Allow
		},
		"x-time": func() func(string) bool {
			var mu sync.Mutex
			limiters := map[string]*rate.Limiter{}
			return func(key string) bool {
				mu.Lock()
				l := limiters[key]
				if l == nil {
					l = rate.NewLimiter(rate.Limit(float64(n)/period.Seconds()), burst)
					limiters[key] = l
				}
				mu.Unlock()
				return l.Allow()
			}
		},
		"throttled": func() func(string) bool { return throttledKeys(b, n, burst, period, 0) },
		"go-limiter": func() func(string) bool {
			store, err := memorystore.New(&memorystore.Config{Tokens: uint64(burst), Interval: period, InitialAlloc: keys})
			require.NoError(b, err)
			b.Cleanup(func() { _ = store.Close(context.Background()) })
			return func(key string) bool {
				_, _, _, ok, _ := store.Take(ctx, key)
				return ok
			}
		},
	}
}
