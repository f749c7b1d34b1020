package raft

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of section_*_test.go are named after the sections of Ongaro's
// dissertation, "Consensus: bridging theory and practice" (2014), and state what
// it asks for. Most of them ask one server only.

// A subject is a server under examination: whatever it says is kept, and its
// disk is done at once unless held.
type subject struct {
	t *testing.T
	*core
	now      time.Duration
	holdDisk bool
	said     []message
	batches  []Batch
}

var testConfig = coreConfig{
	id: "a", heartbeat: 100 * time.Millisecond, election: time.Second, seed: 7,
	maxAppendBytes: 1 << 20, maxInflight: 8, maxInflightBytes: 8 << 20,
}

// logOf returns entries with the given terms. The first holds the membership.
func logOf(voters []string, terms ...uint64) (entries []Entry) {
	for i, term := range terms {
		e := Entry{Index: uint64(i) + 1, Term: term, Data: fmt.Appendf(nil, "%d.%d", i+1, term)}
		if i == 0 {
			e.Kind = EntryMembership
			e.Data, _ = Membership{Voters: voters}.AppendBinary(nil)
		}
		entries = append(entries, e)
	}
	return entries
}

var abc = []string{"a", "b", "c"}

// newSubject returns server a of {a b c} in a term, with a log of these terms.
func newSubject(t *testing.T, term uint64, terms ...uint64) *subject {
	return startSubject(t, testConfig, State{Hard: HardState{Term: term, Commit: 1}, Entries: logOf(abc, terms...)})
}

func startSubject(t *testing.T, config coreConfig, state State) *subject {
	const begin = time.Hour // so that times are not near 0 by chance
	c, err := newCore(config, state, begin)
	require.NoError(t, err)
	s := &subject{t: t, core: c, now: begin}
	s.flush()
	return s
}

func (s *subject) flush() {
	for {
		s.said = append(s.said, s.messages...)
		s.messages = s.messages[:0]
		if s.holdDisk {
			return
		}
		b, ok := s.takeBatch(nil)
		if !ok {
			return
		}
		s.batches = append(s.batches, b)
		s.saved(s.now)
	}
}

// gets hands a message to the server and returns what it says to it.
func (s *subject) gets(m message) []message {
	s.t.Helper()
	s.said = nil
	m.To = s.id
	s.step(s.now, &m)
	s.flush()
	require.NoError(s.t, s.failure)
	return s.said
}

// answer is gets for what has exactly one answer.
func (s *subject) answer(m message) message {
	s.t.Helper()
	said := s.gets(m)
	require.Len(s.t, said, 1, "answers to %s", showMessage(&m))
	require.Equal(s.t, m.From, said[0].To)
	return said[0]
}

func (s *subject) timesOut() {
	s.now = s.electionAt
	s.tick(s.now)
	s.flush()
}

// become brings a fresh subject to a role, by the votes of b.
func (s *subject) become(r role) *subject {
	s.t.Helper()
	if r >= preCandidate {
		s.timesOut()
	}
	if r >= candidate {
		s.gets(message{Kind: msgPreVoteReply, From: "b", Term: s.term + 1})
	}
	if r >= leader {
		s.gets(message{Kind: msgVoteReply, From: "b", Term: s.term})
	}
	require.Equal(s.t, r, s.role)
	s.said = nil
	return s
}

