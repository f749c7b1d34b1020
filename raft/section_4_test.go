package raft

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Section 4.1: "servers always use the latest configuration in their logs,
// regardless of whether it's been committed", and go back to the one before if
// its entry is removed.
func TestSection4_1_LatestConfigurationInTheLog(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	joint := Membership{Voters: []string{"a", "d", "e"}, Outgoing: abc}
	data, _ := joint.AppendBinary(nil)
	s.gets(message{Kind: msgAppend, From: "b", Term: 3, Index: 2, LogTerm: 2, Entries: []Entry{{Index: 3, Term: 3, Kind: EntryMembership, Data: data}}})
	require.Equal(t, joint, *s.membership())
	require.Equal(t, uint64(1), s.commit)
	require.True(t, s.changing())

	s.gets(message{Kind: msgAppend, From: "c", Term: 4, Index: 2, LogTerm: 2, Entries: []Entry{{Index: 3, Term: 4}}})
	require.Equal(t, abc, s.membership().Voters)
	require.Empty(t, s.membership().Outgoing)
}

// A configuration that nobody can read must not be taken for none.
func TestSection4_1_BrokenConfigurationStopsTheServer(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	s.step(s.now, &message{Kind: msgAppend, From: "b", Term: 3, Index: 2, LogTerm: 2, Entries: []Entry{{Index: 3, Term: 3, Kind: EntryMembership, Data: []byte{99}}}})
	require.Error(t, s.failure)
	require.True(t, s.failed)
}

// Section 4.1, and the bug found in 2015: no change before the last one is
// committed, nor before an entry of the leader's own term is.
func TestSection4_1_OneChangeAtATime(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	to := Membership{Voters: []string{"a", "b"}}
	_, err := s.reconfigure(s.now, to)
	require.ErrorIs(t, err, ErrNotLeader)
	s.become(leader)
	_, err = s.reconfigure(s.now, to)
	require.ErrorIs(t, err, errNotYet, "no entry of its term is committed")
	s.gets(message{Kind: msgAppendReply, From: "b", Term: s.term, Index: s.last()})
	_, err = s.reconfigure(s.now, to)
	require.NoError(t, err)
	_, err = s.reconfigure(s.now, Membership{Voters: abc})
	require.ErrorIs(t, err, ErrBusy)
	require.ErrorIs(t, s.transfer(s.now, "b"), ErrBusy)
}

func TestSection4_1_MembershipsThatCannotBe(t *testing.T) {
	many := make([]string, MaxMembers+1)
	for i := range many {
		many[i] = fmt.Sprintf("n%03d", i)
	}
	for name, m := range map[string]Membership{
		"no voters":            {},
		"only learners":        {Learners: abc},
		"a voter twice":        {Voters: []string{"a", "b", "a"}},
		"a learner twice":      {Voters: []string{"a"}, Learners: []string{"b", "b"}},
		"voter and learner":    {Voters: []string{"a", "b"}, Learners: []string{"b"}},
		"an empty name":        {Voters: []string{"a", ""}},
		"too many":             {Voters: many},
		"a half of the change": {Voters: []string{"a"}, Outgoing: []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSubject(t, 3, 1, 2).become(leader)
			s.gets(message{Kind: msgAppendReply, From: "b", Term: s.term, Index: s.last()})
			last := s.last()
			_, err := s.reconfigure(s.now, m)
			require.ErrorIs(t, err, ErrMembership)
			require.Equal(t, last, s.last(), "nothing was written")
		})
	}
	require.NoError(t, Membership{Voters: many[:MaxMembers]}.check())
}

// Section 4.2.1: learners receive entries and never count, whatever they answer.
func TestSection4_2_1_LearnersDoNotCount(t *testing.T) {
	entries := logOf(abc, 1, 2)
	entries[0].Data, _ = Membership{Voters: abc, Learners: []string{"l", "m"}}.AppendBinary(nil)
	state := State{Hard: HardState{Term: 3, Commit: 1}, Entries: entries}
	s := startSubject(t, testConfig, state)
	s.timesOut()
	for _, from := range []string{"l", "m"} {
		s.gets(message{Kind: msgPreVoteReply, From: from, Term: 4})
	}
	require.Equal(t, preCandidate, s.role)
	s.gets(message{Kind: msgPreVoteReply, From: "b", Term: 4})
	s.gets(message{Kind: msgVoteReply, From: "l", Term: 4})
	require.Equal(t, candidate, s.role)
	s.gets(message{Kind: msgVoteReply, From: "b", Term: 4})
	require.Equal(t, leader, s.role)
	for _, from := range []string{"l", "m"} {
		s.gets(message{Kind: msgAppendReply, From: from, Term: 4, Index: 3})
	}
	require.Equal(t, uint64(1), s.commit)
	require.NoError(t, s.read(s.now, 1))
	s.flush()
	for _, from := range []string{"l", "m"} {
		s.gets(message{Kind: msgHeartbeatReply, From: from, Term: 4, Index: 3, Hint: 3, Round: s.office.round})
	}
	require.Empty(t, s.reads)

	// A learner never stands, not even if it is asked to.
	config := testConfig
	config.id = "l"
	l := startSubject(t, config, state)
	for range 5 {
		l.timesOut()
	}
	l.gets(message{Kind: msgTimeoutNow, From: "b", Term: 3})
	require.Equal(t, follower, l.role)
	require.Equal(t, uint64(3), l.term)
}

