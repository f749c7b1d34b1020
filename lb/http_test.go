package lb_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
	"github.com/parley-go/parley/retry"
)

// A tripper answers requests itself.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func answer(status int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body)}
}

// serve starts n HTTP servers with handlers of their own and returns them as
// backends, and a transport to reach them by.
func serve(t testing.TB, handlers ...http.HandlerFunc) ([]lb.Backend, *http.Transport) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	var all []lb.Backend
	for _, h := range handlers {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		u, err := url.Parse(s.URL)
		require.NoError(t, err)
		all = append(all, lb.Backend{Name: u.Host})
	}
	return all, transport
}

func TestRoundTripperSpreadsRequests(t *testing.T) {
	var hosts []string
	handler := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			hosts = append(hosts, r.Host)
			_, _ = io.WriteString(w, name)
		}
	}
	all, transport := serve(t, handler("one"), handler("two"))
	b := newBalancer(t, lb.Config{Policy: lb.RoundRobin{}, CountInFlight: true}, all...)
	client := &http.Client{Transport: lb.RoundTripper(b, transport)}
	defer client.CloseIdleConnections()
	counts := map[string]int{}
	for range 10 {
		resp, err := client.Get("http://service.internal/path?q=1")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "service.internal", resp.Request.URL.Host, "the backend's address is nobody's business")
		counts[string(body)]++
	}
	require.Equal(t, map[string]int{"one": 5, "two": 5}, counts)
	for _, host := range hosts {
		require.Equal(t, "service.internal", host)
	}
	for s := range b.Backends() {
		require.Zero(t, s.InFlight)
	}
}

func TestRoundTripperFollowsRedirectsOfTheService(t *testing.T) {
	all, transport := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			http.Redirect(w, r, "/b", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, r.Host+r.URL.Path)
	})
	b := newBalancer(t, lb.Config{}, all...)
	resp, err := (&http.Client{Transport: lb.RoundTripper(b, transport)}).Get("http://service.internal/a")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "service.internal/b", string(body))
}

// A call is in flight until the body of its response is at its end, has failed or
// is closed, and is over once.
func TestRoundTripperHoldsThePickUntilTheBodyEnds(t *testing.T) {
	end := map[string]func(body io.ReadCloser){
		"read":   func(body io.ReadCloser) { _, _ = io.ReadAll(body) },
		"closed": func(body io.ReadCloser) { _ = body.Close(); _ = body.Close() },
		"both":   func(body io.ReadCloser) { _, _ = io.ReadAll(body); _ = body.Close() },
	}
	for name, f := range end {
		b := newBalancer(t, lb.Config{}, backends(1)...)
		rt := lb.RoundTripper(b, tripper(func(*http.Request) (*http.Response, error) {
			return answer(200, strings.NewReader("body")), nil
		}))
		req := httptest.NewRequest(http.MethodGet, "http://service/", nil)
		resp, err := rt.RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, 1, status(t, b, "b0").InFlight, name)
		f(resp.Body)
		require.Zero(t, status(t, b, "b0").InFlight, name)
		require.InDelta(t, 1, status(t, b, "b0").Success, 0, name)
	}
}

func TestRoundTripperJudges(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name    string
		ctx     context.Context
		resp    *http.Response
		err     error
		failing bool
		unknown bool // it says nothing
	}{
		{name: "200", resp: answer(200, strings.NewReader(""))},
		{name: "404", resp: answer(404, strings.NewReader(""))},
		{name: "500", resp: answer(500, strings.NewReader("")), failing: true},
		{name: "503", resp: answer(503, strings.NewReader("")), failing: true},
		{name: "501", resp: answer(501, strings.NewReader(""))},
		{name: "429", resp: answer(429, strings.NewReader("")), unknown: true},
		{name: "refused", err: errors.New("connection refused"), failing: true},
		{name: "body breaks off", resp: answer(200, iotest.ErrReader(io.ErrUnexpectedEOF)), failing: true},
		{name: "caller gone", ctx: gone, err: errors.New("transport: request canceled"), unknown: true},
		{name: "caller gone in the body", ctx: gone, resp: answer(200, iotest.ErrReader(errors.New("canceled"))), unknown: true},
		{name: "timed out", err: context.DeadlineExceeded, failing: true},
		{name: "no body", resp: &http.Response{StatusCode: 204, Body: http.NoBody}},
	} {
		b := newBalancer(t, lb.Config{}, backends(1)...)
		rt := lb.RoundTripper(b, tripper(func(*http.Request) (*http.Response, error) { return tt.resp, tt.err }))
		req := httptest.NewRequest(http.MethodGet, "http://service/", nil)
		if tt.ctx != nil {
			req = req.WithContext(tt.ctx)
		}
		resp, err := rt.RoundTrip(req)
		require.Equal(t, tt.err, err, tt.name)
		if err == nil {
			_, _ = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		s := status(t, b, "b0")
		require.Zero(t, s.InFlight, tt.name)
		switch {
		case tt.unknown:
			require.Zero(t, s.Success, tt.name)
		case tt.failing:
			require.Less(t, s.Success, 1.0, tt.name)
		default:
			require.InDelta(t, 1, s.Success, 0, tt.name)
		}
	}
}

