package retry_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

// A shop counts its orders: the operation that must not be done twice.
type shop struct {
	orders atomic.Int64
	takes  time.Duration
	serve  http.HandlerFunc // instead of the usual answer
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.orders.Add(1)
	if s.takes > 0 {
		time.Sleep(s.takes)
	}
	if s.serve != nil {
		s.serve(w, r)
		return
	}
	data, _ := io.ReadAll(r.Body)
	w.Header().Set("Location", "/orders/"+strconv.FormatInt(n, 10))
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "order %d: ", n)
	_, _ = w.Write(data)
}

func deduplicate(t testing.TB, next http.Handler, c retry.DeduplicateConfig) *retry.Deduplicator {
	t.Helper()
	d, err := retry.Deduplicate(next, c)
	require.NoError(t, err)
	return d
}

// post sends a request with a key to a handler. change is like "name: value" or
// "METHOD path".
func post(ctx context.Context, h http.Handler, key, content string, changes ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, "POST", "/orders", strings.NewReader(content))
	if key != "" {
		r.Header.Set(retry.KeyHeader, key)
	}
	for _, change := range changes {
		if name, value, ok := strings.Cut(change, ": "); ok {
			r.Header.Add(name, value)
		} else if method, path, ok := strings.Cut(change, " "); ok {
			r.Method, r.URL.Path = method, path
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestRepeatedRequestGetsTheFirstResponse(t *testing.T) {
	s := &shop{}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	first := post(t.Context(), d, "k", "tea")
	require.Equal(t, 201, first.Code)
	require.Equal(t, "order 1: tea", first.Body.String())
	require.Empty(t, first.Header().Get(retry.ReplayedHeader))
	for _, key := range []string{"k", `"k"`} { // bare and quoted
		again := post(t.Context(), d, key, "tea")
		require.Equal(t, 201, again.Code)
		require.Equal(t, "order 1: tea", again.Body.String())
		require.Equal(t, "/orders/1", again.Header().Get("Location"))
		require.Equal(t, "true", again.Header().Get(retry.ReplayedHeader))
	}
	require.Equal(t, "order 2: tea", post(t.Context(), d, "other", "tea").Body.String())
	require.Equal(t, int64(2), s.orders.Load())
	stats := d.Stats()
	require.Equal(t, 2, stats.Entries)
	require.Equal(t, uint64(2), stats.Replayed)
	require.Positive(t, stats.Bytes)
}

func TestKeyUsedForAnotherRequestIsRefused(t *testing.T) {
	s := &shop{}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	post(t.Context(), d, "k", "tea")
	for name, w := range map[string]*httptest.ResponseRecorder{
		"body":   post(t.Context(), d, "k", "coffee"),
		"empty":  post(t.Context(), d, "k", ""),
		"method": post(t.Context(), d, "k", "tea", "PUT /orders"),
		"path":   post(t.Context(), d, "k", "tea", "POST /refunds"),
		"type":   post(t.Context(), d, "k", "tea", "Content-Type: text/csv"),
	} {
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, name)
	}
	require.Equal(t, int64(1), s.orders.Load())
	require.Equal(t, uint64(5), d.Stats().Mismatched)
}

func TestRequestsThatAreNotDeduplicated(t *testing.T) {
	s := &shop{}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	for range 2 {
		post(t.Context(), d, "", "tea")
		post(t.Context(), d, "k", "", "GET /orders")
	}
	require.Equal(t, int64(4), s.orders.Load())
	require.Zero(t, d.Stats().Entries)
}

func TestKeyRequiredOrMalformedOrTwice(t *testing.T) {
	s := &shop{}
	d := deduplicate(t, s, retry.DeduplicateConfig{Required: true, MaxRequest: 4})
	require.Equal(t, 400, post(t.Context(), d, "", "tea").Code)
	require.Equal(t, 400, post(t.Context(), d, "a b", "tea").Code)
	require.Equal(t, 400, post(t.Context(), d, strings.Repeat("k", 256), "tea").Code)
	require.Equal(t, 400, post(t.Context(), d, "k", "tea", "Idempotency-Key: l").Code)
	require.Equal(t, 413, post(t.Context(), d, "k", "more than four").Code)
	require.Zero(t, s.orders.Load())
	require.Equal(t, 201, post(t.Context(), d, "", "tea", "PUT /orders").Code, "idempotent as it is")
	require.Equal(t, 201, post(t.Context(), d, strings.Repeat("k", 255), "tea").Code)
	require.Equal(t, 1, d.Stats().Entries)
}

// Nobody is given the response of somebody else.
func TestSameKeyOfTwoClientsIsTwoKeys(t *testing.T) {
	s := &shop{}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	require.Equal(t, "order 1: tea", post(t.Context(), d, "k", "tea", "Authorization: alice").Body.String())
	require.Equal(t, "order 2: tea", post(t.Context(), d, "k", "tea", "Authorization: bob").Body.String())
	require.Equal(t, "order 1: tea", post(t.Context(), d, "k", "tea", "Authorization: alice").Body.String())

	d = deduplicate(t, s, retry.DeduplicateConfig{Scope: func(r *http.Request) string { return r.Header.Get("Tenant") }})
	require.Equal(t, "order 3: tea", post(t.Context(), d, "k", "tea", "Tenant: a", "Authorization: old").Body.String())
	require.Equal(t, "order 3: tea", post(t.Context(), d, "k", "tea", "Tenant: a", "Authorization: new").Body.String())
	require.Equal(t, "order 4: tea", post(t.Context(), d, "k", "tea", "Tenant: b").Body.String())
	require.Equal(t, "order 5: tea", post(t.Context(), d, "lk", "tea", "Tenant: al").Body.String())
	require.Equal(t, "order 6: tea", post(t.Context(), d, "k", "tea", "Tenant: all").Body.String())
}

func TestConcurrentDuplicatesWaitForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{takes: time.Second}
		d := deduplicate(t, s, retry.DeduplicateConfig{})
		begin := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				w := post(t.Context(), d, "k", "tea")
				if w.Body.String() != "order 1: tea" || since(begin) != time.Second {
					t.Errorf("%s after %v", w.Body, since(begin))
				}
			})
		}
		wg.Wait()
		require.Equal(t, int64(1), s.orders.Load())
		require.Equal(t, uint64(99), d.Stats().Replayed)
	})
}

func TestConcurrentDuplicatesAreToldOfTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{takes: time.Second}
		d := deduplicate(t, s, retry.DeduplicateConfig{RejectConcurrent: true})
		go post(t.Context(), d, "k", "tea")
		synctest.Wait()
		w := post(t.Context(), d, "k", "tea")
		require.Equal(t, http.StatusConflict, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Equal(t, 422, post(t.Context(), d, "k", "coffee").Code)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, 201, post(t.Context(), d, "k", "tea").Code)
		require.Equal(t, int64(1), s.orders.Load())
		require.Equal(t, uint64(1), d.Stats().Conflicts)
	})
}

// Trap: an empty 200 for somebody who stopped waiting would say that it is done.
func TestDuplicateThatStopsWaitingIsNotToldItSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deduplicate(t, &shop{takes: time.Second}, retry.DeduplicateConfig{})
		go post(t.Context(), d, "k", "tea")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), ms)
		defer cancel()
		require.Equal(t, 503, post(ctx, d, "k", "tea").Code)
		time.Sleep(time.Second)
	})
}

func TestResponsesThatAskToComeBackAreNotKept(t *testing.T) {
	for status := 200; status < 600; status++ {
		s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }}
		d := deduplicate(t, s, retry.DeduplicateConfig{})
		post(t.Context(), d, "k", "")
		post(t.Context(), d, "k", "")
		want := int64(1)
		switch status {
		case 408, 425, 429, 502, 503, 504:
			want = 2
		}
		require.Equal(t, want, s.orders.Load(), "status %d", status)
	}
	s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }}
	d := deduplicate(t, s, retry.DeduplicateConfig{Keep: func(status int) bool { return status < 500 }})
	post(t.Context(), d, "k", "")
	post(t.Context(), d, "k", "")
	require.Equal(t, int64(2), s.orders.Load())
}

