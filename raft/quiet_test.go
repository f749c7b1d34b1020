package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// settled returns the leader of a b c, whose followers hold its whole log.
func settled(t *testing.T, config coreConfig) *subject {
	s := startSubject(t, config, State{Hard: HardState{Term: 3, Commit: 1}, Entries: logOf(abc, 1, 2)}).become(leader)
	for _, from := range abc[1:] {
		s.gets(message{Kind: msgAppendReply, From: from, Term: s.term, Index: s.last(), Round: s.office.round})
	}
	require.Equal(t, s.last(), s.commit)
	s.said = nil
	return s
}

// beats lets the time of the next heartbeat come, and returns what is said to b.
func (s *subject) beats() []message {
	s.said = nil
	s.now = max(s.now, s.office.heartbeatAt)
	s.tick(s.now)
	s.flush()
	var toB []message
	for _, m := range s.said {
		if m.To == "b" && m.Kind == msgHeartbeat {
			toB = append(toB, m)
		}
	}
	return toB
}

// An idle group is asked for an answer only as often as the leader has to know that
// it still has a majority.
func TestIdleFollowersAreAskedNowAndThen(t *testing.T) {
	s := settled(t, testConfig)
	asked, beats := 0, 0
	for range 200 {
		for _, m := range s.beats() {
			beats++
			if m.Hint > 0 {
				require.Equal(t, s.last(), m.Hint)
				continue
			}
			asked++
			for _, from := range abc[1:] {
				s.gets(message{Kind: msgHeartbeatReply, From: from, Term: s.term, Round: m.Round, Index: s.last(), Hint: s.last()})
			}
		}
		require.Equal(t, leader, s.role)
	}
	require.Equal(t, 200, beats)
	require.Equal(t, 200/3, asked, "a quarter of an election time of ten heartbeats is over at every third")
}

// A leader whose followers fall silent asks at every heartbeat, and steps down when
// the election time is over.
func TestSilentFollowersAreAskedEachTime(t *testing.T) {
	s := settled(t, testConfig)
	began, quiet, asked := s.now, 0, 0
	for s.role == leader {
		for _, m := range s.beats() {
			if m.Hint > 0 {
				require.Zero(t, asked, "no answer has come since")
				quiet++
			} else {
				asked++
			}
		}
	}
	require.Equal(t, 2, quiet)
	require.GreaterOrEqual(t, asked, 7)
	require.LessOrEqual(t, s.now-began, s.election+s.heartbeat)
}

// Whoever has something to learn from an answer asks for it.
func TestAnswersThatMatterAreAskedFor(t *testing.T) {
	leases := testConfig
	leases.lease = leases.election / 2
	for name, test := range map[string]struct {
		config coreConfig
		prior  func(s *subject)
	}{
		"a read waits":                        {testConfig, func(s *subject) { require.NoError(t, s.read(s.now, 1)) }},
		"entries are on the way":              {testConfig, func(s *subject) { _, err := s.propose(s.now, []Entry{{}}); require.NoError(t, err) }},
		"the leadership is being handed over": {testConfig, func(s *subject) { require.NoError(t, s.transfer(s.now, "c")) }},
		"it is not known what b holds":        {testConfig, func(s *subject) { s.peer("b").probe(s.office.round) }},
		"b needs a snapshot":                  {testConfig, func(s *subject) { s.peer("b").stance = restoring }},
		"leases rest on it":                   {leases, func(*subject) {}},
	} {
		s := settled(t, test.config)
		test.prior(s)
		s.flush()
		said := s.beats()
		require.NotEmpty(t, said, name)
		for _, m := range said {
			require.Zero(t, m.Hint, name)
		}
	}
}

// A follower need not answer a heartbeat that does not ask, unless it lacks what the
// leader takes it to hold: then the leader learns at once, as from any answer.
func TestFollowerThatLacksEntriesAnswersUnasked(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	quiet := message{Kind: msgHeartbeat, From: "b", Term: 4, Commit: 2, Round: 9, Hint: 2}
	reply := s.answer(quiet)
	require.Equal(t, message{Kind: msgHeartbeatReply, From: "a", To: "b", Term: 4, Round: 9, Index: s.commit, Hint: s.commit}, reply,
		"after a restart it does not know yet that its log is the leader's")

	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 2, LogTerm: 2, Commit: 2, Round: 9})
	heard := s.electionAt
	s.now += s.heartbeat
	require.Empty(t, s.gets(quiet))
	require.Equal(t, s.heartbeat, s.electionAt-heard, "it is a heartbeat all the same")

	quiet.Hint = 0
	require.Equal(t, uint64(2), s.answer(quiet).Index)
	quiet.Hint = 3
	require.Equal(t, uint64(2), s.answer(quiet).Index)

	s.holdDisk = true // it has the entry, but not for certain
	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 2, LogTerm: 2, Commit: 2, Round: 10, Entries: []Entry{{Index: 3, Term: 4}}})
	require.Equal(t, uint64(2), s.answer(quiet).Hint)
}

// A leader whose process stood still for less than an election time has not asked
// meanwhile: no answer waits for it, and that is not the silence of its followers.
func TestQuietLeaderAsksAfterAPause(t *testing.T) {
	for beats := range 4 {
		s := settled(t, testConfig)
		for range beats {
			for _, m := range s.beats() {
				if m.Hint == 0 {
					s.gets(message{Kind: msgHeartbeatReply, From: "b", Term: s.term, Round: m.Round, Index: s.last(), Hint: s.last()})
				}
			}
		}
		s.now += s.election * 9 / 10 // the followers wait for longer
		said := s.beats()
		require.Equal(t, leader, s.role, "after %d heartbeats", beats)
		require.Zero(t, said[0].Hint)
		asked := s.now
		for s.role == leader {
			s.beats()
		}
		require.LessOrEqual(t, s.now-asked, s.election, "no answer came, though it asked")
	}
}

// With the shortest election time of all, and answers that take most of a heartbeat.
func TestQuietWithShortElections(t *testing.T) {
	for _, beats := range []time.Duration{2, 3, 4, 5} {
		config := testConfig
		config.election = beats * config.heartbeat
		s := settled(t, config)
		for range 100 {
			for _, m := range s.beats() {
				if m.Hint == 0 {
					s.now += config.heartbeat * 9 / 10
					s.gets(message{Kind: msgHeartbeatReply, From: "b", Term: s.term, Round: m.Round, Index: s.last(), Hint: s.last()})
				}
			}
			require.Equal(t, leader, s.role)
		}
	}
}

// A server that may have lost its disk says so in each of its answers: also in one that
// refuses, which may arrive after another.
func TestNewbornSaysSoWhenItRefuses(t *testing.T) {
	config := testConfig
	config.voters = abc
	s := startSubject(t, config, State{})
	reply := s.answer(message{Kind: msgAppend, From: "b", Term: 4, Index: 7, LogTerm: 3, Commit: 7, Round: 1})
	require.True(t, reply.Reject)
	require.True(t, reply.Newborn)
}
