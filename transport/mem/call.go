package mem

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

const (
	// Calls from one node to another whose handlers run.
	maxCalls = 4096
	// A call that waits for its next use keeps no larger a request buffer.
	keptRequest = 16 << 10
)

// A link joins two live nodes in one direction. It ends when either is closed.
type link struct {
	from, to *Transport
	inbox    *inbox

	mu      sync.Mutex
	ended   error   // why; nil while the link lives
	pending []*call // without an outcome yet; call.slot is the place here
	running int     // handlers: of pending calls, and of those given up
}

// failure says where err happened.
func (l *link) failure(err error, service string) error {
	return failure(err, l.from.name, l.to.name, service)
}

// A call is one request under way. Caller and handler hold it, and the last to
// let go puts it back for another use.
//
// Its outcome is decided once: by whoever takes it off link.pending. Only then
// are response and err written and decided signalled, and only the caller reads
// them.
type call struct {
	network *Network
	work    func() // answer, bound once so that running it allocates nothing
	decided chan struct{}
	holders atomic.Int32

	link    *link
	slot    int // in link.pending, -1 when decided; guarded by link.mu
	service string
	request []byte
	ctx     *requestContext

	response []byte
	err      error
}

func newCall(n *Network) *call {
	c := &call{network: n, decided: make(chan struct{}, 1)}
	c.work = c.answer
	return c
}

// start hands a copy of request to the handler's goroutine.
func (l *link) start(ctx context.Context, service string, request []byte) (*call, error) {
	c := l.from.network.calls.Get().(*call)
	c.holders.Store(2)
	c.link, c.service = l, service
	c.request = append(c.request[:0], request...)
	c.ctx = newRequestContext(ctx)

	l.mu.Lock()
	err := l.ended
	switch {
	case err != nil:
	case l.running == maxCalls:
		err = transport.ErrOverflow
	default:
		l.running++
		c.slot = len(l.pending)
		l.pending = append(l.pending, c)
		l.to.workers.running.Add(1)
	}
	l.mu.Unlock()
	if err != nil {
		c.holders.Store(1)
		c.release()
		return nil, err
	}
	l.to.workers.run(c.work)
	return c, nil
}

// take makes the caller of take the one who decides c's outcome, once.
// Called under l.mu.
func (l *link) take(c *call) bool {
	if c.slot < 0 {
		return false
	}
	last := len(l.pending) - 1
	moved := l.pending[last]
	l.pending[c.slot], moved.slot = moved, c.slot
	l.pending[last] = nil
	l.pending = l.pending[:last]
	c.slot = -1
	return true
}

// wait returns the outcome, or that of ctx if it ends before.
func (c *call) wait(ctx context.Context) (response []byte, err error) {
	defer c.release()
	select {
	case <-c.decided:
	case <-ctx.Done():
		c.link.mu.Lock()
		taken := c.link.take(c)
		c.link.mu.Unlock()
		if taken {
			c.ctx.end(ctx.Err())
			return nil, transport.ContextError(ctx)
		}
		<-c.decided // just about to come
	}
	return c.response, c.err
}

// answer runs the handler.
func (c *call) answer() {
	to := c.link.to
	defer to.workers.running.Done()
	defer c.release()
	defer c.ctx.end(context.Canceled)
	to.services.Answer(c.ctx, c.service, c.link.from.name, c.request, c)
}

// Reply gives the handler's outcome to the caller, if it still waits.
func (c *call) Reply(response []byte, err error) {
	l := c.link
	l.mu.Lock()
	l.running--
	taken := l.take(c)
	l.mu.Unlock()
	if !taken {
		return
	}
	switch {
	case err == nil && len(response) <= transport.DefaultMaxMessage:
		c.response = bytes.Clone(response)
	case err == nil:
		c.err = l.failure(transport.ErrTooLarge, c.service)
	case errors.Is(err, transport.ErrNoService):
		c.err = l.failure(transport.ErrNoService, c.service)
	default:
		c.err = &transport.RemoteError{Node: l.to.name, Service: c.service, Message: err.Error()}
	}
	c.decided <- struct{}{}
}

// end lets no more calls begin, because by, one of the two nodes, closes. It
// takes the calls under way; abort decides them.
func (l *link) end(by *Transport) []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = transport.ErrUnreachable
	if by == l.from {
		l.ended = transport.ErrClosed
	}
	taken := l.pending
	l.pending = nil
	for _, c := range taken {
		c.slot = -1
	}
	return taken
}

// abort decides a call that was under way when its link ended.
func (c *call) abort() {
	c.err = c.link.failure(c.link.ended, c.service)
	c.ctx.end(context.Canceled)
	c.decided <- struct{}{} // c may be in other hands now
}

// release gives up one of the two holds on c.
func (c *call) release() {
	if c.holders.Add(-1) > 0 {
		return
	}
	if cap(c.request) > keptRequest {
		c.request = nil
	}
	c.link, c.ctx, c.response, c.err = nil, nil, nil, nil
	c.network.calls.Put(c)
}
