package raft

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/draw"
)

// A Node is one server of a group. Make it with Start or Host.Start, and end it
// with Close. All methods are safe for concurrent use.
//
// A Node is a monitor around the core: whoever brings news, a message, a
// proposal, the time, takes the lock, tells the core, carries out what the core
// wants, and leaves. Storage and the state machine work outside of the lock, in
// goroutines that are there while there is something to do.
type Node struct {
	host   *Host
	owner  bool // of the host: Close closes it
	config Config
	local  string
	number int // among the nodes of the host; see timers

	leading atomic.Bool // what publish last saw: saves proposals elsewhere the lock
	queue   queue
	waiters sync.Pool // of *waiter

	life     uint64          // tells this Node from others of its name
	requests atomic.Uint64   // forwarded commands, for their numbers
	ending   context.Context // of what is asked of other nodes: Close ends it
	end      context.CancelFunc

	mu   sync.Mutex
	core *core

	closed  bool
	failure error // why the node has stopped taking part
	notes   []note
	unused  []io.Closer   // to be closed once the lock is released
	armed   time.Duration // when the timer will tick, or earlier
	stalled bool          // the last tick came much too late

	// What others wait for; see watch.
	seen    sight
	changed chan struct{} // closed at the next change; nil if nobody waits

	// Bytes of entries, with entryOverhead.
	counted     uint64 // entries up to here, committed, are counted in unapplied
	uncommitted int    // of a leader
	unapplied   int

	lines    []line               // who waits for which entry
	rounds   map[uint64][]*waiter // who waits for which read
	lastRead uint64
	catching []catcher // who waits until an index is applied

	replays  replayFilter // of commands forwarded to this node
	frames   []frame      // just proposed, to be sent by the next flush
	standing standing     // of this node in its group

	taken    []uint64 // indices of our latest snapshots
	save     save
	apply    apply
	transfer transfer

	workers sync.WaitGroup
	stats   Stats
}

// A sight is what of the core is told to those who watch. Its zero value is that
// of nothing.
type sight struct {
	role       role
	term       uint64
	leader     string
	transferee string
	changing   bool
	removed    bool   // see standing
	rebuilt    uint64 // as in core
}

// A note is something to be logged, once the lock is released.
type note struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

// Start starts a node that is alone on its transport, or the only one of its
// group there: see Host for many groups. It loads what Storage holds, restores
// the newest snapshot, and takes part from then on; a cluster of one leads after
// an election time.
//
// The errors are those of an invalid Config, of Storage and of the state machine.
func Start(config Config) (*Node, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	service := defaultService
	if config.Group != "" {
		service += "/" + config.Group
	}
	host, err := NewHost(HostConfig{Transport: config.Transport, Service: service})
	if err != nil {
		return nil, err
	}
	n, err := host.start(config, true)
	if err != nil {
		_ = host.Close() // it never fails
		return nil, err
	}
	return n, nil
}

// newNode loads and restores.
func newNode(host *Host, config Config) (*Node, error) {
	state, err := config.Storage.Load()
	if err != nil {
		return nil, fmt.Errorf("raft: loading: %w", err)
	}
	n := &Node{
		host: host, config: config, local: config.Transport.Local(),
		armed: math.MaxInt64, rounds: map[uint64][]*waiter{},
	}
	n.life = draw.Key(config.Seed^uint64(time.Now().UnixNano()), "raft life", n.local)
	n.ending, n.end = context.WithCancel(context.Background())
	n.save.memory, _ = config.Storage.(*MemoryStorage)
	n.save.run, n.apply.run = n.saveAll, n.applyAll
	n.apply.sessions = newSessionTable(MaxSessions)
	if state.Snapshot.Index > 0 {
		if err := n.restoreNewest(state.Snapshot); err != nil {
			return nil, fmt.Errorf("raft: restoring the snapshot at index %d: %w", state.Snapshot.Index, err)
		}
		n.apply.index, n.apply.term = state.Snapshot.Index, state.Snapshot.Term
	}
	if n.core, err = newCore(config.core(), state, host.now()); err != nil {
		return nil, err
	}
	n.counted = n.apply.index
	return n, nil
}

// enter takes the lock and returns the time. It must be followed by leave.
func (n *Node) enter() time.Duration {
	n.mu.Lock()
	return n.host.now()
}

// leave carries out what the core wants, releases the lock, and then does what
// calls the code of others. Messages that can wait for others to the same peer go to out.
func (n *Node) leave(now time.Duration, out *outbox) {
	if !n.closed {
		n.flush(now, out)
	}
	notes, unused := n.notes, n.unused
	n.notes, n.unused = nil, nil
	n.mu.Unlock()
	for _, c := range unused {
		_ = c.Close() // a reader: nothing was written
	}
	for i := range notes {
		n.config.Logger.LogAttrs(context.Background(), notes[i].level, "raft: "+notes[i].text,
			append(notes[i].attrs, slog.String("node", n.local), slog.String("group", n.config.Group))...)
	}
}

// note has something logged by leave. Called with mu held.
func (n *Node) note(level slog.Level, text string, attrs ...slog.Attr) {
	n.notes = append(n.notes, note{level, text, attrs})
}

// flush carries out what the core wants after an input. Called with mu held.
func (n *Node) flush(now time.Duration, out *outbox) {
	c := n.core
	if n.save.memory != nil {
		n.saveHere(now)
	}
	if len(c.messages) > 0 {
		n.host.send(n, out)
	}
	clear(n.frames)
	n.frames = n.frames[:0]
	if n.save.memory == nil {
		n.startSave()
	}
	if c.commit > n.counted {
		n.count()
	}
	if len(c.reads) > 0 || len(c.readsLost) > 0 {
		n.answerReads()
	}
	if c.failure != nil && n.failure == nil {
		n.fail(c.failure)
	}
	if c.fetch.Index > 0 && c.leader != "" && !n.transfer.fetching && n.failure == nil {
		n.startFetch()
	}
	n.startApply()
	n.publish()
	if at := c.wake(); at < n.armed && !n.stalled {
		n.armed = at
		n.host.timers.arm(n, at)
	}
}

