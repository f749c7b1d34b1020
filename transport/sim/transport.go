package sim

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/event"
	"github.com/parley-go/parley/internal/service"
	"github.com/parley-go/parley/transport"
)

// A Transport is one life of a node: World.Join and World.Restart make one, and
// it ends with Close or World.Crash. All methods are safe for concurrent use.
//
// Order is kept per receiver and service, as transport.Transport promises, and
// no further: messages to two services may overtake each other, and so may calls.
type Transport struct {
	world    *World
	host     *host
	services service.Table
	ctx      context.Context // ends with the node
	cancel   context.CancelFunc

	// Guarded by World.mu.
	closed  bool
	peers   map[*host]*peer
	inboxes map[*host]*inbox
	runs    map[*run]struct{} // handlers of calls

	listeners map[int]*listener // by port; guarded by World.mu
	conns     map[*conn]struct{}
}

var _ transport.Transport = (*Transport)(nil)

// A peer counts what is under way to another node. Guarded by World.mu.
type peer struct {
	messages int // sent and not yet handled or lost
	calls    int // not yet returned
}

func newTransport(w *World, h *host) *Transport {
	t := &Transport{
		world:   w,
		host:    h,
		peers:   map[*host]*peer{},
		inboxes: map[*host]*inbox{},
		runs:    map[*run]struct{}{},

		listeners: map[int]*listener{},
		conns:     map[*conn]struct{}{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// dead returns t as one that has closed before it did anything.
func (t *Transport) dead() *Transport {
	t.closed = true
	t.cancel()
	return t
}

// Local returns the name of this node.
func (t *Transport) Local() string { return t.host.name }

// Context returns a context that ends when the node crashes or closes. What a
// node runs should run under it, so that a crash ends it.
func (t *Transport) Context() context.Context { return t.ctx }

// Send queues one message; see transport.Transport. A message to a node that is
// down or cut off is accepted and lost. ErrUnreachable means that no node of
// that name has ever been up.
func (t *Transport) Send(to, service string, body []byte) error {
	if err := t.check(to, service, body); err != nil {
		return err
	}
	m := &message{service: service, body: bytes.Clone(body)}
	w := t.world
	w.mu.Lock()
	defer w.mu.Unlock()
	h, p, err := t.reach(to, service)
	if err != nil {
		return err
	}
	if p.messages >= w.config.Queue {
		return failure(transport.ErrOverflow, to, service)
	}
	p.messages++
	m.peer = p
	w.post(post{lane: laneName{t.host, h, messages, service}, packet: m})
	return nil
}

// check refuses what no network is needed to refuse.
func (t *Transport) check(to, service string, body []byte) error {
	if err := transport.CheckName("node", to); err != nil {
		return err
	}
	if err := transport.CheckName("service", service); err != nil {
		return err
	}
	if limit := t.world.config.MaxMessage; len(body) > limit {
		return fmt.Errorf("%w: %d bytes for %s on %s, the limit is %d", transport.ErrTooLarge, len(body), service, to, limit)
	}
	return nil
}

// reach returns the host of a name and what is under way to it. Called with
// World.mu held.
func (t *Transport) reach(to, service string) (*host, *peer, error) {
	if t.closed {
		return nil, nil, failure(transport.ErrClosed, to, service)
	}
	h := t.world.names[to]
	if h == nil || !h.joined {
		return nil, nil, failure(transport.ErrUnreachable, to, service)
	}
	p := t.peers[h]
	if p == nil {
		p = &peer{}
		t.peers[h] = p
	}
	return h, p, nil
}

func failure(err error, to, service string) error {
	return fmt.Errorf("%w: %s on %s", err, service, to)
}

// Receive registers the handler of a service's messages; see
// transport.Transport. After the call body is overwritten, so that a handler
// that keeps it is found out.
func (t *Transport) Receive(service string, h func(from string, body []byte)) (stop func()) {
	return t.services.Receive(service, h)
}

// Serve registers the handler of a service's requests; see transport.Transport.
// After the call request is overwritten, so that a handler that keeps it is found
// out.
func (t *Transport) Serve(service string, h func(ctx context.Context, from string, request []byte) ([]byte, error)) (stop func()) {
	return t.services.Serve(service, h)
}

// Close takes the node off the network and waits for its handlers; see
// transport.Transport. Calls to it that are under way end for their callers with
// ErrUnreachable, one delay later.
func (t *Transport) Close() error {
	w := t.world
	w.mu.Lock()
	closed, ending := t.closed, w.ending
	w.mu.Unlock()
	if ending {
		return nil // all is closed, and perhaps this is outside of the bubble
	}
	if !closed {
		w.do("close "+t.host.name, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			t.leave((*conn).close)
		})
	}
	t.services.Close()
	return nil
}

// leave ends t: its calls, those made to it, and with end its connections. Called
// by the pump, with World.mu held.
func (t *Transport) leave(end func(c *conn)) {
	if t.closed {
		return
	}
	t.closed = true
	t.host.transport = nil
	t.cancel()
	runs := slices.SortedFunc(maps.Keys(t.runs), func(a, b *run) int {
		return cmp.Or(
			strings.Compare(a.call.from.host.name, b.call.from.host.name),
			strings.Compare(a.call.service, b.call.service),
			cmp.Compare(a.call.n, b.call.n),
		)
	})
	for _, r := range runs {
		r.call.answer(t.world, nil, failure(transport.ErrUnreachable, t.host.name, r.call.service))
	}
	clear(t.runs)
	t.disconnect(end)
}

// disconnect ends all listeners and connections, in a stable order. Called with
// World.mu held.
func (t *Transport) disconnect(end func(c *conn)) {
	for _, port := range slices.Sorted(maps.Keys(t.listeners)) {
		t.listeners[port].close()
	}
	conns := slices.SortedFunc(maps.Keys(t.conns), func(a, b *conn) int { return strings.Compare(a.id, b.id) })
	for _, c := range conns {
		end(c)
	}
}

// A message is a one-way message on its way.
type message struct {
	service string
	body    []byte
	peer    *peer // whose count it is in
}

func (m *message) label() label { return label{verb: "send", service: m.service, body: m.body} }

func (m *message) happen(w *World, e *event.Event[packet]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Copy {
		m.peer.messages++
	}
	if e.Kind != event.Message {
		m.peer.messages--
		return
	}
	from, t := w.hosts[e.From], w.hosts[e.To].transport
	b := t.inboxes[from]
	if b == nil {
		b = &inbox{to: t, from: from.name}
		b.work = b.drain
		t.inboxes[from] = b
	}
	if e.Twin {
		twin := *m
		twin.body = bytes.Clone(m.body)
		m = &twin
	}
	b.waiting = append(b.waiting, m)
	if !b.running {
		b.running = true
		go b.work()
	}
}

// An inbox holds the messages from one node that have arrived and wait for the
// handler. While there are any, one goroutine handles them.
type inbox struct {
	to   *Transport
	from string
	work func() // drain, bound once

	// Guarded by World.mu.
	waiting []*message // from the one at head on
	head    int
	current *message // being handled
	running bool
}

func (b *inbox) drain() {
	defer b.to.world.blame()
	finished := false
	defer func() {
		if !finished { // a handler ended the goroutine
			go b.work()
		}
	}()
	for m := b.next(); m != nil; m = b.next() {
		if b.to.services.Deliver(m.service, b.from, m.body) {
			poison(m.body)
		}
	}
	finished = true
}

// next counts the current message as handled and returns the one after it.
func (b *inbox) next() *message {
	w := b.to.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.current != nil {
		b.current.peer.messages--
		b.current = nil
	}
	if b.to.closed {
		for _, m := range b.waiting[b.head:] {
			m.peer.messages--
		}
		b.waiting, b.head = nil, 0
	}
	if b.head == len(b.waiting) {
		b.waiting, b.head, b.running = b.waiting[:0], 0, false
		return nil
	}
	b.current = b.waiting[b.head]
	b.waiting[b.head] = nil
	if b.head++; b.head > 64 && b.head > len(b.waiting)/2 {
		b.waiting = slices.Delete(b.waiting, 0, b.head)
		b.head = 0
	}
	return b.current
}

// poison overwrites what a handler may no longer use.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}
