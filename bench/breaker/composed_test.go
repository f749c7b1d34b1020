package breaker_test

import (
	"context"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/parley-go/parley/breaker"
	"github.com/parley-go/parley/retry"
	"github.com/stretchr/testify/require"
)

// A call that succeeds, through a retry around a breaker around a bulkhead: three
// attempts without a wait, open after five failures in a row, sixteen at a time.
// What can be made before the first call is made before it, on both sides.
func BenchmarkComposed(b *testing.B) {
	compare(b, "", map[string]func() error{
		"parley":            composedOurs(b),
		"failsafe-executor": composedFailsafe(),
	})
}

func composedOurs(b *testing.B) func() error {
	ctx := b.Context()
	guard, err := breaker.New(breaker.Config{Consecutive: 5, OpenFor: time.Hour})
	require.NoError(b, err)
	pool, err := breaker.NewBulkhead(breaker.BulkheadConfig{Concurrent: room})
	require.NoError(b, err)
	policy := retry.Policy{Attempts: 3, Backoff: retry.Constant(0)}

	call := func(context.Context) (int, error) { return 1, nil }
	pooled := func(ctx context.Context) (int, error) { return breaker.Do(ctx, pool, call) }
	guarded := func(ctx context.Context) (int, error) { return breaker.Do(ctx, guard, pooled) }
	return func() error {
		_, err := retry.Do(ctx, policy, guarded)
		return err
	}
}

// The executor runs without a context, which it is faster with.
func composedFailsafe() func() error {
	executor := failsafe.With(
		retrypolicy.NewBuilder[int]().WithMaxAttempts(3).Build(),
		circuitbreaker.NewBuilder[int]().WithFailureThreshold(5).WithDelay(time.Hour).Build(),
		bulkhead.New[int](room),
	)
	call := func() (int, error) { return 1, nil }
	return func() error {
		_, err := executor.Get(call)
		return err
	}
}
