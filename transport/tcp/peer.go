package tcp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/transport"
)

// A peer is one other node, connected or not. It dials when something is to be
// sent, and not while it backs off after a failure.
//
// # Which connection counts
//
// Two nodes may dial each other at once, and one of them may think that they are
// connected when the other knows better. So that both always agree, of each two
// nodes only the one with the greater name decides: by accepting or refusing
// when it is dialled, by the confirm frame when it dials. It keeps the
// connection it has against
//
//   - one that it dialled itself, and
//   - one whose dial began before the other side took part in the one it has,
//
// as told by the sequence numbers in the hellos; all others replace it, as they
// show that the other side has lost it or was restarted. The other side obeys,
// and does not dial while it waits for a decision.
type peer struct {
	t     *Transport
	name  string
	count counters
	taken taken

	readers atomic.Int32 // of connections, one that reads and those that wait for it

	current atomic.Pointer[conn] // written under mu; nil while there is none

	mu         sync.Mutex
	evicted    bool // no longer in Transport.peers
	used       bool // since the keeper last looked
	attempt    *attempt
	dials      int      // under way
	inbound    int      // accepted connections that wait for the peer's decision
	queue      []queued // messages that wait for the attempt
	queueBytes int
	failures   int // in a row
	retryAt    time.Time
	cause      error // of the last failure
	readDone   chan struct{}
	newest     hello // of the peer, of all connections
}

// An attempt is what callers wait for when there is no connection.
type attempt struct {
	done    chan struct{} // closed when there is one, or err says why not
	err     error
	waiting int // calls; guarded by peer.mu
}

// A queued message waits for a connection.
type queued struct {
	service string
	body    []byte
}

// stableAfter is how long a connection must last for its loss to be followed by
// an immediate dial: one that is lost sooner counts as a failed attempt, so that
// a peer that accepts and hangs up is not dialled in a loop.
const stableAfter = time.Second

// maxReaders bounds the connections that wait for a handler of an earlier one: a
// peer cannot come back without end to one that blocks.
const maxReaders = 8

// errNotChosen says that a connection is not the one that counts.
var errNotChosen = errors.New("another connection was chosen")

