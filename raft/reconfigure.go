package raft

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// reconfigure begins a change of the membership (section 4.3), and returns the index
// of its first entry.
func (c *core) reconfigure(now time.Duration, to Membership) (index uint64, err error) {
	c.now = now
	if err := to.check(); err != nil {
		return 0, err
	}
	to = to.clone()
	latest := &c.configs[len(c.configs)-1]
	switch {
	case c.role != leader:
		return 0, ErrNotLeader
	case c.commit < c.office.start:
		// A change of an earlier leader may still be under way unseen (Ongaro, "bug
		// in single-server membership changes", 2015).
		return 0, fmt.Errorf("%w: the leader is new", errNotYet)
	case c.changing() && slices.Equal(latest.Voters, to.Voters) && slices.Equal(latest.Learners, to.Learners):
		return latest.index, nil // asked for before, and under way
	case c.changing() || c.office.transferee != "":
		return 0, ErrBusy
	case !c.workable(to.Voters):
		c.recruit(to.Voters)
		return 0, fmt.Errorf("%w: a majority of %v has not caught up", errNotYet, to.Voters)
	}
	return c.configure(c.membership().next(to)), nil
}

// errNotYet asks to be asked again.
var errNotYet = errors.New("raft: the membership cannot be changed yet")

// A recruit is a server that is fed before it is a member, for a change that needs it.
type recruit struct {
	name  string
	until time.Duration // when it is forgotten, unless somebody asks for the change again
}

// recruit begins to feed servers that are to be voters, before they are members
// (section 4.2.1): a change that needs them begins when they have caught up, and if
// they cannot, everything stays as it is. Those whom another asks for stay: so long
// as there are no more than MaxMembers in all.
func (c *core) recruit(names []string) {
	o := &c.office
	known := len(o.recruits)
	for _, name := range names {
		if c.membership().Contains(name) {
			continue
		}
		i, found := slices.BinarySearchFunc(o.recruits, name, func(r recruit, name string) int { return strings.Compare(r.name, name) })
		if !found {
			if len(o.recruits) == MaxMembers {
				continue
			}
			o.recruits = slices.Insert(o.recruits, i, recruit{name: name})
		}
		o.recruits[i].until = c.now + c.election
	}
	if len(o.recruits) == known {
		return
	}
	before := c.peers
	c.rebuildPeers()
	for _, p := range c.peers {
		if !slices.Contains(before, p) {
			c.feed(p, true)
		}
	}
}

// dismiss forgets the recruits that nobody asks for any more.
func (c *core) dismiss() {
	o := &c.office
	known := len(o.recruits)
	o.recruits = slices.DeleteFunc(o.recruits, func(r recruit) bool { return c.now >= r.until })
	if len(o.recruits) < known {
		c.rebuildPeers()
	}
}

// workable reports whether a majority of the voters is there, has acknowledged an
// entry of this term, and is not newborn. If the change made others decisive, it might
// never be committed; and if this leader fell, nobody might be elected any more.
func (c *core) workable(voters []string) bool {
	n := 0
	for _, name := range voters {
		if p := c.peer(name); name == c.id || p != nil && p.match >= c.office.start && !p.newborn && c.now-p.activeAt <= c.election {
			n++
		}
	}
	return n > len(voters)/2
}

// configure appends a configuration, which is in force at once.
func (c *core) configure(m Membership) (index uint64) {
	data, _ := m.AppendBinary(nil)
	entry := []Entry{{Kind: EntryMembership, Data: data}}
	index = c.log.last() + 1
	c.configs = append(c.configs, placedMembership{index, m})
	c.office.recruits = nil
	c.rebuildPeers()
	c.write(entry)
	c.promoteCommit()
	return index
}

// settle ends a change of the membership whose last configuration is committed:
// those who are no longer part of it hear so, and a leader that is none of its
// voters steps down (section 4.2.2).
func (c *core) settle() {
	before := c.peers
	c.rebuildPeers()
	out := !c.membership().IsVoter(c.id)
	for _, p := range before {
		if out || c.peer(p.name) == nil {
			c.feed(p, true)
		}
	}
	if out {
		if p := c.heir(); p != nil && p.match == c.log.last() {
			c.send(message{Kind: msgTimeoutNow, To: p.name, Term: c.term})
		}
		c.becomeFollower(c.term, "")
	}
}
