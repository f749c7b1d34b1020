package raft

import (
	"slices"
	"time"
)

// stand begins an election, because no leader was heard of for too long: first
// by asking who would vote (PreVote, section 9.6), which disturbs nobody.
func (c *core) stand() {
	if !c.promotable() {
		c.electionAt = c.now + c.between(c.election, 2*c.election)
		return
	}
	c.becomeFollower(c.term, "")
	c.role = preCandidate
	// Asking again does no harm, so a refusal costs little time: the others may
	// have heard of the old leader a moment later than this server.
	c.electionAt = c.now + c.between(c.election/2, c.election)
	c.canvass(msgPreVote, c.term+1, false)
	c.tally()
}

// campaign enters the next term as a candidate (section 3.4). With force the
// leader itself asked for it.
func (c *core) campaign(force bool) {
	c.becomeFollower(c.term+1, "")
	c.role, c.vote, c.selfVote = candidate, c.id, false
	c.electionAt = c.now + c.between(c.election, 2*c.election)
	c.canvass(msgVote, c.term, force)
}

// canvass asks all voters.
func (c *core) canvass(kind messageKind, term uint64, force bool) {
	for _, p := range c.peers {
		p.vote = voteUnknown
		if c.membership().IsVoter(p.name) {
			c.send(message{Kind: kind, To: p.name, Term: term, Index: c.log.last(), LogTerm: c.log.lastTerm(), Force: force, Newborn: c.newborn})
		}
	}
}

// loyal reports whether this server refuses to take part in an election, because
// it has a leader that it heard of within the shortest election time (sections
// 4.2.3 and 6.4.1: leases rely on it).
func (c *core) loyal(m *message) bool {
	return !m.Force && (c.role == leader || c.now-c.heardAt < c.election)
}

// answerVote answers a question for a vote, real or not. A learner answers too:
// it may be a voter already in a configuration that it has yet to receive.
func (c *core) answerVote(m *message) {
	reply := message{Kind: msgVoteReply, To: m.From, Term: c.term, Newborn: c.newborn}
	ok := c.wouldElect(m)
	switch {
	case m.Kind == msgPreVote:
		reply.Kind = msgPreVoteReply
		ok = ok && m.Term > c.term && !c.loyal(m)
		if ok {
			reply.Term = m.Term
		}
	case ok && (c.vote == m.From || c.vote == "" && c.leader == "" && !c.loyal(m)):
		c.role, c.vote = follower, m.From // a pre-candidate gives way
		c.electionAt = c.now + c.between(c.election, 2*c.election)
	default:
		ok = false
	}
	reply.Reject = !ok
	c.send(reply)
}

// wouldElect reports whether the candidate's log holds all that this server knows
// (section 3.6.1).
func (c *core) wouldElect(m *message) bool {
	if m.Newborn && !c.founding() {
		return false // there is a past that it does not know
	}
	term := c.log.lastTerm()
	return m.LogTerm > term || m.LogTerm == term && m.Index >= c.log.last()
}

// countVote takes the answer to a question of this candidate.
func (c *core) countVote(m *message) {
	asked := c.role == preCandidate && m.Kind == msgPreVoteReply || c.role == candidate && m.Kind == msgVoteReply
	p := c.peer(m.From)
	if !asked || p == nil || !m.Reject && m.Kind == msgPreVoteReply && m.Term != c.term+1 {
		return
	}
	switch {
	case m.Reject:
		p.vote = voteRefused
	case m.Newborn:
		p.vote = voteNewborn
	default:
		p.vote = voteGranted
	}
	c.tally()
}

// tally counts the votes and draws the consequence.
//
// A newborn that has lost its disk may have acknowledged what this candidate does
// not have. So besides a majority, those who know what they acknowledged have to
// be so many that any majority that committed something includes one of them,
// even without one newborn. Only where all are newborns there is no past. In a new
// cluster that is partly newborn, one or the other kind can elect a leader.
func (c *core) tally() {
	elected := c.membership().majorities(func(voters []string) bool {
		granted, sure := 0, 0
		for _, name := range voters {
			switch c.voteOf(name) {
			case voteGranted:
				granted, sure = granted+1, sure+1
			case voteNewborn:
				granted++
			}
		}
		return granted > len(voters)/2 && (c.newborn || sure >= len(voters)-len(voters)/2)
	})
	switch {
	case !elected:
	case c.role == preCandidate:
		c.campaign(false)
	case c.role == candidate:
		c.becomeLeader()
	}
}

func (c *core) voteOf(name string) vote {
	if name == c.id {
		if c.role == candidate && !c.selfVote {
			return voteUnknown // counts as soon as it is durable
		}
		return voteGranted
	}
	if p := c.peer(name); p != nil {
		return p.vote
	}
	return voteUnknown
}

// turn returns how long this server waits for a leader before it stands itself.
// The draws of the followers of one leader lie in slots of their own, one behind
// the other by name: whoever is first wins before the next one stirs, without
// split votes and sooner than if all drew from the whole range. Only after that
// has failed are times drawn from the whole range (section 3.4).
func (c *core) turn(leader string) time.Duration {
	voters := c.membership().Voters
	at, _ := slices.BinarySearch(voters, leader)
	self, found := slices.BinarySearch(voters, c.id)
	rank := len(voters)
	if found {
		rank = (self - at - 1 + len(voters)) % len(voters)
	}
	slot := c.election / 8
	begin := c.election + c.election/32 + time.Duration(min(rank, 6))*slot
	return c.between(begin, begin+slot/4)
}
