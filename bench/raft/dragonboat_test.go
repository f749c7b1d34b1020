package raft_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	chantrans "github.com/lni/dragonboat/v4/plugin/chan"
	"github.com/lni/dragonboat/v4/plugin/tan"
	"github.com/lni/dragonboat/v4/raftio"
	pb "github.com/lni/dragonboat/v4/raftpb"
	sm "github.com/lni/dragonboat/v4/statemachine"
	gvfs "github.com/lni/vfs"
)

var (
	dragonLog sync.Once
	dragonSeq atomic.Uint64
)

type dfsm struct{ *machine }

func (f dfsm) Update(e sm.Entry) (sm.Result, error) { return sm.Result{Value: f.apply(e.Cmd)}, nil }
func (f dfsm) Lookup(any) (any, error) {
	return f.n.Load(), nil
}

func (f dfsm) SaveSnapshot(io.Writer, sm.ISnapshotFileCollection, <-chan struct{}) error { return nil }

func (f dfsm) RecoverFromSnapshot(io.Reader, []sm.SnapshotFile, <-chan struct{}) error {
	return nil
}
func (f dfsm) Close() error { return nil }

// memFS is gvfs.MemFS with a GetDiskUsage that Pebble accepts.
type memFS struct{ *gvfs.MemFS }

func (memFS) GetDiskUsage(string) (gvfs.DiskUsage, error) {
	return gvfs.DiskUsage{AvailBytes: 1 << 40, TotalBytes: 1 << 40}, nil
}

// cutTransport is dragonboat's own channel transport with a kill switch.
type cutFactory struct{ dead *atomic.Bool }

func (cutFactory) Validate(string) bool { return true }
func (f cutFactory) Create(c config.NodeHostConfig, h raftio.MessageHandler, ch raftio.ChunkHandler) raftio.ITransport {
	t := chantrans.NewChanTransport(c, func(b pb.MessageBatch) {
		if !f.dead.Load() {
			h(b)
		}
	}, ch)
	return cutTransport{t, f.dead}
}

type cutTransport struct {
	raftio.ITransport
	dead *atomic.Bool
}

func (t cutTransport) GetConnection(ctx context.Context, target string) (raftio.IConnection, error) {
	if t.dead.Load() {
		return nil, errors.New("dead")
	}
	c, err := t.ITransport.GetConnection(ctx, target)
	if err != nil {
		return nil, err
	}
	return cutConn{c, t.dead}, nil
}

type cutConn struct {
	raftio.IConnection
	dead *atomic.Bool
}

func (c cutConn) SendMessageBatch(b pb.MessageBatch) error {
	if c.dead.Load() {
		return errors.New("dead")
	}
	return c.IConnection.SendMessageBatch(b)
}

type dnode struct {
	nh   *dragonboat.NodeHost
	fsm  *machine
	dead atomic.Bool
	sess *client.Session
	done chan struct{}
}

type dragonCluster struct {
	nodes []*dnode
	lead  atomic.Pointer[dnode]
	// Retries counts proposals that came back without being applied.
	Retries atomic.Int64
}

// startDragonboat keeps its log with tan, which is faster than Pebble here.
func startDragonboat(o settings) (cluster, error) {
	dragonLog.Do(func() {
		for _, n := range []string{"raft", "rsm", "transport", "grpc", "dragonboat", "logdb", "raftdb", "config", "settings", "order", "tan", "tests", "pebblekv", "server", "utils", "nodehost", "registry", "id"} {
			logger.GetLogger(n).SetLevel(logger.CRITICAL)
		}
	})
	c := &dragonCluster{}
	members := map[uint64]dragonboat.Target{}
	base := dragonSeq.Add(1)
	for i := uint64(1); i <= 3; i++ {
		members[i] = fmt.Sprintf("c%d-n%d", base, i)
	}
	for i := uint64(1); i <= 3; i++ {
		n := &dnode{fsm: &machine{}, done: make(chan struct{})}
		nhc := config.NodeHostConfig{
			RTTMillisecond: uint64(o.tick / time.Millisecond),
			RaftAddress:    members[i],
			Expert:         config.GetDefaultExpertConfig(),
		}
		nhc.Expert.TransportFactory = cutFactory{&n.dead}
		nhc.Expert.LogDB = config.GetSmallMemLogDBConfig()
		nhc.Expert.LogDBFactory = tan.Factory
		if o.dir == "" {
			nhc.Expert.FS = memFS{gvfs.NewMem()}
			nhc.NodeHostDir = fmt.Sprintf("/nh%d", i)
		} else {
			nhc.NodeHostDir = folder(o, int(i))
			if err := os.MkdirAll(nhc.NodeHostDir, 0o755); err != nil {
				return nil, err
			}
		}
		nh, err := dragonboat.NewNodeHost(nhc)
		if err != nil {
			return nil, err
		}
		n.nh = nh
		n.sess = nh.GetNoOPSession(1)
		c.nodes = append(c.nodes, n)
		err = nh.StartReplica(members, false, func(uint64, uint64) sm.IStateMachine { return dfsm{n.fsm} }, config.Config{
			ReplicaID: i, ShardID: 1,
			CheckQuorum: true, PreVote: true,
			ElectionRTT:  uint64(o.election / o.tick),
			HeartbeatRTT: uint64(o.heartbeat / o.tick),
		})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *dragonCluster) leader() *dnode {
	if n := c.lead.Load(); n != nil && !n.dead.Load() {
		return n
	}
	for _, n := range c.nodes {
		if n.dead.Load() {
			continue
		}
		if id, _, ok, err := n.nh.GetLeaderID(1); err == nil && ok && !c.nodes[id-1].dead.Load() {
			c.lead.Store(c.nodes[id-1])
			return c.nodes[id-1]
		}
	}
	return nil
}

func (c *dragonCluster) Propose(ctx context.Context, data []byte) error {
	for {
		if n := c.leader(); n != nil {
			// A proposal that is dropped on the way is only noticed by its timeout,
			// so each attempt gets its own.
			rs, err := n.nh.Propose(n.sess, data, 2*time.Second)
			if err == nil {
				r := <-rs.ResultC()
				ok := r.Completed()
				rs.Release()
				if ok {
					return nil
				}
				c.Retries.Add(1)
			}
			c.lead.CompareAndSwap(n, nil)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (c *dragonCluster) KillLeader() {
	n := c.leader()
	if n == nil {
		return
	}
	n.dead.Store(true)
	c.lead.CompareAndSwap(n, nil)
	go func() { defer close(n.done); n.nh.Close() }()
}

func (c *dragonCluster) Close() {
	for _, n := range c.nodes {
		if n.dead.Load() {
			<-n.done
			continue
		}
		n.nh.Close()
	}
}
