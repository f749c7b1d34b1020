package breaker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The errors of a call that a guard did not let through: it never ran, so it is
// safe to fall back or to try elsewhere. Each also matches ErrRejected.
var (
	// ErrRejected matches every rejection by a guard of this package.
	ErrRejected = errors.New("breaker: call rejected")
	// ErrOpen says that a Breaker is open, or half-open with all probes under
	// way. It comes as an *OpenError.
	ErrOpen error = &rejection{"breaker: open"}
	// ErrFull says that a Bulkhead or an Adaptive has neither a place to run nor
	// one to wait, or that the call is heavier than the whole Bulkhead.
	ErrFull error = &rejection{"breaker: full"}
	// ErrShed says that a call was waiting and had to go: for one of higher
	// priority, for a caller with fewer, or because it had waited too long.
	ErrShed error = &rejection{"breaker: shed"}
)

// A rejection is a sentinel that also matches ErrRejected.
type rejection struct{ text string }

func (r *rejection) Error() string        { return r.text }
func (r *rejection) Is(target error) bool { return target == ErrRejected }

// OpenError is the rejection by a Breaker. It matches ErrOpen and ErrRejected.
// All calls that one opening rejects share one OpenError.
type OpenError struct {
	Name  string    // the breaker's name
	State State     // Open or HalfOpen
	Until time.Time // when probes are let through; zero if half-open or forced open
}

// Error says which breaker is open, and until when if that is known.
func (e *OpenError) Error() string {
	text := "breaker: " + e.State.String()
	if e.Name != "" {
		text = "breaker: " + e.Name + ": " + e.State.String()
	}
	if e.Until.IsZero() {
		return text
	}
	return text + " until " + e.Until.UTC().Format(time.RFC3339)
}

// Unwrap returns ErrOpen.
func (e *OpenError) Unwrap() error { return ErrOpen }

// RetryAfter returns how long it is, from now, until a call may be let through:
// 0 if that is over or not known.
func (e *OpenError) RetryAfter() time.Duration {
	if e.Until.IsZero() {
		return 0
	}
	return max(0, time.Until(e.Until))
}

// contextError returns the error of a context that has ended, with its cause
// where that says more.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// A checker collects what is wrong with the fields of one Config.
type checker struct {
	config string
	errs   []error
}

func (c *checker) field(ok bool, name string, value any, bound string) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf("breaker: %s.%s is %v: must be %s", c.config, name, value, bound))
	}
}

func (c *checker) err() error { return errors.Join(c.errs...) }

// orDefault returns the default of a field that was left zero.
func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
