package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
)

// guards returns one guard of each kind, with room for one call at a time.
func guards(t testing.TB) map[string]breaker.Guard {
	bulkhead := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 1, DisableWaiting: true})
	adaptive := newAdaptive(t, breaker.AdaptiveConfig{Initial: 1, Max: 1, DisableWaiting: true})
	return map[string]breaker.Guard{
		"breaker":        newBreaker(t, breaker.Config{Consecutive: 100}),
		"window":         newBreaker(t, breaker.Config{WindowTime: time.Second, WindowCalls: 0, SlowAfter: time.Second, MinimumCalls: 100}),
		"bulkhead":       bulkhead,
		"bulkhead class": bulkhead.For(breaker.Class{Weight: 1}),
		"adaptive":       adaptive,
		"adaptive for":   adaptive.For("somebody"),
	}
}

func TestDoReturnsWhatTheCallReturns(t *testing.T) {
	for name, g := range guards(t) {
		value, err := breaker.Do(t.Context(), g, func(context.Context) (string, error) { return "v", nil })
		require.NoError(t, err, name)
		require.Equal(t, "v", value, name)
		value, err = breaker.Do(t.Context(), g, func(context.Context) (string, error) { return "partial", errService })
		require.Same(t, errService, err, name)
		require.Equal(t, "partial", value, name)
	}
}

func TestDoPassesTheContextOn(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "x")
	for name, g := range guards(t) {
		got, err := breaker.Do(ctx, g, func(ctx context.Context) (any, error) { return ctx.Value(key{}), nil })
		require.NoError(t, err)
		require.Equal(t, "x", got, name)
	}
}

func TestAlreadyCancelledContextDoesNotRunTheCall(t *testing.T) {
	why := errors.New("shutting down")
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	late, cancelLate := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancelLate()
	for name, g := range guards(t) {
		called := false
		call := func(context.Context) (int, error) { called = true; return 0, nil }
		_, err := breaker.Do(cancelled, g, call)
		require.ErrorIs(t, err, context.Canceled, name)
		require.ErrorIs(t, err, why, name)
		_, err = breaker.Do(late, g, call)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.NotErrorIs(t, err, breaker.ErrRejected, name)
		require.False(t, called, name)
		p := acquire(t, g) // no permit was lost
		p.Report(breaker.Success)
	}
}

func TestPanicGivesThePermitBack(t *testing.T) {
	for name, g := range guards(t) {
		for range 3 {
			require.PanicsWithValue(t, "boom", func() {
				do(t, g, 1, func(context.Context) (int, error) { panic("boom") })
			}, name)
		}
		require.NoError(t, do(t, g, 1, succeed), name)
	}
}

func TestGoexitGivesThePermitBack(t *testing.T) {
	for name, g := range guards(t) {
		for range 3 {
			var wg sync.WaitGroup
			wg.Go(func() { do(t, g, 1, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }) })
			wg.Wait()
		}
		require.NoError(t, do(t, g, 1, succeed), name)
	}
}

func TestPanicAndGoexitAreFailures(t *testing.T) {
	configs := map[string]breaker.Config{
		"plain":    {Consecutive: 4},
		"classify": {Consecutive: 4, Classify: func(any, error) breaker.Outcome { return breaker.Success }},
	}
	for name, c := range configs {
		b := newBreaker(t, c)
		for range 2 {
			require.Panics(t, func() { do(t, b, 1, func(context.Context) (int, error) { panic("boom") }) })
			var wg sync.WaitGroup
			wg.Go(func() { do(t, b, 1, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }) })
			wg.Wait()
		}
		require.Equal(t, breaker.Open, b.State(), name)
		require.EqualValues(t, 4, b.Stats().Failures, name)
	}
}

func TestPanickingClassifyGivesThePermitBack(t *testing.T) {
	a := newAdaptive(t, breaker.AdaptiveConfig{Initial: 1, Max: 1, DisableWaiting: true, Classify: func(any, error) breaker.Outcome { panic("classify") }})
	require.Panics(t, func() { do(t, a, 1, succeed) })
	require.Zero(t, a.Stats().InUse)
}

