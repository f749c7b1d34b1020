package tcp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/transport"
)

// A conn is one connection with a peer, after its handshake. Both sides use it
// alike, whoever dialled. One goroutine reads (read.go), one writes (write.go),
// and some run the handlers of requests (work.go).
type conn struct {
	t      *Transport
	peer   *peer
	link   *link
	sums   bool // frames carry checksums
	limit  int  // largest body that both sides carry
	remote hello
	since  time.Time
	ping   time.Duration   // pause between pings
	after  <-chan struct{} // closed when the reader of the connection before has ended

	wakeup   chan struct{} // 1 slot; wakes the writer
	readDone chan struct{} // closed when the reader has ended
	drained  chan struct{} // closed when nothing is left to write, once draining is set, or on failure

	in   incoming
	life liveness

	mu       sync.Mutex
	err      error // why the connection is over; set once
	calls    callTable
	small    blockList // frames to write next
	bulk     bulkQueue
	writing  int       // bytes that the writer has taken
	reserved int       // bytes about to be queued
	space    sync.Cond // some of the queue was written, or the connection is over
	sleeping bool      // the writer waits for wakeup
	draining bool
	sent     tally
}

// liveness is what the reader and the writer tell the keeper.
type liveness struct {
	reads, writes     atomic.Uint64 // finished reads and writes
	reading, blocking atomic.Bool   // inside one now
}

// errGone says that a connection was over before it took anything.
var errGone = errors.New("connection is over")

// newConn returns a connection that does nothing yet; first is written first.
func newConn(p *peer, l *link, remote *hello, first []byte) *conn {
	config := &p.t.config
	c := &conn{
		t: p.t, peer: p, link: l, sums: l.tls == nil, remote: *remote,
		limit:    int(min(uint64(config.MaxMessage), remote.maxMessage)),
		since:    time.Now(),
		ping:     max(min(config.KeepAlive, remote.keepAlive), minKeepAlive) / 4,
		wakeup:   make(chan struct{}, 1),
		readDone: make(chan struct{}),
		drained:  make(chan struct{}),
	}
	c.small.pool = &p.t.blocks
	if first != nil {
		c.small.add(len(first), func(b []byte) []byte { return append(b, first...) })
	}
	c.calls.limit = int(min(uint64(config.MaxCalls), remote.maxCalls))
	c.space.L = &c.mu
	c.in.init(config, &p.taken)
	return c
}

// start starts the goroutines. The caller is one that Close waits for.
func (c *conn) start() {
	c.peer.readers.Add(1)
	c.t.running.Go(c.read)
	c.t.running.Go(c.write)
}

// fail ends the connection, once. It must not be called with peer.mu held.
func (c *conn) fail(cause error) {
	if !c.end(cause) {
		return
	}
	c.peer.lost(c)
	c.t.forget(c)
}

// end is fail without telling the peer.
func (c *conn) end(cause error) bool {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return false
	}
	c.err = cause
	waiters := c.calls.clear()
	c.small, c.bulk = blockList{}, bulkQueue{}
	c.peer.count.addOut(&c.sent)
	c.space.Broadcast()
	c.setDrained()
	c.mu.Unlock()

	_ = c.link.raw.Close() // not the TLS layer, which would wait to say goodbye
	notify(c.wakeup)
	err := c.lostError(cause)
	for _, w := range waiters {
		w.err = err
		w.signal <- struct{}{}
	}
	c.in.close(err)
	return true
}

func (c *conn) lostError(cause error) error {
	if errors.Is(cause, transport.ErrClosed) {
		return transport.ErrClosed
	}
	return fmt.Errorf("%w: connection lost: %w", transport.ErrUnreachable, cause)
}