func TestHandlerThatPanicsOrExitsHasNoOutcome(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic(http.ErrAbortHandler) }, "exit": runtime.Goexit} {
		s := &shop{}
		s.serve = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			if s.orders.Load() == 1 {
				end()
			}
		}
		d := deduplicate(t, s, retry.DeduplicateConfig{})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() { _ = recover() }()
			post(t.Context(), d, "k", "")
		})
		wg.Wait()
		require.Zero(t, d.Stats().Entries, name)
		require.Equal(t, 200, post(t.Context(), d, "k", "").Code, name)
		require.Equal(t, int64(2), s.orders.Load(), name)
	}
}

func TestWaitersTakeOverWhenTheFirstHasNoOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{takes: time.Second}
		s.serve = func(w http.ResponseWriter, _ *http.Request) {
			if n := s.orders.Load(); n < 3 {
				w.WriteHeader(503)
			}
		}
		d := deduplicate(t, s, retry.DeduplicateConfig{})
		var codes [5]int
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() { codes[i] = post(t.Context(), d, "k", "").Code })
		}
		wg.Wait()
		require.Equal(t, int64(3), s.orders.Load())
		count := map[int]int{}
		for _, code := range codes {
			count[code]++
		}
		require.Equal(t, map[int]int{503: 2, 200: 3}, count)
	})
}

// Trap: a client gives up, its handler fails for that reason alone, and every
// repetition is answered with this failure.
func TestFailureOfAClientThatHasGoneIsNotKept(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(w http.ResponseWriter)
		kept  bool
	}{
		"failed":  {func(w http.ResponseWriter) { w.WriteHeader(500) }, false},
		"silent":  {func(http.ResponseWriter) {}, false},
		"done":    {func(w http.ResponseWriter) { w.WriteHeader(201) }, true},
		"written": {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) { cancel(); c.serve(w) }}
		d := deduplicate(t, s, retry.DeduplicateConfig{})
		post(ctx, d, "k", "")
		post(t.Context(), d, "k", "")
		require.Equal(t, c.kept, s.orders.Load() == 1, name)
	}
}

func TestMemoryIsBoundedInKeysAndBytes(t *testing.T) {
	s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) }}
	d := deduplicate(t, s, retry.DeduplicateConfig{MaxEntries: 10})
	for i := range 1000 {
		post(t.Context(), d, fmt.Sprint("k", i), "")
		require.LessOrEqual(t, d.Stats().Entries, 10)
	}
	require.Equal(t, uint64(990), d.Stats().Evicted)
	require.Equal(t, "true", post(t.Context(), d, "k990", "").Header().Get(retry.ReplayedHeader), "the latest ten are kept")
	require.Empty(t, post(t.Context(), d, "k989", "").Header().Get(retry.ReplayedHeader))

	d = deduplicate(t, s, retry.DeduplicateConfig{MaxBytes: 50_000, MaxResponse: 2000})
	for i := range 1000 {
		post(t.Context(), d, fmt.Sprint("k", i), "")
		require.LessOrEqual(t, d.Stats().Bytes, int64(50_000))
	}
	require.Greater(t, d.Stats().Entries, 20)
}

func TestRunningOperationsAreNeverEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{takes: time.Second}
		d := deduplicate(t, s, retry.DeduplicateConfig{MaxEntries: 2})
		go post(t.Context(), d, "a", "")
		go post(t.Context(), d, "b", "")
		synctest.Wait()
		w := post(t.Context(), d, "c", "")
		require.Equal(t, 503, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, "true", post(t.Context(), d, "a", "").Header().Get(retry.ReplayedHeader))
		require.Equal(t, 201, post(t.Context(), d, "c", "").Code)
	})
}

func TestResponsesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{}
		d := deduplicate(t, s, retry.DeduplicateConfig{TTL: time.Hour})
		post(t.Context(), d, "k", "")
		time.Sleep(time.Hour - 1)
		post(t.Context(), d, "k", "")
		require.Equal(t, int64(1), s.orders.Load())
		time.Sleep(time.Nanosecond)
		post(t.Context(), d, "k", "")
		require.Equal(t, int64(2), s.orders.Load())
		require.Zero(t, d.Stats().Evicted)
	})
}

