package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the simulation found, each as small as it gets.

// bugCore returns a core of three voters that holds a state.
func bugCore(t *testing.T, state State) *core {
	t.Helper()
	c, err := newCore(coreConfig{
		id: "a", voters: []string{"a", "b", "c"}, heartbeat: 100 * time.Millisecond, election: time.Second,
		maxAppendBytes: 1 << 20, maxInflight: 16, maxInflightBytes: 1 << 20,
	}, state, time.Hour)
	require.NoError(t, err)
	return c
}

// bugSave saves all that the core wants saved, and returns the last batch.
func bugSave(c *core, now time.Duration) (last Batch) {
	for {
		b, ok := c.takeBatch(nil)
		if !ok {
			return last
		}
		last = b
		c.saved(now)
	}
}

func bugEntries(first uint64, terms ...uint64) []Entry {
	var entries []Entry
	for i, term := range terms {
		entries = append(entries, Entry{Index: first + uint64(i), Term: term, Kind: EntryNoop})
	}
	return entries
}

// The process dies after the hard state of a batch was saved and before its
// entries: a commit index beyond what is saved would declare the old ones
// committed.
func TestCommitIsNotSavedBeforeItsEntries(t *testing.T) {
	c := bugCore(t, State{Hard: HardState{Term: 2, Commit: 1}, Entries: bugEntries(1, 1, 2, 2)})
	c.step(time.Hour, &message{Kind: msgAppend, From: "b", To: "a", Term: 3, Index: 1, LogTerm: 1, Commit: 3, Entries: bugEntries(2, 3, 3)})
	require.EqualValues(t, 3, c.commit)
	b, ok := c.takeBatch(nil)
	require.True(t, ok)
	require.Len(t, b.Entries, 2)
	require.EqualValues(t, 1, b.Hard.Commit, "entries 2 and 3 of term 2 may still be on disk")
}

// A follower applies, and takes a snapshot, ahead of its own disk.
func TestCompactKeepsWhatIsNotSaved(t *testing.T) {
	c := bugCore(t, State{Hard: HardState{Term: 2, Commit: 1}, Entries: bugEntries(1, 1)})
	c.step(time.Hour, &message{Kind: msgAppend, From: "b", To: "a", Term: 2, Index: 1, LogTerm: 1, Commit: 4, Entries: bugEntries(2, 2, 2, 2)})
	c.snapshotted(SnapshotInfo{Index: 4, Term: 2})
	c.compact(4)
	b, ok := c.takeBatch(nil)
	require.True(t, ok)
	require.Equal(t, bugEntries(2, 2, 2, 2), b.Entries)
}

// The process dies after a fetched snapshot was committed and before the log was
// restarted; the log was compacted to nothing before that.
func TestSnapshotOverAnEmptyLogRestartsIt(t *testing.T) {
	snap := SnapshotInfo{Index: 706, Term: 13, Membership: Membership{Voters: []string{"a", "b", "c"}}}
	c := bugCore(t, State{Hard: HardState{Term: 13, Commit: 690}, Snapshot: snap})
	b, ok := c.takeBatch(nil)
	require.True(t, ok)
	require.EqualValues(t, 707, b.Restart, "or entry 707 would be saved behind entry 690")
}

// A server that lost its disk restarts once more before it has caught up.
func TestAmnesiaSurvivesARestart(t *testing.T) {
	c := bugCore(t, State{})
	b := bugSave(c, time.Hour)
	require.True(t, c.newborn)
	c = bugCore(t, State{Hard: b.Hard, Entries: c.slice(1, c.last(), 1<<20)})
	require.True(t, c.newborn, "it has saved its first entry, but knows nothing of what it may once have acknowledged")
	c.step(2*time.Hour, &message{Kind: msgVote, From: "b", To: "a", Term: 5, Index: 9, LogTerm: 4})
	bugSave(c, 2*time.Hour)
	require.Len(t, c.messages, 1)
	require.True(t, c.messages[0].Newborn, "b has to know that this vote is not sure")
}

// A snapshot may be older than what the server acknowledged before it lost its
// disk.
func TestAmnesiaOutlivesAnOlderSnapshot(t *testing.T) {
	c := bugCore(t, State{})
	bugSave(c, time.Hour)
	c.step(time.Hour, &message{Kind: msgSnapshot, From: "b", To: "a", Term: 4, Index: 3, LogTerm: 4, Commit: 5})
	info := SnapshotInfo{Index: 3, Term: 4, Membership: Membership{Voters: []string{"a", "b", "c"}}}
	require.True(t, c.beginInstall(time.Hour, info))
	c.installed(time.Hour, info)
	require.True(t, c.newborn, "entries 4 and 5 are committed, perhaps by its word")
	bugSave(c, time.Hour)
	c.step(time.Hour, &message{Kind: msgAppend, From: "b", To: "a", Term: 4, Index: 3, LogTerm: 4, Commit: 5, Entries: bugEntries(4, 4, 4)})
	b := bugSave(c, time.Hour)
	require.False(t, c.newborn)
	require.NotZero(t, b.Hard.Commit, "and that is durable")
}

