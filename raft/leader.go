package raft

import (
	"math"
	"slices"
	"time"
)

// rememberedRounds is of how many rounds the leader knows when they were sent.
const rememberedRounds = 16

// An office is what a server keeps while it leads.
type office struct {
	start          uint64        // index of the first entry of the term
	heartbeatAt    time.Duration // when the next round is due
	round          uint64        // of the last heartbeat sent to all
	sentAt         [rememberedRounds]time.Duration
	supportedUntil time.Duration // answers of this membership make sure of that
	tellAt         time.Duration // when followers are told of a new commit index, if nothing else tells them; 0: no need

	transferee    string
	transferUntil time.Duration
	settled       uint64    // index of the last configuration whose commitment was dealt with
	recruits      []recruit // fed before they are members, by name
	handedOver    bool      // somebody was asked to stand: leases are void for the rest of the term

	queries []query // reads that wait, in order of their rounds
}

func (o *office) wake() time.Duration {
	at := o.heartbeatAt
	if o.tellAt > 0 {
		at = min(at, o.tellAt)
	}
	if o.transferee != "" {
		at = min(at, o.transferUntil)
	}
	return at
}

func (c *core) becomeLeader() {
	c.role, c.leader = leader, c.id
	c.growUp()
	c.office = office{start: c.log.last() + 1, heartbeatAt: c.now + c.heartbeat, queries: c.office.queries[:0]}
	for _, p := range c.peers {
		*p = peer{name: p.name, next: c.log.last() + 1, activeAt: c.now, sent: p.sent}
		p.sent.clear()
	}
	// An entry of the own term: only with it are earlier ones committed (section
	// 3.6.2), and only then is the commit index known (section 6.4).
	c.write([]Entry{{Kind: EntryNoop}})
	c.promoteCommit()
}

// leaveOffice gives up what belongs to a leader.
func (c *core) leaveOffice() {
	if c.role != leader {
		return
	}
	for _, q := range c.office.queries {
		c.readsLost = append(c.readsLost, q.id)
	}
	recruits := len(c.office.recruits)
	c.office = office{queries: c.office.queries[:0]}
	if recruits > 0 {
		c.rebuildPeers()
	}
}

// govern does what a leader does from time to time.
func (c *core) govern() {
	o := &c.office
	if o.transferee != "" && c.now >= o.transferUntil {
		o.transferee = "" // it did not take over: go on (section 3.10)
	}
	c.dismiss()
	if c.now >= o.heartbeatAt {
		if !c.supported() {
			c.becomeFollower(c.term, "") // section 6.2: clients find the new leader sooner
			return
		}
		c.noteCommit()
		c.beat()
	}
	if o.tellAt > 0 && c.now >= o.tellAt {
		o.tellAt = 0
		for _, p := range c.peers {
			if p.sentCommit < min(c.commit, p.match) {
				c.beatTo(p)
			}
		}
	}
}

// supported reports whether a majority answered within an election time-out. What
// they answered by now holds for some heartbeats.
func (c *core) supported() bool {
	o := &c.office
	if c.now > o.supportedUntil {
		o.supportedUntil = time.Duration(c.reached(func(p *peer) uint64 {
			if p == nil {
				return uint64(c.now + c.election)
			}
			return uint64(c.silentUntil(p))
		}))
	}
	return c.now <= o.supportedUntil
}

// silentUntil returns how long a follower may be silent: an election time after its
// last answer. But it may not have been asked since, because this process stood still:
// then it has as long after it was asked as it would have had otherwise, for that is
// at most a quarter of an election time and a heartbeat after its last answer.
func (c *core) silentUntil(p *peer) time.Duration {
	asked := p.askedAt
	if p.unasked {
		asked = c.now
	}
	return max(p.activeAt+c.election, asked+c.election-c.election/4-c.heartbeat)
}

// beat begins a round of confirmation.
func (c *core) beat() {
	o := &c.office
	o.round++
	o.sentAt[o.round%rememberedRounds] = c.now
	o.heartbeatAt = c.now + c.heartbeat
	for _, p := range c.peers {
		p.beatRound, p.beatNext = o.round, p.next
		c.beatTo(p)
	}
	c.confirm() // a single voter confirms itself
}

