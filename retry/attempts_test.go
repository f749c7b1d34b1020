package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

// loop runs f in the iterator form, with the results of Do.
func loop[T any](ctx context.Context, p retry.Policy, f func(context.Context) (T, error)) (last T, err error) {
	for attempt, err := range retry.Attempts(ctx, p) {
		if err != nil {
			return last, err
		}
		if last, err = f(attempt.Context()); err == nil {
			return last, nil
		}
		attempt.Fail(err)
	}
	return last, errors.New("the loop ended without an error")
}

func TestAttemptsCountAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var numbers []int
		var final error
		for attempt, err := range retry.Attempts(t.Context(), retry.Policy{Backoff: retry.Constant(time.Second)}) {
			numbers = append(numbers, attempt.Number())
			if err != nil {
				final = err
				require.ErrorIs(t, context.Cause(attempt.Context()), errDown)
				continue
			}
			attempt.Fail(errDown)
		}
		require.Equal(t, []int{1, 2, 3, 0}, numbers)
		require.Equal(t, 2*time.Second, since(begin))
		require.ErrorIs(t, final, retry.ErrAttempts)
		require.ErrorIs(t, final, errDown)
	})
}

func TestAttemptThatSaysNothingHasFailed(t *testing.T) {
	turns := 0
	for attempt, err := range retry.Attempts(t.Context(), retry.Policy{Backoff: atOnce}) {
		turns++
		if err != nil {
			require.Equal(t, 3, exhausted(t, err).Attempts)
			require.Error(t, exhausted(t, err).Last)
			break
		}
		if turns == 2 {
			attempt.Fail(nil)
		}
	}
	require.Equal(t, 4, turns)
}

func TestAttemptsStopAtPermanentAndInvalidAndCancelled(t *testing.T) {
	_, err := loop(t.Context(), retry.Policy{}, failing(retry.Permanent(errDown)))
	require.True(t, err == errDown, "got %#v", err) // identity is the point

	f, calls := always(errDown)
	_, err = loop(t.Context(), retry.Policy{Attempts: -1}, f)
	require.ErrorIs(t, err, retry.ErrInvalid)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = loop(ctx, retry.Policy{}, f)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, *calls)
}

func TestAttemptsEndTheContextOfEachTurnHoweverItIsLeft(t *testing.T) {
	p := retry.Policy{AttemptTimeout: time.Hour, Backoff: atOnce}
	var contexts []context.Context
	for attempt, err := range retry.Attempts(t.Context(), p) {
		require.NoError(t, err)
		contexts = append(contexts, attempt.Context())
		if attempt.Number() == 2 {
			break
		}
	}
	require.Panics(t, func() {
		for attempt := range retry.Attempts(t.Context(), p) {
			contexts = append(contexts, attempt.Context())
			panic("boom")
		}
	})
	require.Len(t, contexts, 3)
	for _, ctx := range contexts {
		require.ErrorIs(t, ctx.Err(), context.Canceled)
	}
}

func TestAttemptsMayBeRangedOverAgain(t *testing.T) {
	sequence := retry.Attempts(t.Context(), retry.Policy{Attempts: 2, Backoff: atOnce})
	for range 2 {
		turns := 0
		for range sequence {
			turns++
		}
		require.Equal(t, 3, turns, "two attempts and the last turn")
	}
}
