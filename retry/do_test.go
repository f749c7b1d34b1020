package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

func TestZeroPolicyTriesThreeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		value, err := retry.Do(t.Context(), retry.Policy{}, failing(errDown, errDown))
		require.NoError(t, err)
		require.Equal(t, 3, value)

		f, calls := always(errDown)
		begin := time.Now()
		_, err = retry.Do(t.Context(), retry.Policy{}, f)
		require.Equal(t, 3, *calls)
		require.ErrorIs(t, err, errDown)
		require.ErrorIs(t, err, retry.ErrAttempts)
		require.LessOrEqual(t, since(begin), 300*time.Millisecond, "steps of 100 and 200 ms at most")
	})
}

func TestDoWaitsTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin := time.Now()
		p := retry.Policy{Attempts: 5, Backoff: retry.Exponential{Initial: 50 * time.Millisecond, Max: 300 * time.Millisecond, Jitter: retry.NoJitter}}
		_, err := retry.Do(t.Context(), p, func(context.Context) (int, error) {
			at = append(at, since(begin))
			return 0, errDown
		})
		require.Error(t, err)
		ms := time.Millisecond
		require.Equal(t, []time.Duration{0, 50 * ms, 150 * ms, 350 * ms, 650 * ms}, at)
	})
}

func TestDoReturnsTheValueOfTheLastAttempt(t *testing.T) {
	value, err := retry.Do(t.Context(), retry.Policy{Attempts: 2, Backoff: atOnce}, func(context.Context) (string, error) {
		return "half", errDown
	})
	require.ErrorIs(t, err, errDown)
	require.Equal(t, "half", value)
}

// Trap: an already cancelled context still runs the operation.
func TestAlreadyCancelledContextRunsNothing(t *testing.T) {
	cause := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	f, calls := always(nil)
	_, err := retry.Do(ctx, retry.Policy{}, f)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, cause)
	require.Zero(t, *calls)
}

// Trap: sleeping a back-off that the deadline of the context cannot survive.
func TestDeadlineThatCannotSurviveTheWaitReturnsAtOnceWithTheLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range []time.Duration{time.Second, 2 * time.Second} { // the deadline itself is too late
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begin := time.Now()
			f, calls := always(errDown)
			_, err := retry.Do(ctx, retry.Policy{Backoff: retry.Constant(wait)}, f)
			require.Zero(t, since(begin), "slept although the deadline comes first")
			require.Equal(t, 1, *calls)
			require.ErrorIs(t, err, errDown)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, ctx.Err())
			require.Equal(t, 1, exhausted(t, err).Attempts)
			cancel()
		}
	})
}

func TestWaitJustInsideTheDeadlineIsWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		value, err := retry.Do(ctx, retry.Policy{Backoff: retry.Constant(time.Second - 1)}, failing(errDown))
		require.NoError(t, err)
		require.Equal(t, 2, value)
	})
}

func TestContextThatEndsDuringTheWaitEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		begin := time.Now()
		_, err := retry.Do(ctx, retry.Policy{Backoff: retry.Constant(time.Hour)}, failing(errDown))
		require.Equal(t, time.Second, since(begin))
		require.ErrorIs(t, err, errDown)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, cause)
	})
}

func TestContextThatEndsDuringAnAttemptEndsTheSeries(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := retry.Do(ctx, retry.Policy{Backoff: atOnce}, func(ctx context.Context) (int, error) {
		calls++
		cancel()
		return 0, ctx.Err()
	})
	require.Equal(t, 1, calls)
	require.ErrorIs(t, err, context.Canceled)
}

func TestSuccessCountsEvenIfTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	value, err := retry.Do(ctx, retry.Policy{}, func(context.Context) (int, error) {
		cancel()
		return 7, nil
	})
	require.NoError(t, err)
	require.Equal(t, 7, value)
}

// Trap: a permanent error comes back still wrapped, on some attempts only.
func TestPermanentErrorIsReturnedBareOnEveryAttempt(t *testing.T) {
	for attempt := 1; attempt <= 3; attempt++ {
		calls := 0
		_, err := retry.Do(t.Context(), retry.Policy{Backoff: atOnce}, func(context.Context) (int, error) {
			if calls++; calls == attempt {
				return 0, retry.Permanent(errDown)
			}
			return 0, errors.New("other")
		})
		require.Equal(t, attempt, calls)
		require.True(t, err == errDown, "got %#v", err) // identity is the point
	}
}

