package raft_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// etcd-io/raft driven by the simplest reasonable event loop: one goroutine per
// node over RawNode, channels between nodes, proposals drained into one MsgProp.

type eprop struct {
	id   uint64
	data []byte
	done chan error
}

type etcdNode struct {
	id      uint64
	rn      *raft.RawNode
	st      *raft.MemoryStorage
	inbox   chan *pb.Message
	propc   chan *eprop
	stop    chan struct{}
	stopped chan struct{}
	dead    atomic.Bool
	leader  atomic.Bool
	wait    map[uint64]*eprop
	wal     *fileWAL
	c       *etcdCluster
	fsm     machine
	seq     uint64
	tick    time.Duration
}

type etcdCluster struct {
	nodes []*etcdNode
	pool  sync.Pool
	lead  atomic.Pointer[etcdNode]
}

func startEtcd(o settings) (cluster, error) {
	c := &etcdCluster{}
	c.pool.New = func() any { return &eprop{done: make(chan error, 1)} }
	lg := &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}
	for id := uint64(1); id <= 3; id++ {
		st := raft.NewMemoryStorage()
		// bootstrap through a snapshot's ConfState, as RawNode's docs recommend
		snap := pb.EnsureSnapshot(nil)
		snap.Metadata.Index = new(uint64(1))
		snap.Metadata.Term = new(uint64(1))
		snap.Metadata.ConfState.Voters = []uint64{1, 2, 3}
		if err := st.ApplySnapshot(snap); err != nil {
			return nil, err
		}
		rn, err := raft.NewRawNode(&raft.Config{
			ID:                        id,
			ElectionTick:              int(o.election / o.tick),
			HeartbeatTick:             int(o.heartbeat / o.tick),
			Storage:                   st,
			Applied:                   1,
			MaxSizePerMsg:             1 << 20,
			MaxCommittedSizePerReady:  16 << 20,
			MaxInflightMsgs:           256,
			MaxUncommittedEntriesSize: 1 << 30,
			CheckQuorum:               true,
			PreVote:                   true,
			Logger:                    lg,
		})
		if err != nil {
			return nil, err
		}
		n := &etcdNode{
			id: id, rn: rn, st: st, c: c, tick: o.tick,
			inbox: make(chan *pb.Message, 8192), propc: make(chan *eprop, 8192),
			stop: make(chan struct{}), stopped: make(chan struct{}), wait: map[uint64]*eprop{},
		}
		if o.dir != "" {
			if n.wal, err = openWAL(folder(o, int(id))); err != nil {
				return nil, err
			}
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		go n.run()
	}
	return c, nil
}

func (n *etcdNode) run() {
	defer close(n.stopped)
	t := time.NewTicker(n.tick)
	defer t.Stop()
	var batch []*eprop
	for {
		batch = batch[:0]
		select {
		case <-n.stop:
			n.fail(errStopped)
			return
		case <-t.C:
			n.rn.Tick()
		case m := <-n.inbox:
			_ = n.rn.Step(m)
		case p := <-n.propc:
			batch = append(batch, p)
		}
	drain:
		for range 1024 {
			select {
			case m := <-n.inbox:
				_ = n.rn.Step(m)
			case p := <-n.propc:
				batch = append(batch, p)
			default:
				break drain
			}
		}
		if len(batch) > 0 {
			n.propose(batch)
		}
		for n.rn.HasReady() {
			n.ready()
		}
	}
}

func (n *etcdNode) propose(batch []*eprop) {
	if !n.leader.Load() {
		for _, p := range batch {
			p.done <- errNotLeader
		}
		return
	}
	ents := make([]*pb.Entry, len(batch))
	for i, p := range batch {
		n.seq++
		p.id = n.id<<56 | n.seq
		d := make([]byte, 8+len(p.data))
		binary.LittleEndian.PutUint64(d, p.id)
		copy(d[8:], p.data)
		ents[i] = &pb.Entry{Data: d}
		n.wait[p.id] = p
	}
	if err := n.rn.Step(&pb.Message{Type: pb.MsgProp.Enum(), From: new(n.id), Entries: ents}); err != nil {
		for _, p := range batch {
			if n.wait[p.id] != nil {
				delete(n.wait, p.id)
				p.done <- err
			}
		}
	}
}

func (n *etcdNode) fail(err error) {
	for id, p := range n.wait {
		delete(n.wait, id)
		p.done <- err
	}
	for {
		select {
		case p := <-n.propc:
			p.done <- err
		default:
			return
		}
	}
}

