package breaker_test

import (
	"context"
	"testing"
	"time"

	"github.com/parley-go/parley/breaker"
)

// The comparisons with other libraries are in bench/breaker.

func BenchmarkDo(b *testing.B) {
	ctx := b.Context()
	cases := []struct {
		name  string
		guard breaker.Guard
	}{
		{"closed", newBreaker(b, breaker.Config{})},
		{"closed, counting", newBreaker(b, breaker.Config{CountSuccesses: true})},
		{"closed, window of calls", newBreaker(b, breaker.Config{WindowCalls: 100})},
		{"closed, window of time", newBreaker(b, breaker.Config{WindowTime: 10 * time.Second})},
		{"closed, slow calls", newBreaker(b, breaker.Config{WindowTime: 10 * time.Second, SlowAfter: time.Second})},
		{"open", open(b, breaker.Config{OpenFor: time.Hour})},
		{"bulkhead", newBulkhead(b, breaker.BulkheadConfig{})},
		{"adaptive", newAdaptive(b, breaker.AdaptiveConfig{})},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = breaker.Do(ctx, c.guard, succeed)
			}
		})
		b.Run(c.name+", parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = breaker.Do(ctx, c.guard, succeed)
				}
			})
		})
	}
}

func BenchmarkKeyedGet(b *testing.B) {
	k := newKeyed(b, breaker.KeyedConfig{})
	ctx := b.Context()
	for b.Loop() {
		_, _ = breaker.Do(ctx, k.Get("10.0.0.1:80"), func(context.Context) (int, error) { return 1, nil })
	}
}
