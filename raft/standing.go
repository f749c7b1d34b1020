package raft

import (
	"slices"
	"time"
)

// A standing is what a node knows of its own membership. A node that is no member
// hears from no leader: whoever waits there would wait for ever, for nobody tells
// it of later elections.
//
// It takes itself for removed when it was a member once, is none in a configuration
// that is committed, and has not heard from a leader for outcast election times
// since. Who has yet to be named, or is catching up, is none of these: that one
// hears from a leader, or was never a member. A node that was cut off while it was
// removed does not know.
type standing struct {
	member bool          // it was one
	asOf   uint64        // core.rebuilt, when it was seen to be one
	since  time.Duration // that it is none; 0: it may be
}

const outcast = 2

// removed reports whether the node knows that it was removed; changing says that
// its latest configuration is not the last word. Called with mu held.
func (s *standing) removed(n *Node, changing bool) bool {
	c := n.core
	switch {
	case s.asOf == c.rebuilt: // nearly always
		return false
	case c.membership().Contains(n.local):
		s.member, s.asOf, s.since = true, c.rebuilt, 0
		return false
	case c.role == leader: // it hears of nobody, and goes when the change is done
		s.member, s.since = true, 0
		return false
	case changing || !s.wasMember(n):
		s.since = 0
		return false
	case s.since == 0:
		s.since = max(c.now, 1)
		c.noteCommit() // no heartbeat will: a restart should not forget it
	}
	return c.now-max(s.since, c.heardAt) >= outcast*n.config.Election
}

// wasMember reports whether the node was a member, as far as it remembers: what was
// before it was started may be in its log, or in what it was started with.
func (s *standing) wasMember(n *Node) bool {
	s.member = s.member || slices.Contains(n.config.Voters, n.local) || slices.Contains(n.config.Learners, n.local) ||
		slices.ContainsFunc(n.core.configs, func(p placedMembership) bool { return p.Contains(n.local) })
	return s.member
}
