package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Section 6.2: a leader steps down when an election time passes without answers
// of a majority; not while it has them.
func TestSection6_2_LeaderWithoutMajorityStepsDown(t *testing.T) {
	s := newSubject(t, 3, 1, 2).become(leader)
	beat := func() {
		s.now = max(s.now, s.wake())
		s.tick(s.now)
		s.flush()
	}
	for range 30 {
		beat()
		s.gets(message{Kind: msgHeartbeatReply, From: "c", Term: s.term, Round: s.office.round, Index: 2})
	}
	require.Equal(t, leader, s.role)
	require.NoError(t, s.read(s.now, 1))
	heard := s.now
	for i := 0; s.role == leader && i < 30; i++ {
		beat()
	}
	require.Equal(t, follower, s.role)
	require.InDelta(t, s.election, s.now-heard, float64(s.heartbeat))
	require.Equal(t, []uint64{1}, s.readsLost)
	require.Equal(t, uint64(4), s.term, "its term stays")
	require.Empty(t, s.leader)
	_, err := s.propose(s.now, []Entry{{}})
	require.ErrorIs(t, err, ErrNotLeader)
}

// Section 6.4: only answers to a round that began after the read count; rounds of
// an earlier leader, or that this one has not begun, are nothing.
func TestSection6_4_OnlyLaterRoundsConfirm(t *testing.T) {
	s := newSubject(t, 3, 1, 2).become(leader)
	s.gets(message{Kind: msgAppendReply, From: "b", Term: s.term, Index: s.last()})
	round := s.office.round
	require.NoError(t, s.read(s.now, 7))
	s.flush()
	require.Equal(t, round+1, s.office.round, "the first read does not wait for the next heartbeat")
	answer := func(kind messageKind, round uint64) {
		s.gets(message{Kind: kind, From: "b", Term: s.term, Index: s.last(), Hint: s.last(), Round: round})
	}
	answer(msgHeartbeatReply, round)
	answer(msgAppendReply, round)
	answer(msgHeartbeatReply, round+50)
	require.Empty(t, s.reads)
	answer(msgAppendReply, round+1)
	require.Equal(t, []readReady{{7, s.commit}}, s.reads)
}

// Section 6.4: reads that come while a round is on its way share the next one,
// which begins as soon as that is over.
func TestSection6_4_ReadsShareRounds(t *testing.T) {
	s := newSubject(t, 3, 1, 2).become(leader)
	s.gets(message{Kind: msgAppendReply, From: "b", Term: s.term, Index: s.last()})
	for id := range uint64(100) {
		require.NoError(t, s.read(s.now, id))
	}
	s.flush()
	first := s.office.round
	s.gets(message{Kind: msgHeartbeatReply, From: "b", Term: s.term, Index: s.last(), Hint: s.last(), Round: first})
	require.Len(t, s.reads, 1)
	require.Equal(t, first+1, s.office.round)
	s.gets(message{Kind: msgHeartbeatReply, From: "b", Term: s.term, Index: s.last(), Hint: s.last(), Round: first + 1})
	require.Len(t, s.reads, 100)
}

// Section 6.4: an acknowledgement carries the number of a round of the leader that
// it goes to. c takes over a snapshot that b offered in term 4, when a is the
// leader of term 5 already: the number that it remembers is b's.
func TestSection6_4_RoundsOfAnotherLeaderAreForgotten(t *testing.T) {
	s := newSubject(t, 4, 1, 2)
	info := SnapshotInfo{Index: 9, Term: 3, Membership: abcMembership()}
	s.gets(message{Kind: msgSnapshot, From: "b", Term: 4, Index: 9, LogTerm: 3, Round: 77})
	require.True(t, s.beginInstall(s.now, info))
	s.gets(message{Kind: msgHeartbeat, From: "c", Term: 5, Round: 1})
	s.said = nil
	s.installed(s.now, info)
	s.flush()
	require.Len(t, s.said, 1)
	require.LessOrEqual(t, s.said[0].Round, uint64(1))
}

var leaseConfig = func() coreConfig {
	c := testConfig
	c.lease = 900 * time.Millisecond
	return c
}()

func TestSection6_4_1_LeaseRunsFromTheQuestion(t *testing.T) {
	s := startSubject(t, leaseConfig, State{Hard: HardState{Term: 3, Commit: 1}, Entries: logOf(abc, 1, 2)})
	s.become(leader)
	s.gets(message{Kind: msgAppendReply, From: "b", Term: s.term, Index: s.last()})
	read := func(id uint64) bool {
		s.reads = s.reads[:0]
		require.NoError(t, s.read(s.now, id))
		return len(s.reads) == 1
	}
	require.False(t, read(1), "nobody has confirmed it yet")
	asked := s.now
	s.now += 500 * time.Millisecond
	s.gets(message{Kind: msgHeartbeatReply, From: "b", Term: s.term, Index: s.last(), Hint: s.last(), Round: s.office.round})
	require.True(t, read(2))
	s.now = asked + s.lease
	require.False(t, read(3), "the answer came later, the lease did not begin later")
}

