//go:build !race

package raft_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
)

// Under the race detector sync.Pool forgets at random, so this is not for there.
// It counts the allocations of all three nodes: the slabs of the log, and no more.
func TestProposeDoesNotAllocate(t *testing.T) {
	c := startCluster(t, raft.Config{StateMachine: &counter{}}, abc...)
	leader := c.leader()
	command, ctx := make([]byte, 16), t.Context()
	allocs := testing.AllocsPerRun(2000, func() {
		if _, err := leader.Propose(ctx, command); err != nil {
			t.Error(err)
		}
	})
	require.Less(t, allocs, 1.0)
}
