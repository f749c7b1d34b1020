package raft

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/parley-go/parley/transport"
)

// A queue collects commands and reads until one of those who wait takes them all
// to the core. Commands are encoded on the way in, by their callers: see frame.
type queue struct {
	mu       sync.Mutex
	slab     slab
	filling  orders
	bytes    int
	draining bool // somebody is on the way to take them
	lone     bool // the last batch was one command: the next may be another
	contexts witness

	spare orders // guarded by Node.mu
}

// orders are what a queue holds. entries and waiters belong together, and the
// frames hold the entries.
type orders struct {
	entries []Entry
	frames  []frame
	waiters []*waiter
	reads   []*waiter
}

// reset lets go of what the orders hold, and keeps their memory, unless it is
// unusually large.
func (o *orders) reset() {
	if cap(o.entries) > keptEntries {
		*o = orders{}
	}
	clear(o.entries)
	clear(o.frames)
	clear(o.waiters)
	clear(o.reads)
	o.entries, o.frames, o.waiters, o.reads = o.entries[:0], o.frames[:0], o.waiters[:0], o.reads[:0]
}

// Propose has a command applied by the state machines of the group and returns
// the result of this node's, or of the leader's if another node leads: a command
// given to any other node is forwarded. It waits for a leader if there is none,
// and proposes again what was certainly dropped. command is copied. It must not be
// waited for by the StateMachine itself.
//
// A nil error means that the command is durable on a majority, and applied. The
// others:
//
//   - ErrDropped: it was not and will not be applied. Comes with ErrOverloaded,
//     ErrTooLarge, ErrClosed, ErrFailed, ErrRemoved, or the error of ctx and its
//     cause.
//   - ErrUncertain: it may have been applied, or may be later: the answer was
//     lost, or did not come from another node within four election times, ctx
//     ended, or the node closed while the command was in the log. To propose such a
//     command again without harm use a Session.
//
// It costs no allocation on the leader.
func (n *Node) Propose(ctx context.Context, command []byte) (result []byte, err error) {
	if len(command) > n.config.MaxCommand {
		return nil, n.tooLarge(len(command))
	}
	return n.propose(ctx, EntryCommand, command)
}

func (n *Node) tooLarge(size int) error {
	return fmt.Errorf("%w: %w: it has %d bytes, at most %d are allowed", ErrDropped, ErrTooLarge, size, n.config.MaxCommand)
}

// propose finds the leader and tries again what may be.
func (n *Node) propose(ctx context.Context, kind EntryKind, data []byte) ([]byte, error) {
	for {
		if ctx.Err() != nil {
			return nil, dropped(contextError(ctx))
		}
		var result []byte
		var err error
		if n.leading.Load() {
			result, err = n.proposeHere(ctx, kind, data)
		} else {
			result, err = n.proposeThere(ctx, kind, data)
		}
		if err == nil || !again(err) {
			return result, err
		}
		if err := n.pause(ctx, err); err != nil {
			return nil, dropped(err)
		}
	}
}

// again reports whether a command was dropped for a reason that passes.
func again(err error) bool {
	return errors.Is(err, ErrDropped) &&
		!errors.Is(err, ErrOverloaded) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrFailed) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// errElsewhere says that another node leads now: nobody was asked to wait.
var errElsewhere = dropped(ErrNotLeader)

// pause waits until it makes sense to try again what failed with err: at once
// if this node knows better by now, after a change, or after a while.
func (n *Node) pause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	n.mu.Lock()
	if gone := n.gone(); gone != nil {
		n.mu.Unlock()
		return gone
	}
	if err == errElsewhere && !n.leading.Load() || n.leading.Load() && n.core.office.transferee == "" {
		n.mu.Unlock()
		return nil
	}
	n.mu.Unlock()
	return n.rest(ctx)
}

// rest waits for a change, for a heartbeat at most.
func (n *Node) rest(ctx context.Context) error {
	n.mu.Lock()
	changed := n.watch()
	n.mu.Unlock()
	timer := time.NewTimer(n.config.Heartbeat)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return contextError(ctx)
	case <-changed:
	case <-timer.C:
	}
	return nil
}