// Section 6.4.1: leases rest on nobody voting within the shortest election time
// after it heard from the leader. That holds for a vote in a term that the server
// entered by another message, too.
func TestSection6_4_1_NoVoteWithinTheLeaseInATermEnteredOtherwise(t *testing.T) {
	s := startSubject(t, leaseConfig, State{Hard: HardState{Term: 3, Commit: 1}, Entries: logOf(abc, 1, 2)})
	s.now += 10 * time.Second
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 3, Round: 5})
	// A refused pre-vote of long ago tells of term 4.
	s.gets(message{Kind: msgPreVoteReply, From: "c", Term: 4, Reject: true})
	require.Equal(t, uint64(4), s.term)
	vote := message{Kind: msgVote, From: "c", Term: 4, Index: 2, LogTerm: 2}
	require.True(t, s.answer(vote).Reject, "b may be answering reads alone")
	s.now += s.election
	require.False(t, s.answer(vote).Reject)
}

// Section 6.4.1: a restart does not free from the promise, however little is on
// the disk. What never saved anything never answered anybody.
func TestSection6_4_1_PromiseOutlivesARestart(t *testing.T) {
	tests := []struct {
		rule  string
		state State
		votes bool
	}{
		{"a log", State{Hard: HardState{Term: 3, Commit: 1}, Entries: logOf(abc, 1, 2)}, false},
		{"the first entry only: it may have answered heartbeats", State{Hard: HardState{Term: 3, Commit: 1}, Entries: logOf(abc, 1)}, false},
		{"a term only", State{Hard: HardState{Term: 3}}, false},
		{"nothing", State{}, true},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			s := startSubject(t, leaseConfig, test.state)
			vote := message{Kind: msgVote, From: "c", Term: 9, Index: 2, LogTerm: 2, Commit: 1}
			require.Equal(t, test.votes, len(s.gets(vote)) == 1 && !s.said[0].Reject)
			s.now += s.election
			vote.Term = 10
			require.False(t, s.answer(vote).Reject)
		})
	}
}

// Section 9.6: a pre-vote is granted to who could win, if there is no leader; it
// binds nobody, and is not saved.
func TestSection9_6_PreVoteBindsNobody(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	before := len(s.batches)
	for _, from := range []string{"b", "c"} {
		reply := s.answer(message{Kind: msgPreVote, From: from, Term: 4, Index: 2, LogTerm: 2})
		require.False(t, reply.Reject)
		require.Equal(t, uint64(4), reply.Term, "the term that was asked for")
	}
	require.Equal(t, uint64(3), s.term)
	require.Empty(t, s.vote)
	require.Len(t, s.batches, before)
}

// Section 9.6: only answers to the present question count.
func TestSection9_6_OldPreVotesDoNotCount(t *testing.T) {
	s := newSubject(t, 3, 1, 2).become(preCandidate)
	s.gets(message{Kind: msgPreVoteReply, From: "b", Term: 3})
	s.gets(message{Kind: msgPreVoteReply, From: "b", Term: 9})
	s.gets(message{Kind: msgVoteReply, From: "b", Term: 3})
	s.gets(message{Kind: msgPreVoteReply, From: "z", Term: 4})
	s.gets(message{Kind: msgPreVoteReply, From: "b", Term: 3, Reject: true})
	require.Equal(t, preCandidate, s.role)
	s.gets(message{Kind: msgPreVoteReply, From: "c", Term: 4})
	require.Equal(t, candidate, s.role)
	// Nor do pre-votes count as votes.
	s.gets(message{Kind: msgPreVoteReply, From: "c", Term: 4})
	s.gets(message{Kind: msgPreVoteReply, From: "c", Term: 5})
	require.Equal(t, candidate, s.role)
}

// Section 10.2.1: entries that majorities of others hold are committed, whatever
// the leader's own disk does.
func TestSection10_2_1_CommitWithoutTheLeadersDisk(t *testing.T) {
	s := newSubject(t, 3, 1, 2).become(leader)
	s.holdDisk = true
	_, err := s.propose(s.now, []Entry{{Data: []byte("x")}})
	require.NoError(t, err)
	for _, from := range []string{"b", "c"} {
		s.gets(message{Kind: msgAppendReply, From: from, Term: s.term, Index: s.last()})
	}
	require.Equal(t, s.last(), s.commit)
	b, _ := s.takeBatch(nil)
	require.Less(t, b.Hard.Commit, s.last(), "what is not on the disk is not saved as committed")
}
