package raft

import (
	"slices"
	"time"
)

// A simNode is a core with what the driver does around it, and a model disk.
type simNode struct {
	w      *simWorld
	id     int
	name   string
	config coreConfig
	ppm    int64         // by how much its clock is fast, in millionths
	origin time.Duration // of its clock
	slow   time.Duration // factor of its disk
	broken bool          // its disk fails at the next save
	lives  uint64
	up     bool
	paused bool
	disk   simDisk
	core   *core

	// The driver's.
	silent       bool // its disk has failed
	saving       bool
	compact      uint64 // what the disk may forget, as soon as it is idle
	batch        Batch
	buf          []Entry
	applied      uint64
	stalled      bool // the state machine takes a break
	snapshotting bool
	fetching     bool
	installing   bool
	proposed     []simProposal
	reads        map[uint64]simRead

	simView

	goal uint64 // of an amnesiac: it counts as failed until it holds so much
}

type simProposal struct{ index, term, id uint64 }

// A simRead is a read under way: what it must see, and where to take the answer.
type simRead struct {
	floor uint64
	then  func(index uint64)
}

func (n *simNode) leads() bool { return n.runs() && n.core.role == leader }

func (n *simNode) runs() bool { return n.up && !n.paused }

func (n *simNode) now() time.Duration {
	t := n.w.loop.Now()
	return n.origin + t + time.Duration(int64(t)*n.ppm/1_000_000)
}

// due returns the time at which the clock of the node shows the given one.
func (n *simNode) due(local time.Duration) time.Duration {
	t := local - n.origin
	return t - time.Duration(int64(t)*n.ppm/(1_000_000+n.ppm)) + 2
}

// start begins a life.
func (n *simNode) start() {
	n.lives++
	n.up = true
	n.origin = time.Duration(n.w.rng.Int64N(int64(time.Hour)))
	config := n.config
	config.seed = n.w.plan.seed<<8 + n.lives
	c, err := newCore(config, n.disk.state(), n.now())
	if err != nil {
		n.w.breaks("starts again", "%s: %v", n.name, err)
	}
	n.core = c
	n.silent, n.saving, n.stalled, n.snapshotting, n.fetching, n.installing = false, false, false, false, false, false
	n.applied, n.proposed, n.compact = n.disk.snap.Index, nil, 0
	n.reads = map[uint64]simRead{}
	n.simView = simView{acks: make([]uint64, len(n.w.nodes))}
	n.w.logf("%s starts: term %d vote %q commit %d, log %d to %d, snapshot %d", n.name, c.term, c.vote, c.commit, c.first(), c.last(), n.disk.snap.Index)
	n.flush()
}

// crash ends a life. What was being saved is durable wholly, in part or not.
func (n *simNode) crash() {
	if !n.up {
		return
	}
	steps := simSteps(&n.batch)
	switch n.w.rng.IntN(3) {
	case 0:
		steps = 0
	case 1:
		steps = n.w.rng.IntN(steps + 1)
	}
	n.w.logf("%s crashes", n.name)
	if n.saving {
		n.save(steps)
	}
	n.up, n.paused, n.core = false, false, nil
	n.w.loop.Crash(n.id)
}

func (n *simNode) restart() {
	if !n.up {
		n.w.loop.Restart(n.id)
		n.start()
	}
}

// save makes the batch that is out durable, or a part of it.
func (n *simNode) save(steps int) {
	before := n.disk.hard
	if err := n.disk.save(&n.batch, steps); err != nil {
		n.w.breaks("batches fit the saved log", "%s: %v", n.name, err)
	}
	after := n.disk.hard
	if after.Term < before.Term || after.Term == before.Term && before.Vote != "" && after.Vote != before.Vote || after.Commit < before.Commit {
		n.w.breaks("hard state never backwards", "%s had %+v, has %+v", n.name, before, after)
	}
}

// input gives the core something, and carries out what it wants.
func (n *simNode) input(f func(now time.Duration)) {
	f(n.now())
	n.flush()
}

func (n *simNode) hears(m *message) {
	if n.core.role == leader && m.Term == n.core.term {
		from := n.w.byName(m.From)
		n.acks[from.id] = max(n.acks[from.id], simVouched(m))
	}
	if n.core.step(n.now(), m) {
		n.flush()
	}
}

