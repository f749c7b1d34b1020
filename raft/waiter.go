package raft

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

// A waiter is a caller that waits for its command, for a read, or for an index
// to be applied. Its outcome is decided once: state says by whom. It is used
// again by whoever is the last to hold it.
type waiter struct {
	home  *sync.Pool // of the node: a channel must not get from one synctest bubble into another
	state atomic.Int32
	done  chan struct{} // one slot: look at the state. Now and then for nothing: a nudge may come late

	watch *watch // notices the end of the context; nil if none does

	// Written before done, read after it.
	index  uint64 // of the command in the log, 0 if it is in none; or the answer to a read
	term   uint64
	result []byte
	err    error
}

// The states of a waiter.
const (
	queued    int32 = iota
	logged          // it may be in a log from now on
	decided         // there is an outcome, or is about to be
	abandoned       // the caller has gone: whoever decides, recycles
)

func (n *Node) newWaiter() *waiter {
	if w, ok := n.waiters.Get().(*waiter); ok {
		return w
	}
	return &waiter{home: &n.waiters, done: make(chan struct{}, 1)}
}

func (w *waiter) recycle() {
	w.state.Store(queued)
	w.index, w.term, w.result, w.err, w.watch = 0, 0, nil, nil, nil
	w.home.Put(w)
}

// enterLog reports whether the caller still waits. From then on its command may
// be in a log.
func (w *waiter) enterLog() bool { return w.state.CompareAndSwap(queued, logged) }

// decide tells the caller the outcome. w belongs to the caller afterwards.
func (w *waiter) decide(result []byte, err error) {
	w.result, w.err = result, err
	if w.state.Swap(decided) == abandoned {
		w.recycle()
		return
	}
	w.nudge()
}

// nudge has the caller look up, if he waits.
func (w *waiter) nudge() {
	select {
	case w.done <- struct{}{}:
	default: // he was nudged before, and has yet to look
	}
}

// wait waits for the outcome or the end of ctx; gone is the state in which the
// caller has left w to others, and decided if it has not.
func (w *waiter) wait(ctx context.Context) (gone int32) {
	end, watched := ctx.Done(), w.watch != nil
	for {
		over := false
		if watched || end == nil {
			<-w.done
			over = watched && ctx.Err() != nil
		} else {
			select {
			case <-w.done:
			case <-end:
				over = true
			}
		}
		state := w.state.Load()
		for over && state != decided {
			if w.state.CompareAndSwap(state, abandoned) {
				return state
			}
			state = w.state.Load()
		}
		if state == decided {
			return decided
		}
		watched = false // nudged for nothing, or because nobody watches any more
	}
}

// dropped and uncertain say what became of a command, and why.
func dropped(why error) error   { return fmt.Errorf("%w: %w", ErrDropped, why) }
func uncertain(why error) error { return fmt.Errorf("%w: %w", ErrUncertain, why) }

func contextError(ctx context.Context) error { return transport.ContextError(ctx) }

// A line is the waiters for the entries of one term, in order of the index.
type line struct {
	term    uint64
	waiters []*waiter
	head    int
}

// enqueue puts the waiters of a batch of this term in line.
func (n *Node) enqueue(term, first uint64, batch []*waiter) {
	last := len(n.lines) - 1
	if last < 0 || n.lines[last].term != term {
		n.lines = append(n.lines, line{term: term})
		last++
	}
	l := &n.lines[last]
	if l.head > len(l.waiters)/2 {
		rest := copy(l.waiters, l.waiters[l.head:])
		clear(l.waiters[rest:])
		l.waiters, l.head = l.waiters[:rest], 0
	}
	for i, w := range batch {
		w.index, w.term = first+uint64(i), term
	}
	l.waiters = append(l.waiters, batch...)
}

// dequeue takes those out of the lines who wait for entries up to index to, of
// which the last has the given term. Those of one term are in order. Who waits for
// an entry of an earlier term behind it waits in vain: terms never fall in a log.
func (n *Node) dequeue(to, term uint64, into []*waiter) []*waiter {
	empty := 0
	for i := range n.lines {
		l := &n.lines[i]
		for l.head < len(l.waiters) && (l.waiters[l.head].index <= to || l.term < term) {
			into = append(into, l.waiters[l.head])
			l.waiters[l.head] = nil
			l.head++
		}
		if l.head == len(l.waiters) {
			empty++
		}
	}
	if empty == len(n.lines) && empty > 0 {
		// The latest keeps its memory, for the next command of the term.
		l := n.lines[len(n.lines)-1]
		clear(n.lines)
		n.lines = append(n.lines[:0], line{term: l.term, waiters: l.waiters[:0]})
	}
	return into
}

// forsake gives up the commands behind the commit index: this node was removed,
// and will not hear what becomes of them. Called with mu held.
func (n *Node) forsake() {
	for i := range n.lines {
		l := &n.lines[i]
		kept := l.head
		for kept < len(l.waiters) && l.waiters[kept].index <= n.core.commit {
			kept++
		}
		for _, w := range l.waiters[kept:] {
			w.decide(nil, uncertain(ErrRemoved))
		}
		clear(l.waiters[kept:])
		l.waiters = l.waiters[:kept]
	}
}

// drop gives up the commands in the log: nobody will say what becomes of them.
// Called with mu held.
func (n *Node) drop(reason error) {
	for _, w := range n.dequeue(math.MaxUint64, 0, nil) {
		w.decide(nil, uncertain(reason))
	}
	n.lines = nil
}