// Config.Failed judges statuses by their type.
func TestFailedJudgesStatuses(t *testing.T) {
	overload := func(err error) bool {
		var status *lb.StatusError
		return errors.As(err, &status) && status.Code == 429
	}
	for code, failing := range map[int]bool{200: false, 429: true, 500: false} {
		b := newBalancer(t, lb.Config{Failed: overload}, backends(1)...)
		rt := lb.RoundTripper(b, tripper(func(*http.Request) (*http.Response, error) { return answer(code, strings.NewReader("")), nil }))
		resp, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://service/", nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, failing, status(t, b, "b0").Success < 1, "%d", code)
	}
}

// The latency is that of the header: a long body is no sign of a slow backend.
func TestRoundTripperMeasuresToTheHeader(t *testing.T) {
	c := newClock()
	b := newBalancer(t, lb.Config{Now: c.now}, backends(1)...)
	rt := lb.RoundTripper(b, tripper(func(*http.Request) (*http.Response, error) {
		c.advance(time.Millisecond)
		return answer(200, strings.NewReader("body")), nil
	}))
	resp, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://service/", nil))
	require.NoError(t, err)
	c.advance(time.Hour)
	require.NoError(t, resp.Body.Close())
	require.InDelta(t, float64(time.Millisecond), float64(status(t, b, "b0").Latency), 100)
}

func TestRoundTripperGivesBackAfterAPanic(t *testing.T) {
	b := newBalancer(t, lb.Config{}, backends(1)...)
	rt := lb.RoundTripper(b, tripper(func(*http.Request) (*http.Response, error) { panic("oops") }))
	require.Panics(t, func() { _, _ = rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://service/", nil)) })
	require.Zero(t, status(t, b, "b0").InFlight)
	require.Less(t, status(t, b, "b0").Success, 1.0)
}

// After 101 the body is the connection, and can be written to.
func TestRoundTripperKeepsUpgradedConnections(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	b := newBalancer(t, lb.Config{}, backends(1)...)
	rt := lb.RoundTripper(b, tripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: client}, nil
	}))
	resp, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://service/", nil))
	require.NoError(t, err)
	_, writes := resp.Body.(io.Writer)
	require.True(t, writes)
	require.Equal(t, 1, status(t, b, "b0").InFlight)
	require.NoError(t, resp.Body.Close())
	require.Zero(t, status(t, b, "b0").InFlight)
}

type closeable struct {
	io.Reader
	closed bool
}

func (c *closeable) Close() error { c.closed = true; return nil }

func TestRoundTripperWithoutBackendsClosesTheBody(t *testing.T) {
	b := newBalancer(t, lb.Config{})
	body := &closeable{Reader: strings.NewReader("x")}
	req := httptest.NewRequest(http.MethodPost, "http://service/", body)
	_, err := lb.RoundTripper(b, nil).RoundTrip(req)
	require.ErrorIs(t, err, lb.ErrNoBackends)
	require.True(t, body.closed)
}

func TestRoundTripperFuncHashes(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.ConsistentHash{}}, backends(10)...)
	var hosts []string
	rt := lb.RoundTripperFunc(b, func(r *http.Request) string { return r.Header.Get("User") }, tripper(func(r *http.Request) (*http.Response, error) {
		hosts = append(hosts, r.URL.Host)
		return answer(200, strings.NewReader("")), nil
	}))
	for range 5 {
		req := httptest.NewRequest(http.MethodGet, "http://service/", nil)
		req.Header.Set("User", "42")
		resp, err := rt.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	for _, host := range hosts {
		require.Equal(t, hosts[0], host)
	}
}

