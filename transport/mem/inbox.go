package mem

import (
	"bytes"
	"sync"

	"github.com/parley-go/parley/transport"
)

// The one-way messages from one node to another that wait: at most maxMessages,
// and at most maxBytes unless a single one is larger. Half of each is in the
// batch that fills, half in the one that is being handled.
const (
	maxMessages = 8192
	maxBytes    = 32 << 20

	// Bodies of this size and more are copied on their own, before the lock.
	largeBody = 4 << 10
	// A batch keeps no more memory than this for bodies while it is empty.
	keptBytes = 64 << 10
)

// An inbox queues the one-way messages from the nodes of one name to a node and
// handles them in order. While there are any, one goroutine does.
type inbox struct {
	to   *Transport
	from string
	work func() // drain, bound once so that running it allocates nothing

	mu      sync.Mutex
	filling batch
	running bool  // drain runs, or is about to
	refuse  error // why there can be no more; nil while there can
	orphan  bool  // the sender is gone

	// The batch being handled and the place in it, owned by drain.
	taken batch
	next  int
}

type message struct {
	service string
	body    []byte
	shared  bool // body is nobody's to write into
}

// A batch is a run of messages with the memory for their bodies.
type batch struct {
	messages []message
	bytes    []byte // the end of what backs the small bodies
	size     int    // of all bodies
}

func newInbox(to *Transport, from string) *inbox {
	b := &inbox{to: to, from: from}
	b.work = b.drain
	return b
}

// push queues a copy of body, or a body that is shared as it is.
func (b *inbox) push(service string, body []byte, shared bool) error {
	var kept []byte
	switch {
	case shared:
		kept = body
	case len(body) >= largeBody:
		kept = bytes.Clone(body)
	}
	b.mu.Lock()
	if err := b.refuse; err != nil {
		b.mu.Unlock()
		return err
	}
	f := &b.filling
	if n := len(f.messages); n > 0 && (n >= maxMessages/2 || f.size+len(body) > maxBytes/2) {
		b.mu.Unlock()
		return transport.ErrOverflow
	}
	if kept == nil {
		kept = f.copy(body)
	}
	f.messages = append(f.messages, message{service, kept, shared})
	f.size += len(body)
	start := !b.running
	if start {
		b.running = true
		b.to.workers.running.Add(1)
	}
	b.mu.Unlock()
	if start {
		b.to.workers.run(b.work)
	}
	return nil
}

// copy returns a copy of body in the memory of the batch. Where that is full,
// new memory follows; the bodies in the old keep it.
func (f *batch) copy(body []byte) []byte {
	if cap(f.bytes)-len(f.bytes) < len(body) {
		f.bytes = make([]byte, 0, max(len(body), min(2*cap(f.bytes), keptBytes), 512))
	}
	start := len(f.bytes)
	f.bytes = append(f.bytes, body...)
	return f.bytes[start:len(f.bytes):len(f.bytes)]
}

// drain handles messages until there are none.
func (b *inbox) drain() {
	exited := true // by a handler: runtime.Goexit
	defer func() {
		if exited {
			b.to.workers.run(b.work)
			return
		}
		b.to.workers.running.Done()
	}()
	for b.next < len(b.taken.messages) || b.take() {
		m := &b.taken.messages[b.next]
		b.next++
		b.to.services.DeliverShared(m.service, b.from, m.body, m.shared)
	}
	exited = false
}

// take takes the messages that have come in, and reports whether there are any.
// If not, drain has ended.
func (b *inbox) take() bool {
	clear(b.taken.messages)
	b.taken = batch{messages: b.taken.messages[:0], bytes: b.taken.bytes[:0]}
	b.next = 0

	b.mu.Lock()
	b.filling, b.taken = b.taken, b.filling
	b.running = len(b.taken.messages) > 0
	ended, orphan := !b.running, b.orphan
	b.mu.Unlock()
	if ended && orphan {
		b.to.network.forget(b.to, b)
	}
	return !ended
}

// close drops what waits and refuses more: its node closes.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = transport.ErrUnreachable
	if b.from == b.to.name {
		b.refuse = transport.ErrClosed
	}
	b.filling = batch{}
}