// proposeHere proposes on this node alone.
func (n *Node) proposeHere(ctx context.Context, kind EntryKind, data []byte) ([]byte, error) {
	w := n.newWaiter()
	if !n.queue.put(ctx, n, kind, data, w) {
		w.recycle()
		n.count1(&n.stats.Overloaded)
		return nil, fmt.Errorf("%w: %w: commands of MaxUncommitted bytes wait", ErrDropped, ErrOverloaded)
	}
	switch w.wait(ctx) {
	case queued:
		return nil, dropped(contextError(ctx))
	case logged:
		return nil, uncertain(contextError(ctx))
	}
	result, err := w.result, w.err
	w.recycle()
	return result, err
}

// proposeThere proposes on the leader's node, once there is one.
func (n *Node) proposeThere(ctx context.Context, kind EntryKind, data []byte) ([]byte, error) {
	leader, term, err := n.findLeader(ctx)
	if err != nil {
		return nil, dropped(err)
	}
	if leader == n.local {
		return nil, errElsewhere
	}
	n.count1(&n.stats.Forwarded)
	q := request{op: opPropose, kind: kind, term: term, life: n.life, seq: n.requests.Add(1), data: data}
	result, err := n.ask(ctx, leader, &q)
	if err == nil || errors.Is(err, ErrDropped) || errors.Is(err, ErrSessionExpired) {
		return result, err
	}
	if errors.Is(err, ErrUncertain) {
		return nil, err
	}
	return nil, uncertain(err)
}

// proposeFor proposes what another node forwards. It was meant for this node as
// the leader of the term that the other knew: so a request that comes again, from
// the past of this node, does no harm after a restart either.
func (n *Node) proposeFor(ctx context.Context, from string, q *request) ([]byte, error) {
	if len(q.data) > n.config.MaxCommand+sessionHead {
		return nil, n.tooLarge(len(q.data))
	}
	n.mu.Lock()
	leads := n.core.role == leader && n.core.term == q.term
	fresh := leads && n.replays.fresh(from, q.life, q.seq)
	n.mu.Unlock()
	switch {
	case !leads:
		return nil, errElsewhere
	case !fresh: // the first one answers
		return nil, n.until(ctx, func() (bool, error) { return false, nil })
	}
	return n.proposeHere(ctx, q.kind, q.data)
}

// findLeader waits until a leader is known.
func (n *Node) findLeader(ctx context.Context) (name string, term uint64, err error) {
	for {
		n.mu.Lock()
		name, term, err = n.core.leader, n.core.term, n.gone()
		if err != nil || name != "" {
			n.mu.Unlock()
			return name, term, err
		}
		changed := n.watch()
		n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", 0, contextError(ctx)
		}
	}
}

// A request that another node does not answer within this many election times
// is given up, though the caller's context goes on.
const patience = 4

// ask sends a request to another node. An error matches ErrDropped if nothing
// came of it.
func (n *Node) ask(ctx context.Context, node string, q *request) ([]byte, error) {
	q.group = []byte(n.config.Group)
	limit := patience * n.config.Election
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(n.ending, cancel)()
	body := q.append(make([]byte, 0, len(q.data)+len(q.group)+32))
	response, err := n.config.Transport.Call(limited, node, n.host.config.Service, body)
	switch {
	case err == nil:
		return readResponse(node, response)
	case ctx.Err() != nil:
		return nil, contextError(ctx)
	case n.ending.Err() != nil:
		return nil, ErrClosed
	case limited.Err() != nil:
		return nil, fmt.Errorf("raft: %s did not answer within %v", node, limit)
	case errors.Is(err, transport.ErrOverflow):
		return nil, fmt.Errorf("%w: %w: %w", ErrDropped, ErrOverloaded, err)
	case errors.Is(err, transport.ErrNoService):
		return nil, dropped(err)
	}
	return nil, err
}

