package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// RoundTripper returns a round tripper that sends each request through next
// (http.DefaultTransport if that is nil) and repeats it as the policy says.
//
//	client := &http.Client{Transport: retry.RoundTripper(policy, nil)}
//
// A request is repeated only if that is safe and possible: its method is
// idempotent (GET, HEAD, OPTIONS, TRACE, PUT, DELETE; RFC 9110, 9.2.2), or it
// bears an idempotency key, by its header or by [WithKey]; and it has no body,
// or its GetBody gives a new one, as http.NewRequest sees to for the usual
// kinds. Others are sent once.
//
// Repeated are errors of the connection, but not of the certificate, and the
// statuses 408, 425, 429, 502, 503 and 504. Policy.Retryable decides instead
// if it is set; statuses of 400 and above come to it as a *[StatusError].
// When there is no further attempt the last response is returned as it is, with
// its body. Bodies of failed responses are read up to 4 KiB, for a second at
// most, so that their connection can be used again, and closed.
//
// A server's Retry-After, in seconds or as a date, is a lower bound of the wait:
// the back-off of the policy is added, because many clients were told the same
// moment. A grpc-retry-pushback-ms is followed exactly, and a negative one ends
// the series (gRFC A6). Policy.MaxAfter bounds both.
//
// Policy.AttemptTimeout holds until the header of the response has arrived;
// reading the body is under the context of the request alone. An invalid policy
// is the error of every request. The round tripper is safe for concurrent use.
func RoundTripper(p Policy, next http.RoundTripper) http.RoundTripper {
	if p.Retryable == nil {
		p.Retryable = retryableExchange
	}
	return &repeater{forwarder{orDefault(next)}, p}
}

// HedgeRoundTripper returns a round tripper that sends each request through
// next (http.DefaultTransport if that is nil), and once more when the answer is
// late, as the policy says; see [Hedge]. Only requests that are safe to repeat
// are hedged; see [RoundTripper], which also says which answers are failures.
// When all fail, the last response is returned as it is. The bodies of losing
// responses are closed.
//
// To hedge and to retry, hedge inside:
//
//	retry.RoundTripper(policy, retry.HedgeRoundTripper(hedge, nil))
func HedgeRoundTripper(p HedgePolicy, next http.RoundTripper) http.RoundTripper {
	if p.Retryable == nil {
		p.Retryable = retryableExchange
	}
	return &hedger{forwarder{orDefault(next)}, p}
}

func orDefault(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		return http.DefaultTransport
	}
	return next
}

// A forwarder passes on what http.Client asks of its transport besides round
// trips.
type forwarder struct{ next http.RoundTripper }

// CloseIdleConnections closes those of the next round tripper.
func (f forwarder) CloseIdleConnections() {
	if c, ok := f.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type repeater struct {
	forwarder
	policy Policy
}

// RoundTrip implements http.RoundTripper.
func (t *repeater) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, p := req.Context(), &t.policy
	s, err := begin(ctx, p)
	sent := req
	if err == nil {
		sent, err = withKeyHeader(req)
	}
	if err != nil {
		closeBody(req)
		return nil, err
	}
	for {
		resp, err := t.send(sent)
		failure := failureOf(resp, err)
		if failure == nil || !repeatable(sent) {
			return own(resp, req), err
		}
		wait, giveUp := s.decide(ctx, p, failure)
		if giveUp == nil {
			sent, giveUp = rewound(sent)
		}
		if giveUp != nil {
			if resp != nil {
				return own(resp, req), nil
			}
			return nil, giveUp
		}
		if resp != nil {
			drain(resp.Body)
		}
		if err := s.wait(ctx, p, wait, failure); err != nil {
			closeBody(sent)
			return nil, err
		}
	}
}

// send makes one attempt. Its context ends when the body of the response is
// closed, when there is no response, and after the time-out for the header.
func (t *repeater) send(req *http.Request) (resp *http.Response, err error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer func() { release(resp, func() { cancel(nil) }) }()
	inTime := func() bool { return true }
	if d := t.policy.AttemptTimeout; d > 0 {
		ctx = headerContext{ctx, req.Context()}
		inTime = time.AfterFunc(d, func() { cancel(errNoHeader) }).Stop
		defer inTime() // if next panics
	}
	resp, err = t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if resp.Body == nil { // against the contract, and http.Client lets it pass
		resp.Body = http.NoBody
	}
	if !inTime() { // the body would be cut off
		_ = resp.Body.Close()
		return nil, context.DeadlineExceeded
	}
	return resp, nil
}

