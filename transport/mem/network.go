package mem

import (
	"fmt"
	"sync"

	"github.com/parley-go/parley/transport"
)

// A Network connects nodes of one process. Make it with NewNetwork; all methods
// are safe for concurrent use.
type Network struct {
	calls sync.Pool // of *call

	// mu guards who is there and how nodes are joined: nodes, and of every
	// Transport closed, links and inboxes. It is taken before any other lock.
	mu    sync.Mutex
	nodes map[string]*Transport
}

// NewNetwork returns a network without nodes.
func NewNetwork() *Network {
	n := &Network{nodes: map[string]*Transport{}}
	n.calls.New = func() any { return newCall(n) }
	return n
}

// Join adds a node and returns its transport, which the caller closes. A name of
// 1 to transport.MaxName bytes that no live node has is free, also if a node of
// that name has been closed before; otherwise the error names it.
func (n *Network) Join(name string) (*Transport, error) {
	if err := transport.CheckName("node", name); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[name] != nil {
		return nil, fmt.Errorf("mem: the network has a node %q already", name)
	}
	t := &Transport{
		network: n,
		name:    name,
		out:     map[string]*link{},
		in:      map[*link]struct{}{},
		inboxes: map[string]*inbox{},
	}
	n.nodes[name] = t
	return t, nil
}

// connect makes the link from one node to another, or finds the one that was
// made in the meantime.
func (n *Network) connect(from *Transport, to string) (*link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if from.closed {
		return nil, transport.ErrClosed
	}
	if l := from.out[to]; l != nil { // written under both locks: either is enough to read
		return l, nil
	}
	peer := n.nodes[to]
	if peer == nil {
		return nil, transport.ErrUnreachable
	}
	l := &link{from: from, to: peer, inbox: peer.inboxFrom(from.name)}
	peer.in[l] = struct{}{}
	from.mu.Lock()
	from.out[to] = l
	from.mu.Unlock()
	return l, nil
}

// leave takes a node off the network, after which nothing new begins there, and
// returns the calls that were under way from and to it. Only the first leave
// finds any.
func (n *Network) leave(t *Transport) (ended []*call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	delete(n.nodes, t.name)

	for l := range t.in {
		ended = append(ended, l.end(t)...)
		l.from.mu.Lock()
		delete(l.from.out, t.name)
		l.from.mu.Unlock()
	}
	for _, l := range t.out { // without the one to itself, which is deleted by now
		ended = append(ended, l.end(t)...)
		delete(l.to.in, l)
		l.to.orphan(l.inbox)
	}
	for _, b := range t.inboxes {
		b.close()
	}
	t.mu.Lock()
	t.out, t.in, t.inboxes = nil, nil, nil
	t.mu.Unlock()
	return ended
}

// inboxFrom returns the inbox for a sender's name. One that still holds messages
// of an earlier node of that name goes on, so that the messages of one sender are
// handled one at a time across its restart, too. Called under Network.mu.
func (t *Transport) inboxFrom(sender string) *inbox {
	b := t.inboxes[sender]
	if b == nil {
		b = newInbox(t, sender)
		t.inboxes[sender] = b
	}
	b.mu.Lock()
	b.orphan = false
	b.mu.Unlock()
	return b
}

// orphan has an inbox removed whose sender is gone: now, or once it is empty.
// Called under Network.mu.
func (t *Transport) orphan(b *inbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orphan = true
	t.removeOrphan(b)
}

// forget removes an orphan that has become empty, unless it is in use again.
func (n *Network) forget(t *Transport, b *inbox) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	t.removeOrphan(b)
}

// removeOrphan is called under Network.mu and b.mu.
func (t *Transport) removeOrphan(b *inbox) {
	if b.orphan && !b.running && b.refuse == nil {
		b.refuse = transport.ErrClosed
		delete(t.inboxes, b.from)
	}
}
