package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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

// Two who ask for different changes do not take each other's recruits away: a voter
// that is down keeps nobody else from joining.
func TestRecruitsOfTwoChanges(t *testing.T) {
	s := settled(t, testConfig)
	down, up := Membership{Voters: []string{"a", "x", "y"}}, Membership{Voters: []string{"a", "b", "d", "e"}}
	ask := func() error {
		_, err := s.reconfigure(s.now, up)
		if err != nil {
			require.ErrorIs(t, err, errNotYet)
			_, other := s.reconfigure(s.now, down)
			require.ErrorIs(t, other, errNotYet)
		}
		s.flush()
		return err
	}
	require.Error(t, ask())
	for _, name := range []string{"d", "e", "x", "y"} {
		require.NotNil(t, s.peer(name), name)
	}
	s.gets(message{Kind: msgAppendReply, From: "d", Term: s.term, Index: s.last()})
	require.NoError(t, ask())
	require.Nil(t, s.peer("x"), "only the change that began has members")

	// Each is forgotten by itself.
	s = settled(t, testConfig)
	require.Error(t, ask())
	for range 15 {
		_, err := s.reconfigure(s.now, down)
		require.ErrorIs(t, err, errNotYet)
		for _, from := range abc[1:] {
			s.gets(message{Kind: msgHeartbeatReply, From: from, Term: s.term, Round: s.office.round, Index: s.last(), Hint: s.last()})
		}
		s.beats()
	}
	require.Nil(t, s.peer("d"))
	require.NotNil(t, s.peer("x"))
	s.becomeFollower(s.term+1, "")
	require.Nil(t, s.peer("x"))
}

// A voter that has caught up once and is down by now does not make a change that
// cannot be committed without it.
func TestVotersThatAreDownChangeNothing(t *testing.T) {
	s := settled(t, testConfig)
	for range 15 { // c is silent
		s.beats()
		s.gets(message{Kind: msgHeartbeatReply, From: "b", Term: s.term, Round: s.office.round, Index: s.last(), Hint: s.last()})
	}
	_, err := s.reconfigure(s.now, Membership{Voters: []string{"a", "c"}})
	require.ErrorIs(t, err, errNotYet)
	s.flush()
	require.Equal(t, abc, s.membership().Voters)
	s.gets(message{Kind: msgHeartbeatReply, From: "c", Term: s.term, Round: s.office.round, Index: s.last(), Hint: s.last()})
	_, err = s.reconfigure(s.now, Membership{Voters: []string{"a", "c"}})
	require.NoError(t, err)
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
