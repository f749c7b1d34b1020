package tcp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/service"
	"github.com/parley-go/parley/transport"
)

// A Transport is one node on a TCP network. It implements transport.Transport,
// and all its methods are safe for concurrent use.
type Transport struct {
	name        string
	config      Config
	security    *security
	listener    net.Listener
	incarnation uint64
	started     time.Time

	table      service.Table
	events     feed
	buffers    bufferPool
	blocks     sync.Pool     // of *block
	waiters    sync.Pool     // of *waiter
	requests   sync.Pool     // of *request
	streams    atomic.Uint32 // numbers of fragmented payloads
	sequence   atomic.Uint64 // numbers of hellos
	accepted   atomic.Uint64
	refused    atomic.Uint64
	handshakes atomic.Int64

	ctx     context.Context // ends when Close begins
	cancel  context.CancelFunc
	running sync.WaitGroup // all goroutines
	nudge   chan struct{}  // 1 slot; makes the keeper look

	peersMu sync.Mutex                       // before peer.mu, which is before mu
	peers   atomic.Pointer[map[string]*peer] // replaced under peersMu

	mu     sync.Mutex
	over   bool // nothing new starts
	conns  map[*conn]struct{}
	finish sync.Once
}

var _ transport.Transport = (*Transport)(nil)

// errEvicted says that a peer was forgotten in the moment that it was needed.
var errEvicted = errors.New("peer was forgotten")

// drainTime is how long Close waits for what was accepted to be written.
const drainTime = 250 * time.Millisecond

// Listen starts the node name, which accepts connections at addr (host:port;
// port 0 picks a free one, see Addr). The node runs until Close.
func Listen(name, addr string, config Config) (*Transport, error) {
	if err := transport.CheckName("node", name); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, err
	}
	security, err := newSecurity(config.TLS)
	if err != nil {
		return nil, err
	}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	t := &Transport{
		name: name, config: config, security: security, listener: listener,
		incarnation: binary.LittleEndian.Uint64(seed[:]),
		started:     time.Now(),
		nudge:       make(chan struct{}, 1),
		conns:       map[*conn]struct{}{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.peers.Store(&map[string]*peer{})
	t.running.Go(t.acceptLoop)
	t.running.Go(t.keep)
	return t, nil
}

// Local returns the name of this node.
func (t *Transport) Local() string { return t.name }

// Addr returns the address at which the node accepts connections.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// Send queues a message and returns at once; see transport.Transport. While a
// connection is being made, messages wait for it; if that fails they are lost.
func (t *Transport) Send(to, service string, body []byte) error {
	if err := transport.CheckName("service", service); err != nil {
		return err
	}
	for {
		p, err := t.peer(to)
		if err != nil {
			return err
		}
		if err := p.send(service, body); err == nil {
			return nil
		} else if err != errEvicted {
			return about(err, service, to)
		}
	}
}

// Receive registers a handler of one-way messages; see transport.Transport. A
// handler that blocks longer than the sender's Config.StallTimeout, while more
// is sent than the network buffers hold, loses the connection.
func (t *Transport) Receive(service string, h func(from string, body []byte)) (stop func()) {
	return t.table.Receive(service, h)
}

// Call makes a request and waits for the response; see transport.Transport. If
// there is no connection it waits for one to be made, but not for a pause after
// a failure to end.
func (t *Transport) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	if err := transport.CheckName("service", service); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, transport.ContextError(ctx)
	}
	for {
		p, err := t.peer(to)
		if err != nil {
			return nil, err
		}
		response, err := p.call(ctx, service, request)
		switch {
		case err == nil:
			return response, nil
		case err != errEvicted:
			return nil, about(err, service, to)
		}
	}
}

// about adds service and node to an error of the package, and leaves those of
// handlers and contexts as they are.
func about(err error, service, node string) error {
	for _, own := range []error{transport.ErrUnreachable, transport.ErrOverflow, transport.ErrTooLarge, transport.ErrNoService} {
		if errors.Is(err, own) {
			return fmt.Errorf("%w (%s on %s)", err, service, node)
		}
	}
	return err
}

// Serve registers a handler of requests; see transport.Transport.
func (t *Transport) Serve(service string, h func(ctx context.Context, from string, request []byte) ([]byte, error)) (stop func()) {
	return t.table.Serve(service, h)
}

// Events returns the peers that are connected, then each change, until ctx ends
// or the Transport is closed. A slow reader misses changes that were overtaken by
// a later one of the same peer, never the latest. Any number may read at once.
func (t *Transport) Events(ctx context.Context) iter.Seq[Event] { return t.events.events(ctx) }

