package retry_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/retry"
)

func BenchmarkDo(b *testing.B) {
	budget, err := retry.NewBudget(retry.BudgetConfig{})
	if err != nil {
		b.Fatal(err)
	}
	succeed := func(context.Context) (int, error) { return 7, nil }
	run := func(name string, ctx context.Context, p retry.Policy) {
		b.Run("succeeds/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := retry.Do(ctx, p, succeed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("succeeds/bare", func(b *testing.B) {
		b.ReportAllocs()
		ctx, f := b.Context(), succeed
		for b.Loop() {
			if _, err := f(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	run("zero", context.Background(), retry.Policy{})
	run("cancellable", b.Context(), retry.Policy{})
	run("full", context.Background(), retry.Policy{Attempts: 4, Backoff: retry.Exponential{Initial: 50 * time.Millisecond, Max: time.Second}, Budget: budget})
	run("elapsed", context.Background(), retry.Policy{Elapsed: time.Minute})

	b.Run("fails-twice", func(b *testing.B) {
		b.ReportAllocs()
		ctx := context.Background()
		n := 0
		f := func(context.Context) (int, error) {
			if n++; n%3 != 0 {
				return 0, errDown
			}
			return 7, nil
		}
		p := retry.Policy{Backoff: retry.Constant(0)}
		for b.Loop() {
			if _, err := retry.Do(ctx, p, f); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkBudget(b *testing.B) {
	budget := newBudget(b, retry.BudgetConfig{})
	b.Run("deposit", func(b *testing.B) {
		for range 1000 {
			budget.Deposit()
		}
		for b.Loop() {
			budget.Deposit()
		}
	})
	b.Run("retry", func(b *testing.B) {
		for b.Loop() {
			budget.Deposit()
			budget.Allow()
		}
	})
	b.Run("retry/parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				budget.Deposit()
				budget.Allow()
			}
		})
	})
}

func BenchmarkLatency(b *testing.B) {
	l := newLatency(b, retry.LatencyConfig{})
	for i := time.Duration(0); b.Loop(); i++ {
		l.Observe(i % 100 * ms)
	}
}

func BenchmarkDeduplicator(b *testing.B) {
	d := deduplicate(b, &shop{}, retry.DeduplicateConfig{})
	content := strings.Repeat("x", 1000)
	for b.Loop() {
		if w := post(b.Context(), d, "k", content); w.Code != http.StatusCreated {
			b.Fatal(w.Code)
		}
	}
}
