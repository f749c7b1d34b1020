package retry_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

// A body counts how it is used.
type body struct {
	io.Reader
	closed atomic.Int32
}

func (b *body) Close() error { b.closed.Add(1); return nil }

// An answer is what a scripted server does with one request.
type answer struct {
	status int
	header map[string]string
	err    error
	takes  time.Duration
	body   io.Reader
}

// A server is a round tripper that answers by a script and keeps what it saw.
type server struct {
	script []answer
	begin  time.Time

	mu       sync.Mutex
	at       []time.Duration
	requests []*http.Request
	received []string // request bodies
	bodies   []*body  // of responses
}

func script(answers ...answer) *server { return &server{script: answers, begin: time.Now()} }

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	content := ""
	if req.Body != nil {
		data, _ := io.ReadAll(req.Body)
		_ = req.Body.Close()
		content = string(data)
	}
	s.mu.Lock()
	now := s.script[len(s.requests)]
	s.requests = append(s.requests, req)
	s.received = append(s.received, content)
	s.at = append(s.at, since(s.begin))
	s.mu.Unlock()
	select {
	case <-time.After(now.takes):
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	}
	if now.err != nil {
		return nil, now.err
	}
	b := &body{Reader: now.body}
	if b.Reader == nil {
		b.Reader = strings.NewReader(fmt.Sprint("answer ", len(s.at)))
	}
	s.mu.Lock()
	s.bodies = append(s.bodies, b)
	s.mu.Unlock()
	resp := &http.Response{StatusCode: now.status, Header: http.Header{}, Body: b, Request: req}
	for name, value := range now.header {
		resp.Header.Set(name, value)
	}
	return resp, nil
}

func request(t testing.TB, method, content string) *http.Request {
	t.Helper()
	var r io.Reader
	if content != "" {
		r = strings.NewReader(content)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://example.test/x", r)
	require.NoError(t, err)
	return req
}

func text(t testing.TB, resp *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return string(data)
}

var plain = retry.Policy{Backoff: retry.Constant(time.Second)}

func TestRoundTripperRepeatsWithTheWholeBodyAndClosesFailedResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(answer{status: 503}, answer{err: errDown}, answer{status: 200})
		req := request(t, "PUT", "content")
		resp, err := retry.RoundTripper(plain, s).RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, []string{"content", "content", "content"}, s.received)
		require.Equal(t, []time.Duration{0, time.Second, 2 * time.Second}, s.at)
		require.Equal(t, int32(1), s.bodies[0].closed.Load(), "the failed response is open")
		require.Zero(t, s.bodies[1].closed.Load())
		require.Same(t, req, resp.Request)
		require.Equal(t, "answer 3", text(t, resp))
		require.Equal(t, int32(1), s.bodies[1].closed.Load())
		require.Error(t, s.requests[2].Context().Err(), "the context of the attempt lives on")
	})
}

func TestStatusesThatAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repeated := map[int]bool{408: true, 425: true, 429: true, 502: true, 503: true, 504: true}
		for status := 200; status < 600; status++ {
			s := script(answer{status: status}, answer{status: 200})
			resp, err := retry.RoundTripper(plain, s).RoundTrip(request(t, "GET", ""))
			require.NoError(t, err)
			require.Equal(t, repeated[status], len(s.at) == 2, "status %d", status)
			text(t, resp)
		}
	})
}

func TestLastResponseComesBackWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, retry.BudgetConfig{DisableFloor: true})
		for name, c := range map[string]struct {
			policy retry.Policy
			header map[string]string
			want   string
		}{
			"attempts used up":     {plain, nil, "answer 3"},
			"budget empty":         {retry.Policy{Budget: b}, nil, "answer 1"},
			"after is too long":    {plain, map[string]string{"Retry-After": "99999999999"}, "answer 1"},
			"push-back is no":      {plain, map[string]string{"Grpc-Retry-Pushback-Ms": "-1"}, "answer 1"},
			"refused by the user":  {retry.Policy{Retryable: func(error) bool { return false }}, nil, "answer 1"},
			"deadline comes first": {retry.Policy{Backoff: retry.Constant(time.Hour)}, nil, "answer 1"},
		} {
			failed := answer{status: 503, header: c.header}
			s := script(failed, failed, failed)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			resp, err := retry.RoundTripper(c.policy, s).RoundTrip(request(t, "GET", "").WithContext(ctx))
			require.NoError(t, err, name)
			require.Equal(t, 503, resp.StatusCode, name)
			require.Equal(t, c.want, text(t, resp), name)
			cancel()
		}
	})
}