// put queues a command, and brings all that waits to the core if nobody else is
// about to. It reports false where too much waits.
func (q *queue) put(ctx context.Context, n *Node, kind EntryKind, data []byte, w *waiter) bool {
	size := entryOverhead + len(data)
	end := ctx.Done()
	q.mu.Lock()
	if q.bytes > 0 && q.bytes+size > n.config.MaxUncommitted {
		q.mu.Unlock()
		return false
	}
	f := &q.filling
	room := headRoom(n.config.Group)
	if q.lone && len(data) < room {
		room = 0 // its head would take more than a copy of it
	}
	f.entries = append(f.entries, Entry{Kind: kind, Data: f.encode(&q.slab, room, kind, data)})
	f.waiters = append(f.waiters, w)
	q.bytes += size
	first := !q.draining
	q.draining = true
	var worth bool
	w.watch, worth = q.contexts.see(end)
	q.mu.Unlock()
	if first {
		n.drain()
	}
	if worth {
		n.startWatch(ctx) // calls the code of others, for whom nobody is to wait
	}
	return true
}

// putRead queues a read.
func (q *queue) putRead(n *Node, w *waiter) {
	q.mu.Lock()
	q.filling.reads = append(q.filling.reads, w)
	first := !q.draining
	q.draining = true
	q.mu.Unlock()
	if first {
		n.drain()
	}
}

// take empties the queue. Called with Node.mu held.
func (q *queue) take() orders {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.filling.endFrame(&q.slab)
	taken := q.filling
	q.filling, q.spare = q.spare, orders{}
	q.bytes, q.draining = 0, false
	q.lone = len(taken.waiters) == 1
	return taken
}

// drain brings what is queued to the core. First it lets everybody else run who
// is able to: those who are about to propose join the batch.
func (n *Node) drain() {
	runtime.Gosched()
	n.mu.Lock()
	taken := n.queue.take()
	now := n.host.now() // after the last of them came: a lease of before may be over
	err := n.gone()
	if len(taken.reads) > 0 {
		n.startRead(now, taken.reads, err)
	}
	if len(taken.waiters) > 0 {
		n.proposeAll(now, &taken, err)
	}
	taken.reset()
	n.queue.spare = taken
	n.leave(now, nil)
}

// proposeAll proposes a batch, but for what is too much or was given up. Called
// with mu held; gone says why there is nothing to propose to any more.
func (n *Node) proposeAll(now time.Duration, o *orders, gone error) {
	entries, waiters := o.entries, o.waiters
	kept, size := 0, 0
	for i, w := range waiters {
		more := entries[i].size()
		switch {
		case gone != nil:
			w.decide(nil, dropped(gone))
			continue
		case n.core.role == leader && n.crowded(size, more):
			n.stats.Overloaded++
			w.decide(nil, dropped(ErrOverloaded))
			continue
		case !w.enterLog():
			w.recycle()
			continue
		}
		entries[kept], waiters[kept] = entries[i], w
		kept++
		size += more
	}
	if kept == 0 {
		return
	}
	frames := o.frames
	if kept < len(waiters) {
		frames = []frame{{entries: kept}} // they hold others, too
	}
	first, err := n.proposeFrames(now, entries[:kept], frames)
	switch {
	case err == nil:
		n.uncommitted += size
		n.stats.Proposed += uint64(kept)
		n.enqueue(n.core.term, first, waiters[:kept])
		return
	case errors.Is(err, ErrNotLeader):
		err = errElsewhere
	default:
		err = dropped(err)
	}
	for _, w := range waiters[:kept] {
		w.decide(nil, err)
	}
}

// proposeFrames proposes a batch, each frame by itself: it makes a message then.
func (n *Node) proposeFrames(now time.Duration, entries []Entry, frames []frame) (first uint64, err error) {
	for i := range frames {
		f := &frames[i]
		if f.first, err = n.core.propose(now, entries[:f.entries]); err != nil {
			return 0, err // the first of them: what a leader refuses it refuses from the start
		}
		f.term = n.core.term
		entries = entries[f.entries:]
	}
	n.frames = append(n.frames, frames...)
	return frames[0].first, nil
}

// crowded reports whether more bytes would be too much, after those that are to
// be proposed with them. One command alone always passes.
func (n *Node) crowded(size, more int) bool {
	waiting := n.uncommitted + size
	return n.unapplied > n.config.MaxUnapplied || waiting > 0 && waiting+more > n.config.MaxUncommitted
}
