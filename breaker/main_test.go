package breaker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errService = errors.New("service failed")

func fail(context.Context) (int, error)    { return 0, errService }
func succeed(context.Context) (int, error) { return 1, nil }

func newBreaker(t testing.TB, c breaker.Config) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New(c)
	require.NoError(t, err)
	return b
}

func newBulkhead(t testing.TB, c breaker.BulkheadConfig) *breaker.Bulkhead {
	t.Helper()
	b, err := breaker.NewBulkhead(c)
	require.NoError(t, err)
	return b
}

func newAdaptive(t testing.TB, c breaker.AdaptiveConfig) *breaker.Adaptive {
	t.Helper()
	a, err := breaker.NewAdaptive(c)
	require.NoError(t, err)
	return a
}

// do makes n calls and returns the error of the last.
func do(t testing.TB, g breaker.Guard, n int, f func(context.Context) (int, error)) (err error) {
	t.Helper()
	for range n {
		_, err = breaker.Do(t.Context(), g, f)
	}
	return err
}

// acquire returns the permit of a call that must be let through.
func acquire(t testing.TB, g breaker.Guard) breaker.Permit {
	t.Helper()
	p, err := g.Acquire(t.Context())
	require.NoError(t, err)
	return p
}

// open returns a breaker that has just opened for exactly the time given.
func open(t testing.TB, c breaker.Config) *breaker.Breaker {
	t.Helper()
	c.DisableJitter = true
	b := newBreaker(t, c)
	do(t, b, max(c.Consecutive, 5), fail)
	require.Equal(t, breaker.Open, b.State())
	return b
}
