package raft

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport/mem"
)

// A tick that comes much too late is not taken for the silence of a leader: first
// what has arrived meanwhile is read. If that was nothing, the node does stand.
func TestStallIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, err := mem.NewNetwork().Join("a")
		require.NoError(t, err)
		defer transport.Close()
		n, err := Start(Config{Transport: transport, Storage: NewMemoryStorage(), StateMachine: &glutton{}, Voters: []string{"a", "b", "c"}})
		require.NoError(t, err)
		defer n.Close()
		now := n.enter()
		n.armed, n.core.electionAt = now-time.Minute, now-time.Minute
		n.mu.Unlock()

		n.tick(new(outbox))
		require.Equal(t, "follower", n.Status().Role)
		time.Sleep(n.config.Heartbeat / 2)
		synctest.Wait()
		require.Equal(t, "pre-candidate", n.Status().Role)
	})
}
