package raft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Barrier returns when this node has applied everything that was committed when
// Barrier was called: what its state machine is asked from then on is
// linearizable (section 6.4). It works on every node, a learner too; a node that
// does not lead asks the leader. Concurrent barriers share a round of messages.
//
// The errors are ErrClosed, ErrFailed, ErrRemoved, and that of ctx with its cause; a
// barrier waits for a leader if there is none.
func (n *Node) Barrier(ctx context.Context) error {
	for {
		index, term, err := n.readIndex(ctx)
		if err == nil {
			if err = n.waitApplied(ctx, index, term); err != errElsewhere {
				return err
			}
		}
		if errors.Is(err, ErrClosed) || errors.Is(err, ErrFailed) {
			return err
		}
		if err := n.pause(ctx, err); err != nil {
			return err
		}
	}
}

// Ready returns when the node has caught up once since it was started: it knows
// a leader, and has applied what was committed when it asked. From then on it
// returns at once, also while the node lags: see Status and Barrier. The errors
// are those of Barrier.
func (n *Node) Ready(ctx context.Context) error {
	n.mu.Lock()
	err, ready := n.gone(), n.apply.ready
	n.mu.Unlock()
	if err != nil || ready {
		return err
	}
	if err := n.Barrier(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	n.apply.ready = true
	n.mu.Unlock()
	return nil
}

// readIndex returns an index from which on reads are linearizable, and the term of
// the leader who says so.
func (n *Node) readIndex(ctx context.Context) (index, term uint64, err error) {
	if ctx.Err() != nil {
		return 0, 0, contextError(ctx)
	}
	if n.leading.Load() {
		return n.readHere(ctx)
	}
	leader, _, err := n.findLeader(ctx)
	if err != nil {
		return 0, 0, err
	}
	if leader == n.local {
		return 0, 0, errElsewhere
	}
	n.count1(&n.stats.Forwarded)
	// Asking again does no harm: it need not take long to find a leader deaf.
	limited, cancel := context.WithTimeout(ctx, n.config.Election)
	defer cancel()
	response, err := n.ask(limited, leader, &request{op: opRead})
	if err != nil {
		return 0, 0, err
	}
	r := reader{rest: response}
	index, term = r.uvarint(), r.uvarint()
	commit := r.uvarint()
	if r.err != nil || len(r.rest) > 0 {
		return 0, 0, fmt.Errorf("%w: read index of %s", errMalformed, leader)
	}
	// The leader may tell its followers only later what is committed.
	now := n.enter()
	n.core.learn(now, term, commit)
	n.leave(now, nil)
	return index, term, nil
}

// committed returns the commit index of the leader of a term; 0 if this node does
// not lead in it any more.
func (n *Node) committed(term uint64) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.core.role != leader || n.core.term != term {
		return 0
	}
	return n.core.commit
}

// readHere asks this node, as the leader.
func (n *Node) readHere(ctx context.Context) (index, term uint64, err error) {
	w := n.newWaiter()
	n.queue.putRead(n, w)
	if w.wait(ctx) != decided {
		return 0, 0, contextError(ctx)
	}
	index, term, err = w.index, w.term, w.err
	w.recycle()
	return index, term, err
}

// startRead begins one read for all who wait. Called with mu held.
func (n *Node) startRead(now time.Duration, round []*waiter, err error) {
	n.lastRead++
	if err == nil {
		if err = n.core.read(now, n.lastRead); errors.Is(err, ErrNotLeader) {
			err = errElsewhere
		}
	}
	if err != nil {
		for _, w := range round {
			w.decide(nil, err)
		}
		return
	}
	n.stats.Reads += uint64(len(round))
	n.rounds[n.lastRead] = slices.Clone(round)
}

// answerReads hands out what the core found out. Called with mu held.
func (n *Node) answerReads() {
	c := n.core
	var lost error
	if c.role != leader {
		lost = errElsewhere // by now: the term of the answers is over
	}
	for _, r := range c.reads {
		for _, w := range n.rounds[r.id] {
			w.index, w.term = r.index, c.term
			w.decide(nil, lost)
		}
		delete(n.rounds, r.id)
	}
	for _, id := range c.readsLost {
		for _, w := range n.rounds[id] {
			w.decide(nil, errElsewhere)
		}
		delete(n.rounds, id)
	}
	c.reads, c.readsLost = c.reads[:0], c.readsLost[:0]
}

// A catcher waits for an index to be applied, which the leader of a term named.
type catcher struct {
	index, term uint64
	done        chan error
}

// waitApplied waits until the entry at index is applied. The leader may have named
// its own first entry, and have fallen before that was committed: then the log may
// not get so far for a long time, and the error is errElsewhere.
func (n *Node) waitApplied(ctx context.Context, index, term uint64) error {
	n.mu.Lock()
	if err := n.gone(); err != nil || n.apply.index >= index {
		n.mu.Unlock()
		return err
	}
	done := make(chan error, 1)
	n.catching = append(n.catching, catcher{index, term, done})
	n.catchAgain()
	n.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.catching = slices.DeleteFunc(n.catching, func(c catcher) bool { return c.done == done })
	return contextError(ctx)
}

// catchAgain wakes those whose index may never come: it was not committed when the
// term of the leader who named it ended, or when this node was removed. Called with
// mu held.
func (n *Node) catchAgain() {
	c := n.core
	n.catching = slices.DeleteFunc(n.catching, func(w catcher) bool {
		over := w.index > c.commit && (w.term < c.term || n.seen.removed)
		if over {
			w.done <- errElsewhere
		}
		return over
	})
}

// caughtUp wakes those who wait for an index that is applied. Called with mu
// held.
func (n *Node) caughtUp() {
	n.catching = slices.DeleteFunc(n.catching, func(c catcher) bool {
		reached := c.index <= n.apply.index
		if reached {
			c.done <- nil
		}
		return reached
	})
}