// Figure 3.1: "If RPC request or response contains term T > currentTerm: set
// currentTerm = T, convert to follower." "Reply false if term < currentTerm."
// "If AppendEntries RPC received from new leader: convert to follower." The
// questions of section 9.6 change no term, and section 4.2.3 keeps servers with
// a leader from answering votes.
func TestSection3_3_TermsOfAllMessagesInAllRoles(t *testing.T) {
	const (
		same  = 0  // the term stays
		adopt = +1 // the term of the message
		next  = +2 // one above its own: it stands for election
	)
	all := []role{follower, preCandidate, candidate, leader}
	notLeader := all[:3]
	requests := []messageKind{msgAppend, msgHeartbeat, msgSnapshot}
	replies := []messageKind{msgAppendReply, msgHeartbeatReply, msgPreVoteReply, msgVoteReply}
	tests := []struct {
		rule    string
		kinds   []messageKind
		offset  int  // of the message's term
		reject  bool // the message is a refusal
		roles   []role
		term    int
		becomes string // empty: the role stays
		answer  string // its first words, empty: none
	}{
		{"a leader of the past is told so", requests, -1, false, all, same, "", "heartbeat-reply in term %d: you are outdated"},
		{"a candidate of the past is refused", []messageKind{msgVote}, -1, false, all, same, "", "vote-reply in term %d: no"},
		{"and one that asks for a past term", []messageKind{msgPreVote}, -1, false, all, same, "", "pre-vote-reply in term %d: no"},
		{"replies of the past are nothing", replies, -1, false, all, same, "", ""},
		{"nor are refusals", replies, -1, true, all, same, "", ""},
		{"nor does the past ask anybody to stand", []messageKind{msgTimeoutNow}, -1, false, all, same, "", ""},

		{"whoever hears the leader of its term follows", []messageKind{msgHeartbeat}, 0, false, notLeader, same, "follower", "heartbeat-reply in term %d: received"},
		{"and answers its appends", []messageKind{msgAppend}, 0, false, notLeader, same, "follower", "append-reply in term %d"},
		{"a leader has no other beside it", requests, 0, false, []role{leader}, same, "", ""},
		{"who voted for itself votes for no other", []messageKind{msgVote}, 0, false, []role{candidate, leader}, same, "", "vote-reply in term %d: no"},
		{"who has not voted does", []messageKind{msgVote}, 0, false, []role{follower, preCandidate}, same, "follower", "vote-reply in term %d: yes"},
		{"nobody pre-votes for a term that has begun", []messageKind{msgPreVote}, 0, false, all, same, "", "pre-vote-reply in term %d: no"},
		{"the leader of the term may ask to stand", []messageKind{msgTimeoutNow}, 0, false, notLeader, next, "candidate", "vote in term"},
		{"but not a leader", []messageKind{msgTimeoutNow}, 0, false, []role{leader}, same, "", ""},
		{"refusals change nothing", []messageKind{msgVoteReply, msgPreVoteReply}, 0, true, all, same, "", ""},
		{"votes are of no use to who is no candidate", []messageKind{msgVoteReply, msgPreVoteReply}, 0, false, []role{follower, leader}, same, "", ""},
		{"acknowledgements are for leaders", []messageKind{msgAppendReply, msgHeartbeatReply}, 0, false, notLeader, same, "", ""},

		{"a newer leader is followed", []messageKind{msgHeartbeat}, +1, false, all, adopt, "follower", "heartbeat-reply in term %d: received"},
		{"and its entries taken", []messageKind{msgAppend}, +1, false, all, adopt, "follower", "append-reply in term %d"},
		{"a newer term is adopted from votes by those without a leader", []messageKind{msgVote}, +1, false, notLeader, adopt, "follower", "vote-reply in term %d: yes"},
		{"a leader that hears its followers does not vote", []messageKind{msgVote}, +5, false, []role{leader}, same, "", ""},
		{"from any reply", []messageKind{msgAppendReply, msgHeartbeatReply, msgVoteReply}, +1, false, all, adopt, "follower", ""},
		{"from any refusal", replies, +1, true, all, adopt, "follower", ""},
		{"a question for a pre-vote changes no term", []messageKind{msgPreVote}, +5, false, notLeader, same, "", "pre-vote-reply"},
		{"and a leader refuses it", []messageKind{msgPreVote}, +5, false, []role{leader}, same, "", "pre-vote-reply in term %d: no"},
		{"nor does a pre-vote that was not asked for", []messageKind{msgPreVoteReply}, +5, false, all, same, "", ""},
	}
	for _, test := range tests {
		for _, kind := range test.kinds {
			for _, r := range test.roles {
				t.Run(fmt.Sprintf("%s/%s %+d to %s", test.rule, kind, test.offset, r), func(t *testing.T) {
					s := newSubject(t, 5, 1, 2, 5).become(r)
					before := s.term
					m := message{Kind: kind, From: "c", Term: uint64(int(s.term) + test.offset), Reject: test.reject}
					if kind == msgVote || kind == msgPreVote {
						m.Index, m.LogTerm = 9, s.term // a better log
					}
					said := s.gets(m)
					want := map[int]uint64{same: before, adopt: m.Term, next: before + 1}[test.term]
					require.Equal(t, want, s.term, "term")
					becomes := test.becomes
					if becomes == "" {
						becomes = r.String()
					}
					require.Equal(t, becomes, s.role.String())
					if test.answer == "" {
						require.Empty(t, said)
						return
					}
					require.NotEmpty(t, said)
					answer := test.answer
					if slices.Contains([]byte(answer), '%') {
						answer = fmt.Sprintf(answer, s.term)
					}
					require.Contains(t, showMessage(&said[0]), answer)
				})
			}
		}
	}
}

