package raft

import (
	"fmt"
	"time"
)

// feed sends a follower what it does not have, as much as may be on the way. With
// always, it sends an empty message where there is nothing.
func (c *core) feed(p *peer, always bool) {
	for !p.waiting && p.stance != restoring {
		if p.stance == replicating && (p.sent.n >= c.maxInflight || p.sent.bytes >= c.maxInflightBytes) {
			return
		}
		last := c.log.last()
		if p.next > last && !always {
			return
		}
		term, known := c.log.term(p.next - 1)
		if !known {
			c.offer(p)
			return
		}
		entries := c.log.slice(p.next, last, c.maxAppendBytes)
		always = false
		c.send(message{
			Kind: msgAppend, To: p.name, Term: c.term, Index: p.next - 1, LogTerm: term,
			Commit: c.commit, Round: c.office.round, Entries: entries,
		})
		p.sentCommit = min(c.commit, p.next-1+uint64(len(entries)))
		if p.stance == probing {
			p.waiting = true
			return
		}
		if len(entries) == 0 {
			return
		}
		p.next += uint64(len(entries))
		p.sent.push(p.next-1, sizeOf(entries))
	}
}

// offer tells a follower to fetch the snapshot, because the entries that it lacks
// are no longer held.
func (c *core) offer(p *peer) {
	if c.snap.Index == 0 {
		return
	}
	p.stance, p.waiting = restoring, false
	p.sent.clear()
	c.send(message{Kind: msgSnapshot, To: p.name, Term: c.term, Index: c.snap.Index, LogTerm: c.snap.Term, Commit: c.commit, Round: c.office.round})
}

// report takes a follower's answer.
func (c *core) report(p *peer, m *message) {
	p.activeAt, p.newborn = c.now, m.Newborn
	if m.Round > p.round && m.Round <= c.office.round {
		p.round = m.Round
		c.confirm()
	}
	switch {
	case m.Kind == msgHeartbeatReply:
		c.alive(p, m)
	case m.Reject:
		c.refused(p, m)
	case m.Index <= c.log.last():
		c.accepted(p, m.Index, m.Round)
	}
}

// alive takes the answer to a heartbeat. It says what has been received: if that
// is not all that was sent before, something was lost.
func (c *core) alive(p *peer, m *message) {
	p.waiting = false
	if m.Hint > p.match && m.Hint <= c.log.last() {
		c.accepted(p, m.Hint, m.Round) // its acknowledgement was lost
		if c.role != leader {
			return
		}
	}
	switch {
	case p.stance == replicating && m.Round == p.beatRound && m.Index+1 < p.beatNext:
		p.probe(c.office.round)
	case p.stance == restoring:
		c.offer(p) // it may have missed the first offer, or failed
	}
	c.feed(p, p.stance == probing)
	c.handOver(p)
}

// accepted takes an acknowledgement: the log is durable there up to index.
func (c *core) accepted(p *peer, index, round uint64) {
	p.matchRound = max(p.matchRound, round)
	moved := index > p.match
	p.match = max(p.match, index)
	p.next = max(p.next, p.match+1)
	p.sent.free(p.match)
	if p.stance != replicating && index+1 >= p.next {
		p.stance, p.waiting = replicating, false
	}
	if moved {
		c.promoteCommit()
	}
	if c.role != leader {
		return
	}
	c.feed(p, false)
	c.handOver(p)
}

// refused finds out where the logs part (section 3.5, with whole terms skipped at
// a time on both sides).
func (c *core) refused(p *peer, m *message) {
	switch {
	case m.Index <= p.match && m.Round <= p.matchRound:
		return // late: it was acknowledged since
	case p.stance == probing && m.Index != p.next-1, p.stance == restoring:
		return // of an earlier probe
	case p.stance == replicating && m.Round < p.believe:
		// Of what was on the way when it was found out: each of them would have
		// all sent again. If something was lost since, the next heartbeat tells.
		return
	case m.Hint < p.match:
		// What it once acknowledged is gone: it has lost its disk. It no longer
		// counts for what it does not hold.
		p.match = 0
	}
	p.probe(c.office.round)
	p.next = max(p.match, c.log.agree(min(m.Hint, m.Index-min(m.Index, 1)), m.LogTerm)) + 1
	c.feed(p, true)
}

// handleAppend takes entries from the leader (figure 3.1, AppendEntries,
// receiver).
func (c *core) handleAppend(m *message) {
	if c.installing {
		return
	}
	c.ackRound = m.Round
	prev, entries := m.Index, m.Entries
	if base := c.log.base; prev < base {
		// All up to the base is committed, and so in the leader's log, too.
		n := min(base-prev, uint64(len(entries)))
		prev, entries = prev+n, entries[n:]
		if prev < base {
			c.acknowledge()
			return
		}
	} else if term, ok := c.log.term(prev); !ok || term != m.LogTerm {
		hint := c.log.agree(prev, m.LogTerm)
		hintTerm, _ := c.log.term(hint)
		c.send(message{
			Kind: msgAppendReply, To: m.From, Term: c.term, Index: m.Index, Round: m.Round,
			Reject: true, Hint: hint, LogTerm: hintTerm, Newborn: c.newborn,
		})
		return
	}
	if !c.join(entries) {
		return
	}
	c.verified = max(c.verified, prev+uint64(len(entries)))
	c.advance(m.Commit)
	c.aim(m.Commit)
	c.ackOwed = c.disk.stable < c.verified
	if !c.ackOwed {
		c.acknowledge()
	}
}

