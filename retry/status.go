package retry

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A StatusError is what a response with a status of 400 or above looks like to
// Policy.Retryable, HedgePolicy.Retryable and Policy.OnRetry. A round tripper
// never returns it: when there is no further attempt, the caller gets the
// response.
type StatusError struct {
	Code   int         // the status, 400 or above
	Header http.Header // of the response; must not be changed
}

// Error returns the status with its text.
func (e *StatusError) Error() string {
	return fmt.Sprintf("retry: status %d %s", e.Code, http.StatusText(e.Code))
}

// retryableStatus lists the statuses by which a server says that it has not
// done the work and may be asked again.
func retryableStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryableExchange is the classification of the round trippers: the statuses
// above, and all errors but that of a certificate, which stays wrong.
func retryableExchange(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return retryableStatus(status.Code)
	}
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &certificate)
}

// failureOf returns nil for a response that is to be returned as it is, and
// else the failure with what the server says about trying again.
func failureOf(resp *http.Response, err error) error {
	if err != nil || resp.StatusCode < http.StatusBadRequest {
		return err
	}
	failure := &StatusError{resp.StatusCode, resp.Header}
	if field := resp.Header.Get(pushbackHeader); field != "" {
		wait, ok := parsePushback(field)
		if !ok {
			return Permanent(failure)
		}
		return After(failure, wait)
	}
	if wait, ok := parseRetryAfter(resp.Header.Get("Retry-After"), resp.Header.Get("Date"), time.Now()); ok {
		return &marked{err: failure, hint: hint{asked: true, wait: wait, spread: true}}
	}
	return failure
}

// pushbackHeader carries the wait that a gRPC server asks for (gRFC A6).
const pushbackHeader = "Grpc-Retry-Pushback-Ms"

const forever = time.Duration(1<<63 - 1)

// parsePushback reads a number of milliseconds. A negative number, and all that
// is none, means that the call must not be tried again (gRFC A6).
func parsePushback(field string) (wait time.Duration, ok bool) {
	field = strings.TrimSpace(field)
	if !digits(field) {
		return 0, false
	}
	return saturatedUnits(field, time.Millisecond), true
}

// parseRetryAfter reads a Retry-After field: a number of seconds or an HTTP
// date (RFC 9110, 10.2.3). What is neither says nothing. A date is taken
// relative to the server's own clock where it gives one (its Date), so that a
// wrong clock on either side does no harm; a past one means now.
func parseRetryAfter(field, date string, now time.Time) (wait time.Duration, ok bool) {
	field = strings.TrimSpace(field)
	if digits(field) {
		return saturatedUnits(field, time.Second), true
	}
	at, err := http.ParseTime(field)
	if err != nil {
		return 0, false
	}
	if sent, err := http.ParseTime(date); err == nil {
		now = sent
	}
	return max(at.Sub(now), 0), true // Sub saturates
}

// digits reports whether text is a number without sign, point or exponent.
func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

// saturatedUnits returns the number of units that digits stand for; as many as
// there are, if they are too many.
func saturatedUnits(digits string, unit time.Duration) time.Duration {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > int64(forever/unit) {
		return forever
	}
	return time.Duration(n) * unit
}
