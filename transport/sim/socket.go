package sim

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/transport"
)

const (
	backlog       = 128   // connections that wait to be accepted; the next must try again
	firstPort     = 49152 // of those given to who asks for none
	ephemeralPort = 16384 // how many of those there are
)

// An addr is a node's name and a port.
type addr struct {
	host string
	port int
}

func (a addr) Network() string { return "tcp" }
func (a addr) String() string  { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

func parseAddr(network, address string) (addr, error) {
	if !strings.HasPrefix(network, "tcp") {
		return addr{}, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return addr{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return addr{}, &net.AddrError{Err: "a port is a number from 0 to 65535", Addr: address}
	}
	return addr{host, int(port)}, nil
}

// Listen announces a port of this node to the simulated network, like net.Listen:
// network is "tcp", address the node's own name or nothing, and a port, of which
// 0 means any that is free. The listener and what it accepts end with the node.
func (t *Transport) Listen(network, address string) (net.Listener, error) {
	a, err := parseAddr(network, address)
	if err == nil && a.host != "" && a.host != t.host.name {
		err = &net.AddrError{Err: "not the name of this node", Addr: address}
	}
	if err == nil {
		a.host = t.host.name
		var l *listener
		if l, err = t.listen(a); err == nil {
			return l, nil
		}
	}
	return nil, &net.OpError{Op: "listen", Net: network, Addr: a, Err: err}
}

func (t *Transport) listen(a addr) (*listener, error) {
	t.world.mu.Lock()
	defer t.world.mu.Unlock()
	if t.closed {
		return nil, net.ErrClosed
	}
	for tries := 0; a.port == 0 && tries < ephemeralPort; tries++ {
		if port := t.host.port(); t.listeners[port] == nil {
			a.port = port
		}
	}
	if a.port == 0 || t.listeners[a.port] != nil {
		return nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	l := &listener{owner: t, addr: a}
	t.listeners[a.port] = l
	return l, nil
}

// port returns the next port to give away. Called with World.mu held.
func (h *host) port() int {
	h.ports++
	return firstPort + h.ports%ephemeralPort
}

// A listener is a net.Listener on a port of a node.
type listener struct {
	owner *Transport
	addr  addr

	// Guarded by World.mu.
	waiting []*conn
	closed  bool
	changed signal
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Accept() (net.Conn, error) {
	mu := &l.owner.world.mu
	for {
		mu.Lock()
		if l.closed {
			mu.Unlock()
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
		}
		if len(l.waiting) > 0 {
			c := l.waiting[0]
			l.waiting = l.waiting[1:]
			mu.Unlock()
			return c, nil
		}
		changed := l.changed.wait()
		mu.Unlock()
		<-changed
	}
}

// Close resets the connections that nobody has accepted.
func (l *listener) Close() error {
	mu := &l.owner.world.mu
	mu.Lock()
	defer mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.close()
	return nil
}

// close is Close with World.mu held.
func (l *listener) close() {
	l.closed = true
	l.changed.fire()
	delete(l.owner.listeners, l.addr.port)
	for _, c := range l.waiting {
		c.reset(net.ErrClosed)
	}
	l.waiting = nil
}

// DialContext connects to a port of a node over the simulated network, like
// net.Dialer.DialContext: network is "tcp", address a node's name and a port. It
// fits http.Transport.DialContext.
//
// Connections behave as TCP does: bytes arrive in order and once; what is lost on
// the way is sent again after 200 ms, 400 ms and so on, for at most 15 minutes,
// so a connection outlives a short partition; nothing tells of a silent one but
// deadlines. At most 256 KiB are on the way or unread in each direction, then
// Write waits. A node that crashes resets its connections, with
// syscall.ECONNRESET; nobody listening is syscall.ECONNREFUSED. The connection
// has a CloseWrite method.
func (t *Transport) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	a, err := parseAddr(network, address)
	if err == nil {
		var c *conn
		if c, err = t.dial(ctx, a); err == nil {
			return c, nil
		}
	}
	return nil, &net.OpError{Op: "dial", Net: network, Addr: a, Err: err}
}

func (t *Transport) dial(ctx context.Context, a addr) (*conn, error) {
	if ctx.Err() != nil {
		return nil, transport.ContextError(ctx)
	}
	w := t.world
	w.mu.Lock()
	h := w.names[a.host]
	var err error
	switch {
	case t.closed:
		err = net.ErrClosed
	case h == nil || !h.joined:
		err = &net.DNSError{Err: "no such host", Name: a.host, IsNotFound: true}
	}
	if err != nil {
		w.mu.Unlock()
		return nil, err
	}
	c := newConn(t, h, a)
	t.conns[c] = struct{}{}
	c.post(syn{c, 0}, kindSyn, 0, 0)
	w.mu.Unlock()

	select {
	case <-c.established:
	case <-ctx.Done():
	case <-t.ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if errno, ok := c.err.(syscall.Errno); ok {
		return nil, os.NewSyscallError("connect", errno)
	}
	if c.err != nil {
		return nil, c.err
	}
	if c.open {
		return c, nil
	}
	c.reset(net.ErrClosed)
	return nil, transport.ContextError(ctx)
}

// newConn returns the near end of a connection that is to be made. Called with
// World.mu held.
func newConn(t *Transport, to *host, a addr) *conn {
	local := addr{t.host.name, t.host.port()}
	id := fmt.Sprintf("%v-%v/%d", local, a, t.host.ports)
	c := &conn{
		owner: t, remote: to, id: id, localAddr: local, remoteAddr: a,
		key:         draw.Key(0, "connection", id),
		established: make(chan struct{}),
		writing:     make(chan struct{}, 1),
	}
	c.out, c.in = &stream{sender: c}, &stream{receiver: c}
	return c
}

// accept returns the far end of c. Called with World.mu held.
func (l *listener) accept(c *conn) *conn {
	far := &conn{
		owner: l.owner, remote: c.owner.host, id: c.id, localAddr: c.remoteAddr, remoteAddr: c.localAddr,
		key:     draw.Key(0, "accepted", c.id),
		writing: make(chan struct{}, 1),
		peer:    c, open: true, in: c.out, out: c.in,
	}
	far.in.receiver, far.out.sender, c.peer = far, far, far
	l.owner.conns[far] = struct{}{}
	l.waiting = append(l.waiting, far)
	l.changed.fire()
	return far
}
