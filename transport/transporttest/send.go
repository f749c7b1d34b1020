package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

func sendArrives(c *check) {
	a, b := c.pair()
	type arrival struct {
		from string
		body []byte
	}
	arrivals := make(chan arrival, 1)
	b.Receive("s", func(from string, body []byte) { put(c, arrivals, arrival{from, bytes.Clone(body)}) })
	for _, body := range [][]byte{[]byte("x"), {}, nil, {0}, filled(256, 0), filled(1024, 7)} {
		c.send(a, b, "s", body)
		got := wait(c, arrivals, fmt.Sprintf("a message of %d bytes", len(body)))
		if got.from != a.Local() {
			c.Errorf("message from %q, want from %q", got.from, a.Local())
		}
		c.equal(got.body, body, "body")
	}
}

// sendKeepsOrder has two nodes send to a third, each from several goroutines: two
// with a service of their own, two that share one. A window keeps the queues short.
func sendKeepsOrder(c *check) {
	const (
		streams  = 4
		messages = 400
		window   = 32
	)
	to := c.join("to")
	senders := []transport.Transport{c.join("a"), c.join("b")}

	var mu sync.Mutex
	next := map[string]uint64{}               // by stream; guarded by mu
	busy := map[string]*atomic.Int32{}        // by sender
	credit := map[string]chan struct{}{}      // by stream
	left := len(senders) * streams * messages // guarded by mu
	done := make(chan struct{})
	stream := func(from string, i byte) string { return fmt.Sprintf("%s/%d", from, i) }

	handler := func(from string, body []byte) {
		if busy[from].Add(1) != 1 {
			c.Errorf("two messages of %s are handled at the same time", from)
		}
		defer busy[from].Add(-1)
		runtime.Gosched() // time for a second one, if there is one
		id, n := stream(from, body[0]), binary.BigEndian.Uint64(body[1:])
		mu.Lock()
		if n != next[id] {
			c.Errorf("stream %s: message %d came where %d was due", id, n, next[id])
		}
		next[id] = n + 1
		left--
		if left == 0 {
			close(done)
		}
		mu.Unlock()
		select {
		case credit[id] <- struct{}{}:
		default: // more arrived than was sent, which was reported above
		}
	}
	for _, s := range senders {
		c.meet(s, to)
		busy[s.Local()] = new(atomic.Int32)
		for i := range byte(streams) {
			credit[stream(s.Local(), i)] = make(chan struct{}, window)
		}
	}
	services := [streams]string{"one", "two", "shared", "shared"}
	for _, service := range services {
		to.Receive(service, handler)
	}
	for _, s := range senders {
		for i := range byte(streams) {
			c.start(func() {
				body := make([]byte, 9)
				body[0] = i
				for n := range uint64(messages) {
					if n >= window {
						c.hold(credit[stream(s.Local(), i)])
					}
					binary.BigEndian.PutUint64(body[1:], n)
					c.send(s, to, services[i], body)
				}
			})
		}
	}
	wait(c, done, "all messages")
}

// sendCopiesBody writes over the buffer as soon as Send has returned.
func sendCopiesBody(c *check) {
	a, b := c.pair()
	c.meet(a, b)
	bodies := make(chan []byte, 1)
	b.Receive("s", func(_ string, body []byte) { put(c, bodies, bytes.Clone(body)) })
	for _, size := range []int{1, 100, 1000, 5000, 70_000, c.network.MaxMessage} {
		size = min(size, c.network.MaxMessage)
		buffer, want := filled(size, 1), filled(size, 1)
		c.send(a, b, "s", buffer)
		clear(buffer)
		c.equal(wait(c, bodies, "a message"), want, "body")
	}
}

// receivedBodyIsOwn has the handler write into its body and append to it, which
// must not show in the messages behind it, nor in what the sender holds.
func receivedBodyIsOwn(c *check) {
	a, b := c.pair()
	c.meet(a, b)
	const messages = 64
	want := filled(40, 3)
	bodies := make(chan []byte, messages)
	b.Receive("s", func(_ string, body []byte) {
		put(c, bodies, bytes.Clone(body))
		clear(body)
		_ = append(body, make([]byte, 100)...)
	})
	sent := bytes.Clone(want)
	for range messages {
		c.send(a, b, "s", sent)
	}
	for range messages {
		c.equal(wait(c, bodies, "a message"), want, "body")
	}
	c.equal(sent, want, "the sender's buffer")
}

// sendOffStack has the handler wait for the return of the Send that it handles.
func sendOffStack(c *check) {
	a, b := c.pair()
	for _, to := range []transport.Transport{a, b} {
		returned, handled := make(chan struct{}), make(chan string, 1)
		to.Receive("s", func(from string, _ []byte) {
			c.hold(returned)
			put(c, handled, from)
		})
		c.within("Send to "+to.Local(), func() { c.send(a, to, "s", []byte("x")) })
		close(returned)
		if from := wait(c, handled, "the message to "+to.Local()); from != a.Local() {
			c.Errorf("message from %q, want from %q", from, a.Local())
		}
	}
}

func sendWithoutService(c *check) {
	a, b := c.pair()
	arrived := make(chan struct{}, 1)
	b.Receive("there", func(string, []byte) { put(c, arrived, struct{}{}) })
	for range 100 {
		c.send(a, b, "not there", []byte("x"))
	}
	c.send(a, b, "there", nil)
	wait(c, arrived, "the message behind those that are dropped")
}

// receiveGoexit ends the goroutine of a handler, as a failed assertion in a test
// does. The messages behind must be handled all the same.
func receiveGoexit(c *check) {
	a, b := c.pair()
	c.meet(a, b)
	arrived := make(chan byte, 8)
	b.Receive("s", func(_ string, body []byte) {
		put(c, arrived, body[0])
		if body[0]%2 == 0 {
			runtime.Goexit()
		}
	})
	for i := range byte(8) {
		c.send(a, b, "s", []byte{i})
	}
	for i := range byte(8) {
		if got := wait(c, arrived, "a message behind one whose handler exited"); got != i {
			c.Errorf("got message %d, want %d", got, i)
		}
	}
}

func separateNames(c *check) {
	a, b := c.pair()
	arrived := make(chan string, 1)
	stop := b.Receive("s", func(_ string, body []byte) { put(c, arrived, string(body)) })
	b.Serve("s", func(context.Context, string, []byte) ([]byte, error) { return []byte("answer"), nil })
	c.send(a, b, "s", []byte("message"))
	if got := wait(c, arrived, "the message"); got != "message" {
		c.Errorf("got message %q", got)
	}
	stop()
	if got := c.call(a, b, "s", ""); got != "answer" {
		c.Errorf("got answer %q", got)
	}
}

// firstContact has two nodes that never met send to and call each other at the
// same time.
func firstContact(c *check) {
	for round := range 8 {
		a, b := c.join(fmt.Sprint("a", round)), c.join(fmt.Sprint("b", round))
		arrived, answered := make(chan string, 2), make(chan string, 2)
		for _, pair := range [][2]transport.Transport{{a, b}, {b, a}} {
			from, to := pair[0], pair[1]
			to.Receive("s", func(from string, _ []byte) { put(c, arrived, from) })
			to.Serve("s", echo)
			c.start(func() { c.send(from, to, "s", nil) })
			c.start(func() { answered <- c.call(from, to, "s", "hello") })
		}
		for range 2 {
			wait(c, arrived, "the first message")
			if got := wait(c, answered, "the first answer"); got != "hello" {
				c.Errorf("got answer %q, want %q", got, "hello")
			}
		}
	}
}
