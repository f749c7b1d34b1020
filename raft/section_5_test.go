package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var snapMembership = Membership{Voters: []string{"a", "b", "d"}}

// offered returns a server that has been offered the snapshot at an index, and
// whose driver has fetched it.
func offered(t *testing.T, s *subject, info SnapshotInfo) {
	s.gets(message{Kind: msgSnapshot, From: "b", Term: s.term, Index: info.Index, LogTerm: info.Term})
	require.Equal(t, info.Index, s.fetch.Index)
	require.True(t, s.beginInstall(s.now, info))
}

// Figure 5.3, receiver, steps 6 to 8: an entry with the snapshot's last index and
// term keeps what follows it; otherwise the whole log goes.
func TestSection5_3_InstallSnapshot(t *testing.T) {
	tests := []struct {
		rule        string
		index, term uint64
		last        uint64 // of the log afterwards
		voters      []string
	}{
		{"the log is behind the snapshot", 9, 3, 9, snapMembership.Voters},
		{"another term at its end: the rest is worth nothing", 3, 3, 3, snapMembership.Voters},
		{"the same entry: what follows stays, and the configuration of the log", 3, 2, 5, abc},
		{"it ends where the log ends", 5, 2, 5, abc},
		{"it ends where the log ends, with another term", 5, 3, 5, snapMembership.Voters},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			s := newSubject(t, 4, 1, 2, 2, 2, 2)
			info := SnapshotInfo{Index: test.index, Term: test.term, Membership: snapMembership}
			offered(t, s, info)
			s.installed(s.now, info)
			s.said = nil
			s.flush()
			require.Equal(t, test.index, s.commit)
			require.Equal(t, test.last, s.last())
			require.Equal(t, test.voters, s.membership().Voters)
			require.Zero(t, s.fetch.Index)
			require.NotEmpty(t, s.said)
			last := s.said[len(s.said)-1]
			require.Equal(t, msgAppendReply, last.Kind)
			require.Equal(t, test.index, last.Index, "it acknowledges the snapshot, not what follows it")
			term, ok := s.log.term(test.index)
			require.True(t, ok)
			require.Equal(t, test.term, term)

			// The leader goes on from there.
			reply := s.answer(message{Kind: msgAppend, From: "b", Term: 4, Index: test.index, LogTerm: test.term, Entries: []Entry{{Index: test.index + 1, Term: 4}}, Commit: test.index + 1})
			require.Equal(t, test.index+1, reply.Index)
			require.Equal(t, test.index+1, s.commit)
		})
	}
}

// Section 5.3: the saved log has to begin anew before entries are saved behind it.
func TestSection5_3_SavedLogRestarts(t *testing.T) {
	s := newSubject(t, 4, 1, 2, 2)
	info := SnapshotInfo{Index: 3, Term: 3, Membership: snapMembership}
	offered(t, s, info)
	s.holdDisk = true
	s.installed(s.now, info)
	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 3, LogTerm: 3, Entries: []Entry{{Index: 4, Term: 4}}})
	b, ok := s.takeBatch(nil)
	require.True(t, ok)
	require.Equal(t, uint64(4), b.Restart)
	require.Equal(t, uint64(4), b.Entries[0].Index)
}

// A crash between the snapshot and the restart of the log: what does not fit is
// dropped when the server comes back (figure 5.3, steps 6 and 7, at start).
func TestSection5_3_CrashBetweenSnapshotAndLog(t *testing.T) {
	tests := []struct {
		rule  string
		snap  SnapshotInfo
		from  uint64 // index of the first saved entry
		terms []uint64
		last  uint64
		fails bool
	}{
		{"the log ends below the snapshot", SnapshotInfo{Index: 5, Term: 3}, 1, []uint64{1, 2, 2}, 5, false},
		{"another term at its end", SnapshotInfo{Index: 3, Term: 3}, 1, []uint64{1, 2, 2, 2}, 3, false},
		{"it fits", SnapshotInfo{Index: 3, Term: 2}, 1, []uint64{1, 2, 2, 2, 3}, 5, false},
		{"it begins right behind", SnapshotInfo{Index: 3, Term: 2}, 4, []uint64{2, 3}, 5, false},
		{"it begins right behind, and is older", SnapshotInfo{Index: 3, Term: 4}, 4, []uint64{2, 3}, 3, false},
		{"it begins too late", SnapshotInfo{Index: 3, Term: 2}, 5, []uint64{2, 3}, 0, true},
		{"its beginning is missing, without a snapshot", SnapshotInfo{}, 2, []uint64{2, 3}, 0, true},
		{"an index that does not exist", SnapshotInfo{}, 0, []uint64{1, 2}, 0, true},
		{"terms that go back", SnapshotInfo{}, 1, []uint64{2, 1}, 0, true},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			state := State{Hard: HardState{Term: 5, Commit: 9}, Snapshot: test.snap}
			state.Snapshot.Membership = snapMembership
			for i, term := range test.terms {
				state.Entries = append(state.Entries, Entry{Index: test.from + uint64(i), Term: term})
			}
			c, err := newCore(testConfig, state, 0)
			if test.fails {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.last, c.last())
			require.Equal(t, snapMembership.Voters, c.membership().Voters)
			b, out := c.takeBatch(nil)
			if dropped := test.last == test.snap.Index; dropped {
				require.True(t, out)
				require.Equal(t, test.last+1, b.Restart)
			} else {
				require.False(t, out)
			}
		})
	}
}

