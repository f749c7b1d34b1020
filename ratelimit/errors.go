package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The errors of waiting, matched with errors.Is. No token was taken.
var (
	// ErrLimited says that the limit leaves no room in time: the wait would be
	// longer than the context's deadline or than a limiter can plan ahead. It
	// comes as a *LimitedError.
	ErrLimited = errors.New("ratelimit: limited")
	// ErrOverBurst says that more tokens were asked for than the burst ever holds.
	ErrOverBurst = errors.New("ratelimit: more than the burst")
	// ErrFull says that the queue of a Leaky is full.
	ErrFull = errors.New("ratelimit: queue full")
)

// A LimitedError says how long it would have been necessary to wait. It matches
// ErrLimited and, where the deadline of the context was the reason,
// context.DeadlineExceeded.
type LimitedError struct {
	// RetryAfter is the wait that was not made: until there would have been a
	// turn for this call.
	RetryAfter time.Duration

	deadline bool
}

// Error says how long the wait would have been.
func (e *LimitedError) Error() string {
	if e.deadline {
		return fmt.Sprintf("ratelimit: limited: a turn in %v is after the deadline", e.RetryAfter)
	}
	return fmt.Sprintf("ratelimit: limited: a turn in %v is too far ahead", e.RetryAfter)
}

// Is reports whether target is ErrLimited, or context.DeadlineExceeded where that
// is the reason.
func (e *LimitedError) Is(target error) bool {
	return target == ErrLimited || e.deadline && target == context.DeadlineExceeded
}

// invalid names the field of a configuration that is wrong, its value and its
// bounds.
func invalid(field string, value any, bound string) error {
	return fmt.Errorf("ratelimit: %s is %v: must be %s", field, value, bound)
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
