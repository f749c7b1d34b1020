package raft

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/draw"
)

// A role is what a server is at the moment (figure 3.3, and section 9.6).
type role uint8

const (
	follower role = iota
	preCandidate
	candidate
	leader
)

func (r role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}

type coreConfig struct {
	id               string
	voters, learners []string      // the first membership; used only where nothing was ever saved
	heartbeat        time.Duration // from one heartbeat of a leader to the next
	election         time.Duration // shortest time without a leader before an election; the longest is twice that
	seed             uint64
	maxAppendBytes   int // entries in one message, but for one that is larger
	maxInflight      int // messages on the way to one follower
	maxInflightBytes int
	lease            time.Duration // how long a confirmed leader may answer reads alone; 0: never
}

// A core is one server of the protocol as a function: told the time, messages
// and what the driver did, it says what to send, to save and to apply. It does
// nothing by itself, and is not safe for concurrent use.
//
// Inputs are the methods with a time. After each of them the driver looks at the
// outputs: messages, takeBatch, commit, reads, readsLost, fetch and wake.
type core struct {
	// What every heartbeat looks at; see restful.
	now        time.Duration
	term       uint64
	role       role
	failed     bool
	leader     string // of this term, empty if unknown
	commit     uint64
	verified   uint64 // the log is known to equal that of this term's leader up to here
	heardAt    time.Duration
	electionAt time.Duration
	patience   time.Duration // how long this server waits for the present leader
	disk       disk

	// The rest of the persistent state. What of it is durable is told by stable and
	// durable.
	vote    string
	log     logbook
	configs []placedMembership // in the log, in order; the first is in force at the log's base
	snap    SnapshotInfo       // the newest durable snapshot

	// The rest of the volatile state.
	newborn  bool    // has not caught up with a leader since its disk was empty: it may have lost one; see founding, too
	peers    []*peer // everybody else in the membership, by name
	rebuilt  uint64  // how often: the membership is another each time
	selfVote bool    // is durable

	coreConfig
	draws *draw.Stream

	// Of a leader.
	office office

	// Of a follower.
	ackOwed    bool   // the leader waits for an acknowledgement of what is being saved
	ackRound   uint64 // of the latest append
	catchUp    uint64 // a newborn's goal: the commit index that the leader first named
	installing bool

	// Outputs.
	messages  []message
	reads     []readReady
	readsLost []uint64
	fetch     SnapshotInfo // the snapshot that the leader offers and this server needs
	failure   error        // why the core stopped by itself
}

// A placedMembership is a configuration and the index of its entry.
type placedMembership struct {
	index uint64
	Membership
}

// newCore returns the server that a state makes, at the given time.
func newCore(config coreConfig, state State, now time.Duration) (*core, error) {
	c := &core{coreConfig: config, now: now, draws: draw.NewStream(config.seed, "raft", config.id)}
	c.term, c.vote = state.Hard.Term, state.Hard.Vote
	c.disk.term, c.disk.vote, c.disk.outHard = c.term, c.vote, state.Hard
	c.snap = state.Snapshot
	if err := c.load(state); err != nil {
		return nil, err
	}
	if term := c.log.lastTerm(); term > c.term {
		// A snapshot was saved before the term that it came in: nothing was said in
		// that term yet.
		c.term, c.vote = term, ""
	}
	if len(config.voters) > 0 && c.log.last() == 0 {
		c.bootstrap()
	}
	c.newborn = state.Hard.Commit == 0
	c.disk.newborn = c.newborn
	c.commit = max(c.snap.Index, min(state.Hard.Commit, c.log.last()))
	c.verified = c.commit
	c.heardAt = now
	c.rebuildPeers()
	c.becomeFollower(c.term, "")
	if c.lease == 0 || state.Hard.Term == 0 {
		// With leases, a server that restarts keeps the promise that it may have
		// given: no vote before the shortest election time is over. One that never
		// saved a term gave none.
		c.heardAt = now - c.election
	}
	return c, nil
}

