package breaker_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering returns a RoundTripper that answers with a status and a body.
func answering(status int, body io.ReadCloser) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Body: body, Request: r}, nil
	})
}

// closeCounter is a body that counts how often it is closed.
type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func body(text string) *closeCounter { return &closeCounter{Reader: strings.NewReader(text)} }

func request(t testing.TB, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://service.test/", body)
	require.NoError(t, err)
	return r
}

func TestStatusIsJudgedByDefault(t *testing.T) {
	const success, failure, ignored = "success", "failure", "ignored"
	for status, want := range map[int][2]string{ // by a breaker, by an Adaptive
		200: {success, success}, 304: {success, success}, 404: {success, success},
		429: {ignored, failure}, 500: {failure, ignored}, 501: {success, success},
		502: {failure, ignored}, 503: {failure, failure}, 504: {failure, failure}, 505: {success, success},
	} {
		b := newBreaker(t, breaker.Config{CountSuccesses: true, Consecutive: 100})
		_, err := breaker.RoundTripper(b, answering(status, body(""))).RoundTrip(request(t, nil))
		require.NoError(t, err)
		s := b.Stats()
		got := map[string]uint64{success: s.Successes, failure: s.Failures, ignored: s.Ignored}
		require.EqualValues(t, 1, got[want[0]], "breaker, status %d", status)

		synctest.Test(t, func(t *testing.T) {
			a := newAdaptive(t, breaker.AdaptiveConfig{Samples: 1, Window: time.Millisecond})
			rt := breaker.RoundTripper(a, roundTrip(func(r *http.Request) (*http.Response, error) {
				time.Sleep(time.Millisecond)
				return answering(status, body("")).RoundTrip(r)
			}))
			resp, err := rt.RoundTrip(request(t, nil))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want[1] == failure, a.Stats().Overloads > 0, "adaptive, status %d", status)
			require.Equal(t, want[1] == success, a.Stats().Latency > 0, "adaptive, status %d", status)
		})
	}
}

func TestRoundTripperRejectsAndClosesTheRequestBody(t *testing.T) {
	b := open(t, breaker.Config{OpenFor: time.Hour})
	sent := body("x")
	client := &http.Client{Transport: breaker.RoundTripper(b, roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("sent all the same")
		return nil, errService
	}))}
	_, err := client.Do(request(t, sent))
	require.ErrorIs(t, err, breaker.ErrOpen, "through the client's wrapping")
	require.Equal(t, 1, sent.closed)
}

func TestRoundTripperTransportErrorsAreFailures(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1})
	_, err := breaker.RoundTripper(b, roundTrip(func(*http.Request) (*http.Response, error) { return nil, errService })).RoundTrip(request(t, nil))
	require.Same(t, errService, err)
	require.Equal(t, breaker.Open, b.State())
}

func TestRoundTripperAsksClassifyWithTheResponse(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1, Classify: func(result any, _ error) breaker.Outcome {
		if result.(*http.Response).StatusCode == 418 {
			return breaker.Failure
		}
		return breaker.Success
	}})
	_, err := breaker.RoundTripper(b, answering(500, body(""))).RoundTrip(request(t, nil))
	require.NoError(t, err)
	require.Equal(t, breaker.Closed, b.State())
	_, err = breaker.RoundTripper(b, answering(418, body(""))).RoundTrip(request(t, nil))
	require.NoError(t, err)
	require.Equal(t, breaker.Open, b.State())
}

func TestBulkheadHoldsUntilTheBodyIsReadOrClosed(t *testing.T) {
	pool := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 1, DisableWaiting: true})
	send := func(b io.ReadCloser) *http.Response {
		resp, err := breaker.RoundTripper(pool, answering(200, b)).RoundTrip(request(t, nil))
		require.NoError(t, err)
		return resp
	}
	resp := send(body("read to the end"))
	require.Equal(t, 1, pool.Stats().InUse)
	_, err := breaker.RoundTripper(pool, answering(200, body(""))).RoundTrip(request(t, nil))
	require.ErrorIs(t, err, breaker.ErrFull)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "read to the end", string(text))
	require.Zero(t, pool.Stats().InUse)
	require.NoError(t, resp.Body.Close())
	require.Zero(t, pool.Stats().InUse, "given back once")

	inner := body("closed half read")
	resp = send(inner)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 1, inner.closed)
	require.Zero(t, pool.Stats().InUse)

	send(http.NoBody)
	require.Zero(t, pool.Stats().InUse)
}

func TestUpgradedConnectionCanStillBeWrittenTo(t *testing.T) {
	pool := newBulkhead(t, breaker.BulkheadConfig{})
	near, far := net.Pipe()
	defer far.Close()
	resp, err := breaker.RoundTripper(pool, answering(101, near)).RoundTrip(request(t, nil))
	require.NoError(t, err)
	conn, ok := resp.Body.(io.ReadWriteCloser)
	require.True(t, ok)
	var wg sync.WaitGroup
	wg.Go(func() { _, err = conn.Write([]byte("hi")) })
	line := make([]byte, 2)
	_, readErr := io.ReadFull(far, line)
	wg.Wait()
	require.NoError(t, errors.Join(err, readErr))
	require.Equal(t, "hi", string(line))
	require.Equal(t, 1, pool.Stats().InUse)
	require.NoError(t, conn.Close())
	require.Zero(t, pool.Stats().InUse)
}

