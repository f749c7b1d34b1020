// Package service holds the handlers of one node's services: what Receive,
// Serve, stop and Close of a Transport promise is kept here once, for every
// implementation.
package service

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

// A Table maps service names to handlers. Look-ups take no lock. The zero
// value is ready to use.
type Table struct {
	receivers registry[receiver]
	servers   registry[func(ctx context.Context, from string, request []byte) ([]byte, error)]
}

// A receiver is a handler of one-way messages; see transport.Sharer.
type receiver = func(from string, body []byte, shared bool)

// A Replier is told the outcome of one request, exactly once.
type Replier interface {
	// Reply takes the outcome. response is valid only during the call.
	Reply(response []byte, err error)
}

// ErrExited is the reply of a handler that ended its goroutine.
var ErrExited = errors.New("handler exited without an answer")

// Receive registers h; see transport.Transport. What is shared is copied for it.
func (t *Table) Receive(name string, h func(from string, body []byte)) (stop func()) {
	return t.receivers.add(name, func(from string, body []byte, shared bool) {
		if shared {
			body = bytes.Clone(body)
		}
		h(from, body)
	})
}

// ReceiveShared registers h; see transport.Sharer.
func (t *Table) ReceiveShared(name string, h func(from string, body []byte, shared bool)) (stop func()) {
	return t.receivers.add(name, h)
}

// Serve registers h; see transport.Transport.
func (t *Table) Serve(name string, h func(ctx context.Context, from string, request []byte) ([]byte, error)) (stop func()) {
	return t.servers.add(name, h)
}

// Deliver runs the handler of a one-way message on the caller's goroutine. It
// reports whether there was one.
func (t *Table) Deliver(name, from string, body []byte) bool {
	return deliver(enter(&t.receivers, name), from, body, false)
}

// DeliverShared is Deliver for a body that nobody writes into any more, if shared.
func (t *Table) DeliverShared(name, from string, body []byte, shared bool) bool {
	return deliver(enter(&t.receivers, name), from, body, shared)
}

// DeliverTo is Deliver for a name that is a part of a buffer.
func (t *Table) DeliverTo(name []byte, from string, body []byte) bool {
	return deliver(enter(&t.receivers, name), from, body, false)
}

func deliver(e *entry[receiver], from string, body []byte, shared bool) bool {
	if e == nil {
		return false
	}
	runReceiver(e, from, body, shared)
	return true
}

// Answer runs the handler of a request on the caller's goroutine and gives its
// outcome to r: ErrNoService if there is none, ErrExited if it ended the
// goroutine (and Answer with it). The error is ErrNoService only if there is no
// handler: what a handler returns never matches it, not even a handler that
// passes on the ErrNoService of a call of its own.
func (t *Table) Answer(ctx context.Context, name, from string, request []byte, r Replier) {
	answer(ctx, enter(&t.servers, name), from, request, r)
}

// AnswerTo is Answer for a name that is a part of a buffer.
func (t *Table) AnswerTo(ctx context.Context, name []byte, from string, request []byte, r Replier) {
	answer(ctx, enter(&t.servers, name), from, request, r)
}

func answer(ctx context.Context, e *entry[func(ctx context.Context, from string, request []byte) ([]byte, error)], from string, request []byte, r Replier) {
	if e == nil {
		r.Reply(nil, transport.ErrNoService)
		return
	}
	runServer(ctx, e, from, request, r)
}

// Close removes all handlers, refuses new ones, and then waits for those that
// run. Called from inside a handler it does not wait, and reports false.
func (t *Table) Close() (waited bool) {
	gates := slices.Concat(t.receivers.close(), t.servers.close())
	if insideHandler() {
		return false
	}
	for _, g := range gates {
		g.wait()
	}
	return true
}

// runReceiver and runServer are the only callers of users' handlers, which is
// how insideHandler knows one on the stack.
//
//go:noinline
func runReceiver(e *entry[receiver], from string, body []byte, shared bool) {
	defer e.running.leave()
	e.handler(from, body, shared)
}

//go:noinline
func runServer(ctx context.Context, e *entry[func(ctx context.Context, from string, request []byte) ([]byte, error)], from string, request []byte, r Replier) {
	var response []byte
	err := ErrExited
	defer func() {
		// The reply goes out before the handler counts as done: who closes the
		// table then knows that every answer was handed over. While a panic
		// unwinds, the process is about to end and the reply does no harm.
		defer e.running.leave()
		r.Reply(response, err)
	}()
	response, err = e.handler(ctx, from, request)
	if errors.Is(err, transport.ErrNoService) {
		err = errors.New(err.Error()) // of a handler's error only the text travels
	}
}

// insideHandler reports whether a handler is on the stack of this goroutine. It
// walks the stack, some microseconds, which only stop and Close pay. A handler's
// own goroutines are not recognised: one that closes while its handler waits for
// it waits for ever, as any two waiting for each other do.
func insideHandler() bool {
	receiver, server := reflect.ValueOf(runReceiver).Pointer(), reflect.ValueOf(runServer).Pointer()
	pcs := make([]uintptr, 64)
	for skip := 0; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		frames := runtime.CallersFrames(pcs[:n])
		for {
			frame, more := frames.Next()
			if frame.Entry == receiver || frame.Entry == server {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

type entry[H any] struct {
	handler H
	running *gate
}

// A registry is a map that is replaced on every change, so that look-ups need
// no lock.
type registry[H any] struct {
	current atomic.Pointer[map[string]*entry[H]]

	mu     sync.Mutex // serialises changes
	closed bool       // guarded by mu
	past   []*gate    // replaced or stopped, perhaps still running; guarded by mu
}

// enter returns the entry of name with its gate entered, or nil if there is
// none. A gate found shut belongs to an entry that has just been replaced or
// removed: the map already says by what.
func enter[H any, N string | []byte](r *registry[H], name N) *entry[H] {
	for {
		m := r.current.Load()
		if m == nil {
			return nil
		}
		e := (*m)[string(name)]
		if e == nil || e.running.enter() {
			return e
		}
	}
}

func (r *registry[H]) add(name string, h H) (stop func()) {
	e := &entry[H]{handler: h, running: newGate()}
	r.change(func(m map[string]*entry[H]) *gate {
		old := m[name]
		m[name] = e
		if old == nil {
			return nil
		}
		return old.running
	})
	return func() {
		r.change(func(m map[string]*entry[H]) *gate {
			if m[name] == e {
				delete(m, name)
			}
			return e.running
		})
		if !insideHandler() {
			e.running.wait()
		}
	}
}

// change applies f to a copy of the map, publishes it and closes the gate that
// f returned.
func (r *registry[H]) change(f func(m map[string]*entry[H]) (retired *gate)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := map[string]*entry[H]{}
	if p := r.current.Load(); p != nil {
		m = maps.Clone(*p)
	}
	retired := f(m)
	if !r.closed {
		r.current.Store(&m)
	}
	r.past = slices.DeleteFunc(r.past, (*gate).done)
	if retired != nil && retired.close() && !retired.done() {
		r.past = append(r.past, retired)
	}
}

// close shuts every gate and returns those that may not be empty yet.
func (r *registry[H]) close() []*gate {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if m := r.current.Swap(&map[string]*entry[H]{}); m != nil {
		for _, e := range *m {
			e.running.close()
			r.past = append(r.past, e.running)
		}
	}
	return slices.Clone(r.past) // a later stop prunes it in place
}
