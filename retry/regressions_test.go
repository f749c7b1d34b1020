package retry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

// A brokenWriter is a connection that takes so many bytes and then breaks.
type brokenWriter struct {
	*httptest.ResponseRecorder
	left int
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.left < len(p) {
		return 0, errDown
	}
	b.left -= len(p)
	return b.ResponseRecorder.Write(p)
}

func TestResponseCutByItsConnectionIsReplayedWhole(t *testing.T) {
	whole := strings.Repeat("0123456789", 10)
	d := deduplicate(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range 10 {
			if _, err := io.WriteString(w, whole[10*i:][:10]); err != nil {
				return
			}
		}
	}), retry.DeduplicateConfig{})
	req := func() *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/orders", strings.NewReader("1"))
		r.Header.Set(retry.KeyHeader, "key")
		return r
	}
	d.ServeHTTP(&brokenWriter{httptest.NewRecorder(), 30}, req())
	again := httptest.NewRecorder()
	d.ServeHTTP(again, req())
	require.Equal(t, "true", again.Header().Get(retry.ReplayedHeader))
	require.Equal(t, whole, again.Body.String())
}

func TestSameKeyForTwoHostsIsTwoKeys(t *testing.T) {
	d := deduplicate(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host)
	}), retry.DeduplicateConfig{})
	for _, host := range []string{"a.example", "b.example", "a.example"} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://"+host+"/orders", strings.NewReader("1"))
		r.Header.Set(retry.KeyHeader, "key")
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		require.Equal(t, host, w.Body.String())
	}
}

// Once the body of the response is closed, the caller may use its request again;
// a loser that is slow to return must not read it then. Needs -race.
func TestLosingHedgeDoesNotShareTheRequestWithTheCaller(t *testing.T) {
	gone, first := make(chan struct{}), make(chan struct{}, 1)
	first <- struct{}{}
	next := roundTrip(func(r *http.Request) (*http.Response, error) {
		select {
		case <-first:
			defer close(gone)
			<-r.Context().Done()
			for range 1000 {
				_ = r.Header.Get("X-Try")
			}
			return nil, r.Context().Err()
		default:
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(""))}, nil
		}
	})
	req := httptest.NewRequestWithContext(t.Context(), "GET", "http://host/", nil)
	resp, err := retry.HedgeRoundTripper(retry.HedgePolicy{After: 1}, next).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	for range 1000 {
		req.Header.Set("X-Try", "2")
	}
	<-gone
}

func TestContextOfAFailedResponseEnds(t *testing.T) {
	var seen []context.Context
	_, err := retry.Do(t.Context(), retry.Policy{Attempts: 2, AttemptTimeout: time.Hour, Backoff: retry.Constant(0)},
		func(ctx context.Context) (*http.Response, error) {
			seen = append(seen, ctx)
			return &http.Response{StatusCode: 500, Body: http.NoBody}, errors.New("status 500")
		})
	require.Error(t, err)
	for _, ctx := range seen {
		require.ErrorIs(t, ctx.Err(), context.Canceled)
	}
}

func TestBudgetTimeInTheFarFutureDoesNotOverflow(t *testing.T) {
	b, err := retry.NewBudget(retry.BudgetConfig{Floor: 5})
	require.NoError(t, err)
	far, allowed := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 0
	for range 100 {
		if b.AllowN(far, 1) {
			allowed++
		}
	}
	require.Equal(t, 5, allowed)
}
