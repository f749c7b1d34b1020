// Package service holds the handlers of one node's services: what Receive,
// Serve, stop and Close of a Transport promise is kept here once, for every
// implementation.
package service

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

// A Table maps service names to handlers. Look-ups take no lock. The zero
// value is ready to use.
type Table struct {
	receivers registry[func(from string, body []byte)]
	servers   registry[func(ctx context.Context, from string, request []byte) ([]byte, error)]
}

// A Replier is told the outcome of one request, exactly once.
type Replier interface {
	Reply(response []byte, err error)
}

// ErrExited is the reply of a handler that ended its goroutine.
var ErrExited = errors.New("handler exited without an answer")

// Receive registers h; see transport.Transport.
func (t *Table) Receive(name string, h func(from string, body []byte)) (stop func()) {
	return t.receivers.add(name, h)
}

// Serve registers h; see transport.Transport.
func (t *Table) Serve(name string, h func(ctx context.Context, from string, request []byte) ([]byte, error)) (stop func()) {
	return t.servers.add(name, h)
}

// Deliver runs the handler of a one-way message on the caller's goroutine. It
// reports whether there was one.
func (t *Table) Deliver(name, from string, body []byte) bool {
	e := t.receivers.find(name)
	if e == nil || !e.running.enter() {
		return false
	}
	runReceiver(e, from, body)
	return true
}

// Answer runs the handler of a request on the caller's goroutine and gives its
// outcome to r: ErrNoService if there is none, ErrExited if it ended the
// goroutine (and Answer with it).
func (t *Table) Answer(ctx context.Context, name, from string, request []byte, r Replier) {
	e := t.servers.find(name)
	if e == nil || !e.running.enter() {
		r.Reply(nil, transport.ErrNoService)
		return
	}
	runServer(ctx, e, from, request, r)
}

// Close removes all handlers, refuses new ones, and then waits for those that
// run, unless it is called from inside a handler.
func (t *Table) Close() {
	entries := append(t.receivers.close(), t.servers.close()...)
	if insideHandler() {
		return
	}
	for _, g := range entries {
		g.wait()
	}
}

// runReceiver and runServer are the only callers of users' handlers, which is
// how insideHandler knows one on the stack.
//
//go:noinline
func runReceiver(e *entry[func(from string, body []byte)], from string, body []byte) {
	defer e.running.leave()
	e.handler(from, body)
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
}

// insideHandler reports whether a handler is on the stack of this goroutine. It
// walks the stack, some microseconds, which only stop and Close pay. A handler's
// own goroutines are not recognised: one that closes while its handler waits for
// it waits for ever, as any two waiting for each other do.
func insideHandler() bool {
	pcs := make([]uintptr, 64)
	for skip := 0; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		frames := runtime.CallersFrames(pcs[:n])
		for {
			frame, more := frames.Next()
			if strings.HasSuffix(frame.Function, "internal/service.runReceiver") ||
				strings.HasSuffix(frame.Function, "internal/service.runServer") {
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

func (r *registry[H]) find(name string) *entry[H] {
	m := r.current.Load()
	if m == nil {
		return nil
	}
	return (*m)[name]
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
	if retired != nil {
		retired.close()
		r.past = append(slices.DeleteFunc(r.past, (*gate).done), retired)
	}
}

// close shuts every gate and returns them all.
func (r *registry[H]) close() []*gate {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if m := r.current.Load(); m != nil {
		for _, e := range *m {
			e.running.close()
			r.past = append(r.past, e.running)
		}
	}
	r.current.Store(&map[string]*entry[H]{})
	return r.past
}
