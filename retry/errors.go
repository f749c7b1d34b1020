package retry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrInvalid is matched by the errors that a configuration out of bounds
// gives. Their text names the field, its value and what is wanted.
var ErrInvalid = errors.New("retry: invalid configuration")

// Why there is no further attempt: the Cause of an [ExhaustedError], unless it
// is the end of the context.
var (
	// ErrAttempts says that all attempts of the policy are used up.
	ErrAttempts = errors.New("retry: attempts used up")
	// ErrElapsed says that the next attempt would begin later than
	// Policy.Elapsed allows.
	ErrElapsed = errors.New("retry: no time left for another attempt")
	// ErrAfter says that the service asked for a longer wait than
	// Policy.MaxAfter.
	ErrAfter = errors.New("retry: asked to wait too long")
	// ErrBudget says that the retry budget had nothing left.
	ErrBudget = errors.New("retry: budget used up")
)

// errUntold stands for the failure of an attempt of the iterator form whose
// body went on without calling Fail.
var errUntold = errors.New("attempt failed without an error")

// An ExhaustedError says that an operation failed, could have been tried again,
// and was not, and why. errors.Is and errors.As look into both of its errors.
type ExhaustedError struct {
	Attempts int   // how many attempts were begun
	Last     error // what the last attempt that ended returned; nil if none did
	Cause    error // ErrAttempts, ErrElapsed, ErrAfter, ErrBudget, or the end of the context with its cause
}

// Error says how often it was tried, why no more, and what failed.
func (e *ExhaustedError) Error() string {
	plural := "s"
	if e.Attempts == 1 {
		plural = ""
	}
	cause := strings.TrimPrefix(e.Cause.Error(), "retry: ")
	text := fmt.Sprintf("retry: gave up after %d attempt%s: %s", e.Attempts, plural, cause)
	if e.Last != nil {
		text += ": " + e.Last.Error()
	}
	return text
}

// Unwrap returns the last error and the cause.
func (e *ExhaustedError) Unwrap() []error {
	if e.Last == nil {
		return []error{e.Cause}
	}
	return []error{e.Last, e.Cause}
}

// Timeout reports whether the last error or the cause is a time-out: what
// http.Client and net.Error ask.
func (e *ExhaustedError) Timeout() bool {
	for _, err := range e.Unwrap() {
		var t interface{ Timeout() bool }
		if errors.As(err, &t) && t.Timeout() {
			return true
		}
	}
	return false
}

// Permanent marks an error as one that no retry can mend. Do and Hedge stop at
// it, wherever it stands in the chain, and return the error without the mark.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &marked{err: err, hint: hint{permanent: true}}
}

// After marks an error with the wait that the service asked for: the next
// attempt begins exactly d later, in place of the policy's back-off; at once
// where d is not positive. A wait longer than Policy.MaxAfter, or than the
// context or Policy.Elapsed leave, ends the series at once instead.
// After(nil, d) is nil.
//
// An error of any type with a method RetryAfter() time.Duration, such as
// *breaker.OpenError, asks for a wait, too, if what it returns is positive. Since
// many are told the same moment, the policy's back-off comes on top of it.
func After(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &marked{err: err, hint: hint{asked: true, wait: max(d, 0)}}
}

// A hint is what an error says about being tried again.
type hint struct {
	wait      time.Duration // what the service asked for, if it asked
	asked     bool
	spread    bool // add the back-off to wait: many were told the same moment
	permanent bool
}

// A marked error carries a hint and is otherwise the error that it marks.
type marked struct {
	err  error
	hint hint
}

func (m *marked) Error() string { return m.err.Error() }
func (m *marked) Unwrap() error { return m.err }

// hintOf collects the hints in the tree of an error. Permanent counts wherever
// it stands; of several waits the outermost does. It looks at each error once,
// by a type switch: errors.As would cost ten times as much.
func hintOf(err error) (h hint) {
	for err != nil {
		var found hint
		switch e := err.(type) {
		case *marked:
			found, err = e.hint, e.err
		case interface{ RetryAfter() time.Duration }:
			if wait := e.RetryAfter(); wait > 0 { // else it does not know
				found = hint{asked: true, wait: wait, spread: true}
			}
			err = errors.Unwrap(err)
		case interface{ Unwrap() error }:
			err = e.Unwrap()
			continue
		case interface{ Unwrap() []error }:
			for _, branch := range e.Unwrap() {
				h = h.or(hintOf(branch))
			}
			return h
		default:
			return h
		}
		h = h.or(found)
	}
	return h
}

// or adds what an inner error says to what the outer ones said.
func (h hint) or(inner hint) hint {
	permanent := h.permanent || inner.permanent
	if !h.asked {
		h = inner
	}
	h.permanent = permanent
	return h
}

// bare returns the error under the outermost marks.
func bare(err error) error {
	for {
		m, ok := err.(*marked)
		if !ok {
			return err
		}
		err = m.err
	}
}

// ended returns the error of a context that is over, with its cause where that
// says more.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// invalid reports a field out of its bounds.
func invalid(field string, value any, want string) error {
	return fmt.Errorf("%w: %s is %v, want %s", ErrInvalid, field, value, want)
}