// Section 4.2.1: a server answers questions for votes even if it is no voter in
// its own configuration: it may be one already in another that it has yet to hear of.
func TestSection4_2_1_LearnersAnswerVotes(t *testing.T) {
	entries := logOf([]string{"b", "c"}, 1, 2)
	entries[0].Data, _ = Membership{Voters: []string{"b", "c"}, Learners: []string{"a"}}.AppendBinary(nil)
	s := startSubject(t, testConfig, State{Hard: HardState{Term: 3, Commit: 1}, Entries: entries})
	require.False(t, s.answer(message{Kind: msgVote, From: "b", Term: 4, Index: 2, LogTerm: 2, Commit: 1}).Reject)
}

// Section 4.2.2: a leader that is not part of the new configuration leads until
// that is committed, without counting itself.
func TestSection4_2_2_RemovedLeaderDoesNotCountItself(t *testing.T) {
	s := newScene(t)
	s.play(`
		cluster a b c
		elect a
		reconfigure a b c
		deliver a->b
		deliver a->c
		deliver to a
		expect members a b c
		expect commit a 3
		deliver a->b
		deliver b->a
		expect commit a 3
		expect role a leader
		deliver a->c
		deliver c->a
		expect commit a 4
		expect role a follower`)
}

// Section 4.2.2: the server that is removed learns of it, and stays quiet then.
func TestSection4_2_2_RemovedFollowerHearsOfIt(t *testing.T) {
	s := newScene(t)
	s.play(`
		cluster a b c
		elect a
		reconfigure a a b
		run 300ms
		expect members c a b
		expect commit c 4
		run 20s
		expect role c follower
		expect term c 2
		expect leader a
		expect term a 2`)
	require.Nil(t, s.core("a").peer("c"), "the leader has forgotten it")
}

// Section 4.2.3: whoever heard from a leader within the shortest election time
// neither updates its term nor votes.
func TestSection4_2_3_DisruptiveServers(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 3})
	vote := message{Kind: msgVote, From: "c", Term: 9, Index: 2, LogTerm: 2}
	s.now += s.election - time.Nanosecond
	require.Empty(t, s.gets(vote))
	require.Equal(t, uint64(3), s.term)
	require.True(t, s.answer(message{Kind: msgPreVote, From: "c", Term: 9, Index: 2, LogTerm: 2}).Reject)
	s.now += time.Nanosecond
	require.False(t, s.answer(message{Kind: msgPreVote, From: "c", Term: 9, Index: 2, LogTerm: 2}).Reject)
	require.False(t, s.answer(vote).Reject)
}

// Section 4.3: while the joint configuration is in force, elections, commitment
// and reads need majorities of both.
func TestSection4_3_JointMajorities(t *testing.T) {
	joint := Membership{Voters: []string{"a", "d", "e"}, Outgoing: abc}
	tests := []struct {
		answers string // who agrees with a
		ok      bool
	}{
		{"b", false}, {"bc", false}, {"d", false}, {"de", false}, {"bd", true}, {"ce", true}, {"bcde", true},
	}
	for _, test := range tests {
		t.Run(test.answers, func(t *testing.T) {
			entries := logOf(abc, 1, 2, 2)
			entries[2].Kind = EntryMembership
			entries[2].Data, _ = joint.AppendBinary(nil)
			s := startSubject(t, testConfig, State{Hard: HardState{Term: 3, Commit: 2}, Entries: entries})
			each := func(m message) {
				for _, from := range test.answers {
					m.From = string(from)
					s.gets(m)
				}
			}
			s.timesOut()
			each(message{Kind: msgPreVoteReply, Term: 4})
			require.Equal(t, test.ok, s.role == candidate)
			if !test.ok {
				return
			}
			each(message{Kind: msgVoteReply, Term: 4})
			require.Equal(t, leader, s.role)
			each(message{Kind: msgAppendReply, Term: 4, Index: 4})
			require.Equal(t, uint64(4), s.commit)
			// It leaves the joint configuration by itself.
			require.False(t, s.membership().joint())
			require.Equal(t, joint.Voters, s.membership().Voters)
			require.Equal(t, uint64(5), s.last())
		})
	}
}

// Section 4.3, with the answers of a leader in the joint configuration: neither
// majority alone commits or confirms a read.
func TestSection4_3_LeaderNeedsBothMajorities(t *testing.T) {
	for _, side := range []string{"b c", "d e"} {
		t.Run(side, func(t *testing.T) {
			s := newScene(t)
			s.play(`
				cluster a b c
				joiner d
				joiner e
				elect a
				reconfigure a a d e
				deliver all
				reconfigure a a d e
				cut a ` + side + `
				heartbeat a
				deliver all
				read a 1
				deliver all
				heartbeat a
				deliver all
				expect commit a 2
				expect read 1 waiting
				heal
				heartbeat a
				deliver all
				expect read 1 2
				expect commit a 4
				expect members a a d e`)
		})
	}
}

