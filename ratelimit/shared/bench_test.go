package shared_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ratelimit/shared"
)

// BenchmarkTake is the path that takes no network: tokens from the lease, and a
// key that is known to have none.
func BenchmarkTake(b *testing.B) {
	b.Run("allowed", func(b *testing.B) {
		l, ctx := local(b), context.Background()
		b.ReportAllocs()
		for b.Loop() {
			_, _ = l.Take(ctx, "user:42", 1)
		}
	})
	b.Run("allowed/parallel", func(b *testing.B) {
		l := local(b)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for ctx := context.Background(); pb.Next(); {
				_, _ = l.Take(ctx, "user:42", 1)
			}
		})
	})
	b.Run("denied", func(b *testing.B) {
		p := newPair(b, shared.Config{Limit: ratelimit.Per(1, 24*time.Hour), Burst: 1, Forgive: true, Lease: 10 * time.Millisecond, FailClosed: true})
		ctx := context.Background()
		for d := (ratelimit.Decision{}); !d.Allowed; {
			d, _ = p.owner.Take(ctx, "k", 1)
		}
		b.ReportAllocs()
		for b.Loop() {
			_, _ = p.user.Take(ctx, "k", 1)
		}
	})
	b.Run("clock", func(b *testing.B) { // what all of them contain
		start := time.Now()
		for b.Loop() {
			_ = time.Since(start)
		}
	})
}

// BenchmarkExchange is a request to the owner on transport/mem, which a new key
// always takes.
func BenchmarkExchange(b *testing.B) {
	p := newPair(b, shared.Config{Forgive: true, Lease: 10 * time.Millisecond, MaxKeys: 10_000_000})
	var err error
	i := 0
	for b.Loop() {
		i++
		_, err = p.user.Take(context.Background(), fmt.Sprint(i), 1)
	}
	_ = err
	require.NotZero(b, p.user.Stats().Requests)
}