// load takes over the log, without what does not fit the snapshot (figure 5.3,
// receiver, steps 6 and 7).
func (c *core) load(state State) error {
	entries, snap := state.Entries, state.Snapshot
	for i := range entries {
		if entries[i].Index != entries[0].Index+uint64(i) || i > 0 && entries[i].Term < entries[i-1].Term {
			return fmt.Errorf("raft: the saved log is broken at index %d (term %d), which follows index %d", entries[i].Index, entries[i].Term, entries[max(i, 1)-1].Index)
		}
	}
	c.log.restart(snap.Index, snap.Term)
	c.disk.stable = snap.Index
	if snap.Index > 0 {
		c.configs = []placedMembership{{snap.Index, snap.Membership.clone()}}
	} else {
		c.configs = []placedMembership{{}}
	}
	if len(entries) == 0 {
		if snap.Index > 0 {
			c.disk.restart = snap.Index + 1 // the log may have ended before the snapshot
		}
		return nil
	}
	if entries[0].Index == 0 || entries[0].Index > snap.Index+1 {
		return fmt.Errorf("raft: the saved log begins at index %d, but the snapshot ends at %d", entries[0].Index, snap.Index)
	}
	if snap.Index > 0 {
		// The entry at the snapshot's end, or whatever came after it.
		at := int(snap.Index) - int(entries[0].Index)
		if at >= len(entries) || at >= 0 && entries[at].Term != snap.Term || at < 0 && entries[0].Term < snap.Term {
			c.disk.restart = snap.Index + 1
			return nil
		}
		entries = entries[at+1:]
	}
	c.log.append(entries)
	c.disk.stable = c.log.last()
	return c.adopt(entries)
}

// bootstrap writes the first entry, the same on every server of a new cluster.
func (c *core) bootstrap() {
	first := Membership{Voters: c.voters, Learners: c.learners}.clone()
	data, _ := first.AppendBinary(nil)
	c.term = max(c.term, 1)
	c.log.append([]Entry{{Index: 1, Term: 1, Kind: EntryMembership, Data: data}})
	c.configs = append(c.configs, placedMembership{1, first})
}

// adopt takes notice of the configurations among entries that were appended.
func (c *core) adopt(entries []Entry) error {
	found := false
	for i := range entries {
		if entries[i].Kind != EntryMembership {
			continue
		}
		p := placedMembership{index: entries[i].Index}
		if err := p.UnmarshalBinary(entries[i].Data); err != nil {
			return fmt.Errorf("entry %d: %w", p.index, err)
		}
		c.configs = append(c.configs, p)
		found = true
	}
	if found {
		c.rebuildPeers()
	}
	return nil
}

// membership returns the configuration in force: the latest in the log, whether
// it is committed or not (section 4.1).
func (c *core) membership() *Membership { return &c.configs[len(c.configs)-1].Membership }

// changing reports whether a change of the membership is under way.
func (c *core) changing() bool {
	latest := &c.configs[len(c.configs)-1]
	return latest.joint() || latest.index > c.commit
}

