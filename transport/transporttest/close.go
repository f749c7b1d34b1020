package transporttest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/transport"
)

// closeEndsOwnCalls closes the node that calls.
func closeEndsOwnCalls(c *check) {
	a, b := c.pair()
	const calls = 10
	entered, ended, results := make(chan struct{}, 2*calls), make(chan error, 2*calls), make(chan error, 2*calls)
	hang := func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		put(c, entered, struct{}{})
		c.hold(ctx.Done())
		put(c, ended, ctx.Err())
		return nil, nil
	}
	for _, to := range []transport.Transport{a, b} {
		to.Serve("hang", hang)
		for range calls {
			c.start(func() {
				_, err := c.result(c.ctx, a, to.Local(), "hang", nil)
				results <- err
			})
		}
	}
	for range 2 * calls {
		wait(c, entered, "the handlers")
	}
	c.within("Close", func() { c.is(a.Close(), nil, "Close") })
	for range 2 * calls {
		c.is(wait(c, results, "the calls"), transport.ErrClosed, "own call at Close")
		if wait(c, ended, "the end of the handlers' contexts") == nil {
			c.Errorf("a handler's context is done and has no error")
		}
	}
}

// closeEndsPeersCalls closes the node that is called. Its handlers learn of it
// and take their time.
func closeEndsPeersCalls(c *check) {
	a, b := c.pair()
	const calls = 10
	entered, told, release := make(chan struct{}, calls), make(chan struct{}, calls), make(chan struct{})
	results := make(chan error, calls)
	var finished atomic.Int32
	b.Serve("hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		put(c, entered, struct{}{})
		c.hold(ctx.Done())
		put(c, told, struct{}{})
		c.hold(release)
		finished.Add(1)
		return []byte("too late"), nil
	})
	for range calls {
		c.start(func() {
			_, err := c.result(c.ctx, a, b.Local(), "hang", nil)
			results <- err
		})
	}
	for range calls {
		wait(c, entered, "the handlers")
	}
	closes := c.group()
	closes.Go(func() {
		c.is(b.Close(), nil, "Close")
		if n := finished.Load(); n != calls {
			c.Errorf("Close returned after %d of %d handlers", n, calls)
		}
	})
	for range calls {
		wait(c, told, "the end of the handlers' contexts")
		c.is(wait(c, results, "the calls"), transport.ErrUnreachable, "call of a node that closes")
	}
	c.meanwhile()
	close(release)
	c.within("Close", closes.Wait)
}

func closeWaitsForReceivers(c *check) {
	a, b, d := c.join("a"), c.join("b"), c.join("d")
	entered, release := newSignal(), make(chan struct{})
	var finished, closed atomic.Bool
	b.Receive("s", func(string, []byte) {
		if closed.Load() {
			c.Errorf("a message was handled after Close")
		}
		entered.fire()
		c.hold(release)
		finished.Store(true)
	})
	c.send(a, b, "s", nil)
	wait(c, entered.given, "the handler")
	for range 10 {
		c.send(a, b, "s", nil) // to wait behind the first
	}
	closes := c.group()
	closes.Go(func() {
		c.is(b.Close(), nil, "Close")
		if !finished.Load() {
			c.Errorf("Close returned before the handler")
		}
		closed.Store(true)
	})
	c.unreachable(d, b)
	c.meanwhile()
	close(release)
	c.within("Close", closes.Wait)
	c.unreachable(a, b)
}

// unreachable waits until a call finds that to has closed.
func (c *check) unreachable(from, to transport.Transport) {
	c.Helper()
	c.eventually("the node to be unreachable", func() bool {
		_, err := c.result(c.ctx, from, to.Local(), "none", nil)
		return errors.Is(err, transport.ErrUnreachable)
	})
}

func closeInsideServe(c *check) {
	c.closeInside(func(a, b transport.Transport, closes func()) {
		b.Serve("close", func(context.Context, string, []byte) ([]byte, error) {
			closes()
			return nil, nil
		})
		_, err := c.result(c.ctx, a, b.Local(), "close", nil)
		c.is(err, transport.ErrUnreachable, "call whose handler closes its node")
	})
}

func closeInsideReceive(c *check) {
	c.closeInside(func(a, b transport.Transport, closes func()) {
		b.Receive("close", func(string, []byte) { closes() })
		c.send(a, b, "close", nil)
	})
}

// closeInside has begin call closes in a handler of b, while another handler runs.
// Close there does not wait for that one, Close from elsewhere does.
func (c *check) closeInside(begin func(a, b transport.Transport, closes func())) {
	a, b := c.pair()
	closed, entered, release := newSignal(), newSignal(), make(chan struct{})
	var finished atomic.Bool
	b.Serve("other", func(context.Context, string, []byte) ([]byte, error) {
		entered.fire()
		c.hold(release)
		finished.Store(true)
		return nil, nil
	})
	calls, closes := c.group(), c.group()
	calls.Go(func() {
		_, err := c.result(c.ctx, a, b.Local(), "other", nil)
		c.is(err, transport.ErrUnreachable, "call of a node that closes")
	})
	wait(c, entered.given, "the other handler")
	begin(a, b, func() {
		c.is(b.Close(), nil, "Close inside a handler")
		c.is(b.Close(), nil, "Close inside a handler, again")
		c.is(b.Send(a.Local(), "s", nil), transport.ErrClosed, "Send after Close inside a handler")
		closed.fire()
	})
	wait(c, closed.given, "Close inside a handler")
	closes.Go(func() {
		c.is(b.Close(), nil, "Close from elsewhere")
		if !finished.Load() {
			c.Errorf("Close from elsewhere returned before a handler")
		}
	})
	c.meanwhile()
	close(release)
	c.within("Close from elsewhere", closes.Wait)
	c.within("the other call", calls.Wait)
}