// send queues a message on the connection, or until there is one.
func (p *peer) send(service string, body []byte) error {
	if c := p.current.Load(); c != nil {
		if err := c.send(service, body); err != errGone {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c, _, err := p.connect()
	switch {
	case err != nil:
		return err
	case c != nil:
		if err := c.send(service, body); err != errGone {
			return err
		}
		return p.unreachable(errGone)
	}
	if limit := p.t.config.MaxMessage; len(body) > limit {
		return tooLarge(len(body), limit)
	}
	n := frameOverhead + fragmentedSize(len(service)+len(body), true) // at least what it takes on the wire
	if p.queueBytes+n > p.t.config.MaxQueue {
		p.count.overflows.Add(1)
		return fmt.Errorf("%w: %d bytes wait for a connection", transport.ErrOverflow, p.queueBytes)
	}
	p.queueBytes += n
	p.queue = append(p.queue, queued{service, append([]byte(nil), body...)})
	return nil
}

// call makes a call on the connection, and waits for one where there is none.
func (p *peer) call(ctx context.Context, service string, request []byte) ([]byte, error) {
	if c := p.current.Load(); c != nil {
		response, err := c.call(ctx, service, request)
		if err != errGone {
			return response, err
		}
	}
	for range 2 {
		c, err := p.await(ctx)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		response, err := c.call(ctx, service, request)
		if err != errGone {
			return response, err
		}
	}
	return nil, p.unreachable(errGone)
}

// await returns a connection, after waiting for an attempt if need be. nil says
// that the attempt was successful but its connection is gone again.
func (p *peer) await(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	c, a, err := p.connect()
	if c != nil || err != nil {
		p.mu.Unlock()
		return c, err
	}
	if a.waiting++; a.waiting > p.t.config.MaxCalls {
		a.waiting--
		p.mu.Unlock()
		p.count.overflows.Add(1)
		return nil, fmt.Errorf("%w: %d calls wait for a connection", transport.ErrOverflow, p.t.config.MaxCalls)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		a.waiting--
		p.mu.Unlock()
	}()
	select {
	case <-a.done:
		return p.current.Load(), a.err
	case <-ctx.Done():
		return nil, transport.ContextError(ctx)
	}
}

// connect returns the connection, or the attempt to make one, which it starts if
// there is none; the caller holds mu.
func (p *peer) connect() (*conn, *attempt, error) {
	if p.evicted {
		return nil, nil, errEvicted
	}
	p.used = true
	c := p.current.Load()
	if c != nil && c.over() {
		p.detach(c)
		c = nil
	}
	if c != nil || p.attempt != nil {
		return c, p.attempt, nil
	}
	if wait := time.Until(p.retryAt); wait > 0 {
		return nil, nil, p.unreachable(fmt.Errorf("next attempt in %v: %w", wait.Round(time.Millisecond), p.cause))
	}
	if p.name == p.t.name {
		err := p.t.connectSelf(p)
		return p.current.Load(), nil, err
	}
	if p.inbound == 0 {
		if err := p.startDial(); err != nil {
			return nil, nil, err
		}
	}
	p.attempt = &attempt{done: make(chan struct{})}
	return nil, p.attempt, nil
}

// startDial dials; the caller holds mu.
func (p *peer) startDial() error {
	sequence := p.t.sequence.Add(1)
	if !p.t.spawn(func() { p.dial(sequence) }) {
		return transport.ErrClosed
	}
	p.dials++
	return nil
}

// dialled ends a dial; err is nil if a connection came of it. It reports whether
// the dial has failed: it has not if there is a connection all the same.
func (p *peer) dialled(err error) (failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials--
	failed = err != nil && p.current.Load() == nil && p.inbound == 0
	if failed {
		p.count.dialFailures.Add(1)
	}
	p.settle(err)
	return failed
}

// endInbound ends an accepted connection's wait for the decision.
func (p *peer) endInbound(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inbound--
	p.settle(err)
}

// settle ends the attempt when all that it waited for has failed; the caller
// holds mu.
func (p *peer) settle(err error) {
	if p.attempt == nil || p.dials > 0 || p.inbound > 0 {
		return
	}
	if err == nil {
		err = errNotChosen // it was successful, but for an attempt before this one
	}
	p.failed(err)
	p.finish(p.unreachable(err))
}

// failed notes a failure and sets the pause after it; the caller holds mu.
func (p *peer) failed(cause error) {
	p.cause = cause
	p.retryAt = time.Now().Add(backoff(p.failures, p.t.config.MinBackoff, p.t.config.MaxBackoff, rand.Int64N))
	p.failures++
}

// backoff returns the pause after one failure that follows others: it doubles
// from least to most, and is drawn from its upper half, so that nodes that fail
// together do not come back together.
func backoff(others int, least, most time.Duration, draw func(n int64) int64) time.Duration {
	d := most
	if others < 32 && least<<others>>others == least {
		d = min(most, least<<others)
	}
	return d - time.Duration(draw(int64(d/2)+1))
}

// finish ends the attempt; the caller holds mu.
func (p *peer) finish(err error) {
	if p.attempt != nil {
		p.attempt.err = err
		close(p.attempt.done)
		p.attempt = nil
	}
	p.count.dropped.Add(uint64(len(p.queue)))
	p.queue, p.queueBytes = nil, 0
}

// adopt makes c the connection, and returns the one that it replaces, which the
// caller ends without mu. The caller holds mu.
func (p *peer) adopt(c *conn) (replaced *conn) {
	replaced = p.current.Load()
	c.after = p.readDone
	p.readDone = c.readDone
	p.newest = c.remote
	p.retryAt = time.Time{}
	p.count.connects.Add(1)
	for _, m := range p.queue {
		if c.send(m.service, m.body) != nil {
			p.count.dropped.Add(1)
		}
	}
	p.queue, p.queueBytes = nil, 0
	p.current.Store(c)
	p.finish(nil)
	if p.name != p.t.name {
		p.t.events.publish(Event{Peer: p.name, Up: true, Time: c.since})
	}
	return replaced
}

// lost forgets a connection that is over.
func (p *peer) lost(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current.Load() == c {
		p.detach(c)
	}
}

// detach forgets the current connection, which is over; the caller holds mu.
func (p *peer) detach(c *conn) {
	cause := c.cause()
	p.current.Store(nil)
	if time.Since(c.since) >= stableAfter {
		p.failures, p.retryAt = 0, time.Time{}
	} else {
		p.failed(cause)
	}
	if p.name != p.t.name {
		p.t.events.publish(Event{Peer: p.name, Cause: cause, Time: time.Now()})
	}
}

func (p *peer) unreachable(cause error) error {
	if p.t.closed() {
		return transport.ErrClosed
	}
	return fmt.Errorf("%w: %w", transport.ErrUnreachable, cause)
}

// decides reports whether this node decides on connections with the peer.
func (p *peer) decides() bool { return p.t.name > p.name }

// supersedes reports whether a new connection takes the place of the current
// one; the caller holds mu. See the comment of peer for the rules.
func (p *peer) supersedes(h *hello, dialledHere bool) bool {
	if p.readers.Load() >= maxReaders {
		return false
	}
	c := p.current.Load()
	if c == nil || c.over() || c.remote.incarnation != h.incarnation {
		// What the peer sent with a confirm of long ago is older than what came
		// over a connection that is over by now.
		return p.decides() || p.newest.incarnation != h.incarnation || h.sequence > p.newest.sequence
	}
	if p.decides() && dialledHere {
		return false
	}
	return h.sequence > c.remote.sequence
}
