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
// The errors are ErrClosed, ErrFailed, and that of ctx with its cause; a barrier
// waits for a leader if there is none.
func (n *Node) Barrier(ctx context.Context) error {
	for {
		index, err := n.readIndex(ctx)
		switch {
		case err == nil:
			return n.waitApplied(ctx, index)
		case errors.Is(err, ErrClosed) || errors.Is(err, ErrFailed):
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

// readIndex returns an index from which on reads are linearizable.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	if ctx.Err() != nil {
		return 0, contextError(ctx)
	}
	if n.leading.Load() {
		return n.readHere(ctx)
	}
	leader, _, err := n.findLeader(ctx)
	if err != nil {
		return 0, err
	}
	if leader == n.local {
		return 0, errElsewhere
	}
	n.count1(&n.stats.Forwarded)
	// Asking again does no harm: it need not take long to find a leader deaf.
	limited, cancel := context.WithTimeout(ctx, n.config.Election)
	defer cancel()
	response, err := n.ask(limited, leader, &request{op: opRead})
	if err != nil {
		return 0, err
	}
	r := reader{rest: response}
	index, term, commit := r.uvarint(), r.uvarint(), r.uvarint()
	if r.err != nil || len(r.rest) > 0 {
		return 0, fmt.Errorf("%w: read index of %s", errMalformed, leader)
	}
	if term > 0 {
		// The leader may tell its followers only later what is committed.
		now := n.enter()
		n.core.learn(now, term, commit)
		n.leave(now, nil)
	}
	return index, nil
}

// committed returns a leader's term and commit index, and 0 for a term if this
// node does not lead.
func (n *Node) committed() (term, commit uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.core.role != leader {
		return 0, 0
	}
	return n.core.term, n.core.commit
}

// readHere asks this node, as the leader.
func (n *Node) readHere(ctx context.Context) (uint64, error) {
	w := n.newWaiter()
	n.queue.putRead(n, w)
	if w.wait(ctx) != decided {
		return 0, contextError(ctx)
	}
	index, err := w.index, w.err
	w.recycle()
	return index, err
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
	for _, r := range c.reads {
		for _, w := range n.rounds[r.id] {
			w.index = r.index
			w.decide(nil, nil)
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

// A catcher waits for an index to be applied.
type catcher struct {
	index uint64
	done  chan error
}

// waitApplied waits until the entry at index is applied.
func (n *Node) waitApplied(ctx context.Context, index uint64) error {
	n.mu.Lock()
	if err := n.gone(); err != nil || n.apply.index >= index {
		n.mu.Unlock()
		return err
	}
	done := make(chan error, 1)
	n.catching = append(n.catching, catcher{index, done})
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
