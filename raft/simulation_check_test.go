package raft

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// A simTruth is what the cluster as a whole has done. It only grows.
type simTruth struct {
	entries      []simCommitted // by index, from 1
	configs      []placedMembership
	leaders      map[uint64]simLife   // by term
	votes        map[simBallot]string // who got the vote of a node in a term
	written      [][]simWritten       // every entry that any log ever had, by index
	acknowledged []simProposal
}

// A simCommitted is an entry that some node has committed.
type simCommitted struct {
	term, id uint64
	by       uint64 // the term of the leader that committed it
}

// A simWritten is an entry as it was first seen in a log.
type simWritten struct {
	term, id, before uint64 // before: the term of the entry before it
	spread           bool   // it was durable on a majority, though not committed
}

type simLife struct {
	node *simNode
	life uint64
}

type simBallot struct {
	node int
	term uint64
}

// init makes the first entry, which is the same on all nodes and needs no leader.
func (t *simTruth) init(m Membership) {
	t.leaders, t.votes = map[uint64]simLife{}, map[simBallot]string{}
	t.configs = []placedMembership{{}, {1, m}}
	data, _ := m.AppendBinary(nil)
	t.entries = []simCommitted{{term: 1, id: simID(&Entry{Kind: EntryMembership, Data: data})}}
}

// membership returns the committed configuration at an index.
func (t *simTruth) membership(index uint64) *Membership {
	n := len(t.configs) - 1
	for t.configs[n].index > index {
		n--
	}
	return &t.configs[n].Membership
}

// simID tells entries of one index and term apart.
func simID(e *Entry) uint64 {
	if e.Kind == EntryCommand {
		return binary.BigEndian.Uint64(e.Data)
	}
	return xxhash.Sum64(e.Data) ^ uint64(e.Kind)<<60
}

// A simView is what was last seen of a core, to find out what has changed.
type simView struct {
	role    role
	term    uint64
	commit  uint64
	terms   []uint64           // of the log, from index 1
	configs []placedMembership // in the log
	acks    []uint64           // as leader: acknowledged by each node in this term
	handing string             // transferee
}

// observe checks what must hold after every event.
func (n *simNode) observe() {
	c, w := n.core, n.w
	if c.failure != nil {
		w.breaks("cores do not give up", "%s: %v", n.name, c.failure)
	}
	if c.term < n.term {
		w.breaks("terms never go back", "%s: from %d to %d", n.name, n.term, c.term)
	}
	config := n.inForce()
	n.observeLog()
	if m, want := c.membership(), n.inForce(); !m.equal(*want) {
		w.breaks("the latest membership in the log is in force", "%s has %v, its log says %v", n.name, *m, *want)
	}
	led := n.role == leader && n.term <= c.term
	if c.role == leader && (n.role != leader || n.term != c.term) {
		led = true
		w.checkElected(n, config)
		clear(n.acks)
	}
	n.observeCommit(led, config)
	if n.role == leader && c.role == follower && c.term == n.term && !c.membership().IsVoter(n.name) {
		w.seen.leadersRemoved++
	}
	if n.handing != "" && c.role == leader && c.term == n.term && c.office.transferee == "" {
		w.seen.transfersTimedOut++
	}
	if c.role == leader {
		for _, p := range c.peers {
			if told := n.acks[w.byName(p.name).id]; p.match > told {
				w.breaks("leaders count what they were told in their term", "%s of term %d counts %s to %d, it said %d", n.name, c.term, p.name, p.match, told)
			}
		}
	}
	n.role, n.term, n.handing = c.role, c.term, c.office.transferee
	if c.role == leader && c.commit < c.office.start {
		w.lookForFigure8(n)
	}
	if w.amnesiac == n && n.disk.hard.Commit > 0 && c.disk.stable >= n.goal {
		w.amnesiac = nil
		w.seen.amnesias++
		w.logf("%s has recovered from its amnesia", n.name)
	}
}

// inForce returns the configuration that the log says is in force.
func (n *simNode) inForce() *Membership {
	if k := len(n.configs); k > 0 {
		return &n.configs[k-1].Membership
	}
	return &Membership{}
}