// flush is what the driver does after each input.
func (n *simNode) flush() {
	c := n.core
	n.observe()
	if n.silent && len(c.messages) > 0 {
		n.w.breaks("nodes with a broken disk are silent", "%s: %v", n.name, &simMessage{&c.messages[0]})
	}
	for i := range c.messages {
		m := c.messages[i]
		n.checkSent(&m)
		n.w.logf("%s sends %s", n.name, &simMessage{&m})
		n.w.loop.Send(n.id, n.w.byName(m.To).id, 100+sizeOf(m.Entries), &simItem{m: m})
	}
	clear(c.messages)
	c.messages = c.messages[:0]
	n.answerReads()
	if c.failed {
		return
	}
	n.startSave()
	n.apply()
	n.startSnapshot()
	n.startFetch()
	n.w.loop.WakeAt(n.id, n.due(c.wake()))
}

// later does something in this life of the node.
func (n *simNode) later(d time.Duration, do func()) { n.w.loop.After(n.id, d, &simItem{do: do}) }

func (n *simNode) startSave() {
	if n.saving {
		return
	}
	b, ok := n.core.takeBatch(n.buf)
	if !ok {
		return
	}
	n.saving, n.batch, n.buf = true, b, b.Entries
	n.w.logf("%s saves term %d vote %q commit %d restart %d, %d entries from %d", n.name, b.Hard.Term, b.Hard.Vote, b.Hard.Commit, b.Restart, len(b.Entries), n.disk.last())
	n.later(n.diskTime(1), n.endSave)
}

// diskTime draws how long the disk takes.
func (n *simNode) diskTime(saves time.Duration) time.Duration {
	return min(n.w.exponential(saves*n.w.plan.disk)*n.slow, 3*n.w.plan.election)
}

func (n *simNode) endSave() {
	if n.broken {
		n.broken = false
		n.save(n.w.rng.IntN(simSteps(&n.batch) + 1))
		n.saving = false
		n.w.logf("%s has a broken disk", n.name)
		n.w.seen.diskErrors++
		n.input(n.core.fail)
		n.silent = true
		return
	}
	n.save(simSteps(&n.batch))
	n.saving = false
	n.compactDisk()
	if k := len(n.batch.Entries); k > 0 {
		e := &n.batch.Entries[k-1]
		if term, ok := n.core.log.term(e.Index); !ok || term != e.Term {
			n.w.seen.abas++
		}
	}
	n.w.logf("%s saved", n.name)
	n.input(n.core.saved)
}

// compactDisk has the disk forget, between two saves.
func (n *simNode) compactDisk() {
	if !n.saving {
		n.disk.compact(n.compact)
	}
}

// apply takes committed entries to the state machine.
func (n *simNode) apply() {
	c := n.core
	for n.applied < c.commit && !n.stalled && !n.installing {
		entries := c.slice(n.applied+1, c.commit, 1<<10)
		if len(entries) == 0 {
			n.w.breaks("committed entries are held", "%s: %d of commit %d, log %d to %d", n.name, n.applied+1, c.commit, c.first(), c.last())
		}
		for i := range entries {
			n.w.checkApplied(n, &entries[i])
			n.applied = entries[i].Index
		}
	}
	k := 0
	for k < len(n.proposed) && n.proposed[k].index <= n.applied {
		p := n.proposed[k]
		if e := n.w.truth.entries[p.index-1]; e.term == p.term {
			n.w.truth.acknowledged = append(n.w.truth.acknowledged, p)
		}
		k++
	}
	n.proposed = n.proposed[k:]
}

// startSnapshot takes a snapshot of the state machine from time to time.
func (n *simNode) startSnapshot() {
	if n.snapshotting || n.installing || n.applied < n.disk.snap.Index+n.w.plan.snapshotEvery {
		return
	}
	info := n.core.infoAt(n.applied)
	n.w.checkInfo(n, info)
	n.snapshotting = true
	n.later(n.diskTime(3), func() {
		n.snapshotting = false
		if n.core.failed {
			return
		}
		n.disk.commit(info)
		to := info.Index - min(info.Index, n.w.plan.keep)
		n.input(func(time.Duration) {
			n.core.snapshotted(info)
			n.core.compact(to)
		})
		n.compact = n.core.first() - 1 // not what is still to be saved
		n.compactDisk()
		n.w.seen.snapshots++
	})
}

