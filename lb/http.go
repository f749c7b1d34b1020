package lb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// RoundTripper returns an http.RoundTripper that sends each request to a backend
// of b, by way of next; nil means http.DefaultTransport. The backend's name takes
// the place of the host in the URL, as an address that next can dial; the Host
// header stays that of the request. With https, next asks for a certificate of
// that address, unless its TLSClientConfig has a ServerName. A redirect goes to a
// backend, too, whatever host it names.
//
// A status of 500 or above is a failure of the backend, but not 501 and 505, by
// which it says that it is well and cannot do this; 429 says nothing. The latency
// is the time to the header, and the call is in flight until the body has been
// read to its end or closed: close it, as http.Client asks. An error while the
// body is read is the backend's failure.
//
// It sends each request once. To try again elsewhere, put package retry around it
// and [AvoidTried] around that:
//
//	lb.AvoidTried(retry.RoundTripper(policy, lb.RoundTripper(b, nil)))
func RoundTripper(b *Balancer, next http.RoundTripper) http.RoundTripper {
	return RoundTripperFunc(b, func(*http.Request) string { return "" }, next)
}

// RoundTripperFunc is RoundTripper with a key for each request, for the hashing
// policies.
func RoundTripperFunc(b *Balancer, key func(*http.Request) string, next http.RoundTripper) http.RoundTripper {
	return &roundTripper{forwarder{orTransport(next)}, b, key}
}

// AvoidTried returns a round tripper that lets all tries of a request, which are
// what next sends by way of a RoundTripper for each call of it, go to different
// backends while there are any. nil means http.DefaultTransport.
func AvoidTried(next http.RoundTripper) http.RoundTripper {
	return &avoider{forwarder{orTransport(next)}}
}

func orTransport(next http.RoundTripper) http.RoundTripper {
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

type avoider struct{ forwarder }

func (t *avoider) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req.WithContext(WithTried(req.Context())))
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

type roundTripper struct {
	forwarder
	balancer *Balancer
	key      func(*http.Request) string
}

// errAbandoned is the end of a call that panicked or ended its goroutine.
var errAbandoned = errors.New("lb: call did not return")

func (t *roundTripper) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	pick, err := t.balancer.Pick(Request{Key: t.key(req), Tried: TriedFrom(req.Context())})
	if err != nil {
		if req.Body != nil {
			req.Body.Close() // a RoundTripper closes the body in any case
		}
		return nil, err
	}
	call := &httpCall{ctx: req.Context(), pick: pick}
	defer func() {
		if !call.held {
			call.end(errAbandoned) // does nothing after the end
		}
	}()
	sent := *req
	url := *req.URL
	url.Host = pick.Backend().Name
	sent.URL = &url
	if sent.Host == "" {
		sent.Host = req.URL.Host
	}
	resp, err = t.next.RoundTrip(&sent)
	if err != nil {
		call.end(err)
		return resp, err
	}
	call.pick.Answered()
	resp.Request = req // redirects are relative to what was asked for, not to the backend
	call.failure = statusFailure(resp.StatusCode)
	if resp.Body == nil || resp.Body == http.NoBody {
		call.end(call.failure)
	} else {
		resp.Body = call.hold(resp.Body)
	}
	return resp, nil
}

// A StatusError is an HTTP status that may speak against a backend: 500 and above
// but for 501 and 505, and 429. See Config.Failed.
type StatusError struct{ Code int }

// Error names the status.
func (e *StatusError) Error() string { return fmt.Sprintf("lb: HTTP status %d", e.Code) }

// statusFailure returns the StatusError of a status, if it is one.
func statusFailure(status int) error {
	switch {
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported:
		return nil
	case status >= 500, status == http.StatusTooManyRequests:
		return &StatusError{status}
	}
	return nil
}

// An httpCall is a pick that ends with the body of the response. Reads of the
// body and its Close may be concurrent.
type httpCall struct {
	ctx     context.Context // of the request
	failure error           // what the status says
	held    bool            // until the body ends

	mu   sync.Mutex
	pick Pick // guarded by mu, once there is a body
}

func (c *httpCall) end(err error) {
	if err != nil && errors.Is(c.ctx.Err(), context.Canceled) {
		err = context.Canceled // whatever the transport calls it
	}
	c.mu.Lock()
	pick := c.pick
	c.pick = Pick{}
	c.mu.Unlock()
	pick.Done(err)
}

// hold returns body such that the call ends when it has been read to its end, has
// failed, or is closed.
func (c *httpCall) hold(body io.ReadCloser) io.ReadCloser {
	c.held = true
	held := &heldBody{body, c}
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
	call *httpCall
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.call.end(b.call.failure)
	case err != nil:
		b.call.end(err)
	}
	return n, err
}

func (b *heldBody) Close() error {
	b.call.end(b.call.failure) // first: a Read that breaks off at Close is not the backend's fault
	return b.ReadCloser.Close()
}