func TestResponseTooLargeToKeepIsNotDoneAgain(t *testing.T) {
	header := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 200)) }
	content := func(w http.ResponseWriter, _ *http.Request) {
		for range 20 {
			_, _ = w.Write(make([]byte, 10))
		}
	}
	for _, serve := range []http.HandlerFunc{header, content} {
		s := &shop{serve: serve}
		d := deduplicate(t, s, retry.DeduplicateConfig{MaxResponse: 100})
		require.Equal(t, 200, post(t.Context(), d, "k", "").Code)
		require.Equal(t, http.StatusConflict, post(t.Context(), d, "k", "").Code)
		require.Equal(t, int64(1), s.orders.Load())
		require.Less(t, d.Stats().Bytes, int64(1100), "what is not replayed is kept")
	}
}

func TestStreamedInformationalAndLateHeadersAreRecordedAsSent(t *testing.T) {
	s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("A", "1")
		w.(http.Flusher).Flush() // an implicit 200
		w.Header().Set("B", "too late")
		_, _ = io.WriteString(w, "x")
		w.WriteHeader(500) // superfluous
	}}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	first := post(t.Context(), d, "k", "")
	require.True(t, first.Flushed)
	w := post(t.Context(), d, "k", "")
	require.Equal(t, 200, w.Code)
	require.Equal(t, "x", w.Body.String())
	require.Equal(t, "1", w.Header().Get("A"))
	require.Empty(t, w.Header().Get("B"))
}

type hijackable struct{ http.ResponseWriter }

func (hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

func TestHijackedConnectionIsNotDoneAgain(t *testing.T) {
	s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) {
		_, _, err := http.NewResponseController(w).Hijack()
		if errors.Is(err, http.ErrNotSupported) {
			w.WriteHeader(200)
		}
	}}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	wrapped := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.ServeHTTP(hijackable{w}, r) })
	post(t.Context(), wrapped, "k", "")
	require.Equal(t, http.StatusConflict, post(t.Context(), wrapped, "k", "").Code)
	post(t.Context(), d, "unsupported", "")
	require.Equal(t, 200, post(t.Context(), d, "unsupported", "").Code)
	require.Equal(t, int64(2), s.orders.Load())
}

func TestInvalidDeduplicateConfigNamesFieldAndValue(t *testing.T) {
	for want, c := range map[string]retry.DeduplicateConfig{
		"DeduplicateConfig.TTL is -1s":        {TTL: -time.Second},
		"DeduplicateConfig.MaxEntries is -1":  {MaxEntries: -1},
		"DeduplicateConfig.MaxRequest is -1":  {MaxRequest: -1},
		"DeduplicateConfig.MaxResponse is -1": {MaxResponse: -1},
		"DeduplicateConfig.MaxBytes is 1000,": {MaxBytes: 1000},
		"DeduplicateConfig.MaxBytes is -1":    {MaxBytes: -1},
	} {
		_, err := retry.Deduplicate(http.NotFoundHandler(), c)
		require.ErrorIs(t, err, retry.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}

// The whole way: a client that repeats over a connection that loses responses,
// and a server that must take each order once.
func TestEachOrderIsTakenOnceOverALossyConnection(t *testing.T) {
	s := &shop{}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	web := httptest.NewServer(d)
	defer web.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	var sent atomic.Int64
	lossy := roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(req)
		if err == nil && sent.Add(1)%3 != 0 { // two of three responses are lost on their way
			_ = resp.Body.Close()
			return nil, errDown
		}
		return resp, err
	})
	client := &http.Client{Transport: retry.RoundTripper(retry.Policy{Attempts: 100, Backoff: atOnce}, lossy)}
	const orders = 200
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range orders / 8 {
				ctx := retry.WithKey(t.Context(), retry.NewKey())
				content := fmt.Sprint(worker, "/", i)
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, web.URL, strings.NewReader(content))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				data, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 201 || !strings.HasSuffix(string(data), ": "+content) {
					t.Errorf("order %s: %d %s", content, resp.StatusCode, data)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(orders), s.orders.Load())
	require.GreaterOrEqual(t, sent.Load(), int64(2*orders))
}
