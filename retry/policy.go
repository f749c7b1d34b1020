package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Policy says when and how often an operation is tried again. It is a plain
// value: copy it, change a field, share it between goroutines. The zero value
// is a good default: three attempts, exponential back-off from 100 ms with full
// jitter, every error tried again that is not marked [Permanent].
//
// Only Budget has a memory. Give every policy that guards one service the same
// budget, and an outage of the service is not made worse by those who call it.
type Policy struct {
	// Attempts is how often the operation is tried at most, the first time
	// included. Default 3; 1 never retries; must not be negative.
	Attempts int
	// Backoff decides the wait before each retry. Default Exponential{}.
	Backoff Backoff
	// Elapsed bounds the series as a whole: no attempt begins later than this
	// after the first began. It does not end an attempt that runs; a deadline
	// of the context does. Default none; must not be negative. Costs two
	// readings of the clock.
	Elapsed time.Duration
	// AttemptTimeout is the time after which the context of one attempt ends
	// with context.DeadlineExceeded; the next attempt gets a new one. Without
	// it one attempt that hangs uses up the time of all. The context of an
	// attempt is cancelled when the attempt has returned, too, except that an
	// *http.Response keeps it alive until its body is closed. Default none;
	// must not be negative. Costs a context and a timer for each attempt.
	AttemptTimeout time.Duration
	// MaxAfter is the longest wait that a service may ask for, by [After] or in
	// a header. One that asks for more is not tried again: earlier would be
	// against its word, later nobody may be waiting any more. Default 5 min;
	// must not be negative.
	MaxAfter time.Duration
	// Budget bounds the retries of all calls that share it. Default none: each
	// series is bounded by Attempts alone, and an outage multiplies the load by
	// that.
	Budget *Budget
	// Retryable reports whether an operation that failed in this way may be
	// tried again. It is not asked about errors marked Permanent nor once the
	// context is over. err carries no outermost mark. Default: all are.
	// Must be safe for concurrent use.
	Retryable func(err error) bool
	// OnRetry is called before each wait, on the goroutine of the caller, with
	// the number of the attempt that failed (from 1), its error, and the wait
	// to come: for logs, counts and traces. Default none. Must be safe for
	// concurrent use.
	OnRetry func(ctx context.Context, attempt int, err error, wait time.Duration)
	// Random returns uniform random numbers for the jitter. Must be safe for
	// concurrent use if the policy is. Default math/rand/v2.Uint64; a test
	// passes rand.New(rand.NewPCG(seed, 0)).Uint64 and gets the same delays
	// from the same seed.
	Random func() uint64
}

const (
	defaultAttempts = 3
	defaultMaxAfter = 5 * time.Minute
)

// Check returns nil for a policy within its bounds, and otherwise an
// ErrInvalid that names the field and its value. Do, Attempts and RoundTripper
// check by themselves; Check is for finding out at start-up.
func (p *Policy) Check() error {
	switch {
	case p.Attempts < 0:
		return invalid("Policy.Attempts", p.Attempts, "1 or more, or 0 for 3")
	case p.Elapsed < 0:
		return invalid("Policy.Elapsed", p.Elapsed, "above 0, or 0 for no bound")
	case p.AttemptTimeout < 0:
		return invalid("Policy.AttemptTimeout", p.AttemptTimeout, "above 0, or 0 for no bound")
	case p.MaxAfter < 0:
		return invalid("Policy.MaxAfter", p.MaxAfter, "above 0, or 0 for 5m")
	}
	switch b := p.Backoff.(type) {
	case Exponential: // the concrete type first: asking for a method is slower
		return b.check()
	case interface{ check() error }:
		return b.check()
	}
	return nil
}

// sound reports whether a policy is right at a glance that is inlined: every Do
// pays for it. Of a policy that it does not know, Check knows more.
func (p *Policy) sound() bool {
	c, constant := p.Backoff.(Constant)
	return (constant || p.Backoff == nil) &&
		int64(c)|int64(p.Attempts)|int64(p.Elapsed)|int64(p.AttemptTimeout)|int64(p.MaxAfter) >= 0 // no sign bit
}

func (p *Policy) attempts() int {
	if p.Attempts == 0 {
		return defaultAttempts
	}
	return p.Attempts
}

func (p *Policy) maxAfter() time.Duration {
	if p.MaxAfter == 0 {
		return defaultMaxAfter
	}
	return p.MaxAfter
}

// delay draws the back-off before a retry.
func (p *Policy) delay(retry int, last time.Duration) time.Duration {
	switch b := p.Backoff.(type) {
	case nil:
		return Exponential{}.Delay(retry, last, p.draw())
	case Constant:
		return time.Duration(b) // needs no random number
	}
	return max(p.Backoff.Delay(retry, last, p.draw()), 0)
}

func (p *Policy) draw() uint64 {
	if p.Random != nil {
		return p.Random()
	}
	return rand.Uint64()
}