// A gap inside the saved log is damage, not a log.
func TestSection5_3_SavedLogWithAGap(t *testing.T) {
	state := State{Hard: HardState{Term: 5, Commit: 1}, Entries: logOf(abc, 1, 2, 2)}
	state.Entries[2].Index = 4
	_, err := newCore(testConfig, state, 0)
	require.ErrorContains(t, err, "index 4")
}

// A snapshot that was saved in a term which was not says that the term was
// reached; no vote can have been given in it.
func TestSection5_3_SnapshotIsAheadOfTheSavedTerm(t *testing.T) {
	s := startSubject(t, testConfig, State{
		Hard: HardState{Term: 3, Vote: "b"}, Entries: logOf(abc, 1, 2),
		Snapshot: SnapshotInfo{Index: 8, Term: 6, Membership: snapMembership},
	})
	require.Equal(t, uint64(6), s.term)
	require.Empty(t, s.vote)
}

// While a snapshot is being installed, the state machine is between two states:
// nothing is taken, committed or stood for. The leader hears that it is alive.
func TestSection5_3_NothingHappensDuringTheInstallation(t *testing.T) {
	s := newSubject(t, 4, 1, 2, 2)
	info := SnapshotInfo{Index: 9, Term: 3, Membership: abcMembership()}
	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 3, LogTerm: 2})
	offered(t, s, info)
	require.Empty(t, s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 3, LogTerm: 2, Entries: []Entry{{Index: 4, Term: 4}}, Commit: 4}))
	require.Equal(t, uint64(1), s.commit)
	require.Equal(t, uint64(3), s.last())
	require.Equal(t, msgHeartbeatReply, s.answer(message{Kind: msgHeartbeat, From: "b", Term: 4, Commit: 9}).Kind)
	s.gets(message{Kind: msgTimeoutNow, From: "b", Term: 4})
	for range 3 {
		s.timesOut()
	}
	require.Equal(t, follower, s.role)
	require.Equal(t, uint64(1), s.commit)

	// It votes all the same: its log is what it was.
	require.False(t, s.answer(message{Kind: msgVote, From: "b", Term: 5, Index: 3, LogTerm: 2, Commit: 1}).Reject)
	s.installed(s.now, info)
	require.Equal(t, uint64(9), s.commit)

	// If it fails, all goes on as before.
	s = newSubject(t, 4, 1, 2, 2)
	offered(t, s, info)
	s.fetchFailed(s.now)
	reply := s.answer(message{Kind: msgAppend, From: "b", Term: 4, Index: 3, LogTerm: 2, Entries: []Entry{{Index: 4, Term: 4}}, Commit: 4})
	require.Equal(t, uint64(4), reply.Index)
	require.Equal(t, uint64(4), s.commit)
}

// A server that stands for election when it has the snapshot takes it over: it makes
// it a better candidate, and has cost a lot. A leader has all that it holds.
func TestSection5_3_CandidateInstallsASnapshot(t *testing.T) {
	info := SnapshotInfo{Index: 9, Term: 3, Membership: abcMembership()}
	for _, r := range []role{preCandidate, candidate} {
		s := newSubject(t, 4, 1, 2, 2).become(r)
		term, vote := s.term, s.vote
		require.True(t, s.beginInstall(s.now, info), "%v", r)
		require.Equal(t, follower, s.role)
		s.gets(message{Kind: msgPreVoteReply, From: "b", Term: s.term + 1})
		s.gets(message{Kind: msgVoteReply, From: "b", Term: s.term})
		require.Equal(t, follower, s.role, "in the middle of the installation it leads nobody")
		s.installed(s.now, info)
		require.Equal(t, uint64(9), s.commit)
		require.Equal(t, term, s.term)
		require.Equal(t, vote, s.vote, "and votes for nobody else in this term")
		s.timesOut()
		require.Equal(t, preCandidate, s.role)
	}
	require.False(t, newSubject(t, 4, 1, 2, 2).become(leader).beginInstall(time.Hour, info))
}

func abcMembership() Membership { return Membership{Voters: abc} }

// A leader whose log no longer reaches back far enough offers its snapshot, again
// and again until it hears that it was taken over, and never sends entries that
// do not follow.
func TestSection5_3_LeaderOffersItsSnapshot(t *testing.T) {
	s := newSubject(t, 3, 1, 2, 2, 2, 2).become(leader)
	s.gets(message{Kind: msgAppendReply, From: "b", Term: s.term, Index: s.last()})
	info := s.infoAt(5)
	require.Equal(t, abc, info.Membership.Voters)
	s.snapshotted(info)
	s.compact(5)
	require.Equal(t, uint64(6), s.first())
	said := s.gets(message{Kind: msgAppendReply, From: "c", Term: s.term, Reject: true, Index: 5, Hint: 1, LogTerm: 1})
	require.Len(t, said, 1)
	require.Equal(t, message{Kind: msgSnapshot, From: "a", To: "c", Term: s.term, Index: 5, LogTerm: 2, Commit: said[0].Commit}, said[0])
	_, err := s.propose(s.now, []Entry{{}})
	require.NoError(t, err)
	s.said = nil
	s.flush()
	for _, m := range s.said {
		require.NotEqual(t, "c", m.To)
	}
	said = s.gets(message{Kind: msgHeartbeatReply, From: "c", Term: s.term, Index: 1, Hint: 1})
	require.Equal(t, msgSnapshot, said[0].Kind, "the first offer may have been lost")
	said = s.gets(message{Kind: msgAppendReply, From: "c", Term: s.term, Index: 5})
	require.Equal(t, msgAppend, said[0].Kind)
	require.Equal(t, uint64(5), said[0].Index)
}