func (c *core) beatTo(p *peer) {
	p.sentCommit = min(c.commit, p.match)
	hint := c.quietFrom(p)
	if hint == 0 && p.unasked {
		p.askedAt = c.now
	}
	p.unasked = hint > 0
	c.send(message{Kind: msgHeartbeat, To: p.name, Term: c.term, Commit: p.sentCommit, Round: c.office.round, Hint: hint})
}

// quietFrom returns up to where a follower has to hold the log to need not answer a
// heartbeat; 0 if it has to answer in any case. Of a follower that has everything,
// and was heard of a moment ago, the leader learns nothing. A quarter of an
// election time leaves the rest of it for answers that are lost.
func (c *core) quietFrom(p *peer) uint64 {
	o := &c.office
	idle := p.stance == replicating && p.match == c.log.last() && o.transferee == "" && len(o.queries) == 0 && c.lease == 0
	if !idle || c.now-p.activeAt >= c.election/4 {
		return 0
	}
	return p.match
}

// propose appends entries whose Kind and Data are set, and returns the index of
// the first. The headers are copied.
func (c *core) propose(now time.Duration, entries []Entry) (first uint64, err error) {
	c.now = now
	if c.role != leader {
		return 0, ErrNotLeader
	}
	if c.office.transferee != "" {
		return 0, ErrBusy
	}
	return c.write(entries), nil
}

// write appends entries to the leader's log and sends them on.
func (c *core) write(entries []Entry) (first uint64) {
	first = c.log.last() + 1
	for i := range entries {
		entries[i].Index, entries[i].Term = first+uint64(i), c.term
	}
	c.log.append(entries)
	for _, p := range c.peers {
		c.feed(p, false)
	}
	return first
}

// transfer hands the leadership over to another voter (section 3.10). It ends by
// itself, one way or the other, within an election time.
func (c *core) transfer(now time.Duration, to string) error {
	c.now = now
	p := c.peer(to)
	switch {
	case c.role != leader:
		return ErrNotLeader
	case to == c.id:
		return nil
	case c.office.transferee != "" || c.changing():
		return ErrBusy
	case p == nil || !c.membership().IsVoter(to):
		return ErrMembership
	}
	c.office.transferee, c.office.transferUntil = to, now+c.election
	c.handOver(p)
	return nil
}

// handOver asks the transferee to stand as soon as it has the whole log.
func (c *core) handOver(p *peer) {
	if p.name == c.office.transferee && p.match == c.log.last() {
		c.office.handedOver = true
		c.send(message{Kind: msgTimeoutNow, To: p.name, Term: c.term})
	}
}

// heir returns the voter whose log is furthest.
func (c *core) heir() (best *peer) {
	for _, p := range c.peers {
		if c.membership().IsVoter(p.name) && (best == nil || p.match > best.match) {
			best = p
		}
	}
	return best
}

// promoteCommit moves the leader's commit index to the last entry that majorities
// hold durably, if it is of this term (section 3.6.2), and does what a committed
// configuration asks for.
func (c *core) promoteCommit() {
	index := c.reached(func(p *peer) uint64 {
		if p == nil {
			return c.disk.stable
		}
		return p.match
	})
	if term, _ := c.log.term(index); index <= c.commit || term != c.term {
		return
	}
	c.commit = index
	if c.office.tellAt == 0 && len(c.peers) > 0 {
		c.office.tellAt = c.now + c.heartbeat/8
	}
	latest := &c.configs[len(c.configs)-1]
	switch {
	case latest.index > c.commit:
	case latest.joint():
		c.configure(Membership{Voters: latest.Voters, Learners: latest.Learners})
	case latest.index != c.office.settled:
		c.office.settled = latest.index
		c.settle()
	}
}

// reached returns the highest value that majorities have reached. of is asked for
// each voter, with nil for this server.
func (c *core) reached(of func(p *peer) uint64) uint64 {
	lowest := uint64(math.MaxUint64)
	c.membership().majorities(func(voters []string) bool {
		var space [8]uint64
		values := space[:0]
		for _, name := range voters {
			if name == c.id {
				values = append(values, of(nil))
			} else if p := c.peer(name); p != nil {
				values = append(values, of(p))
			} else {
				values = append(values, 0)
			}
		}
		slices.Sort(values)
		lowest = min(lowest, values[(len(values)-1)/2])
		return true
	})
	return lowest
}