func TestRetryAfterIsALowerBoundWithTheBackOffOnTop(t *testing.T) {
	for name, c := range map[string]struct {
		header map[string]string
		want   time.Duration
	}{
		"seconds":           {map[string]string{"Retry-After": "7"}, 8 * time.Second},
		"date":              {map[string]string{"Retry-After": "Sat, 01 Jan 2000 00:00:30 GMT"}, 31 * time.Second}, // a bubble begins at midnight
		"date of theirs":    {map[string]string{"Retry-After": "Sun, 01 Mar 2026 12:00:09 GMT", "Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, 10 * time.Second},
		"past":              {map[string]string{"Retry-After": "Fri, 31 Dec 1999 23:00:00 GMT"}, time.Second},
		"negative":          {map[string]string{"Retry-After": "-7"}, time.Second},
		"nonsense":          {map[string]string{"Retry-After": "soon"}, time.Second},
		"push-back":         {map[string]string{"Grpc-Retry-Pushback-Ms": "2500"}, 2500 * ms},
		"push-back of both": {map[string]string{"Grpc-Retry-Pushback-Ms": "0", "Retry-After": "7"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := script(answer{status: 503, header: c.header}, answer{status: 200})
				resp, err := retry.RoundTripper(plain, s).RoundTrip(request(t, "GET", ""))
				require.NoError(t, err)
				text(t, resp)
				require.Equal(t, c.want, s.at[1])
			})
		})
	}
}

// Trap: a request that must not, or cannot, be sent again.
func TestUnsafeAndUnrepeatableRequestsAreSentOnce(t *testing.T) {
	stream := func(req *http.Request) { req.Body, req.GetBody = io.NopCloser(strings.NewReader("x")), nil }
	for name, c := range map[string]struct {
		method string
		change func(*http.Request)
		calls  int
	}{
		"post":               {"POST", nil, 1},
		"patch":              {"PATCH", nil, 1},
		"put":                {"PUT", nil, 2},
		"delete":             {"DELETE", nil, 2},
		"no method":          {"", nil, 2},
		"put of a stream":    {"PUT", stream, 1},
		"post with a key":    {"POST", func(r *http.Request) { r.Header.Set("Idempotency-Key", "k") }, 2},
		"post, key, stream":  {"POST", func(r *http.Request) { stream(r); r.Header.Set("Idempotency-Key", "k") }, 1},
		"post, empty body":   {"POST", func(r *http.Request) { r.Body = http.NoBody; r.Header.Set("Idempotency-Key", "k") }, 2},
		"post, key from ctx": {"POST", func(r *http.Request) { *r = *r.WithContext(retry.WithKey(r.Context(), "k")) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, rt := range []func(http.RoundTripper) http.RoundTripper{
					func(next http.RoundTripper) http.RoundTripper { return retry.RoundTripper(plain, next) },
					func(next http.RoundTripper) http.RoundTripper {
						return retry.HedgeRoundTripper(retry.HedgePolicy{}, next)
					},
				} {
					s := script(answer{err: errDown}, answer{status: 200})
					req := request(t, c.method, "x")
					if c.change != nil {
						c.change(req)
					}
					resp, err := rt(s).RoundTrip(req)
					require.Len(t, s.at, c.calls)
					if c.calls == 1 {
						require.True(t, err == errDown, "got %#v", err) // as without retries
						continue
					}
					require.NoError(t, err)
					text(t, resp)
				}
			})
		})
	}
}