// startFetch brings the snapshot that the leader offers.
func (n *simNode) startFetch() {
	if n.core.fetch.Index == 0 || n.fetching || n.installing {
		return
	}
	source := n.w.byName(n.core.leader)
	if source == nil {
		return
	}
	n.fetching = true
	n.later(n.w.while(0.1), func() {
		n.fetching = false
		if n.core.failed {
			return
		}
		if !source.up || source.disk.snap.Index == 0 || n.w.chance(0.1) {
			n.input(n.core.fetchFailed)
			return
		}
		info := source.disk.snap
		info.Membership = info.Membership.clone()
		n.installing = n.core.beginInstall(n.now(), info)
		n.flush()
		if n.installing {
			n.later(n.diskTime(3), func() { n.endFetch(info) })
		}
	})
}

func (n *simNode) endFetch(info SnapshotInfo) {
	if n.core.failed {
		return
	}
	if n.w.chance(0.1) {
		n.installing = false
		n.input(n.core.fetchFailed)
		return
	}
	n.disk.commit(info)
	if n.w.chance(0.2) {
		n.w.harm(0, func() { n.w.crashFor(n, n.w.while(0.3)) })
	}
	n.later(n.w.while(0.02), func() { // a crash here finds the new snapshot and the old log
		n.installing = false
		if n.core.failed {
			return
		}
		if info.Index > n.core.commit {
			n.w.seen.installs++
		}
		n.applied = max(n.applied, info.Index)
		n.w.logf("%s has installed the snapshot at %d", n.name, info.Index)
		n.input(func(now time.Duration) { n.core.installed(now, info) })
	})
}

// propose appends commands to the leader's log.
func (n *simNode) propose(k int) error {
	if n.core.last() > n.core.commit+100 {
		return nil // the driver's bound on what is not committed
	}
	entries := make([]Entry, k)
	for i := range entries {
		entries[i] = Entry{Kind: EntryCommand, Data: simCommand(n.w.id(), n.w.rng.IntN(100))}
	}
	var err error
	n.input(func(now time.Duration) {
		first, e := n.core.propose(now, slices.Clone(entries))
		if err = e; err != nil {
			return
		}
		for i := range entries {
			n.proposed = append(n.proposed, simProposal{first + uint64(i), n.core.term, simID(&entries[i])})
		}
	})
	return err
}

// read asks the leader for an index that is at least floor.
func (n *simNode) read(floor uint64, then func(index uint64)) {
	id := n.w.id()
	n.reads[id] = simRead{floor, then}
	n.input(func(now time.Duration) {
		if n.core.read(now, id) != nil {
			delete(n.reads, id)
			return
		}
		if n.config.lease > 0 && len(n.core.reads) > 0 && n.core.reads[len(n.core.reads)-1].id == id && len(n.core.peers) > 0 {
			n.w.seen.leaseReads++
		}
	})
}

// readRemotely is a read on a follower: it asks its leader.
func (n *simNode) readRemotely() {
	l := n.w.byName(n.core.leader)
	if l == nil {
		return
	}
	floor, life := uint64(len(n.w.truth.entries)), n.lives
	n.w.loop.Send(n.id, l.id, 50, &simItem{do: func() {
		if !l.leads() {
			return
		}
		term := l.core.term
		l.read(floor, func(index uint64) {
			commit := min(index, l.core.commit) // what a read waits for may not be committed yet
			n.w.loop.Send(l.id, n.id, 50, &simItem{do: func() {
				if n.lives == life {
					n.input(func(now time.Duration) { n.core.learn(now, term, commit) })
					n.w.seen.remoteReads++
				}
			}})
		})
	}})
}

// answerReads takes what the core says of reads.
func (n *simNode) answerReads() {
	c := n.core
	for _, r := range c.reads {
		read, asked := n.reads[r.id]
		if !asked {
			n.w.breaks("a read is answered once", "%s: read %d", n.name, r.id)
		}
		if r.index < read.floor {
			n.w.breaks("reads are linearizable", "%s of term %d answers a read at %d, but %d was committed before it began", n.name, c.term, r.index, read.floor)
		}
		delete(n.reads, r.id)
		if read.then != nil {
			read.then(r.index)
		}
	}
	for _, id := range c.readsLost {
		if _, asked := n.reads[id]; !asked {
			n.w.breaks("a read is answered once", "%s: read %d is lost", n.name, id)
		}
		delete(n.reads, id)
		n.w.seen.readsLost++
	}
	c.reads, c.readsLost = c.reads[:0], c.readsLost[:0]
}

// infoAt describes the state after the entry at index, which is held.
func (c *core) infoAt(index uint64) SnapshotInfo {
	term, _ := c.log.term(index)
	info := SnapshotInfo{Index: index, Term: term}
	for i := range c.configs {
		if c.configs[i].index <= index {
			info.Membership = c.configs[i].clone()
		}
	}
	return info
}
