package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

// manyCalls is how many calls from one node to another every Transport carries at
// once.
const manyCalls = 1000

func callIsAnswered(c *check) {
	a, b := c.pair()
	var from atomic.Value
	b.Serve("echo", func(_ context.Context, sender string, request []byte) ([]byte, error) {
		from.Store(sender)
		return request, nil
	})
	b.Serve("nil", func(context.Context, string, []byte) ([]byte, error) { return nil, nil })
	for _, request := range [][]byte{[]byte("x"), {}, nil, {0}, filled(256, 0), filled(1024, 7)} {
		response, err := c.result(c.ctx, a, b.Local(), "echo", request)
		c.is(err, nil, "Call")
		c.equal(response, request, "response")
		response, err = c.result(c.ctx, a, b.Local(), "nil", request)
		c.is(err, nil, "Call")
		c.equal(response, nil, "response")
	}
	if from.Load() != a.Local() {
		c.Errorf("request from %q, want from %q", from.Load(), a.Local())
	}
}

func callToItself(c *check) {
	a := c.join("a")
	a.Serve("echo", echo)
	if got := c.call(a, a, "echo", "hello"); got != "hello" {
		c.Errorf("got answer %q, want %q", got, "hello")
	}
	// A handler that ran on the caller's stack would end the caller with it.
	a.Serve("exit", func(context.Context, string, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil })
	c.within("a call whose handler exits", func() {
		_, err := c.result(c.ctx, a, a.Local(), "exit", nil)
		c.remote(err, a, "exit", "")
	})
}

// callCopiesRequest writes over the request as soon as Call has returned, while
// the handler still works with it.
func callCopiesRequest(c *check) {
	a, b := c.pair()
	b.Serve("echo", echo)
	for _, size := range []int{10, 1000, 100_000} {
		size = min(size, c.network.MaxMessage)
		buffer, want := filled(size, 1), filled(size, 1)
		entered, cancelled, seen := newSignal(), make(chan struct{}), make(chan []byte, 1)
		b.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) {
			entered.fire()
			c.hold(cancelled)
			put(c, seen, bytes.Clone(request))
			return nil, nil
		})
		ctx, cancel := context.WithCancel(c.ctx)
		c.start(func() { c.hold(entered.given); cancel() })
		_, err := c.result(ctx, a, b.Local(), "s", buffer)
		c.is(err, context.Canceled, "cancelled call")
		clear(buffer)
		for range 10 { // with other bytes, in case the buffer is used again
			c.call(a, b, "echo", string(filled(size, 9)))
		}
		close(cancelled)
		c.equal(wait(c, seen, "the handler's view"), want, "request")
	}
}

// responseBelongsToCaller keeps responses while the handler writes over its
// buffers, and writes over responses while the handler keeps its own.
func responseBelongsToCaller(c *check) {
	a, b := c.pair()
	fixed := []byte("fixed response")
	b.Serve("fixed", func(context.Context, string, []byte) ([]byte, error) { return fixed, nil })
	shared := make([]byte, 8)
	b.Serve("shared", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		copy(shared, request)
		return shared, nil
	})
	b.Serve("part", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		for i := range request {
			request[i]++
		}
		return request[1:3], nil
	})
	var kept [][]byte
	for i := range uint64(100) {
		response, err := c.result(c.ctx, a, b.Local(), "shared", binary.BigEndian.AppendUint64(nil, i))
		c.is(err, nil, "Call")
		kept = append(kept, response)

		response, err = c.result(c.ctx, a, b.Local(), "fixed", nil)
		c.is(err, nil, "Call")
		c.equal(response, []byte("fixed response"), "response after the caller wrote over an earlier one")
		clear(response)
		_ = append(response, "more"...)

		request := []byte("acegi")
		response, err = c.result(c.ctx, a, b.Local(), "part", request)
		c.is(err, nil, "Call")
		c.equal(response, []byte("df"), "response that is a part of the request")
		c.equal(request, []byte("acegi"), "the caller's request after the handler wrote into its own")
	}
	for i, response := range kept {
		c.equal(response, binary.BigEndian.AppendUint64(nil, uint64(i)), "response kept by the caller")
	}
}

// nestedCalls goes back and forth between two nodes, every handler waiting for
// the next.
func nestedCalls(c *check) {
	a, b := c.pair()
	for _, pair := range [][2]transport.Transport{{a, b}, {b, a}} {
		node, other := pair[0], pair[1]
		node.Serve("count", func(ctx context.Context, from string, request []byte) ([]byte, error) {
			if from != other.Local() {
				c.Errorf("request from %q, want from %q", from, other.Local())
			}
			left, err := strconv.Atoi(string(request))
			if err != nil || left == 0 {
				return nil, err
			}
			response, err := c.result(ctx, node, from, "count", []byte(strconv.Itoa(left-1)))
			return append(response, '.'), err
		})
	}
	if got := c.call(a, b, "count", "16"); got != "................" {
		c.Errorf("got %q, want 16 dots", got)
	}
}

// thousandCalls has all handlers wait for the last of them to start.
func thousandCalls(c *check) {
	a, b := c.pair()
	var running atomic.Int32
	all := newSignal()
	b.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		if running.Add(1) == manyCalls {
			all.fire()
		}
		c.hold(all.given)
		return request, nil
	})
	calls := c.group()
	for i := range manyCalls {
		request := fmt.Sprint("call ", i)
		calls.Go(func() {
			if got := c.call(a, b, "s", request); got != request {
				c.Errorf("got answer %q, want %q", got, request)
			}
		})
	}
	c.within("a thousand calls", calls.Wait)
}

