package raft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// expect states what is right by the paper, where a trace only tells what is:
//
//	expect leader a | leader none        the only leader of the newest term; "none": nobody leads
//	expect role a candidate
//	expect term a 3 | vote a b | commit a 5 | last a 7 | stable a 5
//	expect log a 1,1,2,3                 the terms of what it holds
//	expect members a b c | d             its membership in force
//	expect read 7 5 | waiting | lost | refused
//	expect sent a->b vote                such a message is on its way; "not sent" the opposite
//	expect failed a
func (s *scene) expect(args []string) {
	what, name := args[0], args[1]
	rest := strings.Join(args[2:], " ")
	switch what {
	case "leader":
		require.Equal(s.t, name, s.leader())
		return
	case "read":
		require.Equal(s.t, rest, s.reads[s.number(name)], "read %s", name)
		return
	case "sent":
		require.True(s.t, s.sent(name, rest), "no %s on its way %s", rest, name)
		return
	case "not":
		require.False(s.t, s.sent(args[2], args[3]), "a %s is on its way %s", args[3], args[2])
		return
	}
	c := s.core(name)
	var got string
	switch what {
	case "role":
		got = c.role.String()
	case "term":
		got = fmt.Sprint(c.term)
	case "vote":
		got = c.vote
	case "commit":
		got = fmt.Sprint(c.commit)
	case "last":
		got = fmt.Sprint(c.last())
	case "stable":
		got = fmt.Sprint(c.disk.stable)
	case "log":
		var terms []string
		for _, e := range held(c, c.first(), c.last()) {
			terms = append(terms, fmt.Sprint(e.Term))
		}
		got = strings.Join(terms, ",")
	case "members":
		got = strings.Join(c.membership().Voters, " ")
		if l := c.membership().Learners; len(l) > 0 {
			got += " | " + strings.Join(l, " ")
		}
		if c.membership().joint() {
			got += " & " + strings.Join(c.membership().Outgoing, " ")
		}
	case "failed":
		require.True(s.t, c.failed, "%s goes on", name)
		return
	default:
		require.Fail(s.t, "no such expectation", what)
	}
	require.Equal(s.t, rest, got, "%s of %s", what, name)
}

// leader returns who leads in the newest term that has a leader which is up;
// "none" if there is no such server.
func (s *scene) leader() string {
	best := "none"
	for _, name := range s.names {
		if c := s.servers[name].core; c != nil && c.role == leader && (best == "none" || c.term > s.core(best).term) {
			best = name
		}
	}
	return best
}

func (s *scene) sent(link, kind string) bool {
	return slices.ContainsFunc(s.wire, func(m message) bool { return m.From+"->"+m.To == link && m.Kind.String() == kind })
}

func showEntries(entries []Entry) string {
	if len(entries) == 0 {
		return "nothing"
	}
	var parts []string
	for _, e := range entries {
		text := string(e.Data)
		switch e.Kind {
		case EntryNoop:
			text = "noop"
		case EntryMembership:
			var m Membership
			if err := m.UnmarshalBinary(e.Data); err != nil {
				text = err.Error()
			} else {
				text = showMembership(m)
			}
		}
		parts = append(parts, fmt.Sprintf("%d/%d %s", e.Index, e.Term, text))
	}
	return strings.Join(parts, ", ")
}

func showMembership(m Membership) string {
	text := "{" + strings.Join(m.Voters, " ")
	if len(m.Learners) > 0 {
		text += " | " + strings.Join(m.Learners, " ")
	}
	text += "}"
	if m.joint() {
		text += " and {" + strings.Join(m.Outgoing, " ") + "}"
	}
	return text
}

func showBatch(b *Batch) string {
	text := fmt.Sprintf("term %d", b.Hard.Term)
	if b.Hard.Vote != "" {
		text += ", vote " + b.Hard.Vote
	}
	if b.Restart > 0 {
		text += fmt.Sprintf(", a new log from %d on", b.Restart)
	}
	if len(b.Entries) > 0 {
		text += "; " + showEntries(b.Entries)
	}
	return text
}

// showMessage writes a message in the words of the paper; positions in the log
// are index/term.
func showMessage(m *message) string {
	head, newborn := fmt.Sprintf("%s in term %d", m.Kind, m.Term), ""
	if m.Newborn {
		newborn = " (newborn)"
	}
	switch m.Kind {
	case msgAppend:
		text := fmt.Sprintf("%s after %d/%d: %s", head, m.Index, m.LogTerm, showEntries(m.Entries))
		return text + fmt.Sprintf(" (commit %d, round %d)", m.Commit, m.Round)
	case msgAppendReply:
		if m.Reject {
			return fmt.Sprintf("%s: not after %d, perhaps after %d/%d (round %d)", head, m.Index, m.Hint, m.LogTerm, m.Round)
		}
		return fmt.Sprintf("%s: saved to %d (round %d)", head, m.Index, m.Round)
	case msgHeartbeat:
		if m.Hint > 0 {
			return fmt.Sprintf("%s (commit %d, round %d), no answer needed from %d on", head, m.Commit, m.Round, m.Hint)
		}
		return fmt.Sprintf("%s (commit %d, round %d)", head, m.Commit, m.Round)
	case msgHeartbeatReply:
		if m.Reject {
			return head + ": you are outdated"
		}
		return fmt.Sprintf("%s: received to %d, saved to %d (round %d)", head, m.Index, m.Hint, m.Round)
	case msgPreVote, msgVote:
		text := fmt.Sprintf("%s, log ends at %d/%d", head, m.Index, m.LogTerm)
		if m.Force {
			text += ", as the leader asked"
		}
		return text + newborn
	case msgPreVoteReply, msgVoteReply:
		if m.Reject {
			return head + ": no" + newborn
		}
		return head + ": yes" + newborn
	case msgSnapshot:
		return fmt.Sprintf("%s at %d/%d (round %d)", head, m.Index, m.LogTerm, m.Round)
	}
	return head
}
