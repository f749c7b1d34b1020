package retry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("service is down")

// failing returns an operation that fails with these errors, one after the
// other, and then succeeds with the number of its calls.
func failing(failures ...error) func(context.Context) (int, error) {
	calls := 0
	return func(context.Context) (int, error) {
		calls++
		if calls <= len(failures) {
			return 0, failures[calls-1]
		}
		return calls, nil
	}
}

// always returns an operation that always fails, and the count of its calls.
func always(err error) (f func(context.Context) (int, error), calls *int) {
	calls = new(int)
	return func(context.Context) (int, error) {
		*calls++
		return 0, err
	}, calls
}

// atOnce is a back-off without waits.
const atOnce = retry.Constant(0)

func newBudget(t testing.TB, c retry.BudgetConfig) *retry.Budget {
	t.Helper()
	b, err := retry.NewBudget(c)
	require.NoError(t, err)
	return b
}

// exhausted returns err as what it must be.
func exhausted(t testing.TB, err error) *retry.ExhaustedError {
	t.Helper()
	var e *retry.ExhaustedError
	require.ErrorAs(t, err, &e)
	return e
}

// since rounds nothing: in a synctest bubble durations are exact.
func since(begin time.Time) time.Duration { return time.Since(begin) }