func TestCallersOwnCancellationIsNotTheServicesFailure(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1})
	ctx, cancel := context.WithCancel(t.Context())
	for _, err := range []error{context.Canceled, errService, fmt.Errorf("read: %w", context.Canceled)} {
		ctx, cancel := context.WithCancel(ctx)
		_, got := breaker.Do(ctx, b, func(context.Context) (int, error) { cancel(); return 0, err })
		require.Equal(t, err, got)
		require.Equal(t, breaker.Closed, b.State())
	}
	p := acquire(t, b)
	cancel()
	p.Done(ctx, ctx.Err())
	require.EqualValues(t, 4, b.Stats().Ignored)
	require.Zero(t, b.Stats().Failures)
}

func TestCancellationThatTheCallerDidNotAskForIsAFailure(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1})
	do(t, b, 1, func(context.Context) (int, error) { return 0, context.Canceled })
	require.Equal(t, breaker.Open, b.State())
}

func TestDeadlineThatPassesIsAFailure(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	p, err := b.Acquire(t.Context())
	require.NoError(t, err)
	<-ctx.Done()
	p.Done(ctx, ctx.Err())
	require.Equal(t, breaker.Open, b.State())
}

func TestSuccessAfterCancellationIsASuccess(t *testing.T) {
	b := newBreaker(t, breaker.Config{CountSuccesses: true})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := breaker.Do(ctx, b, func(context.Context) (int, error) { cancel(); return 1, nil })
	require.NoError(t, err)
	require.EqualValues(t, 1, b.Stats().Successes)
}

func TestRejectionByAnInnerGuardIsIgnored(t *testing.T) {
	outer := newBreaker(t, breaker.Config{Consecutive: 1})
	inner := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 1, DisableWaiting: true})
	acquire(t, inner)
	_, err := breaker.Do(t.Context(), outer, func(ctx context.Context) (int, error) { return breaker.Do(ctx, inner, succeed) })
	require.ErrorIs(t, err, breaker.ErrFull)
	require.Equal(t, breaker.Closed, outer.State())
	require.EqualValues(t, 1, outer.Stats().Ignored)
}

func TestClassifyJudgesResultsAndErrors(t *testing.T) {
	notFound := errors.New("not found")
	b := newBreaker(t, breaker.Config{Consecutive: 2, CountSuccesses: true, Classify: func(result any, err error) breaker.Outcome {
		switch {
		case errors.Is(err, notFound):
			return breaker.Success
		case result == "degraded":
			return breaker.Failure
		case err != nil:
			return breaker.Ignored
		}
		return breaker.Success
	}})
	call := func(result string, err error) {
		_, _ = breaker.Do(t.Context(), b, func(context.Context) (string, error) { return result, err })
	}
	call("", notFound)
	call("", errService)
	call("degraded", nil)
	call("", nil)
	s := b.Stats()
	require.Equal(t, [3]uint64{2, 1, 1}, [3]uint64{s.Successes, s.Failures, s.Ignored})
	call("degraded", nil)
	call("degraded", nil)
	require.Equal(t, breaker.Open, b.State())
}

func TestPermitIsGivenBackOnce(t *testing.T) {
	pool := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 2, DisableWaiting: true})
	p, q := acquire(t, pool), acquire(t, pool)
	for range 3 {
		p.Done(t.Context(), nil)
		p.Report(breaker.Failure)
	}
	require.Equal(t, 1, pool.Stats().InUse)
	q.Report(breaker.Ignored)
	require.Equal(t, 0, pool.Stats().InUse)
	var none breaker.Permit
	none.Done(t.Context(), nil)
	none.Report(breaker.Success)
}

// A guard of one's own: chooses by what the context says, or lets through.
type byName map[string]*breaker.Breaker

type nameKey struct{}

func (m byName) Acquire(ctx context.Context) (breaker.Permit, error) {
	if b := m[ctx.Value(nameKey{}).(string)]; b != nil {
		return b.Acquire(ctx)
	}
	return breaker.Permit{}, nil
}

