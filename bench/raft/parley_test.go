package raft_test

import (
	"context"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal"
	"github.com/parley-go/parley/transport/mem"
)

// pmachine is machine as our state machine. Like everybody here it takes no
// snapshots.
type pmachine struct{ machine }

func (m *pmachine) Apply(commands []raft.Command) error {
	for i := range commands {
		m.apply(commands[i].Data)
	}
	return nil
}

func (m *pmachine) Snapshot() (func(io.Writer) error, error) {
	return func(io.Writer) error { return nil }, nil
}
func (m *pmachine) Restore(io.Reader) error { return nil }

type pnode struct {
	*raft.Node
	transport *mem.Transport
	log       *wal.Log
	dead      atomic.Bool
}

type parleyCluster struct {
	nodes []*pnode
	lead  atomic.Pointer[pnode]
}

func startParley(s settings) (cluster, error) {
	c := &parleyCluster{}
	network := mem.NewNetwork()
	names := []string{"a", "b", "c"}
	for _, name := range names {
		t, err := network.Join(name)
		if err != nil {
			return nil, err
		}
		n := &pnode{transport: t}
		var storage raft.Storage = raft.NewMemoryStorage()
		if s.dir != "" {
			if n.log, err = wal.Open(filepath.Join(s.dir, name), wal.Config{SegmentSize: 64 << 20}); err != nil {
				return nil, err
			}
			storage = n.log
		}
		n.Node, err = raft.Start(raft.Config{
			Transport: t, Storage: storage, StateMachine: &pmachine{}, Voters: names,
			Heartbeat: s.heartbeat, Election: s.election, DisableSnapshots: true,
		})
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		go c.follow(n) // until n is closed
	}
	return c, nil
}

// Propose goes to the leader itself, as with the peers.
func (c *parleyCluster) Propose(ctx context.Context, command []byte) error {
	for {
		n := c.lead.Load()
		if n != nil && !n.dead.Load() {
			if _, err := n.Propose(ctx, command); err == nil || ctx.Err() != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// follow keeps lead up to date, as far as one node knows.
func (c *parleyCluster) follow(n *pnode) {
	for change := range n.Leaders(context.Background()) {
		for _, leader := range c.nodes {
			if leader.transport.Local() == change.Leader && !leader.dead.Load() {
				c.lead.Store(leader)
			}
		}
	}
}

func (c *parleyCluster) KillLeader() {
	n := c.lead.Load()
	n.dead.Store(true)
	n.transport.Close()
}

func (c *parleyCluster) Close() {
	for _, n := range c.nodes {
		n.Close()
		n.transport.Close()
		if n.log != nil {
			n.log.Close()
		}
	}
}
