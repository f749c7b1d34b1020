package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A follower may apply, and take snapshots, ahead of its own disk. Its storage
// must not be told to forget entries that it was never given: others can still
// come in their place, and would leave a gap.
func TestStorageForgetsOnlyWhatIsDurable(t *testing.T) {
	c, err := newCore(coreConfig{id: "a", voters: []string{"a", "b", "c"}, heartbeat: 1, election: 10, maxAppendBytes: 1, maxInflight: 1, maxInflightBytes: 1}, State{
		Hard:    HardState{Term: 1, Commit: 1},
		Entries: []Entry{{Index: 1, Term: 1, Kind: EntryNoop}, {Index: 2, Term: 1}},
	}, 0)
	require.NoError(t, err)
	c.step(0, &message{Kind: msgAppend, From: "b", To: "a", Term: 1, Index: 2, LogTerm: 1, Commit: 4, Entries: []Entry{
		{Index: 3, Term: 1}, {Index: 4, Term: 1},
	}})
	require.EqualValues(t, 4, c.commit, "applied before it is saved")
	n := &Node{core: c}
	c.snapshotted(c.infoAt(4))
	n.compact(4)
	require.EqualValues(t, 2, n.save.compact, "entries 3 and 4 are not durable")
}