// rebuildPeers makes the list of the others fit the membership. Those that a
// change removes stay until it is committed, so that they hear of it; recruits are
// there before it begins.
func (c *core) rebuildPeers() {
	n := len(c.configs)
	latest := &c.configs[n-1]
	names := slices.Concat(latest.Voters, latest.Outgoing, latest.Learners)
	if n > 1 && latest.index > c.commit {
		before := &c.configs[n-2]
		names = slices.Concat(names, before.Voters, before.Outgoing, before.Learners)
	}
	for _, r := range c.office.recruits {
		names = append(names, r.name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var peers []*peer
	for _, name := range names {
		if name == c.id {
			continue
		}
		p := c.peer(name)
		if p == nil {
			p = &peer{name: name, next: c.log.last() + 1, activeAt: c.now}
		}
		peers = append(peers, p)
	}
	c.peers = peers
	c.rebuilt++
	c.office.supportedUntil = 0
}

func (c *core) peer(name string) *peer {
	i, ok := slices.BinarySearchFunc(c.peers, name, func(p *peer, name string) int { return strings.Compare(p.name, name) })
	if !ok {
		return nil
	}
	return c.peers[i]
}

func (c *core) last() uint64                                { return c.log.last() }
func (c *core) first() uint64                               { return c.log.first() }
func (c *core) slice(from, to uint64, maxBytes int) []Entry { return c.log.slice(from, to, maxBytes) }

// promotable reports whether this server may stand for election. One that the
// latest configuration removes may until that is committed: it can be the only
// one whose log the others elect (section 4.2.2).
func (c *core) promotable() bool {
	n := len(c.configs)
	latest := &c.configs[n-1]
	voter := latest.IsVoter(c.id) || n > 1 && latest.index > c.commit && c.configs[n-2].IsVoter(c.id)
	return voter && !c.installing && !c.failed && (!c.newborn || c.founding())
}

// founding reports whether this server may be one of a new cluster, in which nobody
// has a past: it was started with the first members, and has not caught up since its
// disk was empty. Who was started to join knows that there is a past.
func (c *core) founding() bool { return c.newborn && len(c.voters) > 0 }

// wake returns the time at which tick has something to do.
func (c *core) wake() time.Duration {
	switch {
	case c.failed:
		return c.now + time.Hour
	case c.role == leader:
		return c.office.wake()
	}
	return c.electionAt
}

// tick does what is due at the time now.
func (c *core) tick(now time.Duration) {
	c.now = now
	switch {
	case c.failed:
	case c.role == leader:
		c.govern()
	case now >= c.electionAt:
		c.stand()
	}
}

// step takes a message. It keeps neither m nor the array of m.Entries, but the
// Data of the entries. It reports whether there may be something to do for the
// driver: not if it was a heartbeat, and all is as it was.
func (c *core) step(now time.Duration, m *message) (moved bool) {
	c.now = now
	if m.Kind == msgHeartbeat && c.restful(m) {
		c.heardAt, c.electionAt = now, now+c.patience
		return false
	}
	c.take(m)
	return true
}

// restful reports whether a heartbeat has nothing to say but that the leader is there,
// and needs no answer. That goes for nearly all of them, and in a node with many idle
// groups for most of what it does.
func (c *core) restful(m *message) bool {
	return m.Term == c.term && c.role == follower && !c.failed && c.leader == m.From &&
		m.Commit <= c.commit && c.commit <= c.disk.outHard.Commit && // nor is there anything to save
		m.Hint > 0 && m.Hint <= min(c.disk.stable, c.verified)
}

// take is step for all other messages, and would do no harm with those.
func (c *core) take(m *message) {
	if c.failed || m.Term > c.term && !c.newer(m) {
		return
	}
	if m.Term < c.term {
		c.outdated(m)
		return
	}
	switch m.Kind {
	case msgPreVote, msgVote:
		c.answerVote(m)
	case msgPreVoteReply, msgVoteReply:
		c.countVote(m)
	case msgAppend, msgHeartbeat, msgSnapshot, msgTimeoutNow:
		if c.role == leader {
			return // one leader a term: this is no server of this cluster
		}
		c.follow(m.From)
		c.obey(m)
	case msgAppendReply, msgHeartbeatReply:
		if p := c.peer(m.From); p != nil && c.role == leader {
			c.report(p, m)
		}
	}
}

// newer deals with a term above the own one, and reports whether the message is
// to be looked at.
func (c *core) newer(m *message) bool {
	switch {
	case m.Kind == msgPreVote, m.Kind == msgPreVoteReply && !m.Reject:
		return true // a question about a term that may never be
	case m.Kind == msgVote && c.loyal(m):
		return false // section 4.2.3: servers that were removed do not disrupt
	}
	c.becomeFollower(m.Term, "")
	return true
}

// outdated answers a message of a term that is over, where its sender would
// otherwise not learn of the new one: it may be stuck with a leader that this
// server does not listen to.
func (c *core) outdated(m *message) {
	reply := message{To: m.From, Term: c.term, Reject: true}
	switch m.Kind {
	case msgAppend, msgHeartbeat, msgSnapshot:
		reply.Kind = msgHeartbeatReply
	case msgPreVote:
		reply.Kind = msgPreVoteReply
	case msgVote:
		reply.Kind = msgVoteReply
	default:
		return
	}
	c.send(reply)
}

// obey carries out what the leader of this term says.
func (c *core) obey(m *message) {
	c.heardAt = c.now
	c.electionAt = c.now + c.patience
	switch m.Kind {
	case msgAppend:
		c.handleAppend(m)
	case msgHeartbeat:
		c.advance(m.Commit)
		c.noteCommit()
		durable := min(c.disk.stable, c.verified)
		if m.Hint > 0 && durable >= m.Hint {
			return
		}
		c.send(message{
			Kind: msgHeartbeatReply, To: m.From, Term: c.term, Round: m.Round,
			Index: c.verified, Hint: durable, Newborn: c.newborn,
		})
	case msgSnapshot:
		c.handleSnapshot(m)
	case msgTimeoutNow:
		if c.promotable() {
			c.campaign(true)
		}
	}
}

// becomeFollower enters a term, or falls back within it.
func (c *core) becomeFollower(term uint64, leader string) {
	if term > c.term {
		c.term, c.vote, c.leader = term, "", ""
		c.verified = c.commit
	}
	c.leaveOffice()
	c.role = follower
	c.electionAt = c.now + c.between(c.election, 2*c.election)
	c.leader = ""
	c.ackOwed = false
	if leader != "" {
		c.follow(leader)
	}
}

// follow takes a server for the leader of this term.
func (c *core) follow(name string) {
	if c.role != follower {
		c.becomeFollower(c.term, "")
	}
	if c.leader == name {
		return
	}
	c.leader = name
	c.verified = c.commit
	c.ackOwed, c.ackRound = false, 0 // rounds are this leader's: another's number would vouch for one to come
	c.fetch = SnapshotInfo{}
	c.patience = c.turn(name)
	if c.newborn && c.vote == "" {
		// It may have voted in this term before it lost its disk, and most likely
		// for this leader.
		c.vote = name
	}
}

// advance moves the commit index of a follower: never beyond what is known to
// equal the leader's log.
func (c *core) advance(commit uint64) {
	commit = min(commit, c.verified)
	if commit > c.commit && !c.installing {
		c.commit = commit
	}
}

// learn takes the leader's word, given outside of the protocol's messages, that
// the commit index was reached in a term.
func (c *core) learn(now time.Duration, term, commit uint64) {
	c.now = now
	if term == c.term && c.role == follower && c.leader != "" && !c.failed {
		c.advance(commit)
	}
}

// send puts a message out, or holds it until what it rests on is durable.
func (c *core) send(m message) {
	m.From = c.id
	if c.durable() {
		c.messages = append(c.messages, m)
		return
	}
	for i := range c.disk.held {
		if h := &c.disk.held[i]; h.To == m.To && h.Kind == m.Kind {
			*h = m // the newer one says it all
			return
		}
	}
	c.disk.held = append(c.disk.held, m)
}

// between returns a time drawn evenly.
func (c *core) between(low, high time.Duration) time.Duration {
	return low + time.Duration(draw.Float(c.draws.Uint64())*float64(high-low))
}

// fail ends this server's part, because its storage or its state machine broke.
// A leader asks the follower that is furthest to take over.
func (c *core) fail(now time.Duration) {
	c.now = now
	if c.failed {
		return
	}
	c.messages = c.messages[:0]
	c.disk.held = nil
	if c.role == leader {
		if p := c.heir(); p != nil {
			c.messages = append(c.messages, message{Kind: msgTimeoutNow, From: c.id, To: p.name, Term: c.term})
		}
	}
	c.leaveOffice()
	c.role, c.leader, c.failed = follower, "", true
}

var errReplaced = errors.New("raft: the leader's log contradicts a committed entry: servers of two clusters, or a majority that lost its disks")

// stop ends this server's part, because something happened that cannot.
func (c *core) stop(err error) {
	c.failure = err
	c.fail(c.now)
}
