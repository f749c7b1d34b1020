package tcp

import (
	"context"
	"sync"
	"time"
)

// A requestContext is the context of a running handler. It costs one
// allocation: channel and timer are made only for who asks for Done. It is not
// used again, because a handler may keep it.
type requestContext struct {
	deadline time.Time // zero: none

	mu     sync.Mutex
	cause  error                   // why the context ended, if full did not say; guarded by mu
	full   context.Context         // made by Done, from then on the one that counts; guarded by mu
	cancel context.CancelCauseFunc // of full; guarded by mu
	stop   context.CancelFunc      // of full's timer; nil without one; guarded by mu
}

// Deadline returns the caller's deadline.
func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done returns a channel that is closed when the context ends.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full == nil {
		c.expand()
	}
	return c.full.Done()
}

// Err says whether and how the context has ended.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full != nil {
		return c.full.Err()
	}
	c.expire()
	switch c.cause {
	case nil:
		return nil
	case context.DeadlineExceeded:
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// Value holds no values of its own. Through the full context it lets package
// context find the canceller inside, so that derived contexts need no goroutine.
func (c *requestContext) Value(key any) any {
	c.mu.Lock()
	full := c.full
	c.mu.Unlock()
	if full == nil {
		return nil
	}
	return full.Value(key)
}

// end ends the context, unless it has ended before. It reports whether it was
// known to have.
func (c *requestContext) end(cause error) (before bool) {
	c.mu.Lock()
	before = c.ended()
	if c.cause == nil {
		c.cause = cause
	}
	cancel, stop := c.cancel, c.stop
	c.mu.Unlock()
	if cancel != nil {
		cancel(cause) // may call a context of the user's, so not under mu
	}
	if stop != nil {
		stop()
	}
	return before
}

// over reports whether the context is known to have ended, without a look at the
// clock.
func (c *requestContext) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended()
}

func (c *requestContext) ended() bool { return c.cause != nil || c.full != nil && c.full.Err() != nil }

// expire notes that the deadline has passed; the caller holds mu.
func (c *requestContext) expire() {
	if c.cause == nil && !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		c.cause = context.DeadlineExceeded
	}
}

// expand makes the full context; the caller holds mu.
func (c *requestContext) expand() {
	base := context.Background()
	if !c.deadline.IsZero() && (c.cause == nil || c.cause == context.DeadlineExceeded) {
		base, c.stop = context.WithDeadline(base, c.deadline)
	}
	c.full, c.cancel = context.WithCancelCause(base)
	if c.cause != nil {
		c.cancel(c.cause)
	}
}