func TestPermanentInsideAChainStops(t *testing.T) {
	for name, err := range map[string]error{
		"wrapped": fmt.Errorf("saving: %w", retry.Permanent(errDown)),
		"joined":  errors.Join(errors.New("other"), retry.Permanent(errDown)),
		"after":   retry.After(retry.Permanent(errDown), time.Second),
		"twice":   retry.Permanent(retry.Permanent(errDown)),
	} {
		f, calls := always(err)
		_, got := retry.Do(t.Context(), retry.Policy{Backoff: atOnce}, f)
		require.Equal(t, 1, *calls, name)
		require.ErrorIs(t, got, errDown, name)
		require.Equal(t, err.Error(), got.Error(), name)
	}
	require.NoError(t, retry.Permanent(nil))
	require.NoError(t, retry.After(nil, time.Second))
}

func TestAfterTakesThePlaceOfTheBackOff(t *testing.T) {
	type hinted struct {
		error
		retryAfter
	}
	for name, c := range map[string]struct {
		err  error
		want time.Duration
	}{
		"after":     {retry.After(errDown, 2*time.Second), 2 * time.Second},
		"wrapped":   {fmt.Errorf("x: %w", retry.After(errDown, 2*time.Second)), 2 * time.Second},
		"joined":    {errors.Join(errDown, retry.After(errDown, 2*time.Second)), 2 * time.Second},
		"outermost": {retry.After(retry.After(errDown, time.Hour), time.Second), time.Second},
		"zero":      {retry.After(errDown, 0), 0},
		"negative":  {retry.After(errDown, -time.Hour), 0},

		// What an error knows of itself it tells everyone at the same moment.
		"by a method":             {hinted{errDown, retryAfter(3 * time.Second)}, time.Minute + 3*time.Second},
		"by a method, not known":  {hinted{errDown, 0}, time.Minute},
		"by a method, long since": {hinted{errDown, retryAfter(-time.Hour)}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				told := time.Duration(-1)
				p := retry.Policy{Backoff: retry.Constant(time.Minute), OnRetry: func(_ context.Context, _ int, _ error, wait time.Duration) { told = wait }}
				_, err := retry.Do(t.Context(), p, failing(c.err))
				require.NoError(t, err)
				require.Equal(t, c.want, since(begin))
				require.Equal(t, c.want, told)
			})
		})
	}
}

type retryAfter time.Duration

func (r retryAfter) RetryAfter() time.Duration { return time.Duration(r) }

// Trap: Retry-After huge.
func TestAfterThatIsTooLongGivesUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, err := retry.Do(t.Context(), retry.Policy{}, failing(retry.After(errDown, 1<<63-1)))
		require.ErrorIs(t, err, retry.ErrAfter)
		require.ErrorIs(t, err, errDown)
		require.Zero(t, since(begin))

		_, err = retry.Do(t.Context(), retry.Policy{MaxAfter: time.Hour}, failing(retry.After(errDown, time.Hour)))
		require.NoError(t, err)
		require.Equal(t, time.Hour, since(begin))
	})
}

func TestElapsedBoundsTheSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		calls := 0
		p := retry.Policy{Attempts: 100, Backoff: retry.Constant(time.Second), Elapsed: 5 * time.Second}
		_, err := retry.Do(t.Context(), p, func(context.Context) (int, error) {
			calls++
			time.Sleep(time.Second)
			return 0, errDown
		})
		// Attempts at 0, 2 and 4 s; one at 6 s would be too late, seen at 5 s.
		require.Equal(t, 3, calls)
		require.Equal(t, 5*time.Second, since(begin))
		require.ErrorIs(t, err, retry.ErrElapsed)
		require.ErrorIs(t, err, errDown)

		value, err := retry.Do(t.Context(), retry.Policy{Backoff: retry.Constant(time.Second), Elapsed: 2 * time.Second}, failing(errDown, errDown))
		require.NoError(t, err, "an attempt just at Elapsed is in time")
		require.Equal(t, 3, value)
	})
}