// With package retry around it, every try of a request goes to another backend,
// and a body is sent again whole.
func TestRetriesGoToAnotherReplica(t *testing.T) {
	b := newBalancer(t, lb.Config{Policy: lb.ConsistentHash{}, DisableEjection: true}, backends(4)...)
	var hosts []string
	inner := lb.RoundTripper(b, tripper(func(r *http.Request) (*http.Response, error) {
		hosts = append(hosts, r.URL.Host)
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "data" {
			t.Errorf("body %q, %v", body, err)
		}
		if len(hosts)%3 != 0 {
			return answer(503, strings.NewReader("")), nil
		}
		return answer(200, strings.NewReader("")), nil
	}))
	policy := retry.Policy{Attempts: 3, Backoff: retry.Exponential{Initial: time.Nanosecond, Max: time.Nanosecond}}
	client := &http.Client{Transport: lb.AvoidTried(retry.RoundTripper(policy, inner))}
	for i := range 20 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://service/", bytes.NewReader([]byte("data")))
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
		tries := hosts[3*i:]
		require.Len(t, tries, 3)
		require.NotEqual(t, tries[0], tries[1])
		require.NotEqual(t, tries[1], tries[2])
		require.NotEqual(t, tries[0], tries[2])
	}
}

// A stream is a body whose Read waits for Close, as that of a quiet event stream.
type stream struct{ reading, closed, read chan struct{} }

func (s *stream) Read([]byte) (int, error) {
	close(s.reading)
	<-s.closed
	return 0, errors.New("read on closed response body")
}

func (s *stream) Close() error {
	close(s.closed)
	<-s.read // until the reader has seen the error
	return nil
}

// To end a stream, a client closes its body under the reader. The error of that
// read speaks against nobody.
func TestRoundTripperCloseDuringAReadIsNoFailure(t *testing.T) {
	b := newBalancer(t, lb.Config{}, backends(1)...)
	s := &stream{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	rt := lb.RoundTripper(b, tripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: s}, nil
	}))
	resp, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, "http://service/", nil))
	require.NoError(t, err)
	go func() {
		defer close(s.read)
		_, _ = resp.Body.Read(make([]byte, 1))
	}()
	<-s.reading
	require.NoError(t, resp.Body.Close())
	require.Zero(t, status(t, b, "b0").InFlight)
	require.InDelta(t, 1, status(t, b, "b0").Success, 0)
}

// Requests that are read, closed half-way, cancelled and closed under a reader, while
// backends come and go: in the end no call is in flight, and no healthy backend is
// blamed for what its clients did.
func TestRoundTripperWhileEverythingChanges(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 100_000)
	handler := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
	all, transport := serve(t, handler, handler, handler, handler)
	for _, policy := range []lb.Policy{lb.LatencyAware{}, lb.ConsistentHash{}} {
		var failures atomic.Int64
		b := newBalancer(t, lb.Config{Policy: policy, Failed: func(error) bool { failures.Add(1); return true }}, all...)
		client := &http.Client{Transport: lb.AvoidTried(lb.RoundTripper(b, transport))}
		var wait sync.WaitGroup
		for g := range 4 {
			wait.Go(func() {
				for i := range 100 {
					ctx, cancel := context.WithCancel(t.Context())
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://service/", nil)
					if (i+g)%4 == 0 {
						go cancel()
					}
					resp, err := client.Do(req)
					if err == nil {
						switch (i + g) % 3 {
						case 0:
							_, _ = io.Copy(io.Discard, resp.Body)
						case 1:
							_, _ = io.CopyN(io.Discard, resp.Body, 10)
						case 2:
							go func() { _, _ = io.Copy(io.Discard, resp.Body) }()
						}
						_ = resp.Body.Close()
					}
					cancel()
				}
			})
		}
		wait.Go(func() {
			for i := range 200 {
				if err := b.Set(all[i%2 : 2+i%3]...); err != nil {
					t.Error(err)
				}
			}
		})
		wait.Wait()
		require.NoError(t, b.Set(all...))
		for s := range b.Backends() {
			require.NoError(t, b.Idle(t.Context(), s.Name))
		}
		require.Zero(t, failures.Load(), "%v", policy)
	}
}
