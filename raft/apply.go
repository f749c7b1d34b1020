package raft

import "fmt"

// An apply is the way of committed entries to the state machine: in batches, by
// a goroutine that is there while there are any.
type apply struct {
	run func() // applyAll, bound once

	// Guarded by Node.mu.
	running bool
	index   uint64 // applied
	term    uint64 // of the entry there
	ready   bool   // see Ready
	restore *SnapshotInfo
	writing bool // a snapshot is being written

	// Owned by the goroutine.
	membership Membership // in force at index
	sessions   *sessionTable
	entries    int   // applied since the last snapshot
	bytes      int64 // and their size

	// The batch.
	commands []Command
	applied  int       // how many of them the state machine has seen
	slots    []int     // of each entry: its command, or -1-i for others[i]
	owners   []owner   // whose result of a session it is
	others   []outcome // of entries that are no command for the state machine
	waiters  []*waiter // replaced with Node.mu held, for nudge
	told     int       // how many of them know the outcome
}

// An owner is a session's claim on the result of a command.
type owner struct {
	slot    int
	session uint64
	seq     uint64
}

// An outcome is what a waiter is told.
type outcome struct {
	result []byte
	err    error
}

// What is applied at once.
const applyBytes = 1 << 20

// startApply sees to what has been committed. Called with mu held.
func (n *Node) startApply() {
	a := &n.apply
	if !a.running && n.failure == nil && (n.core.commit > a.index || a.restore != nil) {
		a.running = true
		n.workers.Add(1)
		go a.run()
	}
}

// applyAll applies until there is nothing to apply.
func (n *Node) applyAll() {
	defer n.workers.Done()
	a := &n.apply
	ended := false
	defer func() {
		if !ended {
			n.abandoned("the state machine")
			n.tellWaiters(nil, ErrFailed)
		}
	}()
	for {
		entries, restore := n.nextToApply()
		switch {
		case restore != nil:
			n.takeOver(*restore)
			continue
		case len(entries) == 0:
			ended = true
			return
		}
		err := n.applyBatch(entries)
		n.noteApplied(entries, err)
		n.tellWaiters(entries, err)
		if err == nil && n.snapshotDue(entries) {
			n.takeSnapshot(SnapshotInfo{Index: a.index, Term: a.term, Membership: a.membership})
		}
	}
}

// nextToApply returns what to apply, or the snapshot that takes the place of all
// that; neither if the goroutine is to end.
func (n *Node) nextToApply() (entries []Entry, restore *SnapshotInfo) {
	a := &n.apply
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.failure != nil {
		a.running = false
		return nil, nil
	}
	if a.restore != nil {
		return nil, a.restore
	}
	if entries = n.core.slice(a.index+1, n.core.commit, applyBytes); len(entries) == 0 {
		a.running = false
		return nil, nil
	}
	last := &entries[len(entries)-1]
	a.waiters, a.told = n.dequeue(last.Index, last.Term, a.waiters[:0]), 0
	return entries, nil
}

// noteApplied tells the node that a batch was applied.
func (n *Node) noteApplied(entries []Entry, err error) {
	now := n.enter()
	if err != nil {
		n.fail(err)
		n.leave(now, nil)
		return
	}
	last := &entries[len(entries)-1]
	n.apply.index, n.apply.term = last.Index, last.Term
	n.unapplied -= sizeOf(entries)
	n.stats.Applied += uint64(len(entries))
	if len(n.catching) > 0 {
		n.caughtUp()
	}
	n.mu.Unlock()
}

// abandoned ends the node's part after a panic, which goes on, or runtime.Goexit
// in the code of others.
func (n *Node) abandoned(by string) {
	now := n.enter()
	n.fail(fmt.Errorf("raft: %s ended the goroutine that it was called from", by))
	n.leave(now, nil)
}

// applyBatch gives the state machine what is its. Commands of sessions that were
// applied before are answered from the table.
func (n *Node) applyBatch(entries []Entry) error {
	a := &n.apply
	a.reset()
	for i := range entries {
		e := &entries[i]
		var err error
		switch e.Kind {
		case EntryCommand:
			a.command(e.Index, e.Data)
		case EntrySession:
			err = n.applySession(e)
		case EntryMembership:
			a.other(nil, nil)
			err = a.membership.UnmarshalBinary(e.Data)
		default:
			a.other(nil, nil)
		}
		if err != nil {
			return err
		}
	}
	return n.applyCommands()
}

func (a *apply) reset() {
	if cap(a.commands) > keptEntries {
		a.commands, a.slots = nil, nil
	}
	clear(a.commands)
	clear(a.others)
	a.commands, a.applied, a.slots, a.owners, a.others = a.commands[:0], 0, a.slots[:0], a.owners[:0], a.others[:0]
}

func (a *apply) command(index uint64, data []byte) {
	a.slots = append(a.slots, len(a.commands))
	a.commands = append(a.commands, Command{Index: index, Data: data})
}

func (a *apply) other(result []byte, err error) {
	a.others = append(a.others, outcome{result, err})
	a.slots = append(a.slots, -len(a.others))
}

// applySession deals with an entry of a session.
func (n *Node) applySession(e *Entry) error {
	a := &n.apply
	var s sessionEntry
	if err := s.decode(e.Data); err != nil {
		a.other(nil, dropped(err)) // the same on every node
		return nil
	}
	if s.open {
		a.sessions.open(e.Index)
		a.other(appendSessionID(e.Index), nil)
		return nil
	}
	verdict, result := a.sessions.admit(&s)
	if verdict == beingDone { // twice in one batch: its result is needed now
		if err := n.applyCommands(); err != nil {
			return err
		}
		verdict, result = a.sessions.admit(&s)
	}
	switch verdict {
	case applyIt:
		a.owners = append(a.owners, owner{len(a.commands), s.id, s.seq})
		a.command(e.Index, s.command)
	case answered:
		a.other(result, nil)
	case unknown:
		a.other(nil, ErrResultDropped)
	default:
		a.other(nil, ErrSessionExpired)
	}
	return nil
}

// applyCommands has the state machine apply the commands that it has not seen.
func (n *Node) applyCommands() error {
	a := &n.apply
	commands := a.commands[a.applied:]
	if len(commands) == 0 {
		return nil
	}
	a.applied = len(a.commands)
	if err := n.config.StateMachine.Apply(commands); err != nil {
		return fmt.Errorf("raft: applying entries %d to %d: %w", commands[0].Index, commands[len(commands)-1].Index, err)
	}
	for _, o := range a.owners {
		a.sessions.keep(o.session, o.seq, a.commands[o.slot].Result)
	}
	a.owners = a.owners[:0]
	return nil
}

// tellWaiters tells those whom the batch decides about what became of their entries.
func (n *Node) tellWaiters(entries []Entry, err error) {
	a := &n.apply
	for a.told < len(a.waiters) {
		w := a.waiters[a.told]
		a.told++
		if err != nil {
			w.decide(nil, uncertain(ErrFailed))
			continue
		}
		at := w.index - entries[0].Index
		switch {
		case at >= uint64(len(entries)) || entries[at].Term != w.term:
			w.decide(nil, errReplacedEntry) // another leader's entry took its place
		case a.slots[at] >= 0:
			w.decide(a.commands[a.slots[at]].Result, nil)
		default:
			o := a.others[-a.slots[at]-1]
			w.decide(o.result, o.err)
		}
	}
}

var errReplacedEntry = fmt.Errorf("%w: a new leader did not have it", ErrDropped)