func TestAttemptTimeoutLetsTheBodyOfAResponseBeRead(t *testing.T) {
	var attempt context.Context
	p := retry.Policy{AttemptTimeout: time.Hour}
	resp, err := retry.Do(t.Context(), p, func(ctx context.Context) (*http.Response, error) {
		attempt = ctx
		return &http.Response{Body: io.NopCloser(strings.NewReader("content"))}, nil
	})
	require.NoError(t, err)
	require.NoError(t, attempt.Err())
	require.Equal(t, "content", text(t, resp))
	require.ErrorIs(t, attempt.Err(), context.Canceled)
}

func TestAttemptTimeoutEndsOneAttemptOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var attempts []context.Context
		p := retry.Policy{AttemptTimeout: time.Second, Backoff: retry.Constant(time.Second)}
		value, err := retry.Do(t.Context(), p, func(ctx context.Context) (int, error) {
			attempts = append(attempts, ctx)
			if len(attempts) < 3 {
				<-ctx.Done() // hangs
				return 0, ctx.Err()
			}
			return 7, nil
		})
		require.NoError(t, err)
		require.Equal(t, 7, value)
		require.Equal(t, 4*time.Second, since(begin))
		require.ErrorIs(t, attempts[0].Err(), context.DeadlineExceeded)
		require.ErrorIs(t, attempts[2].Err(), context.Canceled, "the context of an attempt that is over lives on")
	})
}

func TestRetryableDecides(t *testing.T) {
	errOther := errors.New("other")
	p := retry.Policy{Backoff: atOnce, Retryable: func(err error) bool { return errors.Is(err, errDown) }}
	value, err := retry.Do(t.Context(), p, failing(errDown, errDown))
	require.NoError(t, err)
	require.Equal(t, 3, value)

	f, calls := always(retry.After(errOther, time.Second))
	_, err = retry.Do(t.Context(), p, f)
	require.True(t, err == errOther, "got %#v", err) // identity is the point
	require.Equal(t, 1, *calls)
}

func TestOnRetryIsToldBeforeEachWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var told []string
		p := retry.Policy{
			Backoff: retry.Constant(time.Second),
			OnRetry: func(_ context.Context, attempt int, err error, wait time.Duration) {
				told = append(told, fmt.Sprint(since(begin), " ", attempt, " ", err, " ", wait))
			},
		}
		f, _ := always(retry.After(errDown, time.Minute))
		_, err := retry.Do(t.Context(), p, f)
		require.Error(t, err)
		require.Equal(t, []string{"0s 1 service is down 1m0s", "1m0s 2 service is down 1m0s"}, told)
	})
}

// Trap: back-off state shared between calls.
func TestBackOffStateIsNotSharedBetweenCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{Attempts: 4, Backoff: retry.Exponential{Initial: time.Second, Max: time.Hour, Jitter: retry.NoJitter}}
		for range 3 {
			begin := time.Now()
			_, err := retry.Do(t.Context(), p, failing(errDown, errDown, errDown))
			require.NoError(t, err)
			require.Equal(t, 7*time.Second, since(begin))
		}
	})
}

// A recorder is a Backoff that keeps what it was asked, and doubles.
type recorder struct{ asked *[]string }

func (r recorder) Delay(retry int, last time.Duration, _ uint64) time.Duration {
	*r.asked = append(*r.asked, fmt.Sprint(retry, " after ", last))
	return max(2*last, time.Second)
}

func TestBackoffIsToldTheRetryAndTheDelayBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			var asked []string
			f := failing(errDown, retry.After(errDown, time.Minute), errDown)
			_, err := retry.Do(t.Context(), retry.Policy{Attempts: 4, Backoff: recorder{&asked}}, f)
			require.NoError(t, err)
			require.Equal(t, []string{"1 after 0s", "2 after 1s", "3 after 2s"}, asked, "its own delays, not what a service asked for")
		}
	})
}