// observeLog follows the changes of the log, and checks log matching.
func (n *simNode) observeLog() {
	l, w := &n.core.log, n.w
	known := uint64(len(n.terms))
	if l.base > known || l.base > 0 && n.terms[l.base-1] != l.baseTerm {
		// It has a snapshot in place of its log.
		if l.base > uint64(len(w.truth.entries)) {
			w.breaks("snapshots are of committed state", "%s: snapshot at %d, committed %d", n.name, l.base, len(w.truth.entries))
		}
		n.terms = n.terms[:0]
		for _, e := range w.truth.entries[:l.base] {
			n.terms = append(n.terms, e.term)
		}
		if n.terms[l.base-1] != l.baseTerm {
			w.breaks("snapshots are of committed state", "%s: snapshot at %d of term %d, committed in %d", n.name, l.base, l.baseTerm, n.terms[l.base-1])
		}
		n.configs = append(n.configs[:0], placedMembership{l.base, *w.truth.membership(l.base)})
		known = l.base
	}
	keep := min(known, l.end)
	for keep > l.base {
		if term, _ := l.term(keep); term == n.terms[keep-1] {
			break
		}
		keep--
	}
	if keep < known {
		n.truncated(keep)
	}
	for i := keep + 1; i <= l.end; i++ {
		e := l.at(i)
		if e.Index != i {
			w.breaks("log matching", "%s has entry %d at index %d", n.name, e.Index, i)
		}
		before := uint64(0)
		if i > 1 {
			before = n.terms[i-2]
		}
		w.checkWritten(n, e, before)
		n.terms = append(n.terms, e.Term)
		if e.Kind == EntryMembership {
			n.adopts(e)
		}
	}
}

// truncated takes notice that the log lost what followed an entry.
func (n *simNode) truncated(keep uint64) {
	n.w.seen.truncations++
	n.w.logf("%s drops entries from %d on", n.name, keep+1)
	if keep < n.commit {
		n.w.breaks("committed entries stay", "%s drops entries from %d on, committed %d", n.name, keep+1, n.commit)
	}
	if n.core.role == leader && n.role == leader && n.term == n.core.term {
		n.w.breaks("a leader only appends", "%s drops entries from %d on", n.name, keep+1)
	}
	for i := keep; i < uint64(len(n.terms)); i++ {
		for _, e := range n.w.truth.written[i] {
			if e.term == n.terms[i] && e.spread {
				n.w.seen.figure8Undone++
			}
		}
	}
	if k := len(n.batch.Entries); n.saving && k > 0 && n.batch.Entries[k-1].Index > keep {
		n.w.seen.replacedInFlight++
	}
	n.terms = n.terms[:keep]
	k := len(n.configs)
	for k > 0 && n.configs[k-1].index > keep {
		k--
	}
	if k < len(n.configs) {
		n.w.seen.membershipsReverted++
	}
	n.configs = n.configs[:k]
}

// checkWritten checks log matching: an entry is known by its index and term, and
// so is the one before it.
func (w *simWorld) checkWritten(n *simNode, e *Entry, before uint64) {
	t := &w.truth
	for uint64(len(t.written)) < e.Index {
		t.written = append(t.written, nil)
	}
	list := t.written[e.Index-1]
	id := simID(e)
	for _, x := range list {
		if x.term != e.Term {
			continue
		}
		if x.id != id || x.before != before {
			w.breaks("log matching", "%s: entry %d of term %d is %x after one of term %d, elsewhere it is %x after one of term %d", n.name, e.Index, e.Term, id, before, x.id, x.before)
		}
		return
	}
	t.written[e.Index-1] = append(list, simWritten{term: e.Term, id: id, before: before})
}

// adopts checks a configuration that is new in the log.
func (n *simNode) adopts(e *Entry) {
	p := placedMembership{index: e.Index}
	if err := p.UnmarshalBinary(e.Data); err != nil {
		n.w.breaks("memberships can be read", "%s: entry %d: %v", n.name, e.Index, err)
	}
	if k := len(n.configs); k > 0 && n.core.role == leader && e.Term == n.core.term {
		n.checkChange(&n.configs[k-1], &p)
	}
	n.configs = append(n.configs, p)
}

// checkChange checks that a leader changes the membership by the rules, which keep
// any two majorities from being disjoint: one change at a time, each committed
// before the next, none before an entry of the own term is, and voters only by way
// of a joint configuration.
func (n *simNode) checkChange(from, to *placedMembership) {
	c := n.core
	term, _ := c.log.term(c.commit)
	valid := false
	switch {
	case from.joint():
		valid = slices.Equal(from.Voters, to.Voters) && !to.joint()
	case to.joint():
		valid = slices.Equal(from.Voters, to.Outgoing)
	default:
		valid = slices.Equal(from.Voters, to.Voters)
	}
	if !valid || from.index > c.commit || term != c.term {
		n.w.breaks("memberships change one after the other", "%s of term %d: %v at %d to %v at %d, committed %d of term %d",
			n.name, c.term, from.Membership, from.index, to.Membership, to.index, c.commit, term)
	}
}