// Section 3.4: "each server will vote for at most one candidate in a given term,
// on a first-come-first-served basis".
func TestSection3_4_OneVoteATerm(t *testing.T) {
	s := newSubject(t, 5, 1, 2)
	ask := func(from string, term uint64) bool {
		return !s.answer(message{Kind: msgVote, From: from, Term: term, Index: 2, LogTerm: 2}).Reject
	}
	require.True(t, ask("b", 6))
	require.False(t, ask("c", 6), "a second candidate of the term")
	require.True(t, ask("b", 6), "the first one, again: its answer may have been lost")
	require.True(t, ask("c", 7), "another term")

	// The vote is remembered over a crash.
	again := startSubject(t, testConfig, State{Hard: s.batches[len(s.batches)-1].Hard, Entries: logOf(abc, 1, 2)})
	require.True(t, again.answer(message{Kind: msgVote, From: "b", Term: 7, Index: 2, LogTerm: 2}).Reject)
	require.False(t, again.answer(message{Kind: msgVote, From: "c", Term: 7, Index: 2, LogTerm: 2}).Reject)
}

// Section 3.4: a server that follows a leader in a term has no vote left in it
// that could do any good; one that voted for nobody and has a leader stays with it.
func TestSection3_4_NoVoteBesideTheLeaderOfTheTerm(t *testing.T) {
	s := newSubject(t, 5, 1, 2)
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 6})
	s.now += 10 * time.Second
	require.True(t, s.answer(message{Kind: msgVote, From: "c", Term: 6, Index: 2, LogTerm: 2}).Reject)
}

// Section 3.4: election time-outs are drawn from a range, the shortest being the
// configured one, the longest twice that; nobody waits less after hearing from
// its leader.
func TestSection3_4_ElectionTimeouts(t *testing.T) {
	s := newSubject(t, 5, 1, 2)
	seen := map[time.Duration]bool{}
	for range 200 {
		s.gets(message{Kind: msgVote, From: "b", Term: s.term + 1, Index: 2, LogTerm: 2})
		wait := s.electionAt - s.now
		require.GreaterOrEqual(t, wait, s.election)
		require.Less(t, wait, 2*s.election)
		seen[wait] = true
		s.now += 3 * s.election
	}
	require.Greater(t, len(seen), 150, "of 200 draws")
}

