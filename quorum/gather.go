package quorum

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/parley-go/parley/transport"
)

// An Answer is what one node answered.
type Answer[T any] struct {
	Node  string
	Value T
}

// Gather asks all nodes at once and returns the first need answers, in the
// order in which they came. It returns as soon as it has them, or as soon as so
// many calls have failed that it cannot have them any more. On return the
// context of every call ends.
//
// Gather does not wait for calls that are still running: one that ignores its
// context keeps its goroutine until it returns, and its answer is dropped. It
// runs one goroutine a node.
//
// Errors: a *ShortError (errors.Is finds ErrQuorum, every node's error and, if
// ctx ended, its error and cause), also, with no call made, if there are
// fewer nodes than need; ErrInvalid, with no call made, if need is less than 1
// or a node is named twice. With an error there are no answers: use [ShortError]
// to learn who failed.
//
// A call that ends its goroutine counts as failed with ErrExited. A call that
// panics makes Gather panic with a *PanicError; if Gather has returned by then,
// the panic goes its usual way and ends the program.
func Gather[T any](ctx context.Context, nodes []string, need int, call func(ctx context.Context, node string) (T, error)) ([]Answer[T], error) {
	if err := checkGather(nodes, need); err != nil {
		return nil, err
	}
	short := &ShortError{Wanted: need, Of: len(nodes)}
	if ctx.Err() != nil {
		short.Cause = transport.ContextError(ctx)
		return nil, short
	}
	if need > len(nodes) {
		return nil, short
	}

	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := gathering[T]{call: call, outcomes: make(chan outcome[T], len(nodes))}
	for i, node := range nodes {
		go g.ask(callCtx, i, node)
	}
	defer g.leave()

	answers := make([]Answer[T], 0, need)
	failures := make([]error, len(nodes))
	for failed := 0; failed <= len(nodes)-need; {
		select {
		case <-ctx.Done():
			// A call that ends with ctx may lie there already, and says no more.
			short.Cause = transport.ContextError(ctx)
			for i, node := range nodes {
				if failures[i] == nil && !slices.ContainsFunc(answers, func(a Answer[T]) bool { return a.Node == node }) {
					failures[i] = errNoAnswer
				}
			}
			failed = len(nodes)
		case o := <-g.outcomes:
			if o.panicked != nil {
				panic(o.panicked)
			}
			if o.err != nil {
				failures[o.index] = o.err
				failed++
				continue
			}
			answers = append(answers, Answer[T]{Node: nodes[o.index], Value: o.value})
			if len(answers) == need {
				return answers, nil
			}
		}
	}
	short.Answered = len(answers)
	short.Failed = nodeErrors(nodes, failures)
	return nil, short
}

func checkGather(nodes []string, need int) error {
	if need < 1 {
		return fmt.Errorf("%w: need is %d, it must be at least 1", ErrInvalid, need)
	}
	for i, node := range nodes {
		if slices.Contains(nodes[:i], node) {
			return fmt.Errorf("%w: node %q is named twice", ErrInvalid, node)
		}
	}
	return nil
}

// nodeErrors pairs the failures, by index, with the names of their nodes.
func nodeErrors(nodes []string, failures []error) []NodeError {
	var errs []NodeError
	for i, err := range failures {
		if err != nil {
			errs = append(errs, NodeError{Node: nodes[i], Err: err})
		}
	}
	return errs
}

// gathering is what the calls of one Gather share.
type gathering[T any] struct {
	call     func(ctx context.Context, node string) (T, error)
	outcomes chan outcome[T] // has room for every call

	mu   sync.Mutex
	left bool // Gather has returned; guarded by mu
}

type outcome[T any] struct {
	index    int
	value    T
	err      error
	panicked *PanicError
}

func (g *gathering[T]) ask(ctx context.Context, index int, node string) {
	o := outcome[T]{index: index, err: ErrExited}
	returned := false
	defer func() {
		if !returned {
			if p := recover(); p != nil {
				o.panicked = &PanicError{Node: node, Value: p, Stack: debug.Stack()}
			}
		}
		if !g.tell(o) && o.panicked != nil {
			panic(o.panicked)
		}
	}()
	o.value, o.err = g.call(ctx, node)
	returned = true
}

// tell hands an outcome to Gather and reports whether it was still there.
func (g *gathering[T]) tell(o outcome[T]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left {
		return false
	}
	g.outcomes <- o
	return true
}

// leave ends the gathering. A panic that has been told and not yet been looked
// at must not be lost.
func (g *gathering[T]) leave() {
	g.mu.Lock()
	g.left = true
	g.mu.Unlock()
	for {
		select {
		case o := <-g.outcomes:
			if o.panicked != nil {
				panic(o.panicked)
			}
		default:
			return
		}
	}
}