// Stats returns the counters as they are now.
func (t *Transport) Stats() Stats {
	s := Stats{Accepted: t.accepted.Load(), Refused: t.refused.Load()}
	for name, p := range *t.peers.Load() {
		peer := p.count.snapshot(name)
		if c := p.current.Load(); c != nil {
			peer.Up, peer.Queued, peer.CallsInFlight = c.load()
		}
		s.Peers = append(s.Peers, peer)
	}
	slices.SortFunc(s.Peers, func(a, b PeerStats) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Close ends the node; see transport.Transport. What was accepted before has a
// quarter of a second to be written.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.over = true
	conns := slices.Collect(maps.Keys(t.conns))
	t.mu.Unlock()
	t.cancel()
	_ = t.listener.Close()
	t.finish.Do(func() {
		for _, c := range conns {
			c.endCalls()
		}
		t.drain(conns)
		for _, c := range conns {
			c.fail(transport.ErrClosed)
		}
		t.events.close()
	})
	if t.table.Close() {
		t.running.Wait()
	}
	return nil
}

func (t *Transport) drain(conns []*conn) {
	late := time.NewTimer(drainTime)
	defer late.Stop()
	for _, c := range conns {
		c.drain()
	}
	for _, c := range conns {
		select {
		case <-c.drained:
		case <-late.C:
			return
		}
	}
}

func (t *Transport) closed() bool { return t.ctx.Err() != nil }

// spawn starts a goroutine that Close waits for. It returns false once Close has
// begun.
func (t *Transport) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.running.Go(f)
	return true
}

// peer returns the peer of a name, new if need be.
func (t *Transport) peer(name string) (*peer, error) {
	if t.closed() {
		return nil, transport.ErrClosed
	}
	if p := (*t.peers.Load())[name]; p != nil {
		return p, nil
	}
	if err := transport.CheckName("node", name); err != nil {
		return nil, err
	}
	t.peersMu.Lock()
	defer t.peersMu.Unlock()
	all := *t.peers.Load()
	if p := all[name]; p != nil {
		return p, nil
	}
	all = maps.Clone(all)
	if len(all) >= t.config.MaxPeers && !t.evict(all) {
		return nil, fmt.Errorf("%w: %d peers are known", transport.ErrOverflow, len(all))
	}
	p := &peer{t: t, name: name, used: true}
	all[name] = p
	t.peers.Store(&all)
	return p, nil
}

// evict forgets a peer that has no connection and wants none; the caller holds
// peersMu.
func (t *Transport) evict(all map[string]*peer) bool {
	for name, p := range all {
		if p.retire(true) {
			delete(all, name)
			return true
		}
	}
	return false
}

// remember adds a connection, unless Close has begun.
func (t *Transport) remember(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.conns[c] = struct{}{}
	notify(t.nudge)
	return true
}

func (t *Transport) forget(c *conn) {
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
	if c.peer.name != t.name {
		t.config.Logger.Info("connection lost", "node", t.name, "peer", c.peer.name, "cause", c.cause())
	}
}

// hello returns what this node says of itself.
func (t *Transport) hello(sequence uint64) *hello {
	return &hello{
		name: t.name, incarnation: t.incarnation, sequence: sequence,
		maxMessage: uint64(t.config.MaxMessage), maxCalls: uint64(t.config.MaxCalls), keepAlive: t.config.KeepAlive,
	}
}

// connectSelf connects this node with itself, through memory; the caller holds
// p.mu.
func (t *Transport) connectSelf(p *peer) error {
	h := t.hello(0)
	near, far := net.Pipe()
	c, back := newConn(p, &link{raw: near}, h, nil), newConn(p, &link{raw: far}, h, nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return transport.ErrClosed
	}
	t.conns[c], t.conns[back] = struct{}{}, struct{}{}
	p.adopt(c)
	c.start()
	back.start()
	return nil
}

func (t *Transport) now() time.Duration { return time.Since(t.started) }

func (t *Transport) waiter() *waiter {
	if w, ok := t.waiters.Get().(*waiter); ok {
		return w
	}
	return &waiter{signal: make(chan struct{}, 1)}
}

func (t *Transport) request() *request {
	if r, ok := t.requests.Get().(*request); ok {
		return r
	}
	return &request{}
}

// release takes back a request whose handler has returned.
func (t *Transport) release(r *request) {
	t.buffers.put(r.whole)
	buf := r.buf
	if cap(buf) > maxKept {
		buf = nil
	}
	*r = request{buf: buf[:0]}
	t.requests.Put(r)
}
