package raft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parley-go/parley/transport"
)

// A Host runs many groups over one transport. They share its services and one
// timer, and the heartbeats of many groups to one peer travel in one message; an
// idle group has no goroutine. Groups are known by their names: a group has
// nodes on some or all of the hosts.
//
// Make it with NewHost and end it with Close. All methods are safe for
// concurrent use.
type Host struct {
	config HostConfig
	origin time.Time
	timers *timers
	stops  []func()

	pieces pieceCount // of snapshots

	sendShared func(to, service string, body []byte) error // of the transport, if it shares; or Send

	closing sync.Once

	mu     sync.RWMutex
	groups map[string]*Node
	closed bool
}

// NewHost registers the services of a host with its transport, which may have
// one Host, or Start, of a service name. The error is that of an invalid config.
func NewHost(config HostConfig) (*Host, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Host{config: config, origin: time.Now(), groups: map[string]*Node{}}
	h.timers = startTimers(h)
	h.stops = []func(){config.Transport.Serve(config.Service, h.serve)}
	if sharer, ok := transport.SharerOf(config.Transport); ok {
		h.sendShared = sharer.SendShared
		h.stops = append(h.stops, sharer.ReceiveShared(config.Service, h.receive))
	} else {
		h.sendShared = config.Transport.Send
		h.stops = append(h.stops, config.Transport.Receive(config.Service, func(from string, body []byte) { h.receive(from, body, false) }))
	}
	return h, nil
}

// Start starts a node of a group, like the function of this name. The errors are
// also ErrClosed, and that the host has a node of this group already.
func (h *Host) Start(config Config) (*Node, error) { return h.start(config, false) }

func (h *Host) start(config Config, owner bool) (*Node, error) {
	if config.Transport == nil {
		config.Transport = h.config.Transport
	}
	config, err := config.withDefaults()
	switch {
	case err != nil:
		return nil, err
	case config.Transport != h.config.Transport:
		return nil, errors.New("raft: Config.Transport is not that of the host")
	}
	if err := h.reserve(config.Group); err != nil {
		return nil, err
	}
	n, err := newNode(h, config)
	if err == nil {
		n.owner = owner
	}
	if err = h.admit(n, config.Group, err); err != nil {
		return nil, err
	}
	n.leave(n.enter(), nil)
	return n, nil
}

// admit puts a new node in its reserved place, or frees the place after err.
func (h *Host) admit(n *Node, group string, err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && h.closed {
		err = ErrClosed
	}
	if err != nil {
		delete(h.groups, group)
		return err
	}
	h.timers.enroll(n)
	h.groups[group] = n
	return nil
}

// reserve takes the name of a group, before its storage is touched.
func (h *Host) reserve(group string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if _, taken := h.groups[group]; taken {
		return fmt.Errorf("raft: the host has a node of group %q already", group)
	}
	h.groups[group] = nil
	return nil
}

func (h *Host) remove(n *Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.groups[n.config.Group] == n {
		delete(h.groups, n.config.Group)
		h.timers.dismiss(n)
	}
}

// group returns the node of a group, nil if there is none.
func (h *Host) group(name []byte) *Node {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.groups[string(name)]
}

// all returns the nodes. Called with mu held.
func (h *Host) all() (nodes []*Node) {
	for _, n := range h.groups {
		if n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Close closes all nodes and waits for them and for the goroutines of the host.
// It may be called more than once; the error is always nil.
func (h *Host) Close() error {
	h.closing.Do(func() {
		h.mu.Lock()
		h.closed = true
		nodes := h.all()
		h.mu.Unlock()
		for _, n := range nodes {
			_ = n.Close() // it never fails
		}
		for _, stop := range h.stops {
			stop()
		}
		h.timers.close()
	})
	return nil
}

// now returns the time since the host was made. It never goes back.
func (h *Host) now() time.Duration { return time.Since(h.origin) }

// receive takes the messages of one body. Those of one group that follow each
// other are taken before anything is saved or sent, and what can wait leaves
// together in the end. The entries of a body that is shared refer to it.
func (h *Host) receive(from string, body []byte, shared bool) {
	in := inboxes.Get().(*inbox)
	defer inboxes.Put(in)
	memory := &in.slab
	if shared {
		memory = nil
	}
	r := reader{rest: body}
	if r.byte() != wireVersion {
		return
	}
	var node *Node // that is entered
	var now time.Duration
	moved := false
	leave := func() {
		switch {
		case node == nil:
		case moved:
			node.leave(now, &in.out)
		default:
			node.mu.Unlock()
		}
		moved = false
	}
	for len(r.rest) > 0 {
		group := r.string(MaxGroup)
		r.message(&in.message, memory)
		if r.err != nil {
			break
		}
		in.message.From, in.message.To = from, h.config.Transport.Local()
		if node == nil || node.config.Group != string(group) {
			leave()
			if node = h.group(group); node != nil {
				now = node.enter()
			}
		}
		if node != nil {
			moved = node.step(now, &in.message) || moved
		}
		clear(in.message.Entries)
	}
	leave()
	if cap(in.message.Entries) > keptEntries {
		in.message.Entries = nil
	}
	h.sendAll(&in.out)
}

// An inbox is what it takes to read a body and to answer.
type inbox struct {
	slab    slab
	message message
	out     outbox
}

// What is used again and again keeps the memory of no more entries than these.
const keptEntries = 4096

var inboxes = sync.Pool{New: func() any { return new(inbox) }}

// serve answers a request of another node.
func (h *Host) serve(ctx context.Context, from string, body []byte) ([]byte, error) {
	var q request
	if err := q.decode(body); err != nil {
		return nil, err
	}
	n := h.group(q.group)
	if n == nil {
		return appendResponse(nil, nil, fmt.Errorf("%w: %w: no node of group %q", ErrDropped, ErrNotLeader, q.group)), nil
	}
	result, err := n.answer(ctx, from, &q)
	return appendResponse(nil, result, err), nil
}