// errNoHeader is the cause that ends the context of an attempt out of time.
var errNoHeader = errors.New("retry: no header in time")

// A headerContext is the context of an attempt whose time-out ends with the
// header, which a deadline could not. To those inside it is a deadline all the
// same: a breaker must not take it for a caller who gave up.
type headerContext struct {
	context.Context                 // of the attempt
	request         context.Context // which it was made from
}

// Err returns context.DeadlineExceeded after the time-out.
func (c headerContext) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == errNoHeader {
		return context.DeadlineExceeded
	}
	return err
}

// Value hides the inner context from those derived from this one, so that they
// ask Err.
func (c headerContext) Value(key any) any { return c.request.Value(key) }

// AfterFunc spares derived contexts a goroutine; see package context.
func (c headerContext) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(c.Context, f) }

type hedger struct {
	forwarder
	policy HedgePolicy
}

// RoundTrip implements http.RoundTripper.
func (t *hedger) RoundTrip(req *http.Request) (*http.Response, error) {
	sent, err := withKeyHeader(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	if !repeatable(sent) {
		resp, err := t.next.RoundTrip(sent)
		return own(resp, req), err
	}
	// A loser may read the request after its caller was answered, and may then
	// change it.
	sent = sent.Clone(req.Context())
	var begun atomic.Bool
	resp, err := Hedge(req.Context(), t.policy, func(ctx context.Context) (*http.Response, error) {
		one := sent
		if !begun.CompareAndSwap(false, true) {
			var err error
			if one, err = rewound(sent); err != nil {
				return nil, err
			}
		}
		resp, err := t.next.RoundTrip(one.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		return resp, failureOf(resp, nil)
	})
	if begun.CompareAndSwap(false, true) {
		closeBody(req)
	}
	if resp != nil { // a status is no error of a round trip
		return own(resp, req), nil
	}
	return nil, err
}

// repeatable reports whether sending a request again is safe and possible.
func repeatable(req *http.Request) bool {
	return (idempotent(req.Method) || req.Header.Get(KeyHeader) != "") &&
		(req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
}

// idempotent reports whether doing it twice is doing it once (RFC 9110, 9.2.2).
func idempotent(method string) bool {
	return safe(method) || method == http.MethodPut || method == http.MethodDelete
}

// safe reports whether a method only reads (RFC 9110, 9.2.1).
func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// withKeyHeader returns a request that bears the idempotency key of its context,
// if it has one and its method asks for one. The caller's request is never
// changed.
func withKeyHeader(req *http.Request) (*http.Request, error) {
	key := Key(req.Context())
	if key == "" || idempotent(req.Method) || req.Header.Get(KeyHeader) != "" {
		return req, nil
	}
	if !validKey(key) {
		return nil, fmt.Errorf("%w: idempotency key %q, want 1 to %d visible ASCII characters", ErrInvalid, key, MaxKey)
	}
	keyed := req.WithContext(req.Context())
	keyed.Header = req.Header.Clone()
	if keyed.Header == nil {
		keyed.Header = http.Header{}
	}
	keyed.Header.Set(KeyHeader, key)
	return keyed, nil
}

// rewound returns the request with a new body, for the next attempt.
func rewound(req *http.Request) (*http.Request, error) {
	if req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("retry: request body cannot be sent again: %w", err)
	}
	again := req.WithContext(req.Context())
	again.Body = body
	return again, nil
}

// closeBody closes the body of a request that is not sent: a round tripper has
// to, always.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// own makes a response the answer to the request of the caller, not to the copy
// that was sent.
func own(resp *http.Response, req *http.Request) *http.Response {
	if resp != nil {
		resp.Request = req
	}
	return resp
}

const (
	drainBytes = 4 << 10
	drainTime  = time.Second
)

// drain reads the rest of the body of a response that nobody wants, so that the
// connection can be used again, and closes it. One that is long or slow is
// closed without, which costs the connection.
func drain(body io.ReadCloser) {
	if b, ok := body.(interface{ abort() }); ok { // as send has made it
		defer time.AfterFunc(drainTime, b.abort).Stop()
	}
	_, _ = io.CopyN(io.Discard, body, drainBytes)
	_ = body.Close()
}