// The followers of one leader wait in slots of their own (package documentation
// of turn): within the range, and no two at the same time.
func TestSection3_4_FollowersTakeTurns(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f", "g"}
	for _, leads := range names {
		for seed := range uint64(50) {
			waits := map[string]time.Duration{}
			for _, name := range names {
				if name == leads {
					continue
				}
				config := testConfig
				config.id, config.seed = name, seed
				s := startSubject(t, config, State{Hard: HardState{Term: 5, Commit: 1}, Entries: logOf(names, 1, 5)})
				s.gets(message{Kind: msgHeartbeat, From: leads, Term: 5})
				waits[name] = s.electionAt - s.now
				require.GreaterOrEqual(t, waits[name], s.election)
				require.Less(t, waits[name], 2*s.election)
			}
			for x, a := range waits {
				for y, b := range waits {
					// A slot apart at the least that gets messages there and back.
					require.False(t, x < y && (a-b).Abs() < testConfig.election/40, "%s waits %v, %s %v, for %s", x, a, y, b, leads)
				}
			}
		}
	}
}

// Figure 3.1, AppendEntries, receiver. The log of the receiver is 1,2,2,2 in term 3.
func TestSection3_5_ConsistencyCheck(t *testing.T) {
	tests := []struct {
		rule       string
		prev, term uint64
		terms      []uint64 // of the entries that come
		commit     uint64
		ok         bool
		log        []uint64
		committed  uint64
	}{
		{"no entry at prevLogIndex", 5, 2, []uint64{3}, 6, false, []uint64{1, 2, 2, 2}, 1},
		{"another term at prevLogIndex", 4, 3, []uint64{3}, 5, false, []uint64{1, 2, 2, 2}, 1},
		{"new entries at the end", 4, 2, []uint64{3, 3}, 0, true, []uint64{1, 2, 2, 2, 3, 3}, 1},
		{"a conflict deletes the entry and all that follow", 2, 2, []uint64{3}, 0, true, []uint64{1, 2, 3}, 1},
		{"a conflict in the middle of what comes", 2, 2, []uint64{2, 3}, 0, true, []uint64{1, 2, 2, 3}, 1},
		{"entries that are there delete nothing, the message may be old", 1, 1, []uint64{2}, 0, true, []uint64{1, 2, 2, 2}, 1},
		{"nor does an empty message", 2, 2, nil, 0, true, []uint64{1, 2, 2, 2}, 1},
		{"from the beginning", 0, 0, []uint64{1, 2, 2, 2, 3}, 0, true, []uint64{1, 2, 2, 2, 3}, 1},
		{"commit is the leader's", 4, 2, []uint64{3, 3}, 5, true, []uint64{1, 2, 2, 2, 3, 3}, 5},
		{"but at most the last new entry", 4, 2, []uint64{3}, 9, true, []uint64{1, 2, 2, 2, 3}, 5},
		{"which is what was checked, not what lies beyond", 2, 2, nil, 4, true, []uint64{1, 2, 2, 2}, 2},
		{"commit does not move without the check", 4, 1, nil, 4, false, []uint64{1, 2, 2, 2}, 1},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			s := newSubject(t, 3, 1, 2, 2, 2)
			m := message{Kind: msgAppend, From: "b", Term: 3, Index: test.prev, LogTerm: test.term, Commit: test.commit}
			for i, term := range test.terms {
				e := Entry{Index: test.prev + uint64(i) + 1, Term: term}
				if e.Index == 1 {
					e = logOf(abc, 1)[0]
				}
				m.Entries = append(m.Entries, e)
			}
			reply := s.answer(m)
			require.Equal(t, test.ok, !reply.Reject)
			if test.ok {
				require.Equal(t, test.prev+uint64(len(test.terms)), reply.Index, "matchIndex of the leader")
			}
			var log []uint64
			for _, e := range held(s.core, 1, s.last()) {
				log = append(log, e.Term)
			}
			require.Equal(t, test.log, log)
			require.Equal(t, test.committed, s.commit)
		})
	}
}

