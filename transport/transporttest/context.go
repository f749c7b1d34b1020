package transporttest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

var errCause = errors.New("the cause")

// endedContext calls with a context that has ended already, between calls that
// show that no handler ran.
func endedContext(c *check) {
	a, b := c.pair()
	var ran atomic.Int32
	b.Serve("s", func(context.Context, string, []byte) ([]byte, error) { ran.Add(1); return nil, nil })
	cancelled, cancel := context.WithCancelCause(c.ctx)
	cancel(errCause)
	expired, stop := context.WithDeadlineCause(c.ctx, time.Now().Add(-time.Second), errCause)
	defer stop()
	for i := range int32(50) {
		for ctx, want := range map[context.Context]error{cancelled: context.Canceled, expired: context.DeadlineExceeded} {
			_, err := c.result(ctx, a, b.Local(), "s", nil)
			c.is(err, want, "Call with an ended context")
			c.is(err, errCause, "Call with an ended context")
		}
		c.call(a, b, "s", "")
		if got := ran.Load(); got != i+1 {
			c.Fatalf("%d handlers ran for %d calls with a live context", got, i+1)
		}
	}
}

// deadlineTravels compares the handler's deadline with the caller's. It may come
// earlier, by the time that the caller keeps for the way back, and later by the
// time that the request took.
func deadlineTravels(c *check) {
	a, b := c.pair()
	deadlines := make(chan time.Time, 1)
	b.Serve("s", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		deadline, _ := ctx.Deadline()
		put(c, deadlines, deadline)
		return nil, ctx.Err()
	})
	unbounded := context.WithoutCancel(c.ctx)
	c.within("a call without a deadline", func() {
		_, err := c.result(unbounded, a, b.Local(), "s", nil)
		c.is(err, nil, "Call")
	})
	if got := wait(c, deadlines, "the handler"); !got.IsZero() {
		c.Errorf("the handler's deadline is %v, the caller has none", got)
	}
	for _, d := range []time.Duration{time.Minute, time.Hour, 100 * 365 * 24 * time.Hour} {
		ctx, cancel := context.WithTimeout(unbounded, d)
		before := time.Now()
		c.within("a call with a deadline", func() {
			_, err := c.result(ctx, a, b.Local(), "s", nil)
			c.is(err, nil, "Call")
		})
		took := time.Since(before)
		cancel()
		got := wait(c, deadlines, "the handler").Sub(before)
		if got < d-time.Second || got > d+took+time.Second {
			c.Errorf("the handler's deadline is in %v, the caller's in %v", got, d)
		}
	}
}

// deadlineEnds lets deadlines pass, the first too short perhaps to reach the
// handler.
func deadlineEnds(c *check) {
	a, b := c.pair()
	entered, ended := make(chan struct{}, 32), make(chan error, 32)
	b.Serve("s", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		put(c, entered, struct{}{})
		c.hold(ctx.Done())
		put(c, ended, ctx.Err())
		return nil, ctx.Err()
	})
	for d := 5 * time.Millisecond; ; d *= 2 {
		ctx, cancel := context.WithTimeoutCause(c.ctx, d, errCause)
		_, err := c.result(ctx, a, b.Local(), "s", nil)
		c.is(err, context.DeadlineExceeded, "Call after its deadline")
		c.is(err, errCause, "Call after its deadline")
		if ctx.Err() == nil {
			c.Errorf("Call with %v returned before its deadline", d)
		}
		cancel()
		if c.ctx.Err() != nil {
			c.Fatalf("no handler ran before its deadline")
		}
		select {
		case <-entered:
			if wait(c, ended, "the end of the handler's context") == nil {
				c.Errorf("the handler's context is done and has no error")
			}
			return
		default: // not yet, or not at all
		}
	}
}

// cancelEnds gives up calls whose handlers wait for just that.
func cancelEnds(c *check) {
	a, b := c.pair()
	entered, ended := make(chan struct{}, 1), make(chan error, 1)
	b.Serve("s", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		put(c, entered, struct{}{})
		derived, cancel := context.WithCancel(ctx) // has to end with ctx
		defer cancel()
		c.hold(derived.Done())
		put(c, ended, ctx.Err())
		return nil, nil
	})
	for range 20 {
		ctx, cancel := context.WithCancelCause(c.ctx)
		c.start(func() { c.hold(entered); cancel(errCause) })
		_, err := c.result(ctx, a, b.Local(), "s", nil)
		c.is(err, context.Canceled, "cancelled call")
		c.is(err, errCause, "cancelled call")
		c.is(wait(c, ended, "the end of the handler's context"), context.Canceled, "the handler's context")
	}
}

// lateResponse gives calls up, then lets their handlers answer in the midst of
// calls that came later.
func lateResponse(c *check) {
	a, b := c.pair()
	const given, later = 50, 200
	entered, release := make(chan struct{}, given), make(chan struct{})
	b.Serve("late", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		put(c, entered, struct{}{})
		c.hold(release)
		return append(request, " comes late"...), nil
	})
	b.Serve("echo", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		c.hold(release)
		return request, nil
	})
	ctx, cancel := context.WithCancel(c.ctx)
	calls := c.group()
	for i := range given {
		calls.Go(func() {
			response, err := c.result(ctx, a, b.Local(), "late", fmt.Append(nil, "call ", i))
			c.is(err, context.Canceled, "call given up")
			c.equal(response, nil, "response of a call given up")
		})
	}
	for range given {
		wait(c, entered, "the handlers")
	}
	cancel()
	c.within("calls given up", calls.Wait)
	for i := range later {
		calls.Go(func() {
			want := fmt.Sprint("later call ", i)
			if got := c.call(a, b, "echo", want); got != want {
				c.Errorf("got answer %q, want %q", got, want)
			}
		})
	}
	close(release)
	c.within("later calls", calls.Wait)
}

// cancelRaces gives calls up while the response is on its way.
func cancelRaces(c *check) {
	a, b := c.pair()
	answering := make(chan struct{}, 1)
	b.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		select {
		case answering <- struct{}{}:
		default:
		}
		return request, nil
	})
	for i := range 300 {
		ctx, cancel := context.WithCancel(c.ctx)
		c.start(func() { c.hold(answering); cancel() })
		want := fmt.Append(nil, "call ", i)
		response, err := c.result(ctx, a, b.Local(), "s", want)
		if err == nil {
			c.equal(response, want, "response")
		} else {
			c.is(err, context.Canceled, "call given up")
		}
	}
}

// deadlineHarmsNoOther lets short deadlines pass beside a call that has time.
func deadlineHarmsNoOther(c *check) {
	a, b := c.pair()
	entered, release, answered := newSignal(), make(chan struct{}), make(chan string, 1)
	b.Serve("long", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		entered.fire()
		c.hold(release)
		return request, nil
	})
	b.Serve("never", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		c.hold(ctx.Done())
		return nil, nil
	})
	c.start(func() { answered <- c.call(a, b, "long", "the answer") })
	wait(c, entered.given, "the long call")
	calls := c.group()
	for i := range 30 {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(c.ctx, time.Duration(i)*time.Millisecond)
			defer cancel()
			_, err := c.result(ctx, a, b.Local(), "never", nil)
			c.is(err, context.DeadlineExceeded, "Call after its deadline")
		})
	}
	c.within("calls with short deadlines", calls.Wait)
	close(release)
	if got := wait(c, answered, "the long call"); got != "the answer" {
		c.Errorf("got answer %q, want %q", got, "the answer")
	}
}
