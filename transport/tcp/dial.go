package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/parley-go/parley/transport"
)

// dial makes a connection to the peer.
func (p *peer) dial(sequence uint64) {
	err := p.tryDial(sequence)
	if p.dialled(err) && !p.t.closed() {
		p.t.config.Logger.Warn("dial failed", "node", p.t.name, "peer", p.name, "error", err)
	}
}

func (p *peer) tryDial(sequence uint64) error {
	t := p.t
	addr, err := t.config.Resolve(p.name)
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	dialer := net.Dialer{Timeout: t.config.DialTimeout, KeepAlive: -1}
	raw, err := dialer.DialContext(t.ctx, "tcp", addr)
	if err != nil {
		return err
	}
	l, done, err := t.prepare(raw, true)
	defer done()
	if err != nil {
		return err
	}
	if err := p.greet(l, sequence); err != nil {
		_ = raw.Close()
		return err
	}
	return nil
}

// greet is the dialer's side of the handshake.
func (p *peer) greet(l *link, sequence uint64) error {
	t := p.t
	if err := l.vouches(p.name); err != nil {
		return err
	}
	stream := l.stream()
	mine := t.hello(sequence)
	mine.target = p.name
	if _, err := stream.Write(appendHello(nil, mine)); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	h, err := readHello(stream)
	if err != nil {
		return fmt.Errorf("handshake: %w", closedByUs(err))
	}
	if err := h.check(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if h.name != p.name {
		return fmt.Errorf("handshake: the node at this address is %q", h.name)
	}
	var first []byte
	if p.decides() {
		first = appendConfirm(nil, l.tls == nil)
	}
	if !p.establish(l, h, true, first) {
		return errNotChosen
	}
	return nil
}

// establish makes a connection of a link, if it is to be the one that counts.
func (p *peer) establish(l *link, h *hello, dialledHere bool, first []byte) bool {
	p.mu.Lock()
	if p.evicted || !p.supersedes(h, dialledHere) {
		p.mu.Unlock()
		return false
	}
	return p.install(l, h, first)
}

// install makes a connection of a link; the caller holds mu, install releases it.
func (p *peer) install(l *link, h *hello, first []byte) bool {
	_ = l.raw.SetDeadline(time.Time{})
	c := newConn(p, l, h, first)
	if !p.t.remember(c) {
		p.mu.Unlock()
		return false
	}
	replaced := p.adopt(c)
	p.mu.Unlock()
	c.start()
	if replaced != nil {
		replaced.fail(errors.New("replaced by a newer connection"))
	}
	p.t.config.Logger.Info("connected", "node", p.t.name, "peer", p.name, "address", l.raw.RemoteAddr().String())
	return true
}

// acceptLoop accepts connections until the listener is closed.
func (t *Transport) acceptLoop() {
	const most = time.Second
	pause := 5 * time.Millisecond
	for {
		raw, err := t.listener.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			t.accept(raw)
			continue
		}
		if t.closed() {
			return
		}
		// Out of file descriptors, for one: it may pass.
		t.config.Logger.Warn("accept failed", "node", t.name, "error", err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, most)
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *Transport) accept(raw net.Conn) {
	t.accepted.Add(1)
	if t.handshakes.Add(1) > int64(t.config.MaxHandshakes) {
		t.handshakes.Add(-1)
		t.refused.Add(1)
		_ = raw.Close()
		return
	}
	started := t.spawn(func() {
		defer t.handshakes.Add(-1)
		if err := t.welcome(raw); err != nil {
			_ = raw.Close()
			t.refused.Add(1)
			t.logRefusal(raw, err)
		}
	})
	if !started {
		t.handshakes.Add(-1)
		_ = raw.Close()
	}
}

func (t *Transport) logRefusal(raw net.Conn, err error) {
	level := slog.LevelWarn
	switch {
	case t.closed():
		return
	case errors.Is(err, errNotChosen):
		level = slog.LevelDebug // both have dialled: nothing is wrong
	}
	t.config.Logger.Log(t.ctx, level, "connection refused",
		"node", t.name, "address", raw.RemoteAddr().String(), "error", err)
}

// welcome is the acceptor's side of the handshake.
func (t *Transport) welcome(raw net.Conn) error {
	l, done, err := t.prepare(raw, false)
	defer done()
	if err != nil {
		return err
	}
	h, err := readHello(l.stream())
	if err != nil {
		return fmt.Errorf("handshake: %w", closedByUs(err))
	}
	p, err := t.identify(l, h)
	if err != nil {
		return t.turnAway(l, err)
	}
	if p.decides() {
		return p.decide(l, h)
	}
	return p.obey(l, h)
}

// identify returns the peer that a hello is from.
func (t *Transport) identify(l *link, h *hello) (*peer, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	if h.target != t.name {
		return nil, fmt.Errorf("this is %q, not %q", t.name, h.target)
	}
	if h.name == t.name {
		return nil, fmt.Errorf("%q is my own name", h.name)
	}
	if err := l.vouches(h.name); err != nil {
		return nil, err
	}
	return t.peer(h.name)
}

// turnAway tells the dialer why it is refused.
func (t *Transport) turnAway(l *link, cause error) error {
	refusal := t.hello(0)
	refusal.refused = cause.Error()
	refusal.refused = refusal.refused[:min(len(refusal.refused), maxHello/2)]
	_, _ = l.stream().Write(appendHello(nil, refusal))
	return cause
}

// decide accepts or refuses a connection that a peer with a smaller name dialled.
func (p *peer) decide(l *link, h *hello) error {
	p.mu.Lock()
	if p.evicted || !p.supersedes(h, false) {
		p.mu.Unlock()
		return p.t.turnAway(l, errNotChosen)
	}
	if !p.install(l, h, appendHello(nil, p.t.hello(p.t.sequence.Add(1)))) {
		return transport.ErrClosed
	}
	return nil
}

// obey offers a connection to a peer with a greater name, and waits for its
// decision.
func (p *peer) obey(l *link, h *hello) (err error) {
	p.mu.Lock()
	if p.evicted {
		p.mu.Unlock()
		return errEvicted
	}
	p.inbound++
	sequence := p.t.sequence.Add(1)
	p.mu.Unlock()
	defer func() { p.endInbound(err) }()

	stream := l.stream()
	if _, err := stream.Write(appendHello(nil, p.t.hello(sequence))); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	sums := l.tls == nil
	b := make([]byte, confirmSize(sums))
	if _, err := io.ReadFull(stream, b); err != nil {
		return fmt.Errorf("%w: %w", errNotChosen, closedByUs(err))
	}
	payload, _, err := cut(b, sums)
	if err != nil {
		return err
	}
	var f frame
	if err := parse(payload, &f); err != nil || f.kind != kindConfirm {
		return fmt.Errorf("%w: not a confirm frame", errFrame)
	}
	if !p.establish(l, h, false, nil) {
		return errNotChosen
	}
	return nil
}

// prepare secures a new connection. Until done is called, Close closes it, and
// so does the time limit.
func (t *Transport) prepare(raw net.Conn, dialled bool) (l *link, done func(), err error) {
	if conn, ok := raw.(*net.TCPConn); ok {
		_ = conn.SetReadBuffer(t.config.ReadBuffer) // the system may allow less
		keepUnsent(conn)
	}
	_ = raw.SetDeadline(time.Now().Add(t.config.HandshakeTimeout))
	stop := context.AfterFunc(t.ctx, func() { _ = raw.Close() })
	done = func() { stop() }
	if l, err = t.security.secure(t.ctx, raw, dialled); err != nil {
		_ = raw.Close()
	}
	return l, done, err
}
