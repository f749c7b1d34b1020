package mem

import (
	"context"
	"sync"
	"time"
)

// A requestContext is the context of one handler. It ends with the call and knows
// the caller's deadline; it has no timer, for the caller's own ends the call. So
// a caller out of time learns just that, and not what its handler made of it.
// Nothing else of the caller's context crosses, as nothing would cross a network.
// A requestContext may outlive its call, so it is not used again.
type requestContext struct {
	deadline time.Time // zero if there is none

	mu     sync.Mutex
	err    error           // why the call ended; nil until then
	ended  context.Context // made when Done is first asked for, ended by cancel
	cancel context.CancelFunc
}

func newRequestContext(caller context.Context) *requestContext {
	deadline, _ := caller.Deadline()
	return &requestContext{deadline: deadline}
}

// end ends the context. Only the first end counts.
func (c *requestContext) end(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *requestContext) Done() <-chan struct{} { return c.signal().Done() }

func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *requestContext) Value(any) any { return nil }

// AfterFunc is what package context asks for, so that a context derived from this
// one costs no goroutine.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	return context.AfterFunc(c.signal(), f)
}

// signal returns a context that is done when c is.
func (c *requestContext) signal() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended, c.cancel = context.WithCancel(context.Background())
		if c.err != nil {
			c.cancel()
		}
	}
	return c.ended
}