// blockedHandler makes calls and sends messages beside a handler that blocks.
func blockedHandler(c *check) {
	a, b := c.pair()
	entered, release, stuck := newSignal(), make(chan struct{}), make(chan string, 1)
	b.Serve("blocks", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		if len(request) == 0 {
			return nil, nil
		}
		entered.fire()
		c.hold(release)
		return request, nil
	})
	b.Serve("echo", echo)
	a.Serve("echo", echo)
	arrived := make(chan struct{}, 1)
	b.Receive("s", func(string, []byte) { put(c, arrived, struct{}{}) })

	c.start(func() { stuck <- c.call(a, b, "blocks", "the answer") })
	wait(c, entered.given, "the handler that blocks")
	for range 20 {
		c.call(a, b, "blocks", "")
		c.call(a, b, "echo", "x")
		c.call(b, a, "echo", "x")
		c.send(a, b, "s", nil)
		wait(c, arrived, "a message beside a handler that blocks")
	}
	close(release)
	if got := wait(c, stuck, "the call that was blocked"); got != "the answer" {
		c.Errorf("got answer %q, want %q", got, "the answer")
	}
}

func largeBesideSmall(c *check) {
	a, b := c.pair()
	b.Serve("echo", echo)
	calls := c.group()
	for i := range byte(4) {
		calls.Go(func() {
			for range 2 {
				large := filled(min(c.network.MaxMessage, 1<<20)-int(i), i)
				response, err := c.result(c.ctx, a, b.Local(), "echo", large)
				c.is(err, nil, "large call")
				c.equal(response, large, "large response")
			}
		})
		calls.Go(func() {
			for n := range 100 {
				want := fmt.Sprint(i, n)
				if got := c.call(a, b, "echo", want); got != want {
					c.Errorf("got answer %q, want %q", got, want)
				}
			}
		})
	}
	c.within("large and small calls", calls.Wait)
}

// remote checks that err is what a handler of node returned. An empty message
// stands for any.
func (c *check) remote(err error, node transport.Transport, service, message string) {
	c.Helper()
	var remote *transport.RemoteError
	if !errors.As(err, &remote) {
		c.Errorf("got error %q, want a *RemoteError", text(err))
		return
	}
	if remote.Node != node.Local() || remote.Service != service || message != "" && remote.Message != message {
		c.Errorf("got %#v, want node %q, service %q, message %q", remote, node.Local(), service, message)
	}
}

func remoteErrors(c *check) {
	a, b := c.pair()
	messages := []string{"boom", " two\nlines ", "", "\xff\x00 not UTF-8", string(filled(500, 1))}
	b.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		return []byte("and a response"), errors.New(string(request))
	})
	for _, message := range messages {
		response, err := c.result(c.ctx, a, b.Local(), "s", []byte(message))
		c.remote(err, b, "s", message)
		if err != nil && response != nil {
			c.Errorf("got response %q along with an error", response)
		}
	}
	// A text that no message could hold fails this call and no other.
	b.Serve("long", func(context.Context, string, []byte) ([]byte, error) {
		return nil, errors.New(string(filled(c.network.MaxMessage+1, 0)))
	})
	if _, err := c.result(c.ctx, a, b.Local(), "long", nil); err == nil {
		c.Errorf("a handler's error of over MaxMessage bytes arrived as nil")
	}
	_, err := c.result(c.ctx, a, b.Local(), "s", []byte("after"))
	c.remote(err, b, "s", "after")
}

// remoteSentinels has a handler return the errors by which callers tell what
// happened to their own call.
func remoteSentinels(c *check) {
	a, b := c.pair()
	sentinels := []error{
		transport.ErrClosed, transport.ErrUnreachable, transport.ErrOverflow, transport.ErrTooLarge,
		transport.ErrNoService, transport.ErrInvalidName, context.Canceled, context.DeadlineExceeded,
	}
	for _, sentinel := range sentinels {
		for _, returned := range []error{sentinel, fmt.Errorf("wrapped: %w", sentinel)} {
			b.Serve("s", func(context.Context, string, []byte) ([]byte, error) { return nil, returned })
			_, err := c.result(c.ctx, a, b.Local(), "s", nil)
			c.remote(err, b, "s", returned.Error())
			if errors.Is(err, sentinel) {
				c.Errorf("the handler's %q arrived as if the call itself had failed so", returned)
			}
		}
	}
}

// serveGoexit ends the goroutine of handlers, as a failed assertion in a test does.
func serveGoexit(c *check) {
	a, b := c.pair()
	b.Serve("exit", func(context.Context, string, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil })
	b.Serve("echo", echo)
	for range 10 {
		_, err := c.result(c.ctx, a, b.Local(), "exit", nil)
		c.remote(err, b, "exit", "")
		if got := c.call(a, b, "echo", "after"); got != "after" {
			c.Errorf("got answer %q, want %q", got, "after")
		}
	}
}

func noService(c *check) {
	a, b := c.pair()
	b.Receive("one-way", func(string, []byte) {})
	for _, service := range []string{"none", "one-way"} {
		_, err := c.result(c.ctx, a, b.Local(), service, nil)
		c.is(err, transport.ErrNoService, "Call of a service that nobody serves")
	}
	_, err := c.result(c.ctx, a, a.Local(), "none", nil)
	c.is(err, transport.ErrNoService, "Call of an own service that nobody serves")
}
