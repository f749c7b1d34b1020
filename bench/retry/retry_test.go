// Package retry_test compares retries and hedges: ours, cenkalti/backoff,
// avast/retry-go, sethvargo/go-retry and failsafe-go.
//
// Each peer allows three attempts without delay, and whatever it lets one make
// beforehand is made beforehand: failsafe's policy and executor, and retry-go's
// retrier in retry-go-fixed. That one is bound to one context for ever; a context
// for each call, as with all others, needs a retrier for each, as in retry-go.
// The back-off of backoff and go-retry has a state for each call and is made
// anew, as their documentation asks. failsafe runs without a context, which it is
// faster with.
package retry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	avast "github.com/avast/retry-go/v5"
	cenkalti "github.com/cenkalti/backoff/v5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/parley-go/parley/retry"
	sethvargo "github.com/sethvargo/go-retry"
)

var errDown = errors.New("service is down")

// A function in the two forms that the libraries take, so that none of them is
// called through an adapter.
type function struct {
	bare func() (int, error)
	ctx  func(context.Context) (int, error)
}

// An impl is one implementation. make returns a runner for one goroutine that
// calls f until it succeeds, with a context and a policy made beforehand.
type impl struct {
	name string
	make func(ctx context.Context, f function) func() (int, error)
}

var impls = []impl{
	{"parley", func(ctx context.Context, f function) func() (int, error) {
		policy := retry.Policy{Backoff: retry.Constant(0)}
		return func() (int, error) { return retry.Do(ctx, policy, f.ctx) }
	}},
	{"backoff", func(ctx context.Context, f function) func() (int, error) {
		return func() (int, error) {
			return cenkalti.Retry(ctx, f.bare, cenkalti.WithBackOff(&cenkalti.ZeroBackOff{}), cenkalti.WithMaxTries(3))
		}
	}},
	{"retry-go", func(ctx context.Context, f function) func() (int, error) {
		return func() (int, error) { return retrier(ctx).Do(f.bare) }
	}},
	{"retry-go-fixed", func(ctx context.Context, f function) func() (int, error) {
		fixed := retrier(ctx)
		return func() (int, error) { return fixed.Do(f.bare) }
	}},
	{"go-retry", func(ctx context.Context, f function) func() (int, error) {
		none := sethvargo.BackoffFunc(func() (time.Duration, bool) { return 0, false })
		op := func(ctx context.Context) (int, error) {
			value, err := f.ctx(ctx)
			if err != nil {
				err = sethvargo.RetryableError(err)
			}
			return value, err
		}
		return func() (int, error) { return sethvargo.DoValue(ctx, sethvargo.WithMaxRetries(2, none), op) }
	}},
	{"failsafe", func(_ context.Context, f function) func() (int, error) {
		executor := failsafe.With(retrypolicy.NewBuilder[int]().WithMaxAttempts(3).Build())
		return func() (int, error) { return executor.Get(f.bare) }
	}},
}

func retrier(ctx context.Context) *avast.RetrierWithData[int] {
	return avast.NewWithData[int](avast.Context(ctx), avast.Attempts(3), avast.Delay(0),
		avast.DelayType(avast.FixedDelay), avast.LastErrorOnly(true))
}

// run measures a runner that each goroutine makes for itself.
func run(b *testing.B, name, impl string, make func() func() (int, error)) {
	b.Run(name+"goroutines=1/impl="+impl, func(b *testing.B) {
		b.ReportAllocs()
		op := make()
		for b.Loop() {
			if _, err := op(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(name+"goroutines=cpus/impl="+impl, func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			op := make()
			for pb.Next() {
				if _, err := op(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

var succeeds = function{
	bare: func() (int, error) { return 7, nil },
	ctx:  func(context.Context) (int, error) { return 7, nil },
}

// failsTwice returns a function of which every third call succeeds.
func failsTwice() function {
	n := 0
	f := func() (int, error) {
		if n++; n == 3 {
			n = 0
			return 7, nil
		}
		return 0, errDown
	}
	return function{f, func(context.Context) (int, error) { return f() }}
}

// BenchmarkSucceeds is the price of a retry that is not needed. The bare call
// through a function value takes about 1 ns.
func BenchmarkSucceeds(b *testing.B) {
	for _, i := range impls {
		run(b, "", i.name, func() func() (int, error) { return i.make(b.Context(), succeeds) })
	}
}

// BenchmarkFailsTwice is three calls with no wait in between.
func BenchmarkFailsTwice(b *testing.B) {
	for _, i := range impls {
		run(b, "", i.name, func() func() (int, error) { return i.make(b.Context(), failsTwice()) })
	}
}

// BenchmarkBudget is BenchmarkSucceeds with one budget for all goroutines.
func BenchmarkBudget(b *testing.B) {
	shared, err := retry.NewBudget(retry.BudgetConfig{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, policy := b.Context(), retry.Policy{Budget: shared}
	run(b, "", "parley", func() func() (int, error) {
		return func() (int, error) { return retry.Do(ctx, policy, succeeds.ctx) }
	})
	executor := failsafe.With(retrypolicy.NewBuilder[int]().WithMaxAttempts(3).WithBudget(budget.New()).Build())
	run(b, "", "failsafe", func() func() (int, error) {
		return func() (int, error) { return executor.Get(succeeds.bare) }
	})
}

// BenchmarkHedge is the price of a hedge that is not needed.
func BenchmarkHedge(b *testing.B) {
	ctx, policy := b.Context(), retry.HedgePolicy{After: time.Second}
	run(b, "", "parley", func() func() (int, error) {
		return func() (int, error) { return retry.Hedge(ctx, policy, succeeds.ctx) }
	})
	executor := failsafe.With(hedgepolicy.NewWithDelay[int](time.Second))
	run(b, "", "failsafe", func() func() (int, error) {
		return func() (int, error) { return executor.Get(succeeds.bare) }
	})
}
