package transporttest

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

// names goes to the limits of names, and over them.
func names(c *check) {
	a, long := c.join("a"), c.join(strings.Repeat("n", transport.MaxName))
	a.Serve("echo", echo)
	for _, service := range []string{"x", strings.Repeat("s", transport.MaxName), "two words\n", "\x00", "\xff/ä"} {
		long.Serve(service, echo)
		if got := c.call(a, long, service, "x"); got != "x" {
			c.Errorf("service %q: got answer %q", service, got)
		}
		arrived := make(chan string, 1)
		a.Receive(service, func(from string, _ []byte) { put(c, arrived, from) })
		c.send(long, a, service, nil)
		if from := wait(c, arrived, "a message"); from != long.Local() {
			c.Errorf("service %q: message from %q, want from %q", service, from, long.Local())
		}
	}
	for _, name := range []string{"", strings.Repeat("x", transport.MaxName+1), strings.Repeat("x", 70_000)} {
		_, err := c.result(c.ctx, a, name, "echo", nil)
		c.is(err, transport.ErrInvalidName, "Call of a node with an invalid name")
		_, err = c.result(c.ctx, a, a.Local(), name, nil)
		c.is(err, transport.ErrInvalidName, "Call of a service with an invalid name")
		c.is(a.Send(name, "echo", nil), transport.ErrInvalidName, "Send to a node with an invalid name")
		c.is(a.Send(long.Local(), name, nil), transport.ErrInvalidName, "Send to a service with an invalid name")
	}
}

// messageLimit sends and calls with bodies of the limit and one byte more, to
// another node and to itself.
func messageLimit(c *check) {
	a, b := c.pair()
	limit := c.network.MaxMessage
	for _, to := range []transport.Transport{b, a} {
		sizes := make(chan int, 2)
		to.Receive("s", func(_ string, body []byte) { put(c, sizes, len(body)) })
		to.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) {
			put(c, sizes, len(request))
			return nil, nil
		})
		c.is(a.Send(to.Local(), "s", make([]byte, limit+1)), transport.ErrTooLarge, "Send over the limit")
		c.send(a, to, "s", make([]byte, limit))
		if got := wait(c, sizes, "the message of the limit's size"); got != limit {
			c.Errorf("a message of %d bytes arrived, want %d", got, limit)
		}
		_, err := c.result(c.ctx, a, to.Local(), "s", make([]byte, limit+1))
		c.is(err, transport.ErrTooLarge, "Call over the limit")
		c.call(a, to, "s", string(make([]byte, limit)))
		if got := wait(c, sizes, "the request of the limit's size"); got != limit {
			c.Errorf("a request of %d bytes arrived, want %d", got, limit)
		}
	}
}

func responseLimit(c *check) {
	a, b := c.pair()
	limit := c.network.MaxMessage
	for _, to := range []transport.Transport{b, a} {
		to.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) {
			return make([]byte, limit+len(request)), nil
		})
		if got := c.call(a, to, "s", ""); len(got) != limit {
			c.Errorf("got a response of %d bytes, want %d", len(got), limit)
		}
		response, err := c.result(c.ctx, a, to.Local(), "s", []byte{1})
		c.is(err, transport.ErrTooLarge, "response over the limit")
		c.equal(response, nil, "response over the limit")
		c.call(a, to, "s", "")
	}
}

func unknownNode(c *check) {
	a := c.join("a")
	_, err := c.result(c.ctx, a, "nobody", "s", nil)
	c.is(err, transport.ErrUnreachable, "Call of an unknown node")
	if err := a.Send("nobody", "s", nil); err != nil { // or accepted, and lost
		c.is(err, transport.ErrUnreachable, "Send to an unknown node")
	}
}

// floodBytes is more than any queue may hold, with all the buffers of a
// connection behind it.
const floodBytes = 256 << 20

// blockedReceiver fills the way to a receiver that blocks, and then lets it go.
func blockedReceiver(c *check) {
	a, b, d := c.join("a"), c.join("b"), c.join("d")
	c.meet(a, b)
	release, last := make(chan struct{}), newSignal()
	var sent atomic.Uint64 // how many were accepted before the overflow
	var next uint64
	b.Receive("flood", func(_ string, body []byte) {
		c.hold(release)
		n := binary.BigEndian.Uint64(body)
		if n < next {
			c.Errorf("message %d came after message %d", n, next-1)
		}
		next = n + 1
		if n == sent.Load() {
			last.fire()
		}
	})
	body := make([]byte, min(4<<10, c.network.MaxMessage))
	c.within("sending to a receiver that blocks", func() { sent.Store(c.flood(a, b, body)) })

	for _, pair := range [][2]transport.Transport{{d, b}, {a, d}, {d, a}, {b, d}} {
		from, to := pair[0], pair[1]
		arrived := make(chan struct{}, 1)
		defer to.Receive("free", func(string, []byte) { put(c, arrived, struct{}{}) })()
		defer to.Serve("free", echo)()
		c.send(from, to, "free", nil)
		wait(c, arrived, "a message between peers that do not block")
		c.call(from, to, "free", "x")
	}
	close(release)
	c.eventually("the queue to empty", func() bool {
		binary.BigEndian.PutUint64(body, sent.Load())
		err := a.Send(b.Local(), "flood", body)
		if err != nil {
			c.is(err, transport.ErrOverflow, "Send")
		}
		return err == nil
	})
	wait(c, last.given, "the message behind those that waited")
}

// flood sends numbered bodies until one is refused, and returns its number.
func (c *check) flood(from, to transport.Transport, body []byte) (sent uint64) {
	for range floodBytes / (len(body) + 64) {
		if len(body) >= 8 {
			binary.BigEndian.PutUint64(body, sent)
		}
		if err := from.Send(to.Local(), "flood", body); err != nil {
			c.is(err, transport.ErrOverflow, "Send to a receiver that blocks")
			return sent
		}
		sent++
	}
	c.Errorf("%d messages of %d bytes wait for a receiver that blocks, without an overflow", sent, len(body))
	return sent
}

// emptyMessagesOverflow fills a queue with what a bound of bytes would not count.
func emptyMessagesOverflow(c *check) {
	a, b := c.pair()
	c.meet(a, b)
	release := make(chan struct{})
	defer close(release)
	b.Receive("flood", func(string, []byte) { c.hold(release) })
	c.within("sending to a receiver that blocks", func() { c.flood(a, b, nil) })
}

// callsOverflow has as many handlers running as there may be calls in flight.
func callsOverflow(c *check) {
	limit := c.network.MaxCalls
	if limit == 0 {
		c.Skip("Network.MaxCalls is not given")
	}
	a, b := c.pair()
	entered, release := make(chan struct{}, limit+1), make(chan struct{})
	b.Serve("s", func(context.Context, string, []byte) ([]byte, error) {
		put(c, entered, struct{}{})
		c.hold(release)
		return nil, nil
	})
	calls := c.group()
	for range limit {
		calls.Go(func() { c.call(a, b, "s", "") })
	}
	for range limit {
		wait(c, entered, "the handlers")
	}
	_, err := c.result(c.ctx, a, b.Local(), "s", nil)
	c.is(err, transport.ErrOverflow, "a call too many")
	close(release)
	c.within("the calls in flight", calls.Wait)
	c.call(a, b, "s", "")
	if errors.Is(err, transport.ErrOverflow) && len(entered) != 1 {
		c.Errorf("%d handlers ran after the overflow, want 1", len(entered))
	}
}
