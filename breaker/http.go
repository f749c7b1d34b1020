package breaker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// RoundTripper returns an http.RoundTripper that sends the requests through g
// and then through next; nil means http.DefaultTransport.
//
// A rejected request gets the guard's error, which http.Client wraps: match it
// with errors.Is. Without a Classify, responses are judged by their status. For a
// Breaker, 5xx is a Failure, but not 501 and 505, by which a service says that it
// is well and cannot do this; 429 is Ignored. For an Adaptive, 429, 503 and 504
// are Failures, signs of overload, and other such 5xx Ignored. A Classify gets
// the *http.Response, whose body it must leave alone.
//
// A Breaker learns the outcome when the header has come. A permit of a Bulkhead
// or an Adaptive lasts until the body has been read to its end or closed.
func RoundTripper(g Guard, next http.RoundTripper) http.RoundTripper {
	return RoundTripperFunc(func(*http.Request) Guard { return g }, next)
}

// RoundTripperFunc is RoundTripper with a guard chosen for each request, such as
// the breaker of its host. A request for which choose returns nil is let through.
func RoundTripperFunc(choose func(*http.Request) Guard, next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &roundTripper{choose, next}
}

type roundTripper struct {
	choose func(*http.Request) Guard
	next   http.RoundTripper
}

// CloseIdleConnections closes those of the next round tripper, for http.Client.
func (t *roundTripper) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *roundTripper) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	g := t.choose(req)
	if g == nil {
		return t.next.RoundTrip(req)
	}
	p, err := g.Acquire(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close() // a RoundTripper closes the body in any case
		}
		return nil, err
	}
	if p.owner == nil {
		return t.next.RoundTrip(req)
	}
	outcome, held := Failure, false
	defer func() {
		if !held {
			p.Report(outcome)
		}
	}()
	resp, err = t.next.RoundTrip(req)
	switch {
	case err != nil:
		outcome = p.outcome(req.Context(), nil, err)
		return resp, err
	case p.classify != nil:
		outcome = p.outcome(req.Context(), resp, nil)
	default:
		outcome = p.judgeStatus(resp.StatusCode)
	}
	if p.owner.lasts() && resp.Body != nil && resp.Body != http.NoBody {
		held = true
		resp.Body = holdUntilRead(resp.Body, p, outcome)
	}
	return resp, nil
}

// holdUntilRead returns body such that the permit is given back when it has been
// read to its end, has failed, or is closed.
func holdUntilRead(body io.ReadCloser, p Permit, outcome Outcome) io.ReadCloser {
	held := &heldBody{ReadCloser: body, giveBack: sync.OnceFunc(func() { p.Report(outcome) })}
	if w, ok := body.(io.Writer); ok { // after 101 Switching Protocols
		return &struct {
			*heldBody
			io.Writer
		}{held, w}
	}
	return held
}

type heldBody struct {
	io.ReadCloser
	giveBack func()
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.giveBack()
	}
	return n, err
}

func (b *heldBody) Close() error {
	defer b.giveBack()
	return b.ReadCloser.Close()
}

// A statusError is a status by which a service says that it failed.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("breaker: HTTP status %d", int(s)) }

// judgeStatus is the default classification of a response.
func (p *Permit) judgeStatus(status int) Outcome {
	switch {
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported:
		return Success
	case status >= 500, status == http.StatusTooManyRequests:
		return p.owner.judge(statusError(status))
	}
	return Success
}

// Middleware returns a handler that serves requests with next, as far as g lets
// them through: a Bulkhead or an Adaptive protects this server from more requests
// than it can serve, a Breaker takes a broken handler out of service. A rejected
// request gets 503 with a Retry-After of at least one second: the breaker's, if
// it is open.
//
// The status that next writes is judged as in RoundTripper; a Classify gets it as
// an int. A request whose client has gone is Ignored if it failed; one whose
// deadline has passed, as under http.TimeoutHandler, is not. A panic is otherwise a
// Failure, and goes on to the server.
func Middleware(g Guard, next http.Handler) http.Handler {
	return MiddlewareFunc(func(*http.Request) Guard { return g }, next)
}

// MiddlewareFunc is Middleware with a guard chosen for each request, such as an
// Adaptive's For the request's user. A request for which choose returns nil is
// let through.
func MiddlewareFunc(choose func(*http.Request) Guard, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := choose(r)
		if g == nil {
			next.ServeHTTP(w, r)
			return
		}
		p, err := g.Acquire(r.Context())
		if err != nil {
			refuse(w, err)
			return
		}
		if p.owner == nil {
			next.ServeHTTP(w, r)
			return
		}
		serve(w, r, next, p)
	})
}

// serve runs the handler and gives the permit back with what it did.
func serve(w http.ResponseWriter, r *http.Request, next http.Handler, p Permit) {
	recorder, returned := &statusRecorder{ResponseWriter: w}, false
	outcome := Failure
	defer func() {
		if !returned && errors.Is(r.Context().Err(), context.Canceled) {
			outcome = Ignored // the usual end of a handler whose client has gone
		}
		p.Report(outcome)
	}()
	next.ServeHTTP(recorder, r)
	returned = true
	switch status := orDefault(recorder.status, http.StatusOK); {
	case status >= 500 && errors.Is(r.Context().Err(), context.Canceled):
		outcome = Ignored
	case p.classify != nil:
		outcome = p.classify(status, nil)
	default:
		outcome = p.judgeStatus(status)
	}
}

// refuse answers a request that was not let through.
func refuse(w http.ResponseWriter, err error) {
	var open *OpenError
	after := time.Duration(0)
	if errors.As(err, &open) {
		after = open.RetryAfter()
	}
	seconds := max(1, int64((after+time.Second-1)/time.Second))
	w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	http.Error(w, "service unavailable, try again later", http.StatusServiceUnavailable)
}

// A statusRecorder notes the status that a handler writes. Handlers that ask for
// Flush, Hijack or ReadFrom, directly or through http.ResponseController, reach
// those of the server.
type statusRecorder struct {
	http.ResponseWriter
	status int // 0 before the header
}

func (w *statusRecorder) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush does nothing where the server cannot.
func (w *statusRecorder) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *statusRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// ReadFrom lets the server send files without copying them.
func (w *statusRecorder) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, r) }