// majority reports whether majorities of a configuration fulfil a condition.
func (w *simWorld) majority(m *Membership, ok func(*simNode) bool) bool {
	for _, voters := range [][]string{m.Voters, m.Outgoing} {
		k := 0
		for _, name := range voters {
			if ok(w.byName(name)) {
				k++
			}
		}
		if len(voters) > 0 && 2*k <= len(voters) {
			return false
		}
	}
	return len(m.Voters) > 0
}

// checkElected checks a leader as it takes office.
func (w *simWorld) checkElected(n *simNode, config *Membership) {
	c := n.core
	w.seen.elections++
	w.logf("%s leads in term %d", n.name, c.term)
	if other, taken := w.truth.leaders[c.term]; taken {
		w.breaks("one leader a term", "%s leads in term %d, as %s did in its life %d", n.name, c.term, other.node.name, other.life)
	}
	w.truth.leaders[c.term] = simLife{n, n.lives}
	if hard := &n.disk.hard; hard.Term == c.term && hard.Vote == n.name {
		w.truth.votes[simBallot{n.id, c.term}] = n.name
	}
	if !w.majority(config, func(v *simNode) bool { return w.truth.votes[simBallot{v.id, c.term}] == n.name }) {
		w.breaks("leaders have majorities", "%s leads in term %d without one of %v", n.name, c.term, *config)
	}
	for i, e := range w.truth.entries {
		if e.by >= c.term {
			continue // committed by a later leader, so that this one is deposed already
		}
		if i >= len(n.terms) || n.terms[i] != e.term {
			w.breaks("leader completeness", "%s leads in term %d without entry %d of term %d, which was committed in term %d", n.name, c.term, i+1, e.term, e.by)
		}
	}
	if config.joint() {
		w.seen.jointElections++
	}
	if w.chance(0.6) {
		w.ambushed(n)
	}
}

// observeCommit checks what is newly committed.
func (n *simNode) observeCommit(led bool, config *Membership) {
	c, w, t := n.core, n.w, &n.w.truth
	if c.commit < n.commit || c.commit > c.last() {
		w.breaks("commit is monotonic", "%s: from %d to %d of %d", n.name, n.commit, c.commit, c.last())
	}
	if c.commit == n.commit {
		return
	}
	known := uint64(len(t.entries))
	for i := n.commit + 1; i <= c.commit; i++ {
		if i <= known {
			if t.entries[i-1].term != n.terms[i-1] {
				w.breaks("state machine safety", "%s of term %d commits entry %d of term %d, elsewhere it was of term %d", n.name, c.term, i, n.terms[i-1], t.entries[i-1].term)
			}
			continue
		}
		if i <= c.log.base {
			w.breaks("snapshots are of committed state", "%s: snapshot at %d, committed %d", n.name, c.log.base, known)
		}
		e := c.log.at(i)
		t.entries = append(t.entries, simCommitted{term: e.Term, id: simID(e), by: c.term})
		if e.Kind == EntryMembership {
			p := placedMembership{index: i}
			if err := p.UnmarshalBinary(e.Data); err != nil {
				w.breaks("memberships can be read", "%s: entry %d: %v", n.name, i, err)
			}
			t.configs = append(t.configs, p)
			if p.joint() {
				w.seen.jointChanges++
			}
		}
	}
	if c.commit > known {
		n.checkFirst(led, known, config)
	}
	n.commit = c.commit
}

// checkFirst checks an entry that nobody had committed before: only a leader does
// that, an entry of its own term, which majorities hold durably.
func (n *simNode) checkFirst(led bool, known uint64, config *Membership) {
	c, w := n.core, n.w
	term := n.terms[c.commit-1]
	if !led {
		w.breaks("leaders commit first", "%s, no leader, commits entry %d of term %d", n.name, c.commit, term)
	}
	if term != c.term {
		w.breaks("leaders commit entries of their own term", "%s of term %d commits entry %d of term %d", n.name, c.term, c.commit, term)
	}
	durable := func(config *Membership, index uint64) bool {
		return w.majority(config, func(v *simNode) bool {
			return v.disk.holds(index, n.terms[index-1]) || w.amnesiac == v
		})
	}
	now := n.inForce()
	// If it left a joint configuration just now, that one was in force before.
	if !durable(config, c.commit) && (config.equal(*now) || !durable(config, known+1) || !durable(now, c.commit)) {
		w.breaks("committed is durable on majorities", "%s of term %d commits entry %d, not durable on a majority of %v", n.name, c.term, c.commit, *config)
	}
}