// Section 3.5: heartbeats carry the commit index, too; it counts as far as the
// logs are known to agree.
func TestSection3_5_HeartbeatCommitsWhatIsVerified(t *testing.T) {
	s := newSubject(t, 3, 1, 2, 2, 2)
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 3, Commit: 4})
	require.Equal(t, uint64(1), s.commit, "nothing is known of the leader's log")
	s.gets(message{Kind: msgAppend, From: "b", Term: 3, Index: 3, LogTerm: 2})
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 3, Commit: 4})
	require.Equal(t, uint64(3), s.commit)
	// A new leader's log is another one.
	s.gets(message{Kind: msgAppend, From: "b", Term: 3, Index: 4, LogTerm: 2})
	s.gets(message{Kind: msgHeartbeat, From: "c", Term: 4, Commit: 4})
	require.Equal(t, uint64(3), s.commit)
}

// Section 3.6.1: the voter denies its vote if its own log is more up-to-date: a
// later last term, or the same and a longer log. The own log ends at 4/3.
func TestSection3_6_1_ElectionRestriction(t *testing.T) {
	tests := []struct {
		index, term uint64
		ok          bool
	}{
		{4, 3, true},
		{5, 3, true},
		{3, 3, false},
		{1, 4, true},
		{4, 4, true},
		{9, 2, false},
		{4, 2, false},
		{0, 0, false},
	}
	for _, test := range tests {
		for kind, replyKind := range map[messageKind]messageKind{msgVote: msgVoteReply, msgPreVote: msgPreVoteReply} {
			t.Run(fmt.Sprintf("%s %d/%d", kind, test.index, test.term), func(t *testing.T) {
				s := newSubject(t, 5, 1, 2, 3, 3)
				reply := s.answer(message{Kind: kind, From: "b", Term: 6, Index: test.index, LogTerm: test.term})
				require.Equal(t, replyKind, reply.Kind)
				require.Equal(t, test.ok, !reply.Reject)
				if kind == msgVote {
					require.Equal(t, uint64(6), s.term, "the term is adopted either way")
				}
			})
		}
	}
}

// Section 3.6.2: "only log entries from the leader's current term are committed
// by counting replicas".
func TestSection3_6_2_OnlyOwnTermCommitsByCounting(t *testing.T) {
	s := newSubject(t, 3, 1, 2, 2).become(leader)
	require.Equal(t, uint64(4), s.last(), "the entry that its term begins with")
	ack := func(from string, index uint64) {
		s.gets(message{Kind: msgAppendReply, From: from, Term: s.term, Index: index})
	}
	ack("b", 3)
	ack("c", 3)
	require.Equal(t, uint64(1), s.commit, "all three servers hold entry 3")
	ack("b", 4)
	require.Equal(t, uint64(4), s.commit)
	ack("c", 2)
	require.Equal(t, uint64(4), s.commit, "a late acknowledgement")
	ack("c", 99)
	require.Equal(t, uint64(4), s.commit, "what was never written cannot be acknowledged")
	ack("d", 4)
	require.Equal(t, uint64(4), s.commit, "a stranger does not count")
}

// Section 3.8: currentTerm, votedFor and the log are on disk before anything is
// answered that they matter for.
func TestSection3_8_PersistsBeforeItAnswers(t *testing.T) {
	s := newSubject(t, 3, 1, 2, 2)
	s.holdDisk = true
	finish := func() []message {
		b, ok := s.takeBatch(nil)
		require.True(t, ok)
		require.Empty(t, s.said, "said before it was saved")
		_, two := s.takeBatch(nil)
		require.False(t, two, "one batch at a time")
		s.saved(s.now)
		s.flush()
		s.batches = append(s.batches, b)
		return s.said
	}
	s.gets(message{Kind: msgVote, From: "b", Term: 4, Index: 3, LogTerm: 2})
	require.Len(t, finish(), 1)
	require.Equal(t, HardState{Term: 4, Vote: "b", Commit: 1}, s.batches[0].Hard, "term and vote in one batch")

	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 3, LogTerm: 2, Entries: []Entry{{Index: 4, Term: 4}}})
	require.Equal(t, uint64(4), finish()[0].Index)

	// A refusal tells of the new term, which has to be saved as well.
	s.gets(message{Kind: msgAppend, From: "c", Term: 6, Index: 9, LogTerm: 6})
	require.True(t, finish()[0].Reject)

	// A candidate counts its own vote when it is saved, and asks then.
	s.said = nil
	s.timesOut()
	s.gets(message{Kind: msgPreVoteReply, From: "b", Term: 7})
	require.Equal(t, candidate, s.role)
	require.Len(t, finish(), 2)
	require.Equal(t, "a", s.batches[3].Hard.Vote)
}

