package transporttest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

func stopRemoves(c *check) {
	a, b := c.pair()
	stop := b.Serve("s", echo)
	c.call(a, b, "s", "")
	c.within("stop", stop)
	_, err := c.result(c.ctx, a, b.Local(), "s", nil)
	c.is(err, transport.ErrNoService, "Call after stop")
	c.within("stop", stop)

	arrived, other := make(chan struct{}, 1), make(chan struct{}, 1)
	stop = b.Receive("s", func(string, []byte) { put(c, arrived, struct{}{}) })
	b.Receive("other", func(string, []byte) { put(c, other, struct{}{}) })
	c.send(a, b, "s", nil)
	wait(c, arrived, "the message before stop")
	c.within("stop", stop)
	c.send(a, b, "s", nil)
	c.send(a, b, "other", nil)
	wait(c, other, "the message of another service")
	if len(arrived) > 0 {
		c.Errorf("a message was handled after stop")
	}
	c.within("stop", stop)

	b.Serve("s", echo)
	b.Receive("s", func(string, []byte) { put(c, arrived, struct{}{}) })
	c.call(a, b, "s", "")
	c.send(a, b, "s", nil)
	wait(c, arrived, "a message for a service that is registered again")
	c.within("stop of the earlier registration", stop)
	c.send(a, b, "s", nil)
	wait(c, arrived, "a message after the stop of an earlier registration")
}

// stopWaits stops handlers that run: stop may return only after them.
func stopWaits(c *check) {
	a, b, d := c.join("a"), c.join("b"), c.join("d")
	for _, kind := range []string{"Serve", "Receive"} {
		var finished atomic.Bool
		entered, release := newSignal(), make(chan struct{})
		run := func() {
			entered.fire()
			c.hold(release)
			finished.Store(true)
		}
		calls, stops := c.group(), c.group()
		var stop func()
		if kind == "Serve" {
			stop = b.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) {
				if len(request) > 0 {
					run()
				}
				return nil, nil
			})
			calls.Go(func() { c.call(a, b, "s", "run") })
		} else {
			stop = b.Receive("s", func(string, []byte) { run() })
			c.send(a, b, "s", nil)
		}
		wait(c, entered.given, "the handler")

		for range 3 {
			stops.Go(func() {
				stop()
				if !finished.Load() {
					c.Errorf("stop of %s returned before its handler", kind)
				}
			})
		}
		if kind == "Serve" {
			c.eventually("stop to begin", func() bool {
				_, err := c.result(c.ctx, d, b.Local(), "s", nil)
				return errors.Is(err, transport.ErrNoService)
			})
		}
		c.meanwhile()
		close(release)
		c.within("stop", stops.Wait)
		c.within("the call", calls.Wait)
	}
}

// stopInside has handlers stop themselves and each other.
func stopInside(c *check) {
	a, b := c.pair()
	c.meet(a, b)
	// The handlers take the functions from here: both are there before the first
	// message is sent.
	var stopServe, stopReceive func()
	stopped := make(chan struct{}, 2)
	stopServe = b.Serve("s", func(context.Context, string, []byte) ([]byte, error) {
		stopServe()
		stopServe()
		return []byte("stopped"), nil
	})
	stopReceive = b.Receive("s", func(string, []byte) {
		stopReceive()
		stopReceive()
		put(c, stopped, struct{}{})
	})
	if got := c.call(a, b, "s", ""); got != "stopped" {
		c.Errorf("got answer %q, want %q", got, "stopped")
	}
	_, err := c.result(c.ctx, a, b.Local(), "s", nil)
	c.is(err, transport.ErrNoService, "Call after stop")
	c.send(a, b, "s", nil)
	c.send(a, b, "s", nil)
	wait(c, stopped, "stop inside of a Receive handler")

	arrived := make(chan struct{}, 1)
	b.Receive("behind", func(string, []byte) { put(c, arrived, struct{}{}) })
	c.send(a, b, "behind", nil)
	wait(c, arrived, "a message behind")
	if len(stopped) > 0 {
		c.Errorf("a message was handled after stop")
	}
}

// replace registers a service again while a handler of the first registration
// runs, which stays in the care of its own stop.
func replace(c *check) {
	a, b := c.pair()
	entered, release, first := newSignal(), make(chan struct{}), make(chan string, 1)
	var finished atomic.Bool
	stopFirst := b.Serve("s", func(context.Context, string, []byte) ([]byte, error) {
		entered.fire()
		c.hold(release)
		finished.Store(true)
		return []byte("first"), nil
	})
	c.start(func() { first <- c.call(a, b, "s", "") })
	wait(c, entered.given, "the first handler")

	var stopSecond func()
	c.within("registering again", func() {
		stopSecond = b.Serve("s", func(context.Context, string, []byte) ([]byte, error) { return []byte("second"), nil })
	})
	if got := c.call(a, b, "s", ""); got != "second" {
		c.Errorf("got answer %q, want %q", got, "second")
	}
	stops := c.group()
	stops.Go(func() {
		stopFirst()
		if !finished.Load() {
			c.Errorf("stop of the first handler returned before it")
		}
	})
	c.meanwhile()
	close(release)
	if got := wait(c, first, "the answer of the first handler"); got != "first" {
		c.Errorf("got answer %q, want %q", got, "first")
	}
	c.within("stop of the first handler", stops.Wait)
	if got := c.call(a, b, "s", ""); got != "second" {
		c.Errorf("after stop of the first handler: got answer %q, want %q", got, "second")
	}
	c.within("stop", stopSecond)
	_, err := c.result(c.ctx, a, b.Local(), "s", nil)
	c.is(err, transport.ErrNoService, "Call after stop of the second handler")
}

// replaceUnderLoad registers a service again and again beside calls and messages,
// all of which find one handler or the other.
func replaceUnderLoad(c *check) {
	a, b := c.pair()
	c.meet(a, b)
	var stop atomic.Bool
	load := c.group()
	answer := func(context.Context, string, []byte) ([]byte, error) { return nil, nil }
	b.Serve("s", answer)
	for range 4 {
		load.Go(func() {
			for !stop.Load() {
				if _, err := c.result(c.ctx, a, b.Local(), "s", nil); err != nil {
					c.Errorf("Call while the service is replaced: %v", err)
					return
				}
			}
		})
	}
	b.Serve("pace", echo)
	for range 100 {
		b.Serve("s", answer)
		c.call(a, b, "pace", "")
	}
	stop.Store(true)
	c.within("the calls", load.Wait)
}