func TestRoundTripperThatPanicsGivesThePermitBack(t *testing.T) {
	for name, g := range guards(t) {
		for range 3 {
			require.Panics(t, func() {
				_, _ = breaker.RoundTripper(g, roundTrip(func(*http.Request) (*http.Response, error) { panic("boom") })).RoundTrip(request(t, nil))
			}, name)
		}
	}
}

func TestGuardChosenByHost(t *testing.T) {
	hosts := newKeyed(t, breaker.KeyedConfig{Breaker: breaker.Config{Consecutive: 1}})
	rt := breaker.RoundTripperFunc(func(r *http.Request) breaker.Guard {
		if r.URL.Host == "free.test" {
			return nil
		}
		return hosts.Get(r.URL.Host)
	}, answering(503, body("")))
	send := func(host string) error {
		r := request(t, nil)
		r.URL.Host = host
		_, err := rt.RoundTrip(r)
		return err
	}
	require.NoError(t, send("a.test"))
	require.ErrorIs(t, send("a.test"), breaker.ErrOpen)
	require.NoError(t, send("b.test"))
	for range 3 {
		require.NoError(t, send("free.test"))
	}
}

// serve sends one request through a handler.
func serve(t testing.TB, h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	return w
}

func TestMiddlewareAnswers503WithRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: 90*time.Second + time.Millisecond, MaxOpenFor: time.Hour})
		h := breaker.Middleware(b, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served") }))
		w := serve(t, h)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "91", w.Header().Get("Retry-After"), "rounded up: not too early")

		w = serve(t, breaker.Middleware(full(t), h))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
	})
}

func TestMiddlewareJudgesTheStatus(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 2, CountSuccesses: true})
	writes := func(status int) http.Handler {
		return breaker.Middleware(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if status > 0 {
				w.WriteHeader(status)
			}
			_, _ = io.WriteString(w, "text")
		}))
	}
	for _, status := range []int{0, 200, 404} {
		require.Equal(t, max(status, 200), serve(t, writes(status)).Code)
	}
	require.EqualValues(t, 3, b.Stats().Successes)
	require.Equal(t, 500, serve(t, writes(500)).Code)
	require.Equal(t, 502, serve(t, writes(502)).Code)
	require.Equal(t, breaker.Open, b.State())
}

func TestInterimAnswerIsNotTheAnswer(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1})
	server := httptest.NewServer(breaker.Middleware(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusInternalServerError)
	})))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 500, resp.StatusCode)
	server.Close() // waits for the handler
	require.Equal(t, breaker.Open, b.State())
}

func TestMiddlewareClassifiesByStatus(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1, Classify: func(result any, _ error) breaker.Outcome {
		require.Equal(t, 404, result)
		return breaker.Failure
	}})
	serve(t, breaker.Middleware(b, http.NotFoundHandler()))
	require.Equal(t, breaker.Open, b.State())
}

func TestMiddlewareIgnoresThoseWhoseClientHasGone(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1})
	for _, end := range []func(http.ResponseWriter){
		func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter) { w.WriteHeader(500) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		h := breaker.Middleware(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { cancel(); end(w) }))
		func() {
			defer func() { _ = recover() }()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		}()
	}
	require.EqualValues(t, 2, b.Stats().Ignored)
	require.Panics(t, func() {
		serve(t, breaker.Middleware(b, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("bug") })))
	})
	require.Equal(t, breaker.Open, b.State(), "with the client there, it is the handler's fault")
}

// What handlers may ask of a ResponseWriter still works behind the middleware.
func TestMiddlewareKeepsFlushHijackAndReadFrom(t *testing.T) {
	pool := newBulkhead(t, breaker.BulkheadConfig{})
	mux := http.NewServeMux()
	mux.HandleFunc("/flush", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		require.NoError(t, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)))
		_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(" second"))
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 299 Mine\r\nContent-Length: 0\r\n\r\n")
		_ = rw.Flush()
	})
	server := httptest.NewServer(breaker.Middleware(pool, mux))
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()

	resp, err := client.Get(server.URL + "/flush")
	require.NoError(t, err)
	text, err := io.ReadAll(bufio.NewReader(resp.Body))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "first second", string(text))
	require.EqualValues(t, -1, resp.ContentLength, "it was flushed in between")

	resp, err = client.Get(server.URL + "/hijack")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 299, resp.StatusCode)
}

func TestMiddlewareFuncSharesFairlyByUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fixed(t, 1, breaker.AdaptiveConfig{})
		h := breaker.MiddlewareFunc(func(r *http.Request) breaker.Guard {
			if r.URL.Path == "/healthz" {
				return nil
			}
			return a.For(r.Header.Get("User"))
		}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/healthz" {
				time.Sleep(10 * time.Millisecond)
			}
		}))
		var order []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, user := range []string{"a", "a", "a", "b"} {
			wg.Go(func() {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
				r.Header.Set("User", user)
				h.ServeHTTP(httptest.NewRecorder(), r)
				mu.Lock()
				defer mu.Unlock()
				order = append(order, user)
			})
			synctest.Wait()
		}
		require.Equal(t, 200, func() int {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
			return w.Code
		}())
		wg.Wait()
		require.Equal(t, []string{"a", "b", "a", "a"}, order)
	})
}