// Section 3.8: an acknowledgement is for what is saved, however much was received.
func TestSection3_8_AcknowledgesWhatIsSaved(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 3})
	s.holdDisk = true
	send := func(index uint64) {
		s.gets(message{Kind: msgAppend, From: "b", Term: 3, Index: index - 1, LogTerm: max(2, min(index-1, 3)), Entries: []Entry{{Index: index, Term: 3}}})
	}
	send(3)
	_, ok := s.takeBatch(nil)
	require.True(t, ok)
	send(4)
	require.Empty(t, s.said)
	reply := s.answer(message{Kind: msgHeartbeat, From: "b", Term: 3})
	require.Equal(t, [2]uint64{4, 2}, [2]uint64{reply.Index, reply.Hint}, "received, saved")
	s.said = nil
	s.saved(s.now)
	s.flush()
	require.Len(t, s.said, 1)
	require.Equal(t, uint64(3), s.said[0].Index)
	b, _ := s.takeBatch(nil)
	require.Equal(t, uint64(4), b.Entries[0].Index)
}

// Section 3.10: the transferee must be a voter and hold the whole log first.
func TestSection3_10_Transfer(t *testing.T) {
	s := newSubject(t, 3, 1, 2).become(leader)
	s.gets(message{Kind: msgAppendReply, From: "c", Term: s.term, Index: s.last()})
	s.said = nil
	require.ErrorIs(t, s.transfer(s.now, "z"), ErrMembership)
	require.NoError(t, s.transfer(s.now, "a"), "to itself: nothing to do")
	require.NoError(t, s.transfer(s.now, "b"))
	s.flush()
	require.Empty(t, s.said, "b holds nothing yet as far as the leader knows")
	require.ErrorIs(t, s.transfer(s.now, "c"), ErrBusy)
	_, err := s.propose(s.now, []Entry{{}})
	require.ErrorIs(t, err, ErrBusy)
	_, err = s.reconfigure(s.now, Membership{Voters: []string{"a", "b"}})
	require.ErrorIs(t, err, ErrBusy)
	said := s.gets(message{Kind: msgAppendReply, From: "b", Term: s.term, Index: s.last()})
	require.True(t, slices.ContainsFunc(said, func(m message) bool { return m.Kind == msgTimeoutNow && m.To == "b" }))

	f := newSubject(t, 3, 1, 2)
	require.ErrorIs(t, f.transfer(f.now, "b"), ErrNotLeader)
}

// Section 3.10: a server that was asked to stand does so without a pre-vote, and
// says that the leader wished it; the others then vote at once.
func TestSection3_10_VotersFollowTheLeadersWish(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 3})
	vote := message{Kind: msgVote, From: "c", Term: 4, Index: 2, LogTerm: 2}
	require.Empty(t, s.gets(vote), "it has just heard from its leader")
	require.Equal(t, uint64(3), s.term)
	vote.Force = true
	require.False(t, s.answer(vote).Reject)

	s = newSubject(t, 3, 1, 2)
	for _, m := range s.gets(message{Kind: msgTimeoutNow, From: "b", Term: 3}) {
		require.Equal(t, msgVote, m.Kind)
		require.True(t, m.Force)
	}
}