func TestSameSeedSameDelays(t *testing.T) {
	delays := func(seed uint64) (list []time.Duration) {
		p := retry.Policy{
			Attempts: 10,
			Random:   rand.New(rand.NewPCG(seed, 0)).Uint64,
			OnRetry:  func(_ context.Context, _ int, _ error, wait time.Duration) { list = append(list, wait) },
		}
		f, _ := always(errDown)
		_, _ = retry.Do(context.Background(), p, f)
		return list
	}
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, delays(1), delays(1))
		require.NotEqual(t, delays(1), delays(2))
		require.Len(t, delays(1), 9)
	})
}

func TestInvalidPolicyNamesFieldAndValueAndRunsNothing(t *testing.T) {
	for want, p := range map[string]retry.Policy{
		"Policy.Attempts is -1":                     {Attempts: -1},
		"Policy.Elapsed is -1s":                     {Elapsed: -time.Second},
		"Policy.AttemptTimeout is -1s":              {AttemptTimeout: -time.Second},
		"Policy.MaxAfter is -1s":                    {MaxAfter: -time.Second},
		"Policy.Backoff is Constant(-1s)":           {Backoff: retry.Constant(-time.Second)},
		"Exponential.Initial is -1s":                {Backoff: retry.Exponential{Initial: -time.Second}},
		"Exponential.Max is -1s":                    {Backoff: &retry.Exponential{Max: -time.Second}},
		"Exponential.Max is 1s, want at least Init": {Backoff: retry.Exponential{Initial: time.Minute, Max: time.Second}},
		"Exponential.Factor is 0.5":                 {Backoff: retry.Exponential{Factor: 0.5}},
		"Exponential.Factor is 101":                 {Backoff: retry.Exponential{Factor: 101}},
		"Exponential.Jitter is Jitter(9)":           {Backoff: retry.Exponential{Jitter: 9}},
	} {
		before := fmt.Sprintf("%+v", p)
		f, calls := always(nil)
		_, err := retry.Do(t.Context(), p, f)
		require.ErrorIs(t, err, retry.ErrInvalid)
		require.ErrorContains(t, err, want)
		require.Equal(t, err, p.Check())
		require.Zero(t, *calls)
		require.Equal(t, before, fmt.Sprintf("%+v", p), "checking changed the caller's policy")
	}
}

func TestPanicAndGoexitPassThroughAndEndTheContext(t *testing.T) {
	var inner context.Context
	p := retry.Policy{AttemptTimeout: time.Hour}
	require.PanicsWithValue(t, "boom", func() {
		_, _ = retry.Do(t.Context(), p, func(ctx context.Context) (int, error) {
			inner = ctx
			panic("boom")
		})
	})
	require.Error(t, inner.Err())

	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = retry.Do(context.Background(), p, func(ctx context.Context) (int, error) {
			inner = ctx
			runtime.Goexit()
			return 0, nil
		})
		t.Error("Do returned after Goexit")
	}()
	<-done
	require.Error(t, inner.Err())
}

func TestDoDoesNotAllocate(t *testing.T) {
	ctx, budget := t.Context(), newBudget(t, retry.BudgetConfig{})
	for name, p := range map[string]retry.Policy{
		"zero":   {},
		"budget": {Attempts: 4, Backoff: retry.Exponential{Initial: time.Millisecond}, Budget: budget, Elapsed: time.Hour},
	} {
		succeed := func(context.Context) (int, error) { return 7, nil }
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = retry.Do(ctx, p, succeed) }), name)
	}
	n := 0
	twice := func(context.Context) (int, error) {
		if n++; n%3 != 0 {
			return 0, errDown
		}
		return n, nil
	}
	p := retry.Policy{Backoff: atOnce}
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = retry.Do(ctx, p, twice) }), "two retries without wait")
}

func TestExhaustedErrorSaysItAll(t *testing.T) {
	e := &retry.ExhaustedError{Attempts: 3, Last: errDown, Cause: retry.ErrAttempts}
	require.EqualError(t, e, "retry: gave up after 3 attempts: attempts used up: service is down")
	require.False(t, e.Timeout())
	e = &retry.ExhaustedError{Attempts: 1, Cause: context.DeadlineExceeded}
	require.EqualError(t, e, "retry: gave up after 1 attempt: context deadline exceeded")
	require.True(t, e.Timeout())
	require.NotErrorIs(t, e, errDown)
}
