package ratelimit_test

import (
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/parley-go/parley/ratelimit"
)

func BenchmarkLimiter(b *testing.B) {
	free := newLimiter(b, ratelimit.Per(1e9, time.Second), 1e9)
	spent := newLimiter(b, ratelimit.Per(1, time.Hour), 1)
	spent.Allow()
	odd := newLimiter(b, ratelimit.Per(999_999_937, time.Second), 1e9)
	for name, op := range map[string]func(){
		"allowed":           func() { free.Allow() },
		"allowed, odd rate": func() { odd.Allow() },
		"denied":            func() { spent.Allow() },
		"decide":            func() { free.Decide(start, 1) },
		"reserve, cancel":   func() { free.Reserve().Cancel() },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				op()
			}
		})
	}
}

// Goroutines on all processors, of which each event meets others: with a burst that
// is too small for a till, and with a large one.
func BenchmarkLimiterParallel(b *testing.B) {
	for name, burst := range map[string]int{"small burst": 60_000, "large burst": 1e9} {
		l := newLimiter(b, ratelimit.Per(1e9, time.Second), burst)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l.Allow()
				}
			})
		})
	}
}

func BenchmarkKeyed(b *testing.B) {
	k := newKeyed(b, ratelimit.KeyedConfig{Limit: ratelimit.Per(1e9, time.Second), Burst: 1e9})
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = "user:" + strconv.Itoa(i)
	}
	b.Run("a thousand keys", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			k.Allow(keys[i%len(keys)])
		}
	})
	b.Run("three levels", func(b *testing.B) {
		b.ReportAllocs()
		tenant, all := newLimiter(b, ratelimit.Per(1e9, time.Second), 1e9), newLimiter(b, ratelimit.Per(1e9, time.Second), 1e9)
		for b.Loop() {
			ratelimit.AllowAll(time.Now(), 1, k.Level("user:1"), tenant, all)
		}
	})
}

func BenchmarkWindow(b *testing.B) {
	w := newWindow(b, ratelimit.Per(1e9, time.Second), 10)
	b.ReportAllocs()
	for b.Loop() {
		w.Allow()
	}
}

func BenchmarkMiddleware(b *testing.B) {
	h := ratelimit.Middleware(newKeyed(b, ratelimit.KeyedConfig{}), ratelimit.ByClientIP, ok)
	r := httptest.NewRequest("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// Thousands who wait at one time, and leave one after the other.
func BenchmarkWait(b *testing.B) {
	l := newLimiter(b, ratelimit.Per(1e7, time.Second), 1)
	b.SetParallelism(1000)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = l.Wait(b.Context())
		}
	})
}
