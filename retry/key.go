package retry

import (
	"context"
	"crypto/rand"
)

// KeyHeader is the header field that carries an idempotency key
// (draft-ietf-httpapi-idempotency-key-header).
const KeyHeader = "Idempotency-Key"

// MaxKey is the longest idempotency key, in bytes. The shortest is 1. A key is
// made of visible ASCII characters without the double quote and the backslash.
const MaxKey = 255

// keyContext is the type of the context key of an idempotency key.
type keyContext struct{}

// NewKey returns a new idempotency key: 26 characters with at least 128 random
// bits, which nobody can guess.
func NewKey() string { return rand.Text() }

// WithKey returns a context that carries an idempotency key. Make the key once
// for each operation, outside of the retries, and every attempt bears the same:
//
//	ctx = retry.WithKey(ctx, retry.NewKey())
//	order, err := retry.Do(ctx, policy, placeOrder)
//
// [RoundTripper] puts it into the header of requests that are not idempotent by
// their method. A context with a key is for one operation: two different
// requests under one key look like one that was repeated with another content.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyContext{}, key)
}

// Key returns the idempotency key of a context, or "" if it has none.
func Key(ctx context.Context) string {
	key, _ := ctx.Value(keyContext{}).(string)
	return key
}

// validKey reports whether a key can travel in a header.
func validKey(key string) bool {
	if len(key) == 0 || len(key) > MaxKey {
		return false
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// parseKey returns the key of a header field. The draft asks for a quoted
// string (RFC 8941); most services take and send it bare. Both are the same key.
func parseKey(field string) (key string, ok bool) {
	if n := len(field); n >= 2 && field[0] == '"' && field[n-1] == '"' {
		field = field[1 : n-1]
	}
	return field, validKey(field)
}