func TestBodyThatCannotBeRewoundGivesTheFirstResponse(t *testing.T) {
	req := request(t, "PUT", "x")
	req.GetBody = func() (io.ReadCloser, error) { return nil, errDown }
	s := script(answer{status: 503})
	resp, err := retry.RoundTripper(plain, s).RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, "answer 1", text(t, resp))

	s = script(answer{err: errors.New("reset")})
	_, err = retry.RoundTripper(plain, s).RoundTrip(req)
	require.ErrorIs(t, err, errDown)
	require.ErrorContains(t, err, "cannot be sent again")
}

// A round tripper must close the body of its request whatever happens.
func TestRequestBodyIsClosedEvenIfNothingIsSent(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		rt  http.RoundTripper
		ctx context.Context
	}{
		"invalid policy":       {retry.RoundTripper(retry.Policy{Attempts: -1}, script()), t.Context()},
		"context over":         {retry.RoundTripper(retry.Policy{}, script()), over},
		"invalid hedge policy": {retry.HedgeRoundTripper(retry.HedgePolicy{Attempts: -1}, script()), t.Context()},
		"hedge, context over":  {retry.HedgeRoundTripper(retry.HedgePolicy{}, script()), over},
		"invalid key":          {retry.RoundTripper(retry.Policy{}, script()), retry.WithKey(t.Context(), "a\r\nX: y")},
		"hedge, invalid key":   {retry.HedgeRoundTripper(retry.HedgePolicy{}, script()), retry.WithKey(t.Context(), "ä")},
	} {
		b := &body{Reader: strings.NewReader("x")}
		req := request(t, "POST", "").WithContext(c.ctx)
		req.Header.Set("X-Other", "1")
		req.Body, req.GetBody = b, func() (io.ReadCloser, error) { return b, nil }
		if retry.Key(c.ctx) == "" {
			req.Method = "PUT"
		}
		_, err := c.rt.RoundTrip(req)
		require.Error(t, err, name)
		require.Equal(t, int32(1), b.closed.Load(), name)
	}
}

func TestBodyForTheNextAttemptIsClosedIfTheWaitIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(ms, cancel)
		again := &body{Reader: strings.NewReader("x")}
		req := request(t, "PUT", "x").WithContext(ctx)
		req.GetBody = func() (io.ReadCloser, error) { return again, nil }
		_, err := retry.RoundTripper(plain, script(answer{status: 503})).RoundTrip(req)
		require.ErrorIs(t, err, context.Canceled)
		var status *retry.StatusError
		require.ErrorAs(t, err, &status)
		require.Equal(t, 503, status.Code)
		require.Equal(t, int32(1), again.closed.Load())
	})
}

func TestRetryableAndOnRetrySeeTheStatus(t *testing.T) {
	var told []string
	p := retry.Policy{
		Backoff:   atOnce,
		Retryable: func(err error) bool { return strings.Contains(err.Error(), "418") },
		OnRetry: func(_ context.Context, attempt int, err error, _ time.Duration) {
			told = append(told, fmt.Sprint(attempt, " ", err))
		},
	}
	s := script(answer{status: 418}, answer{status: 503})
	resp, err := retry.RoundTripper(p, s).RoundTrip(request(t, "GET", ""))
	require.NoError(t, err)
	require.Equal(t, "answer 2", text(t, resp))
	require.Equal(t, []string{"1 retry: status 418 I'm a teapot"}, told)
}

func TestWrongCertificateIsNotTriedAgain(t *testing.T) {
	s := script(answer{err: &tls.CertificateVerificationError{Err: errDown}})
	_, err := retry.RoundTripper(plain, s).RoundTrip(request(t, "GET", ""))
	require.ErrorIs(t, err, errDown)
}

func TestAttemptTimeoutHoldsForTheHeaderOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{AttemptTimeout: time.Second, Backoff: atOnce}
		slow, write := io.Pipe()
		s := script(answer{takes: time.Hour}, answer{status: 200, takes: 900 * ms, body: slow})
		resp, err := retry.RoundTripper(p, s).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, time.Second}, s.at)
		go func() {
			time.Sleep(time.Hour)
			_, _ = write.Write([]byte("late"))
			_ = write.Close()
		}()
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "late", string(data))
		require.NoError(t, s.requests[1].Context().Err())
		require.NoError(t, resp.Body.Close())
	})
}

