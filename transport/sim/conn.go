package sim

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	window     = 256 << 10 // bytes of one direction on the way or unread
	maxSegment = 16 << 10  // bytes that travel as one
)

// A conn is one end of a connection: a net.Conn.
type conn struct {
	owner                 *Transport
	remote                *host
	localAddr, remoteAddr addr
	id                    string        // of both ends, for the trace
	key                   uint64        // numbers what this end sends; the lane adds the seed
	established           chan struct{} // closed when a dial has ended; nil for an accepted one
	writing               chan struct{} // held by the Write that runs

	// Guarded by World.mu.
	peer      *conn // the other end, once it exists
	in, out   *stream
	open      bool  // a dial has succeeded
	err       error // why its owner cannot use it any more
	gone      bool  // it ended so that nothing of it is sent again
	aborts    uint64
	readable  deadline
	writeable deadline
}

func (c *conn) LocalAddr() net.Addr  { return c.localAddr }
func (c *conn) RemoteAddr() net.Addr { return c.remoteAddr }

func (c *conn) SetDeadline(at time.Time) error {
	if err := c.SetReadDeadline(at); err != nil {
		return err
	}
	return c.SetWriteDeadline(at)
}

func (c *conn) SetReadDeadline(at time.Time) error  { return c.setDeadline(&c.readable, at) }
func (c *conn) SetWriteDeadline(at time.Time) error { return c.setDeadline(&c.writeable, at) }

func (c *conn) setDeadline(d *deadline, at time.Time) error {
	mu := &c.owner.world.mu
	mu.Lock()
	err := c.err
	mu.Unlock()
	if err != nil {
		return c.failure("set", err)
	}
	d.set(mu, at)
	return nil
}

func (c *conn) failure(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.localAddr, Addr: c.remoteAddr, Err: err}
}

// Read returns what has arrived, and waits if there is nothing.
func (c *conn) Read(p []byte) (int, error) {
	mu := &c.owner.world.mu
	for {
		mu.Lock()
		n, err := c.read(p)
		if n > 0 || err != nil || len(p) == 0 {
			mu.Unlock()
			if err == nil || err == io.EOF {
				return n, err
			}
			return 0, c.failure("read", err)
		}
		arrived, late := c.in.arrived.wait(), c.readable.signal.wait()
		mu.Unlock()
		select {
		case <-arrived:
		case <-late:
		}
	}
}

// read reads without waiting. Called with World.mu held.
func (c *conn) read(p []byte) (n int, err error) {
	switch s := c.in; {
	case c.err != nil:
		return 0, c.err
	case c.readable.passed:
		return 0, os.ErrDeadlineExceeded
	case len(s.unread) > 0 && len(p) > 0:
		return c.take(p), nil
	case len(s.unread) == 0 && s.ended:
		return 0, io.EOF
	}
	return 0, nil
}

// take moves unread bytes to p and makes room for more. Called with World.mu held.
func (c *conn) take(p []byte) int {
	s := c.in
	n := copy(p, s.unread[0])
	if s.unread[0] = s.unread[0][n:]; len(s.unread[0]) == 0 {
		s.unread[0] = nil
		s.unread = s.unread[1:]
	}
	if s.consumed += n; s.consumed >= window/2 {
		s.credits++
		c.post(credit{s, s.credits, s.consumed, 0}, kindCredit, s.credits, 0)
		s.consumed = 0
	}
	return n
}

// Write returns when all of p is on the way.
func (c *conn) Write(p []byte) (n int, err error) {
	mu := &c.owner.world.mu
	mu.Lock()
	late := c.writeable.signal.wait()
	mu.Unlock()
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-late:
		return 0, c.failure("write", os.ErrDeadlineExceeded)
	}
	for {
		mu.Lock()
		switch {
		case c.err != nil:
			err = c.err
		case c.out.finished:
			err = net.ErrClosed
		case c.writeable.passed:
			err = os.ErrDeadlineExceeded
		default:
			n += c.push(p[n:])
		}
		room, late := c.out.room.wait(), c.writeable.signal.wait()
		mu.Unlock()
		if err != nil {
			return n, c.failure("write", err)
		}
		if n == len(p) {
			return n, nil
		}
		select {
		case <-room:
		case <-late:
		}
	}
}

// push sends as much of p as there is room for. Called with World.mu held.
func (c *conn) push(p []byte) (n int) {
	for n < len(p) && c.out.flight < window {
		size := min(len(p)-n, maxSegment, window-c.out.flight)
		c.out.flight += size
		c.segment(append([]byte(nil), p[n:n+size]...), false)
		n += size
	}
	return n
}

// segment sends the next part of the stream. Called with World.mu held.
func (c *conn) segment(data []byte, last bool) {
	g := &segment{stream: c.out, seq: c.out.next, data: data, last: last}
	c.out.next++
	c.post(g, kindSegment, g.seq, 0)
}

// CloseWrite tells the other end that no more will come. Reading goes on.
func (c *conn) CloseWrite() error {
	mu := &c.owner.world.mu
	mu.Lock()
	defer mu.Unlock()
	if c.err != nil {
		return c.failure("close", c.err)
	}
	c.finish()
	return nil
}

// finish ends the outgoing stream. Called with World.mu held.
func (c *conn) finish() {
	if c.out.finished {
		return
	}
	c.out.finished = true
	c.out.room.fire()
	c.segment(nil, true)
}

// Close ends both directions. What is on its way to the other end still arrives,
// unless something is unread here or comes later: then the other end is reset.
func (c *conn) Close() error {
	mu := &c.owner.world.mu
	mu.Lock()
	defer mu.Unlock()
	if c.err == net.ErrClosed {
		return c.failure("close", c.err)
	}
	c.close()
	return nil
}

// close is Close with World.mu held.
func (c *conn) close() {
	switch {
	case c.err != nil:
		c.err = net.ErrClosed
	case c.established != nil && !c.open, len(c.in.unread) > 0: // a dial under way has no far end to finish
		c.reset(net.ErrClosed)
	default:
		c.finish()
		c.end(net.ErrClosed)
	}
}

// crash is how a connection ends with its node.
func (c *conn) crash() { c.reset(net.ErrClosed) }

// reset ends the connection here at once, and there as soon as the news arrives.
// Called with World.mu held.
func (c *conn) reset(err error) {
	c.abort()
	c.fail(err)
}

// fail ends the connection here. Nothing of it is sent again. Called with World.mu
// held.
func (c *conn) fail(err error) {
	c.end(err)
	c.gone = true
}

// end makes the connection unusable for its owner. Called with World.mu held.
func (c *conn) end(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.in.arrived.fire()
	c.out.room.fire()
	for _, d := range []*deadline{&c.readable, &c.writeable} {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
	}
	if c.established != nil && !c.open {
		close(c.established)
	}
	delete(c.owner.conns, c)
}
