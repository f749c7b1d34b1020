package breaker_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/parley-go/parley/retry"
	"github.com/stretchr/testify/require"
)

// The composition of package retry's documentation: retry outside, breaker inside.
func TestTimeOutOfAnAttemptIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithCancel(r.Context()) // as http.Transport derives one
			defer cancel()
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		b := newBreaker(t, breaker.Config{Consecutive: 2})
		client := retry.RoundTripper(retry.Policy{Attempts: 2, AttemptTimeout: time.Second, Backoff: retry.Constant(0)}, breaker.RoundTripper(b, hangs))
		_, err := client.RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", "http://host/", nil))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, breaker.Open, b.State())
	})
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// http.TimeoutHandler ends the context of a handler that is too slow.
func TestMiddlewareTakesADeadlineForAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{Consecutive: 1})
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			w.WriteHeader(http.StatusGatewayTimeout)
		})
		h := http.TimeoutHandler(breaker.Middleware(b, slow), time.Second, "")
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		synctest.Wait()
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestPanicBetweenAcquireAndDoneIsAFailure(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1})
	require.Panics(t, func() { // as the documentation of Done has it
		permit, err := b.Acquire(t.Context())
		require.NoError(t, err)
		defer permit.Report(breaker.Failure)
		err = func() error { panic("boom") }()
		permit.Done(t.Context(), err)
	})
	require.Equal(t, breaker.Open, b.State())
}

func TestKeyThatCannotBeComparedLeavesNoLockBehind(t *testing.T) {
	k, err := breaker.NewKeyed[any](breaker.KeyedConfig{})
	require.NoError(t, err)
	require.Panics(t, func() { k.Get([]byte("key")) })
	require.NotNil(t, k.Get("key")) // hangs if one is left
}

// Keys of services that come and go for ever must not make every new key
// begin half-open.
func TestNewKeysBeginClosedHoweverManyHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 64
		k, err := breaker.NewKeyed[int](breaker.KeyedConfig{MaxKeys: keys, Breaker: breaker.Config{Consecutive: 1, OpenFor: time.Second}})
		require.NoError(t, err)
		n := 0
		next := func() *breaker.Breaker { n++; return k.Get(n) }
		for range 100 {
			for range keys {
				permit, err := next().Acquire(t.Context())
				require.NoError(t, err)
				permit.Report(breaker.Failure)
			}
			time.Sleep(time.Minute)
		}
		closed := 0
		for range keys {
			if next().State() == breaker.Closed {
				closed++
			}
		}
		require.Greater(t, closed, keys/2)
	})
}

// Half-open without a verdict in time is open, though nobody has looked.
func TestBreakerWithOverdueProbesIsNotEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := breaker.NewKeyed[int](breaker.KeyedConfig{MaxKeys: 1, Breaker: breaker.Config{
			Consecutive: 1, DisableJitter: true, OpenFor: time.Minute, ProbeFor: time.Second,
		}})
		require.NoError(t, err)
		permit, _ := k.Get(1).Acquire(t.Context())
		permit.Report(breaker.Failure)
		time.Sleep(time.Minute)
		_, err = k.Get(1).Acquire(t.Context()) // a probe that never returns
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		k.Get(2)
		require.EqualValues(t, 1, k.Untracked())
		require.Equal(t, breaker.Open, k.Get(1).State())
	})
}

type idleConnections struct {
	http.RoundTripper
	closed atomic.Bool
}

func (c *idleConnections) CloseIdleConnections() { c.closed.Store(true) }

func TestRoundTripperPassesCloseIdleConnectionsOn(t *testing.T) {
	next := &idleConnections{}
	(&http.Client{Transport: breaker.RoundTripper(newBreaker(t, breaker.Config{}), next)}).CloseIdleConnections()
	require.True(t, next.closed.Load())
}