// lookForFigure8 marks entries of earlier terms that reached a majority, and yet
// are not committed: the next leader may replace them (figure 3.7).
func (w *simWorld) lookForFigure8(n *simNode) {
	c := n.core
	for i := c.commit + 1; i < c.office.start && i > c.log.base; i++ {
		for k := range w.truth.written[i-1] {
			e := &w.truth.written[i-1][k]
			if e.term == n.terms[i-1] && !e.spread && w.majority(n.inForce(), func(v *simNode) bool { return v.disk.holds(i, e.term) }) {
				e.spread = true
				w.seen.figure8++
				w.ambushed(n)
			}
		}
	}
}

// checkApplied checks that an entry which is applied is the committed one.
func (w *simWorld) checkApplied(n *simNode, e *Entry) {
	want := w.truth.entries[n.applied]
	if e.Index != n.applied+1 || e.Term != want.term || simID(e) != want.id {
		w.breaks("state machine safety", "%s applies entry %d of term %d, committed is %d of term %d", n.name, e.Index, e.Term, n.applied+1, want.term)
	}
}

// checkInfo checks the description of an own snapshot.
func (w *simWorld) checkInfo(n *simNode, info SnapshotInfo) {
	if info.Term != w.truth.entries[info.Index-1].term || !info.Membership.equal(*w.truth.membership(info.Index)) {
		w.breaks("snapshots know their membership", "%s: %+v, committed %v", n.name, info, *w.truth.membership(info.Index))
	}
}

// checkSent checks what a message claims.
func (n *simNode) checkSent(m *message) {
	w, hard := n.w, &n.disk.hard
	if m.Kind != msgPreVote && m.Kind != msgPreVoteReply && hard.Term < m.Term {
		w.breaks("nothing is said that a crash could undo", "%s: %v, but term %d is durable", n.name, &simMessage{m}, hard.Term)
	}
	switch {
	case m.Kind == msgVote:
		n.checkVote(m, n.name)
	case m.Kind == msgVoteReply && !m.Reject:
		n.checkVote(m, m.To)
	case m.Kind == msgAppendReply || m.Kind == msgHeartbeatReply:
		n.checkVouched(m)
	case m.Kind == msgHeartbeat:
		if to := w.byName(m.To); m.Commit > n.acks[to.id] {
			w.breaks("heartbeats do not commit what may not be there", "%s: %v, which has acknowledged %d", n.name, &simMessage{m}, n.acks[to.id])
		}
	}
}

// simVouched returns up to where a reply says that the leader's log is durable.
func simVouched(m *message) uint64 {
	switch {
	case m.Kind == msgAppendReply && !m.Reject:
		return m.Index
	case m.Kind == msgHeartbeatReply && !m.Reject:
		return m.Hint
	}
	return 0
}

// checkVouched checks what a follower says is durable. What it held back while
// terms changed counts as if it had been on its way for so long.
func (n *simNode) checkVouched(m *message) {
	index := simVouched(m)
	if index == 0 || m.Term != n.core.term {
		return
	}
	w, term := n.w, n.terms[index-1]
	if !n.disk.holds(index, term) {
		w.breaks("nothing is said that a crash could undo", "%s: %v, but durable are %d to %d", n.name, &simMessage{m}, n.disk.base+1, n.disk.last())
	}
	if to := w.byName(m.To); to.leads() && to.core.term == m.Term && (index > to.core.last() || to.terms[index-1] != term) {
		w.breaks("replies vouch for the leader's log only", "%s: %v, whose entry is of term %d", n.name, &simMessage{m}, term)
	}
}

// checkVote checks a vote as it is given.
func (n *simNode) checkVote(m *message, to string) {
	hard := &n.disk.hard
	if hard.Term == m.Term && hard.Vote != to {
		n.w.breaks("nothing is said that a crash could undo", "%s: %v, but the vote for %q is durable", n.name, &simMessage{m}, hard.Vote)
	}
	ballot := simBallot{n.id, m.Term}
	if earlier, voted := n.w.truth.votes[ballot]; voted && earlier != to && !m.Newborn { // who is not sure to remember says so
		n.w.breaks("one vote a term", "%s: %v, but it voted for %s", n.name, &simMessage{m}, earlier)
	}
	n.w.truth.votes[ballot] = to
}