func (n *etcdNode) ready() {
	rd := n.rn.Ready()
	if rd.SoftState != nil {
		l := rd.SoftState.RaftState == raft.StateLeader
		was := n.leader.Swap(l)
		if l {
			n.c.lead.Store(n)
		} else if was {
			n.fail(errNotLeader)
		}
	}
	lead := n.leader.Load()
	if lead { // the leader writes its disk in parallel with replication, as etcd does
		n.send(rd.Messages)
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		if err := n.st.ApplySnapshot(rd.Snapshot); err != nil {
			panic(err)
		}
	}
	if n.wal != nil && (len(rd.Entries) > 0 || !raft.IsEmptyHardState(rd.HardState)) {
		if err := n.wal.save(rd.HardState, rd.Entries, rd.MustSync); err != nil {
			panic(err)
		}
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		_ = n.st.SetHardState(rd.HardState)
	}
	if err := n.st.Append(rd.Entries); err != nil {
		panic(err)
	}
	if !lead {
		n.send(rd.Messages)
	}
	for _, e := range rd.CommittedEntries {
		if e.GetType() != pb.EntryNormal || len(e.Data) < 8 {
			continue
		}
		n.fsm.apply(e.Data[8:])
		if len(n.wait) > 0 {
			id := binary.LittleEndian.Uint64(e.Data)
			if p := n.wait[id]; p != nil {
				delete(n.wait, id)
				p.done <- nil
			}
		}
	}
	n.rn.Advance(rd)
}

func (n *etcdNode) send(ms []*pb.Message) {
	if n.dead.Load() {
		return
	}
	for _, m := range ms {
		to := n.c.nodes[m.GetTo()-1]
		if to.dead.Load() {
			continue
		}
		select {
		case to.inbox <- m:
		default: // full: drop, raft recovers
		}
	}
}

func (c *etcdCluster) Propose(ctx context.Context, data []byte) error {
	for {
		n := c.lead.Load()
		if n != nil && !n.dead.Load() {
			p := c.pool.Get().(*eprop)
			p.data = data
			select {
			case n.propc <- p:
				select {
				case err := <-p.done:
					c.pool.Put(p)
					if err == nil {
						return nil
					}
				case <-n.stopped:
				}
			case <-n.stopped:
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (c *etcdCluster) KillLeader() {
	n := c.lead.Load()
	if n == nil {
		return
	}
	n.dead.Store(true)
	close(n.stop)
}

func (c *etcdCluster) Close() {
	for _, n := range c.nodes {
		if !n.dead.Swap(true) {
			close(n.stop)
		}
		<-n.stopped
		if n.wal != nil {
			n.wal.close()
		}
	}
}

// fileWAL is an append-only log: one write and one fdatasync per Ready,
// preallocated in 64 MiB steps, crc32 per record.
type fileWAL struct {
	f     *os.File
	buf   []byte
	off   int64
	alloc int64
}

func openWAL(dir string) (*fileWAL, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(dir + "/wal")
	if err != nil {
		return nil, err
	}
	return &fileWAL{f: f}, nil
}

var crcTab = crc32.MakeTable(crc32.Castagnoli)

func (w *fileWAL) rec(kind byte, term, index uint64, data []byte) {
	start := len(w.buf)
	w.buf = append(w.buf, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	w.buf = binary.AppendUvarint(w.buf, term)
	w.buf = binary.AppendUvarint(w.buf, index)
	w.buf = append(w.buf, data...)
	body := w.buf[start+8:]
	binary.LittleEndian.PutUint32(w.buf[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(w.buf[start+4:], crc32.Checksum(body, crcTab))
}

func (w *fileWAL) save(hs *pb.HardState, ents []*pb.Entry, sync bool) error {
	w.buf = w.buf[:0]
	for _, e := range ents {
		w.rec(1, e.GetTerm(), e.GetIndex(), e.Data)
	}
	if !raft.IsEmptyHardState(hs) {
		w.rec(2, hs.GetTerm(), hs.GetCommit(), binary.AppendUvarint(nil, hs.GetVote()))
	}
	for w.off+int64(len(w.buf)) > w.alloc {
		if err := syscall.Fallocate(int(w.f.Fd()), 0, w.alloc, 64<<20); err != nil {
			return fmt.Errorf("fallocate: %w", err)
		}
		w.alloc += 64 << 20
	}
	if _, err := w.f.WriteAt(w.buf, w.off); err != nil {
		return err
	}
	w.off += int64(len(w.buf))
	if sync {
		return syscall.Fdatasync(int(w.f.Fd()))
	}
	return nil
}

func (w *fileWAL) close() { w.f.Close() }
