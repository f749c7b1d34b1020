package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
)

// A LeaderChange says who leads, as far as a node knows.
type LeaderChange struct {
	Term   uint64
	Leader string // empty while unknown
}

// Leaders yields who leads now, and then every change, until ctx ends or the
// node closes or fails. Who is slow in taking them misses those in between, never
// the latest. The body may call any method.
func (n *Node) Leaders(ctx context.Context) iter.Seq[LeaderChange] {
	return func(yield func(LeaderChange) bool) {
		var last LeaderChange
		for first := true; ctx.Err() == nil; first = false {
			n.mu.Lock()
			now := LeaderChange{n.core.term, n.core.leader}
			gone, changed := n.closed || n.failure != nil, n.watch()
			n.mu.Unlock()
			if gone {
				return
			}
			if first || now != last {
				last = now
				if !yield(now) {
					return
				}
				continue // it may have changed meanwhile
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// TransferLeadership has another voter lead (section 3.10), from any node: it is
// for a leader that is about to be shut down. Until the other leads, at most for
// an election time, proposals wait. If it does not take over, the old leader goes
// on, and the error says so.
//
// Other errors: ErrMembership if to is no voter, ErrBusy while another change is
// under way, ErrClosed, ErrFailed, ErrRemoved, and ErrUncertain, if the leader did not
// answer within four election times or ctx ended: the transfer may still take place.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	return n.onLeader(ctx, &request{op: opTransfer, data: []byte(to)}, func() error { return n.transferHere(ctx, to) })
}

// Reconfigure changes the membership (section 4.3), from any node: several nodes
// at once if need be, through a joint configuration. It returns when the new one
// is committed. New nodes need not have caught up: the change begins when a majority
// of the new voters has (section 4.2.1), and the leader sees to that; if they cannot,
// everything stays as it is. To wait for all of them, name them as Learners first,
// and as Voters once their Ready has returned. A leader that is removed steps down. A
// node that is removed goes on until it is closed, but takes no more orders: see
// ErrRemoved.
//
// m.Outgoing is empty. It waits as long as the change takes, on the leader and
// elsewhere, until ctx ends: new voters may have to fetch a snapshot first. The
// errors: ErrMembership, ErrBusy while another change is under way, ErrUncertain if
// the answer was lost and another change may have taken this one's place, or ctx
// ended, ErrClosed, ErrFailed and ErrRemoved.
func (n *Node) Reconfigure(ctx context.Context, m Membership) error {
	m = m.clone()
	if err := m.check(); err != nil {
		return err
	}
	form, _ := m.AppendBinary(nil) // never fails
	before, doubt := n.lastChange(), false
	for {
		err := n.onLeader(ctx, &request{op: opReconfigure, data: form}, func() error { return n.reconfigureHere(ctx, m) })
		// The leader waits no longer than for any question, and then it says errNotYet.
		again := errors.Is(err, ErrUncertain) || errors.Is(err, errNotYet)
		doubt = doubt || errors.Is(err, ErrUncertain)
		if doubt && err != nil && !errors.Is(err, ErrUncertain) {
			err = uncertain(err) // an earlier attempt may have done it
		}
		if err == nil || ctx.Err() != nil || !again && !doubt {
			return err
		}
		if ended := n.pause(ctx, err); ended != nil && !errors.Is(ended, ErrRemoved) {
			return fmt.Errorf("%w: %w", err, ended)
		}
		if doubt {
			// The leader did not say what became of it. This node sees that in its own
			// log, once that has caught up.
			if failed := n.Barrier(ctx); failed != nil && !errors.Is(failed, ErrRemoved) {
				return uncertain(failed)
			}
			err = n.until(ctx, n.inForce(m, err))
			if err == nil || ctx.Err() != nil || !again || n.lastChange() != before {
				return err
			}
		} else {
			before = n.lastChange()
		}
	}
}

// lastChange returns the index of the latest membership in the log of this node.
func (n *Node) lastChange() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.core.configs[len(n.core.configs)-1].index
}

// inForce returns the outcome of a change to m: otherwise, if the last change led
// elsewhere.
func (n *Node) inForce(m Membership, otherwise error) func() (bool, error) {
	return func() (bool, error) {
		now := n.core.membership()
		switch {
		case n.core.changing():
			return false, nil
		case now.equal(m):
			return true, nil
		}
		return true, otherwise
	}
}

// onLeader has the leader do something: this node, or the one that is asked. It
// tries again as long as nobody began.
func (n *Node) onLeader(ctx context.Context, q *request, here func() error) error {
	for {
		leader, _, err := n.findLeader(ctx)
		if err != nil {
			return err
		}
		if leader == n.local {
			err = here()
		} else if _, err = n.ask(ctx, leader, q); err != nil && !errors.Is(err, ErrDropped) && !errors.As(err, new(*remoteError)) {
			err = uncertain(err)
		}
		if err == nil || ctx.Err() != nil || !errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUncertain) {
			return err
		}
		if err := n.pause(ctx, err); err != nil {
			return err
		}
	}
}

// until waits for an outcome that a change of what publish tells brings about.
func (n *Node) until(ctx context.Context, outcome func() (done bool, err error)) error {
	for {
		n.mu.Lock()
		done, err := outcome()
		if gone := n.gone(); !done && gone != nil {
			done, err = true, uncertain(gone)
		}
		changed := n.watch()
		n.mu.Unlock()
		if done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return uncertain(contextError(ctx))
		}
	}
}

