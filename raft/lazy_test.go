package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// With a heartbeat, a commit index that moved since it was last saved goes to
// storage alone, once, and nothing waits for it.
func TestCommitIsNotedWithAHeartbeat(t *testing.T) {
	c, err := newCore(coreConfig{id: "a", voters: []string{"a", "b", "c"}, heartbeat: 1, election: 10, maxAppendBytes: 1, maxInflight: 1, maxInflightBytes: 1}, State{
		Hard:    HardState{Term: 1, Commit: 1},
		Entries: []Entry{{Index: 1, Term: 1, Kind: EntryNoop}},
	}, 0)
	require.NoError(t, err)
	c.step(0, &message{Kind: msgAppend, From: "b", Term: 1, Index: 1, LogTerm: 1, Commit: 1, Entries: []Entry{{Index: 2, Term: 1}}})
	_, ok := c.takeBatch(nil)
	require.True(t, ok)
	c.saved(0)
	_, ok = c.takeBatch(nil)
	require.False(t, ok)
	c.step(1, &message{Kind: msgHeartbeat, From: "b", Term: 1, Commit: 2})
	b, ok := c.takeBatch(nil)
	require.True(t, ok)
	require.Equal(t, Batch{Hard: HardState{Term: 1, Commit: 2}, Lazy: true}, b)
	c.saved(1)
	c.step(2, &message{Kind: msgHeartbeat, From: "b", Term: 1, Commit: 2})
	_, ok = c.takeBatch(nil)
	require.False(t, ok, "noted once")
}