// Section 4.3: a change of the learners alone needs no joint configuration; a
// voter may become a learner; an entry says the same membership again.
func TestSection4_3_ChangesOfAllKinds(t *testing.T) {
	tests := []struct{ from, to, first, last string }{
		{"a b c", "a b c | d", "a b c | d", "a b c | d"},
		{"a b c | d", "a b c d", "a b c d & a b c", "a b c d"},
		{"a b c", "a b | c", "a b | c & a b c", "a b | c"},
		{"a b c | d", "a b d | c", "a b d | c & a b c", "a b d | c"},
		{"a b c", "a b c", "a b c", "a b c"},
		{"a b c", "a", "a & a b c", "a"},
		{"a b", "a c d e", "a c d e & a b", "a c d e"},
	}
	for _, test := range tests {
		t.Run(test.from+" to "+test.to, func(t *testing.T) {
			s := newScene(t)
			s.do("cluster " + test.from)
			for _, name := range []string{"c", "d", "e"} {
				if s.servers[name] == nil {
					s.do("joiner " + name)
				}
			}
			s.do("elect a")
			s.do("reconfigure a " + test.to)
			if s.core("a").office.recruits != nil {
				s.do("expect members a " + test.from)
				s.do("deliver all")
				s.do("reconfigure a " + test.to)
			}
			s.do("expect members a " + test.first)
			s.do("run 500ms")
			s.do("expect members a " + test.last)
			s.do("expect role a leader")
			require.False(t, s.core("a").changing())
			s.do("propose a x")
			s.do("run 500ms")
			for _, name := range s.names {
				if s.core("a").membership().Contains(name) {
					s.do("expect members " + name + " " + test.last)
					require.Equal(t, s.core("a").last(), s.core(name).commit, "commit of %s", name)
				}
			}
		})
	}
}

// A server that lost its disk and is named again gets the old log first, and with it
// memberships that it has long left. b, cut off since then, holds to one of them, too:
// {a b d}, whose majority d's word once helped to replace. Neither of them is elected.
func TestSection4_2_WipedServerDoesNotBringBackAnOldMembership(t *testing.T) {
	for _, candidate := range []string{"b", "d"} {
		s := newScene(t)
		s.play(`
			set bytes 1
			cluster a b
			joiner d
			joiner c
			elect a
			reconfigure a a b d
			deliver all
			reconfigure a a b d
			run 500ms
			expect members d a b d
			cut b
			reconfigure a a b c
			deliver all
			reconfigure a a b c
			deliver all
			heartbeat a
			deliver all
			expect members a a b c
			propose a kept
			deliver all
			crash d
			wipe d
			restart d
			reconfigure a a c d
			deliver a->d
			deliver d->a`)
		for s.core("d").last() < s.core("b").last() {
			s.play("deliver a->d 1\n deliver d->a")
		}
		s.play(`
			expect members d a b d
			expect members b a b d
			heal
			cut a c
			drop all
			wait 2s
			timeout ` + candidate + `
			deliver all`)
		require.NotEqual(t, leader, s.core(candidate).role)
		s.play(`
			heal
			run 5s`)
		leads := slices.IndexFunc(s.names, func(name string) bool { return s.core(name).role == leader })
		require.GreaterOrEqual(t, leads, 0, "the group goes on")
		require.Equal(t, s.core(s.names[leads]).last(), s.core("d").commit, "and d catches up")
	}
}

// Who was started to join a cluster, and has not caught up, knows that there is a
// past, and that it may have had a part in it: it does not stand, elects nobody of its
// kind, and says what its vote is worth to others.
func TestSection4_2_WhoHasNotCaughtUpDoesNotStand(t *testing.T) {
	joiner := func() *subject {
		s := startSubject(t, testConfig, State{Hard: HardState{Term: 3}, Entries: logOf(abc, 1, 2)})
		require.True(t, s.newborn)
		return s
	}
	s := joiner()
	s.timesOut()
	require.Equal(t, follower, s.role)
	s.gets(message{Kind: msgTimeoutNow, From: "b", Term: 3})
	require.Equal(t, follower, s.role)

	for _, newborn := range []bool{false, true} {
		reply := joiner().answer(message{Kind: msgVote, From: "b", Term: 4, Index: 9, LogTerm: 3, Newborn: newborn})
		require.Equal(t, newborn, reply.Reject)
		require.True(t, reply.Newborn)
	}

	s = joiner()
	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 2, LogTerm: 2, Commit: 3, Entries: []Entry{{Index: 3, Term: 4}}})
	require.False(t, s.newborn, "it has what was committed when it came")
	s.timesOut()
	require.Equal(t, preCandidate, s.role)
}