func TestGuardOfOnesOwn(t *testing.T) {
	g := byName{"known": newBreaker(t, breaker.Config{Consecutive: 1})}
	known, unknown := context.WithValue(t.Context(), nameKey{}, "known"), context.WithValue(t.Context(), nameKey{}, "unknown")
	for _, ctx := range []context.Context{unknown, known, unknown} {
		_, err := breaker.Do(ctx, g, fail)
		require.Same(t, errService, err)
		resp, err := breaker.RoundTripper(g, answering(503, body(""))).RoundTrip(request(t, nil).WithContext(unknown))
		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		w := httptest.NewRecorder()
		breaker.Middleware(g, http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequestWithContext(unknown, http.MethodGet, "/", nil))
		require.Equal(t, 404, w.Code)
	}
	_, err := breaker.Do(known, g, succeed)
	require.ErrorIs(t, err, breaker.ErrOpen)
}

func TestFallback(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1})
	var seen error
	cached := func(_ context.Context, err error) (int, error) { seen = err; return 42, nil }

	value, err := breaker.Fallback(t.Context(), b, succeed, cached)
	require.NoError(t, err)
	require.Equal(t, 1, value)
	require.NoError(t, seen, "no fall back on success")

	value, err = breaker.Fallback(t.Context(), b, fail, cached)
	require.NoError(t, err)
	require.Equal(t, 42, value)
	require.ErrorIs(t, seen, errService)

	value, err = breaker.Fallback(t.Context(), b, fail, cached)
	require.NoError(t, err)
	require.Equal(t, 42, value)
	require.ErrorIs(t, seen, breaker.ErrOpen)
}

func TestFallbackThatFailsToo(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	miss := errors.New("not in the cache")
	_, err := breaker.Fallback(t.Context(), b, fail, func(context.Context, error) (int, error) { return 0, miss })
	require.ErrorIs(t, err, errService)
	require.ErrorIs(t, err, miss)
	_, err = breaker.Fallback(t.Context(), b, fail, func(_ context.Context, err error) (int, error) { return 0, err })
	require.Same(t, errService, err, "the same error is not joined with itself")
}

func TestFallbackIsNotForThoseWhoHaveGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := breaker.Fallback(ctx, newBreaker(t, breaker.Config{}), succeed, func(context.Context, error) (int, error) {
		t.Error("fell back for nobody")
		return 0, nil
	})
	require.ErrorIs(t, err, context.Canceled)
}

func TestDoDoesNotAllocate(t *testing.T) {
	opened := open(t, breaker.Config{OpenFor: time.Hour})
	type large [16]int
	cases := map[string]breaker.Guard{
		"open":         opened,
		"count window": newBreaker(t, breaker.Config{WindowCalls: 100}),
		"time window":  newBreaker(t, breaker.Config{WindowTime: time.Second, SlowAfter: time.Second}),
		"counting":     newBreaker(t, breaker.Config{CountSuccesses: true}),
		"full":         full(t),
		"pool":         newBulkhead(t, breaker.BulkheadConfig{}),
	}
	for name, g := range guards(t) {
		if name != "adaptive for" { // keeps its caller while a call runs
			cases[name] = g
		}
	}
	ctx := t.Context()
	for name, g := range cases {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			_, _ = breaker.Do(ctx, g, func(context.Context) (large, error) { return large{}, nil })
		}), name)
	}
	failing := newBreaker(t, breaker.Config{Consecutive: 1e6})
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = breaker.Do(ctx, failing, func(context.Context) (large, error) { return large{}, errService })
	}), "failure")
	outer, inner := newBreaker(t, breaker.Config{}), newBulkhead(t, breaker.BulkheadConfig{})
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = breaker.Do(ctx, outer, func(ctx context.Context) (int, error) { return breaker.Do(ctx, inner, succeed) })
	}), "nested")
}

// full returns a bulkhead that rejects every call.
func full(t testing.TB) *breaker.Bulkhead {
	b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 1, DisableWaiting: true})
	acquire(t, b)
	return b
}