// A response that arrives after its time-out has a body that cannot be read.
func TestResponseAfterTheAttemptTimeoutIsClosedAndRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(answer{status: 200}, answer{status: 200})
		deaf := roundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := s.RoundTrip(req)
			if len(s.at) == 1 {
				time.Sleep(2 * time.Second)
			}
			return resp, err
		})
		resp, err := retry.RoundTripper(retry.Policy{AttemptTimeout: time.Second, Backoff: atOnce}, deaf).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.Equal(t, int32(1), s.bodies[0].closed.Load())
		require.Equal(t, "answer 2", text(t, resp))
	})
}

func TestAttemptTimeoutOfAllGivesATimeoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(answer{takes: time.Hour}, answer{takes: time.Hour}, answer{takes: time.Hour})
		client := &http.Client{Transport: retry.RoundTripper(retry.Policy{AttemptTimeout: time.Second, Backoff: atOnce}, s)}
		_, err := client.Do(request(t, "GET", ""))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, retry.ErrAttempts)
		var timeout interface{ Timeout() bool }
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
	})
}

// stalled blocks in Read until the context of the request ends.
type stalled struct{ ctx context.Context }

func (s *stalled) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, s.ctx.Err() }

func TestFailedResponseThatStallsHoldsTheRetryUpForASecondOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(answer{status: 503}, answer{status: 200})
		next := roundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := s.RoundTrip(req)
			if err == nil && resp.StatusCode == 503 {
				s.bodies[0].Reader = &stalled{req.Context()}
			}
			return resp, err
		})
		resp, err := retry.RoundTripper(retry.Policy{Backoff: atOnce}, next).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, time.Second}, s.at)
		require.Equal(t, int32(1), s.bodies[0].closed.Load())
		text(t, resp)
	})
}

func TestResponsesWithoutBodyOrHeader(t *testing.T) {
	calls := 0
	bare := roundTrip(func(*http.Request) (*http.Response, error) {
		calls++
		return &http.Response{StatusCode: 503}, nil
	})
	for _, rt := range []http.RoundTripper{
		retry.RoundTripper(retry.Policy{Attempts: 2, Backoff: atOnce}, bare),
		retry.HedgeRoundTripper(retry.HedgePolicy{}, bare),
	} {
		resp, err := rt.RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
	}
	require.Equal(t, 4, calls)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestPanicOfTheNextRoundTripperEndsTheAttempt(t *testing.T) {
	var ctx context.Context
	next := roundTrip(func(req *http.Request) (*http.Response, error) {
		ctx = req.Context()
		panic("boom")
	})
	require.PanicsWithValue(t, "boom", func() {
		_, _ = retry.RoundTripper(retry.Policy{AttemptTimeout: time.Hour}, next).RoundTrip(request(t, "GET", ""))
	})
	require.Error(t, ctx.Err())
}

func TestIdempotencyKeyIsTheSameInEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := retry.NewKey()
		require.NotEqual(t, key, retry.NewKey())
		s := script(answer{status: 503}, answer{err: errDown}, answer{status: 201})
		req := request(t, "POST", "x")
		req = req.WithContext(retry.WithKey(req.Context(), key))
		resp, err := retry.RoundTripper(plain, s).RoundTrip(req)
		require.NoError(t, err)
		text(t, resp)
		for _, sent := range s.requests {
			require.Equal(t, []string{key}, sent.Header.Values(retry.KeyHeader))
		}
		require.Empty(t, req.Header.Get(retry.KeyHeader), "the request of the caller was changed")

		s = script(answer{status: 200}, answer{status: 200})
		for _, method := range []string{"GET", "PUT"} { // idempotent as they are
			req := request(t, method, "")
			resp, err := retry.RoundTripper(plain, s).RoundTrip(req.WithContext(retry.WithKey(req.Context(), key)))
			require.NoError(t, err)
			text(t, resp)
		}
		require.Empty(t, s.requests[0].Header.Get(retry.KeyHeader)+s.requests[1].Header.Get(retry.KeyHeader))

		req = request(t, "POST", "")
		req.Header.Set(retry.KeyHeader, "mine")
		s = script(answer{status: 200})
		resp, err = retry.RoundTripper(plain, s).RoundTrip(req.WithContext(retry.WithKey(req.Context(), key)))
		require.NoError(t, err)
		text(t, resp)
		require.Equal(t, "mine", s.requests[0].Header.Get(retry.KeyHeader))
	})
}

