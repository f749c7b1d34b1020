package mem

import (
	"context"
	"fmt"
	"sync"

	"github.com/parley-go/parley/internal/service"
	"github.com/parley-go/parley/transport"
)

// A Transport is one node of a Network. It implements transport.Transport; make
// it with Network.Join and end it with Close.
type Transport struct {
	network  *Network
	name     string
	services service.Table
	workers  workers

	// Guarded by Network.mu.
	closed  bool
	in      map[*link]struct{}
	inboxes map[string]*inbox // by the sender's name

	mu  sync.RWMutex
	out map[string]*link // written under Network.mu and mu, nil once closed
}

var _ transport.Sharer = (*Transport)(nil)

// Local returns the name of this node.
func (t *Transport) Local() string { return t.name }

// Send queues a copy of body for the service of a node. What Send has accepted is
// handled, unless the receiving node closes before or does not have the service.
func (t *Transport) Send(to, service string, body []byte) error {
	return t.send(to, service, body, false)
}

// SendShared is Send without the copy; see transport.Sharer.
func (t *Transport) SendShared(to, service string, body []byte) error {
	return t.send(to, service, body, true)
}

// Itself returns t; see transport.Sharer.
func (t *Transport) Itself() transport.Transport { return t }

func (t *Transport) send(to, service string, body []byte, shared bool) error {
	l, err := t.route(to, service, body)
	if err != nil {
		return err
	}
	if err := l.inbox.push(service, body, shared); err != nil {
		return l.failure(err, service)
	}
	return nil
}

// Receive registers the handler of a service's one-way messages.
func (t *Transport) Receive(service string, h func(from string, body []byte)) (stop func()) {
	return t.services.Receive(service, h)
}

// ReceiveShared registers a handler that may keep what is shared; see
// transport.Sharer.
func (t *Transport) ReceiveShared(service string, h func(from string, body []byte, shared bool)) (stop func()) {
	return t.services.ReceiveShared(service, h)
}

// Call sends a request to the service of a node and waits for the response.
func (t *Transport) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, transport.ContextError(ctx)
	}
	l, err := t.route(to, service, request)
	if err != nil {
		return nil, err
	}
	c, err := l.start(ctx, service, request)
	if err != nil {
		return nil, l.failure(err, service)
	}
	return c.wait(ctx)
}

// Serve registers the handler of a service's requests.
func (t *Transport) Serve(service string, h func(ctx context.Context, from string, request []byte) ([]byte, error)) (stop func()) {
	return t.services.Serve(service, h)
}

// Close takes the node off its network and waits for its handlers, unless it is
// called from inside a handler. The error is always nil.
func (t *Transport) Close() error {
	for _, c := range t.network.leave(t) {
		c.abort()
	}
	t.workers.close()
	if t.services.Close() {
		t.workers.running.Wait()
	}
	return nil
}

// route checks what Send and Call were given and returns the link to use.
func (t *Transport) route(to, service string, body []byte) (*link, error) {
	if len(service) == 0 || len(service) > transport.MaxName {
		return nil, transport.CheckName("service", service)
	}
	if len(body) > transport.DefaultMaxMessage {
		return nil, failure(transport.ErrTooLarge, t.name, to, service)
	}
	t.mu.RLock()
	l := t.out[to]
	t.mu.RUnlock()
	if l != nil {
		return l, nil
	}
	if err := transport.CheckName("node", to); err != nil {
		return nil, err
	}
	l, err := t.network.connect(t, to)
	if err != nil {
		return nil, failure(err, t.name, to, service)
	}
	return l, nil
}

// failure says where err happened.
func failure(err error, from, to, service string) error {
	return fmt.Errorf("%w: %s from %s to %s", err, service, from, to)
}
