package raft

import "slices"

// An Entry is one place in the replicated log (Ongaro's dissertation, section
// 3.5). Entries are values that many share: nobody writes to Data.
type Entry struct {
	Index uint64
	Term  uint64
	Kind  EntryKind
	Data  []byte
}

// An EntryKind says whom an Entry is for.
type EntryKind uint8

// The kinds of entries. The numbers are stored and travel: they do not change.
const (
	EntryCommand    EntryKind = 0 // a command for the state machine
	EntryNoop       EntryKind = 1 // what a leader begins its term with (section 6.4)
	EntryMembership EntryKind = 2 // a configuration of the cluster (chapter 4)
	EntrySession    EntryKind = 3 // a command of a session, or the start of one (section 6.3)
)

// entryOverhead is what an Entry counts beside its Data, in bytes, wherever
// entries are bounded by size.
const entryOverhead = 48

func (e *Entry) size() int { return entryOverhead + len(e.Data) }

func sizeOf(entries []Entry) (n int) {
	for i := range entries {
		n += entries[i].size()
	}
	return n
}

// HardState is what a node must not forget (figure 3.1, persistent state). It is
// saved as one: a term without its vote would let a node vote twice.
type HardState struct {
	Term   uint64
	Vote   string // whom this node voted for in Term; empty: nobody
	Commit uint64 // highest index known to be committed; may lag behind
}

// A Membership is a configuration of the cluster (chapter 4).
type Membership struct {
	// Voters elect leaders and make majorities. Each name at most once.
	Voters []string
	// Learners receive the log and do not count (section 4.2.1). No voter is one.
	Learners []string
	// Outgoing holds the voters of the old configuration while a change to
	// Voters is under way: decisions then need a majority of both (section
	// 4.3). It is empty otherwise, and in what is given to Reconfigure.
	Outgoing []string
}

// clone returns a copy that shares nothing, each list sorted.
func (m Membership) clone() Membership {
	c := Membership{slices.Clone(m.Voters), slices.Clone(m.Learners), slices.Clone(m.Outgoing)}
	slices.Sort(c.Voters)
	slices.Sort(c.Learners)
	slices.Sort(c.Outgoing)
	return c
}

// IsVoter reports whether the node has a vote, in the new configuration or in
// the old one.
func (m Membership) IsVoter(node string) bool {
	return slices.Contains(m.Voters, node) || slices.Contains(m.Outgoing, node)
}

// Contains reports whether the node is a voter or a learner.
func (m Membership) Contains(node string) bool {
	return m.IsVoter(node) || slices.Contains(m.Learners, node)
}