func closeManyTimes(c *check) {
	a, b := c.pair()
	entered, release := newSignal(), make(chan struct{})
	var finished atomic.Bool
	b.Serve("s", func(context.Context, string, []byte) ([]byte, error) {
		entered.fire()
		c.hold(release)
		finished.Store(true)
		return nil, nil
	})
	calls := c.group()
	calls.Go(func() {
		_, err := c.result(c.ctx, a, b.Local(), "s", nil)
		c.is(err, transport.ErrUnreachable, "call of a node that closes")
	})
	wait(c, entered.given, "the handler")
	closes := c.group()
	for range 8 {
		closes.Go(func() {
			c.is(b.Close(), nil, "Close")
			if !finished.Load() {
				c.Errorf("a Close beside others returned before the handler")
			}
		})
	}
	c.unreachable(a, b)
	c.meanwhile()
	close(release)
	c.within("Close", closes.Wait)
	c.within("the call", calls.Wait)
	c.within("Close, again", func() { c.is(b.Close(), nil, "Close, again") })
}

func closedStaysClosed(c *check) {
	a, b := c.pair()
	stopServe, stopReceive := a.Serve("s", echo), a.Receive("s", func(string, []byte) {})
	c.call(b, a, "s", "")
	name := a.Local()
	c.within("Close", func() { c.is(a.Close(), nil, "Close") })

	for _, to := range []string{a.Local(), b.Local(), "nobody"} {
		_, err := c.result(c.ctx, a, to, "s", nil)
		c.is(err, transport.ErrClosed, "Call of "+to+" after Close")
		c.is(a.Send(to, "s", nil), transport.ErrClosed, "Send to "+to+" after Close")
	}
	c.within("the stop functions after Close", func() {
		stopServe()
		stopReceive()
		a.Serve("s", echo)()
		a.Receive("s", func(string, []byte) {})()
	})
	if a.Local() != name {
		c.Errorf("the node's name is %q after Close, was %q", a.Local(), name)
	}
	c.unreachable(b, a)
	if err := b.Send(a.Local(), "s", nil); err != nil { // or accepted, and lost
		c.is(err, transport.ErrUnreachable, "Send to a node that has closed")
	}
}

// closeUnderLoad closes two nodes that call and send to each other and to
// themselves.
func closeUnderLoad(c *check) {
	for range 5 {
		a, b := c.pair()
		load := c.group()
		var handled atomic.Int32
		busy := newSignal()
		for _, node := range []transport.Transport{a, b} {
			node.Serve("s", echo)
			node.Receive("s", func(string, []byte) {
				if handled.Add(1) == 100 {
					busy.fire()
				}
			})
		}
		for _, pair := range [][2]transport.Transport{{a, b}, {b, a}, {a, a}} {
			from, to := pair[0], pair[1]
			for range 2 {
				load.Go(func() { c.untilClosed(from, to) })
			}
		}
		wait(c, busy.given, "the load")
		for _, node := range []transport.Transport{a, b} {
			load.Go(func() { c.is(node.Close(), nil, "Close") })
		}
		c.within("the load to end", load.Wait)
	}
}

// untilClosed calls and sends until its own node has closed. Its pauses let
// virtual time pass, and on one processor the others work.
func (c *check) untilClosed(from, to transport.Transport) {
	body := []byte(strings.Repeat("x", 100))
	pause := time.NewTicker(100 * time.Microsecond)
	defer pause.Stop()
	for n := 0; c.ctx.Err() == nil; n++ {
		if n%8 == 0 {
			<-pause.C
		}
		for _, err := range []error{
			from.Send(to.Local(), "s", body),
			func() error { _, err := c.result(c.ctx, from, to.Local(), "s", body); return err }(),
		} {
			switch {
			case err == nil, errors.Is(err, transport.ErrUnreachable), errors.Is(err, transport.ErrOverflow):
			case errors.Is(err, transport.ErrClosed):
				return
			default:
				c.Errorf("from %s to %s beside Close: %v", from.Local(), to.Local(), err)
				return
			}
		}
	}
}

// joinAgain closes a node and has another of its name join, which then talks to
// one that knew the first, and found it gone every other time.
func joinAgain(c *check) {
	a := c.join("a")
	a.Serve("echo", echo)
	fromB := make(chan string, 1)
	a.Receive("s", func(_ string, body []byte) {
		select {
		case fromB <- string(body):
		default:
		}
	})
	for round := range 4 {
		b := c.join("b")
		b.Serve("echo", echo)
		fromA := make(chan struct{}, 1)
		b.Receive("s", func(string, []byte) {
			select {
			case fromA <- struct{}{}:
			default:
			}
		})
		c.eventually("calls both ways", func() bool {
			_, err := c.result(c.ctx, a, b.Local(), "echo", nil)
			_, err2 := c.result(c.ctx, b, a.Local(), "echo", nil)
			return err == nil && err2 == nil
		})
		c.eventually("messages both ways", func() bool {
			_ = a.Send(b.Local(), "s", nil)
			_ = b.Send(a.Local(), "s", nil)
			return len(fromA) > 0 && len(fromB) > 0
		})
		<-fromB
		c.within("Close", func() { c.is(b.Close(), nil, "Close") })
		if round%2 == 1 {
			c.unreachable(a, b)
		}
	}
}