// join makes the log hold the entries, which follow on what is there. What it
// holds already stays: the message may be older than what followed it.
func (c *core) join(entries []Entry) bool {
	n := 0
	for n < len(entries) {
		term, held := c.log.term(entries[n].Index)
		if held && term != entries[n].Term {
			if !c.discard(entries[n].Index) {
				return false
			}
			break
		}
		if !held {
			break
		}
		n++
	}
	entries = entries[n:]
	if len(entries) == 0 {
		return true
	}
	c.log.append(entries)
	if err := c.adopt(entries); err != nil {
		c.stop(fmt.Errorf("raft: from the leader: %w", err))
		return false
	}
	return true
}

// discard drops the entries from index on: they contradict the leader's.
func (c *core) discard(index uint64) bool {
	if index <= c.commit {
		c.stop(errReplaced)
		return false
	}
	c.log.truncate(index)
	c.disk.cut(index)
	c.verified = min(c.verified, index-1)
	n := len(c.configs)
	for n > 1 && c.configs[n-1].index >= index {
		n--
	}
	if n < len(c.configs) {
		c.configs = c.configs[:n] // section 4.1: back to the configuration before
		c.rebuildPeers()
	}
	return true
}

// acknowledge tells the leader what is durable of that which it sent.
func (c *core) acknowledge() {
	c.ackOwed = c.disk.stable < c.verified
	if c.leader == "" {
		return
	}
	index := min(c.disk.stable, c.verified)
	if c.catchUp > 0 && index >= c.catchUp {
		c.growUp()
	}
	c.send(message{Kind: msgAppendReply, To: c.leader, Term: c.term, Index: index, Round: c.ackRound, Newborn: c.newborn})
}

// aim sets a newborn's goal, once.
func (c *core) aim(commit uint64) {
	if c.newborn && c.catchUp == 0 {
		c.catchUp = max(commit, 1)
		if min(c.disk.stable, c.verified) >= c.catchUp {
			c.growUp()
		}
	}
}

// growUp ends being newborn. The first entry is the same everywhere.
func (c *core) growUp() {
	if c.newborn {
		c.newborn = false
		c.commit = max(c.commit, 1)
	}
}

// handleSnapshot takes the leader's offer of a snapshot.
func (c *core) handleSnapshot(m *message) {
	c.ackRound = m.Round
	c.aim(m.Commit)
	switch {
	case m.Index <= c.commit:
		c.acknowledge() // an older snapshot never replaces a newer state
	case !c.installing:
		c.fetch = SnapshotInfo{Index: m.Index, Term: m.LogTerm}
	}
}

// beginInstall reports whether a snapshot that was fetched is still wanted. If
// so, the core takes no entries until installed or fetchFailed.
func (c *core) beginInstall(now time.Duration, info SnapshotInfo) bool {
	c.now = now
	if c.failed || c.role == leader || info.Index <= c.commit {
		c.fetch = SnapshotInfo{}
		return false
	}
	if c.role != follower {
		c.becomeFollower(c.term, "") // what is here took long to get, and makes it a better candidate
	}
	c.installing = true
	return true
}

// fetchFailed gives up a snapshot. The leader will offer one again.
func (c *core) fetchFailed(now time.Duration) {
	c.now = now
	c.installing, c.fetch = false, SnapshotInfo{}
}

// installed takes over a snapshot that is durable, and is the state machine's
// state by now (figure 5.3, InstallSnapshot, receiver).
func (c *core) installed(now time.Duration, info SnapshotInfo) {
	c.fetchFailed(now)
	if c.failed || info.Index <= c.commit {
		return
	}
	c.snapshotted(info)
	if term, ok := c.log.term(info.Index); !ok || term != info.Term {
		c.log.restart(info.Index, info.Term)
		c.disk.stable, c.disk.outLast, c.disk.restart = info.Index, 0, info.Index+1
		c.configs = []placedMembership{{info.Index, info.Membership.clone()}}
	}
	c.commit = info.Index
	c.verified = max(c.verified, info.Index)
	c.rebuildPeers()
	c.acknowledge()
}

// snapshotted takes notice of a durable snapshot.
func (c *core) snapshotted(info SnapshotInfo) {
	if info.Index > c.snap.Index {
		c.snap = info
	}
}

// compact drops entries up to an index that a snapshot covers.
func (c *core) compact(to uint64) {
	to = min(to, c.snap.Index, c.commit, c.disk.stable) // what is not saved yet is still to be read from here
	c.log.compact(to)
	n := 0
	for n+1 < len(c.configs) && c.configs[n+1].index <= to {
		n++
	}
	c.configs = append(c.configs[:0:0], c.configs[n:]...)
}
