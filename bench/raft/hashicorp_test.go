package raft_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	hraft "github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

type hfsm struct{ machine }

func (f *hfsm) Apply(l *hraft.Log) any { f.apply(l.Data); return nil }
func (f *hfsm) Snapshot() (hraft.FSMSnapshot, error) {
	return hsnap{}, nil
}
func (f *hfsm) Restore(r io.ReadCloser) error { return r.Close() }

type hbfsm struct{ *hfsm }

func (f hbfsm) ApplyBatch(ls []*hraft.Log) []any {
	for _, l := range ls {
		if l.Type == hraft.LogCommand {
			f.apply(l.Data)
		}
	}
	return make([]any, len(ls))
}

type hsnap struct{}

func (hsnap) Persist(s hraft.SnapshotSink) error { return s.Close() }
func (hsnap) Release()                           {}

type hnode struct {
	r     *hraft.Raft
	tr    *hraft.InmemTransport
	addr  hraft.ServerAddress
	fsm   *hfsm
	close func()
	dead  atomic.Bool
}

type hashiCluster struct {
	nodes []*hnode
	lead  atomic.Pointer[hnode]
}

func startHashicorp(o settings) (cluster, error)      { return newHashi(o, false) }
func startHashicorpTuned(o settings) (cluster, error) { return newHashi(o, true) }

// newHashi starts servers with the defaults of the library or, tuned, with
// batches on, up to 1024 entries in a message and its old telemetry off.
func newHashi(o settings, tuned bool) (cluster, error) {
	c := &hashiCluster{}
	var servers []hraft.Server
	for i := 1; i <= 3; i++ {
		addr, tr := hraft.NewInmemTransport("")
		servers = append(servers, hraft.Server{ID: hraft.ServerID(fmt.Sprint("n", i)), Address: addr})
		c.nodes = append(c.nodes, &hnode{tr: tr, addr: addr, fsm: &hfsm{}, close: func() {}})
	}
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			if a != b {
				a.tr.Connect(b.addr, b.tr)
			}
		}
	}
	for i, n := range c.nodes {
		cfg := hraft.DefaultConfig()
		cfg.LocalID = servers[i].ID
		cfg.HeartbeatTimeout = o.election // follower timeout, randomised to [t, 2t]; heartbeats go out at t/10..t/5
		cfg.ElectionTimeout = o.election
		cfg.LeaderLeaseTimeout = o.election
		cfg.Logger = hclog.NewNullLogger()
		cfg.SnapshotInterval = time.Hour
		cfg.TrailingLogs = 1 << 30
		var sm hraft.FSM = n.fsm
		if tuned {
			cfg.BatchApplyCh = true
			cfg.MaxAppendEntries = 1024
			cfg.NoLegacyTelemetry = true
			sm = hbfsm{n.fsm}
		}
		var logs hraft.LogStore
		var stable hraft.StableStore
		if o.dir == "" {
			s := hraft.NewInmemStore()
			logs, stable = s, s
		} else {
			dir := folder(o, i+1)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
			s, err := wal.Open(dir)
			if err != nil {
				return nil, err
			}
			n.close = func() { s.Close() }
			logs, stable = s, s
			lc, err := hraft.NewLogCache(8192, logs)
			if err != nil {
				return nil, err
			}
			logs = lc
		}
		snaps := hraft.NewInmemSnapshotStore()
		if err := hraft.BootstrapCluster(cfg, logs, stable, snaps, n.tr, hraft.Configuration{Servers: servers}); err != nil {
			return nil, err
		}
		r, err := hraft.NewRaft(cfg, sm, logs, stable, snaps, n.tr)
		if err != nil {
			return nil, err
		}
		n.r = r
	}
	return c, nil
}

func (c *hashiCluster) leader() *hnode {
	if n := c.lead.Load(); n != nil && !n.dead.Load() && n.r.State() == hraft.Leader {
		return n
	}
	for _, n := range c.nodes {
		if !n.dead.Load() && n.r.State() == hraft.Leader {
			c.lead.Store(n)
			return n
		}
	}
	return nil
}

func (c *hashiCluster) Propose(ctx context.Context, data []byte) error {
	for {
		if n := c.leader(); n != nil {
			if n.r.Apply(data, 0).Error() == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (c *hashiCluster) KillLeader() {
	n := c.leader()
	if n == nil {
		return
	}
	n.dead.Store(true)
	n.tr.DisconnectAll()
	for _, p := range c.nodes {
		if p != n {
			p.tr.Disconnect(n.addr)
		}
	}
	n.r.Shutdown()
}

func (c *hashiCluster) Close() {
	for _, n := range c.nodes {
		n.r.Shutdown().Error()
		n.close()
	}
}