// A new cluster of two: the first leader fell before the other heard of it. The
// vote of the one without a past counts beside the one that has it.
func TestNewClusterOfTwoElectsAgain(t *testing.T) {
	leader, err := newCore(coreConfig{id: "a", voters: []string{"a", "b"}, heartbeat: 100 * time.Millisecond, election: time.Second, maxAppendBytes: 1 << 20, maxInflight: 16, maxInflightBytes: 1 << 20},
		State{Hard: HardState{Term: 2, Vote: "a", Commit: 1}, Entries: firstEntries("a", "b")}, time.Hour)
	require.NoError(t, err)
	leader.tick(2 * time.Hour)
	require.Equal(t, preCandidate, leader.role)
	leader.step(2*time.Hour, &message{Kind: msgPreVoteReply, From: "b", To: "a", Term: 3, Newborn: true})
	bugSave(leader, 2*time.Hour)
	leader.step(2*time.Hour, &message{Kind: msgVoteReply, From: "b", To: "a", Term: 3, Newborn: true})
	require.Equal(t, "leader", leader.role.String())
}

func firstEntries(voters ...string) []Entry {
	data, _ := Membership{Voters: voters}.AppendBinary(nil)
	return append([]Entry{{Index: 1, Term: 1, Kind: EntryMembership, Data: data}}, bugEntries(2, 2)...)
}

// A member that never acknowledged anything may have no past. Made the only voter,
// it could elect nobody, and nobody else could be elected, if the leader fell.
func TestReconfigureNeedsVotersThatAreThere(t *testing.T) {
	c := bugCore(t, State{Hard: HardState{Term: 2, Commit: 1}, Entries: firstEntries("a", "b", "c")})
	c.campaign(false)
	bugSave(c, time.Hour)
	c.step(time.Hour, &message{Kind: msgVoteReply, From: "b", To: "a", Term: 3})
	bugSave(c, time.Hour)
	c.step(time.Hour, &message{Kind: msgAppendReply, From: "b", To: "a", Term: 3, Index: c.last()})
	require.Equal(t, c.last(), c.commit)

	_, err := c.reconfigure(time.Hour, Membership{Voters: []string{"c"}})
	require.ErrorIs(t, err, errNotYet)
	_, err = c.reconfigure(time.Hour, Membership{Voters: []string{"a", "c"}})
	require.ErrorIs(t, err, errNotYet)
	_, err = c.reconfigure(time.Hour, Membership{Voters: []string{"a", "d"}})
	require.ErrorIs(t, err, errNotYet, "nor is it known whether d is there")
	c.step(time.Hour, &message{Kind: msgAppendReply, From: "c", To: "a", Term: 3, Index: c.last(), Newborn: true})
	_, err = c.reconfigure(time.Hour, Membership{Voters: []string{"c"}})
	require.ErrorIs(t, err, errNotYet, "c has not caught up with what it may have forgotten")
	_, err = c.reconfigure(time.Hour, Membership{Voters: []string{"a", "b", "d"}})
	require.NoError(t, err, "a and b are a majority without d")
}

// A gap in a stream of appends has all that follow refused. Only the first refusal
// may have them sent again, or late ones would do so over and over.
func TestLateRefusalsDoNotMultiply(t *testing.T) {
	c := bugCore(t, State{Hard: HardState{Term: 2, Commit: 1}, Entries: firstEntries("a", "b", "c")})
	c.maxAppendBytes = 1
	c.campaign(false)
	bugSave(c, time.Hour)
	c.step(time.Hour, &message{Kind: msgVoteReply, From: "b", To: "a", Term: 3})
	c.step(time.Hour, &message{Kind: msgAppendReply, From: "b", To: "a", Term: 3, Index: c.last()})
	for range 8 {
		_, err := c.propose(time.Hour, []Entry{{Data: []byte("x")}})
		require.NoError(t, err)
	}
	c.messages = c.messages[:0]
	refuse := func(index uint64) {
		c.step(time.Hour, &message{Kind: msgAppendReply, From: "b", To: "a", Term: 3, Index: index, Reject: true, Hint: 3, LogTerm: 3})
	}
	refuse(4)
	require.Len(t, c.messages, 1, "a probe")
	c.step(time.Hour, &message{Kind: msgAppendReply, From: "b", To: "a", Term: 3, Index: 4})
	require.Len(t, c.messages, 8, "and the rest")
	for index := uint64(5); index < 11; index++ {
		refuse(index)
	}
	require.Len(t, c.messages, 8)
}