// count adds up what has been committed since the last time.
func (n *Node) count() {
	for n.counted < n.core.commit {
		entries := n.core.slice(n.counted+1, n.core.commit, math.MaxInt)
		if len(entries) == 0 { // a snapshot has taken their place
			n.counted = n.core.commit
			return
		}
		size := sizeOf(entries)
		n.unapplied += size
		n.uncommitted = max(0, n.uncommitted-size)
		n.counted += uint64(len(entries))
	}
}

// publish wakes those who watch, if there is something new.
func (n *Node) publish() {
	c := n.core
	s := &n.seen
	changing := s.changing || s.rebuilt != c.rebuilt
	if changing {
		changing = c.changing()
	}
	removed := n.standing.removed(n, changing)
	s.rebuilt = c.rebuilt
	if s.role == c.role && s.term == c.term && s.leader == c.leader && s.transferee == c.office.transferee && s.changing == changing && s.removed == removed {
		return
	}
	if c.role == leader && s.role != leader {
		n.uncommitted = 0
		for i := c.commit + 1; i <= c.last(); {
			piece := c.slice(i, c.last(), math.MaxInt)
			n.uncommitted += sizeOf(piece)
			i += uint64(len(piece))
		}
		n.stats.Elected++
	}
	turned := s.term != c.term
	if c.role != leader && !changing && !c.membership().Contains(n.local) {
		n.forsake()
	}
	if s.leader != c.leader && c.leader != "" {
		n.note(slog.LevelInfo, "new leader", slog.String("leader", c.leader), slog.Uint64("term", c.term))
	}
	n.seen = sight{role: c.role, term: c.term, leader: c.leader, transferee: c.office.transferee, changing: changing, removed: removed, rebuilt: c.rebuilt}
	if turned || removed {
		n.catchAgain()
	}
	n.leading.Store(c.role == leader)
	n.wakeWatchers()
}

func (n *Node) wakeWatchers() {
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

// watch returns a channel that is closed when what publish tells changes, or the
// node closes or fails. Called with mu held.
func (n *Node) watch() <-chan struct{} {
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.changed
}

// gone returns why the node takes no more orders; nil while it does. Called with
// mu held.
func (n *Node) gone() error {
	switch {
	case n.closed:
		return ErrClosed
	case n.failure != nil:
		return ErrFailed
	case n.seen.removed:
		return ErrRemoved
	}
	return nil
}

// fail ends the node's part. Called with mu held, before leave.
func (n *Node) fail(cause error) {
	if n.failure != nil {
		return
	}
	n.failure = cause
	n.note(slog.LevelError, "node failed", slog.Any("error", cause))
	n.core.fail(n.host.now())
	if len(n.core.messages) > 0 {
		n.host.send(n, nil) // a leader asks another to take over
	}
	n.giveUp(ErrFailed)
	n.publish()
	n.wakeWatchers()
}

// giveUp ends all waiting. Called with mu held.
func (n *Node) giveUp(reason error) {
	n.drop(reason)
	for id, round := range n.rounds {
		for _, w := range round {
			w.decide(nil, reason)
		}
		delete(n.rounds, id)
	}
	for _, c := range n.catching {
		c.done <- reason
	}
	n.catching = nil
}

// tick is called by the timer, at the time that was set or later.
//
// Much later means that this process stood still. What others sent in the
// meantime is waiting to be read, and comes first: otherwise every pause would
// have a node stand against a leader who is well, or a leader step down.
func (n *Node) tick(out *outbox) {
	now := n.enter()
	n.stalled = !n.stalled && now-n.armed > n.config.Heartbeat
	switch {
	case n.closed:
	case n.stalled:
		n.armed = now + n.config.Heartbeat/2
		n.host.timers.arm(n, n.armed)
	default:
		n.armed = math.MaxInt64
		if now >= n.core.wake() {
			n.core.tick(now)
		}
		n.expireReaders(now)
	}
	n.leave(now, out)
}

// step takes a message from another node, between enter and leave. It reports whether
// leave has anything to carry out: if not, to release the lock is enough.
func (n *Node) step(now time.Duration, m *message) (moved bool) {
	switch {
	case n.closed || n.failure != nil:
	case m.Kind == msgAppend && n.unapplied > n.config.MaxUnapplied && n.core.role != leader:
		// The state machine lags: it is as if the entries had been lost. The
		// leader sends them again after its next heartbeat.
		n.stats.Refused++
	default:
		return n.core.step(now, m)
	}
	return true
}

// Close ends the node and waits for its goroutines, and so for a method of the
// StateMachine or of Storage that runs; it must not be called from one. What
// waits gets ErrClosed, with ErrDropped or ErrUncertain. Close does not hand the
// leadership over: call TransferLeadership before. It may be called more than
// once; the error is always nil.
func (n *Node) Close() error {
	now := n.enter()
	if !n.closed {
		n.closed = true
		n.leading.Store(false)
		n.end()
		n.giveUp(ErrClosed)
		n.forgetReaders()
		n.wakeWatchers()
		if w := n.setWatch(nil); w != nil {
			defer w.stop()
		}
	}
	n.leave(now, nil)
	n.host.remove(n)
	n.workers.Wait()
	if n.owner {
		return n.host.Close()
	}
	return nil
}
