package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
