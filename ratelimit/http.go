package ratelimit

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// A Store decides about keys for Middleware. Keyed[string] is one, in memory; one
// that several servers share is another.
type Store interface {
	// Take takes n tokens of the key's, all or none, and says how it stands. An
	// error means that nothing could be decided.
	Take(ctx context.Context, key string, n int) (Decision, error)
}

// Middleware returns a handler that serves with next the requests for which store
// has a token, of the key that by chooses: ByClientIP, ByForwardedFor, or any
// function of the request, such as the user's name once that has been
// authenticated. Requests with the same key, "" included, share its limit.
//
// Others get 429 Too Many Requests, with a Retry-After in whole seconds, rounded
// up. Every response says how the limit stands, in the fields RateLimit-Policy
// and RateLimit of draft-ietf-httpapi-ratelimit-headers-11:
//
//	RateLimit-Policy: "default";q=20;w=2
//	RateLimit: "default";r=13;t=2
//
// The policy is told as what w seconds allow, with w the time in which a bucket
// fills, at least a second; r is how many requests could be made at once, and t
// the seconds for which they last at the limit or, after a refusal, those of
// Retry-After. If store fails, the response is 503 Service Unavailable: to let
// requests pass then, give it a Store that says so.
func Middleware(store Store, by func(*http.Request) string, next http.Handler) http.Handler {
	return MiddlewareFunc(func(r *http.Request) (Decision, error) {
		return store.Take(r.Context(), by(r), 1)
	}, next)
}

// MiddlewareFunc is Middleware with a decision made for each request: one that
// costs more than others, or several limits together with AllowAll. A decision
// with a zero Limit adds no RateLimit fields. Nested, each adds its own.
func MiddlewareFunc(decide func(*http.Request) (Decision, error), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := decide(r)
		if err != nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "service unavailable, try again later", http.StatusServiceUnavailable)
			return
		}
		if d.Limit.Events > 0 && d.Limit.Period > 0 {
			var space [96]byte
			w.Header().Add("RateLimit-Policy", string(d.appendPolicy(space[:0])))
			w.Header().Add("RateLimit", string(d.appendStanding(space[:0])))
		}
		if d.Allowed {
			next.ServeHTTP(w, r)
			return
		}
		if d.RetryAfter != Never {
			w.Header().Set("Retry-After", strconv.FormatInt(max(1, seconds(d.RetryAfter)), 10))
		}
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	})
}

// maxInteger is the largest integer of a structured field (RFC 9651, section 3.3.1).
const maxInteger = 999_999_999_999_999

// appendPolicy appends the item of RateLimit-Policy.
func (d *Decision) appendPolicy(b []byte) []byte {
	window := max(1, seconds(d.Limit.takes(int64(d.Burst))))
	b = appendString(b, d.Policy)
	b = append(b, ";q="...)
	b = strconv.AppendInt(b, min(maxInteger, d.Limit.in(time.Duration(window)*time.Second)), 10)
	b = append(b, ";w="...)
	return strconv.AppendInt(b, window, 10)
}

// appendStanding appends the item of RateLimit.
func (d *Decision) appendStanding(b []byte) []byte {
	b = appendString(b, d.Policy)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, min(maxInteger, int64(max(0, d.Remaining))), 10)
	if d.RetryAfter == Never {
		return b
	}
	lasts := d.RetryAfter
	if d.Allowed {
		lasts = d.Limit.takes(int64(max(1, d.Remaining)))
	}
	b = append(b, ";t="...)
	return strconv.AppendInt(b, max(1, seconds(lasts)), 10)
}

// seconds returns d in whole seconds, rounded up.
func seconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

// appendString appends a string of a structured field (RFC 9651, section 4.1.6),
// "default" for an empty one. What the field cannot hold becomes a question mark.
func appendString(b []byte, s string) []byte {
	if s == "" {
		s = "default"
	}
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			b = append(b, '?')
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// printable reports whether s can be the name of a policy.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= 64
}