func TestHedgedRequestTakesTheFasterAnswerAndClosesTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(answer{takes: time.Hour}, answer{status: 200, takes: 50 * ms})
		req := request(t, "PUT", "content")
		resp, err := retry.HedgeRoundTripper(retry.HedgePolicy{}, s).RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, 150*ms, since(s.begin))
		require.Equal(t, []string{"content", "content"}, s.received)
		synctest.Wait()
		require.Error(t, s.requests[0].Context().Err())
		require.NoError(t, s.requests[1].Context().Err())
		require.Same(t, req, resp.Request)
		text(t, resp)
		require.Error(t, s.requests[1].Context().Err())

		// A failing status counts as a failure, and its body is closed.
		s = script(answer{status: 503}, answer{status: 200})
		resp, err = retry.HedgeRoundTripper(retry.HedgePolicy{}, s).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, int32(1), s.bodies[0].closed.Load())
		text(t, resp)

		// When all fail, the last response comes back whole.
		s = script(answer{status: 503}, answer{status: 502})
		resp, err = retry.HedgeRoundTripper(retry.HedgePolicy{}, s).RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.Equal(t, 502, resp.StatusCode)
		require.Equal(t, int32(1), s.bodies[0].closed.Load())
		require.Zero(t, s.bodies[1].closed.Load())
		require.Equal(t, "answer 2", text(t, resp))
	})
}

func TestHedgeInsideRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, retry.BudgetConfig{Ratio: 4, Burst: 100, DisableFloor: true})
		rt := retry.RoundTripper(
			retry.Policy{Backoff: retry.Constant(time.Second), Budget: b},
			retry.HedgeRoundTripper(retry.HedgePolicy{Budget: b, DisableDeposit: true}, script(
				answer{status: 503}, answer{status: 503}, // the first attempt and its hedge
				answer{takes: time.Hour}, answer{status: 200},
			)),
		)
		resp, err := rt.RoundTrip(request(t, "GET", ""))
		require.NoError(t, err)
		require.Equal(t, "answer 4", text(t, resp))
		require.Equal(t, uint64(3), b.Stats().Allowed)
		require.InDelta(t, 1, b.Stats().Balance, 1e-6)
	})
}

// Over a real connection: it is used again after a failed response, and nothing
// is left behind.
func TestConnectionIsUsedAgainAfterAFailedResponse(t *testing.T) {
	var remotes sync.Map
	calls := atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remotes.Store(r.RemoteAddr, true)
		data, _ := io.ReadAll(r.Body)
		if calls.Add(1) < 3 {
			http.Error(w, strings.Repeat("x", 4000), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(data)
	}))
	defer s.Close()
	client := &http.Client{Transport: retry.RoundTripper(retry.Policy{Backoff: atOnce}, &http.Transport{})}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL, strings.NewReader("content"))
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	require.Equal(t, "content", text(t, resp))
	connections := 0
	remotes.Range(func(any, any) bool { connections++; return true })
	require.Equal(t, 1, connections)
}

func TestUpgradedConnectionCanStillBeWritten(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString(line)
		_ = rw.Flush()
	}))
	defer s.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	require.NoError(t, err)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := retry.RoundTripper(retry.Policy{}, base).RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	_, err = resp.Body.(io.Writer).Write([]byte("hello\n"))
	require.NoError(t, err)
	data := make([]byte, 6)
	_, err = io.ReadFull(resp.Body, data)
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(data))
}