// begin has the core begin something.
func (n *Node) begin(f func(now time.Duration) error) error {
	now := n.enter()
	defer n.leave(now, nil)
	if err := n.gone(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, err) // who asks from elsewhere finds the next leader
	}
	if err := f(now); errors.Is(err, ErrNotLeader) {
		return errElsewhere
	} else {
		return err
	}
}

func (n *Node) transferHere(ctx context.Context, to string) error {
	if err := n.begin(func(now time.Duration) error { return n.core.transfer(now, to) }); err != nil {
		return err
	}
	return n.until(ctx, func() (bool, error) {
		c := n.core
		switch {
		case c.leader == to:
			return true, nil
		case c.role == leader && c.office.transferee == "":
			return true, fmt.Errorf("raft: %s did not take over within an election time", to)
		case c.role != leader && c.leader != "":
			return true, fmt.Errorf("raft: %s leads instead of %s", c.leader, to)
		}
		return false, nil
	})
}

func (n *Node) reconfigureHere(ctx context.Context, m Membership) error {
	for {
		err := n.begin(func(now time.Duration) error {
			_, err := n.core.reconfigure(now, m)
			return err
		})
		if err == nil {
			break
		}
		if !errors.Is(err, errNotYet) {
			return err
		}
		if ended := n.rest(ctx); ended != nil {
			return fmt.Errorf("%w: %w", ended, err)
		}
	}
	return n.until(ctx, n.inForce(m, uncertain(errOtherMembership)))
}

var errOtherMembership = errors.New("raft: another leader came, and another membership")

// answer carries out what another node asks of this one.
func (n *Node) answer(ctx context.Context, from string, q *request) ([]byte, error) {
	n.count1(&n.stats.Asked)
	switch q.op {
	case opPropose:
		return n.proposeFor(ctx, from, q)
	case opRead:
		if !n.leading.Load() {
			return nil, errElsewhere
		}
		index, term, err := n.readHere(ctx)
		if err != nil {
			return nil, err
		}
		b := binary.AppendUvarint(nil, index)
		b = binary.AppendUvarint(b, term)
		return binary.AppendUvarint(b, n.committed(term)), nil
	case opTransfer:
		return nil, n.transferHere(ctx, string(q.data))
	case opReconfigure:
		var m Membership
		if err := m.UnmarshalBinary(q.data); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMembership, err)
		}
		return nil, n.reconfigureHere(ctx, m)
	}
	return n.piece(q)
}