// over reports whether the connection has ended.
func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// cause returns why the connection is over.
func (c *conn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// load returns whether the connection lives and what it has to do.
func (c *conn) load() (up bool, queued, calls int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil, c.queued(), c.calls.count
}

// drain makes the writer close c.drained when it has written everything.
func (c *conn) drain() {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	notify(c.wakeup)
}

// setDrained closes drained, once; the caller holds mu.
func (c *conn) setDrained() {
	select {
	case <-c.drained:
	default:
		close(c.drained)
	}
}

// endCalls ends the calls under way with ErrClosed, and the contexts of the
// handlers that run for the peer.
func (c *conn) endCalls() {
	c.mu.Lock()
	c.calls.limit = 0
	waiters := c.calls.clear()
	c.mu.Unlock()
	for _, w := range waiters {
		w.err = transport.ErrClosed
		w.signal <- struct{}{}
	}
	c.in.cancelAll(transport.ErrClosed)
}

// send queues a one-way message.
func (c *conn) send(service string, body []byte) error {
	if len(body) > c.limit {
		return tooLarge(len(body), c.limit)
	}
	size := len(service) + len(body)
	c.mu.Lock()
	if err := c.admit(size); err != nil {
		c.mu.Unlock()
		return err
	}
	c.sent.messages++
	switch {
	case messageSize+size > maxPart:
		var space [maxHeader]byte
		c.queueBulk(&bulk{service: service}, appendMessageHeader(space[:0], service), body)
		return nil
	case c.bulk.holds(service):
		// What was sent before is still being cut up: queue up behind it.
		wire := appendMessage(nil, service, body, c.sums)
		c.bulk.push(&bulk{service: service, stride: len(wire), wire: wire})
	default:
		c.small.add(frameOverhead+size, func(b []byte) []byte {
			return appendMessage(b, service, body, c.sums)
		})
	}
	c.unlockAndWake()
	return nil
}

// admit says whether n more bytes of body and name may be queued; the caller
// holds mu.
func (c *conn) admit(n int) error {
	if c.err != nil {
		return errGone
	}
	if c.queued()+n > c.t.config.MaxQueue {
		c.peer.count.overflows.Add(1)
		return fmt.Errorf("%w: %d bytes wait to be written", transport.ErrOverflow, c.queued())
	}
	c.sent.bytes += uint64(n)
	return nil
}

func (c *conn) queued() int { return c.small.size + c.bulk.bytes + c.writing + c.reserved }

// unlockAndWake ends the critical section that queued something.
func (c *conn) unlockAndWake() {
	wake := c.sleeping
	c.sleeping = false
	c.mu.Unlock()
	if wake {
		notify(c.wakeup)
	}
}

// call sends a request and waits for its response.
func (c *conn) call(ctx context.Context, service string, request []byte) ([]byte, error) {
	if len(request) > c.limit {
		return nil, tooLarge(len(request), c.limit)
	}
	var timeout uint64
	if deadline, ok := ctx.Deadline(); ok {
		timeout = uint64(max(1, time.Until(deadline)))
	}
	w := c.t.waiter()
	id, err := c.sendRequest(w, timeout, service, request)
	if err != nil {
		c.t.waiters.Put(w)
		return nil, err
	}
	if done := ctx.Done(); done == nil {
		<-w.signal
	} else {
		select {
		case <-w.signal:
		case <-done:
			if c.giveUp(id) {
				c.t.waiters.Put(w)
				return nil, transport.ContextError(ctx)
			}
			<-w.signal // the response is being handed over
		}
	}
	status, response, err := w.status, w.response, w.err
	w.response, w.err = nil, nil
	c.t.waiters.Put(w)
	if err != nil {
		return nil, err
	}
	return c.outcome(status, service, response)
}

func (c *conn) sendRequest(w *waiter, timeout uint64, service string, request []byte) (uint64, error) {
	c.mu.Lock()
	size := len(service) + len(request)
	if err := c.admit(size); err != nil {
		c.mu.Unlock()
		return 0, err
	}
	id, ok := c.calls.add(w)
	if !ok {
		n, limit := c.calls.count, c.calls.limit
		c.mu.Unlock()
		if limit == 0 {
			return 0, transport.ErrClosed // by endCalls
		}
		c.peer.count.overflows.Add(1)
		return 0, fmt.Errorf("%w: %d calls in flight", transport.ErrOverflow, n)
	}
	c.sent.requests++
	if requestSize+size > maxPart {
		var space [maxHeader]byte
		c.queueBulk(&bulk{call: id}, appendRequestHeader(space[:0], id, timeout, service), request)
		return id, nil
	}
	c.small.add(frameOverhead+size, func(b []byte) []byte {
		return appendRequest(b, id, timeout, service, request, c.sums)
	})
	c.unlockAndWake()
	return id, nil
}

// giveUp ends a call without a response. It returns false if the response, or
// the end of the connection, was faster.
func (c *conn) giveUp(id uint64) bool {
	c.mu.Lock()
	if c.calls.remove(id) == nil {
		c.mu.Unlock()
		return false
	}
	if c.bulk.cancel(id) {
		c.small.add(frameOverhead, func(b []byte) []byte { return appendWord(b, kindCancel, id, c.sums) })
	}
	c.unlockAndWake()
	return true
}

// outcome turns a response into what Call returns.
func (c *conn) outcome(s status, service string, body []byte) ([]byte, error) {
	switch s {
	case statusOK:
		return body, nil
	case statusNoService:
		return nil, transport.ErrNoService
	case statusTooLarge:
		return nil, fmt.Errorf("%w: response: %s", transport.ErrTooLarge, body)
	case statusOverflow:
		return nil, fmt.Errorf("%w: too many requests there", transport.ErrOverflow)
	}
	return nil, &transport.RemoteError{Node: c.peer.name, Service: service, Message: string(body)}
}

func tooLarge(n, limit int) error {
	return fmt.Errorf("%w: %d bytes, the limit is %d", transport.ErrTooLarge, n, limit)
}
