package transporttest

import (
	"bytes"

	"github.com/parley-go/parley/transport"
)

// sharers returns two nodes if they are Sharers, as nodes need not be.
func (c *check) sharers() (a, b transport.Sharer, ok bool) {
	t, u := c.pair()
	a, ok = transport.SharerOf(t)
	if ok {
		b, ok = transport.SharerOf(u)
	}
	if ok {
		c.meet(a, b)
	}
	return a, b, ok
}

// sharedBodyStays sends in turn with Send and with SendShared. All come in one
// order, and what is shared is kept without a copy, and must stay as it was.
func sharedBodyStays(c *check) {
	a, b, ok := c.sharers()
	if !ok {
		return
	}
	arrived := make(chan []byte, 3)
	b.ReceiveShared("s", func(_ string, body []byte, shared bool) {
		if !shared {
			body = bytes.Clone(body)
		}
		put(c, arrived, body)
	})
	const size = 300
	buffer := make([]byte, size)
	var kept [][]byte
	for i := byte(0); i < 240; i += 3 {
		for k := i; k < i+3; k++ {
			if k%3 == 1 {
				if err := a.SendShared(b.Local(), "s", filled(size, k)); err != nil {
					c.Fatalf("SendShared: %v", err)
				}
				continue
			}
			copy(buffer, filled(size, k))
			c.send(a, b, "s", buffer)
			clear(buffer)
		}
		for range 3 {
			kept = append(kept, wait(c, arrived, "a message"))
		}
	}
	for k, body := range kept {
		c.equal(body, filled(size, byte(k)), "a body that is kept")
	}
}

// sharedBodyIsCopied has a handler that knows nothing of sharing write into what
// was sent as shared.
func sharedBodyIsCopied(c *check) {
	a, b, ok := c.sharers()
	if !ok {
		return
	}
	const messages = 10
	arrived := make(chan []byte, messages)
	b.Receive("s", func(_ string, body []byte) {
		put(c, arrived, bytes.Clone(body))
		clear(body)
	})
	want := filled(5000, 3)
	shared := bytes.Clone(want)
	for range messages {
		if err := a.SendShared(b.Local(), "s", shared); err != nil {
			c.Fatalf("SendShared: %v", err)
		}
	}
	for range messages {
		c.equal(wait(c, arrived, "a message"), want, "body")
	}
	c.equal(shared, want, "the body that is shared")
}
