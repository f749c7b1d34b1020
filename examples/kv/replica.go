package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal"
	"github.com/parley-go/parley/transport"
)

// A replicaConfig says how nodes agree.
type replicaConfig struct {
	dir       string        // of the log, this node's own
	leases    bool          // reads rely on the leader's lease
	heartbeat time.Duration // see raft.Config, here and below
	election  time.Duration
	snapshot  int // entries
}

// sessions is how many sessions a node proposes through: enough for its clients,
// each of which waits for one command at a time.
const sessions = 16

// A replica is the store with a leader: every write is an entry of one log, which
// a majority has on disk before it counts, and every node holds all the data. What
// is read here is what the log says at a moment between question and answer.
type replica struct {
	replicaConfig
	log     *wal.Log
	machine *machine
	node    *raft.Node

	ready   atomic.Bool // it had caught up once
	stop    context.CancelFunc
	waiting sync.WaitGroup

	next     atomic.Uint32
	sessions [sessions]atomic.Pointer[raft.Session]
	opening  keyLocks // of the places in sessions
}

// startReplica opens the log and joins the others. voters are all nodes.
func startReplica(t transport.Transport, voters []string, c replicaConfig, logger *slog.Logger) (*replica, error) {
	log, err := wal.Open(c.dir, wal.Config{})
	if err != nil {
		return nil, err
	}
	r := &replica{log: log, machine: newMachine(), replicaConfig: c}
	r.node, err = raft.Start(raft.Config{
		Transport:       t,
		Storage:         log,
		StateMachine:    r.machine,
		Voters:          voters,
		Heartbeat:       c.heartbeat,
		Election:        c.election,
		SnapshotEntries: c.snapshot,
		KeepEntries:     max(1, c.snapshot/10),
		LeaseReads:      c.leases,
		Logger:          logger,
	})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.waiting.Go(func() { r.ready.Store(r.node.Ready(ctx) == nil) })
	return r, nil
}

// close hands the leadership over first, so that the others need not miss a
// leader to elect another.
func (r *replica) close() error {
	r.handOver()
	r.stop()
	r.waiting.Wait()
	return errors.Join(r.node.Close(), r.log.Close())
}

// handOver has another node lead if this one does, unless that takes long.
func (r *replica) handOver() {
	best := raft.PeerStatus{}
	status := r.node.Status()
	for _, p := range status.Peers {
		if p.Active && p.Match > best.Match {
			best = p
		}
	}
	if status.Role != "leader" || best.Node == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.election)
	defer cancel()
	_ = r.node.TransferLeadership(ctx, best.Node) // if it fails, they elect one
}

func (r *replica) awaitReady(ctx context.Context) error { return r.node.Ready(ctx) }

// Now returns the time of the log.
func (r *replica) Now() time.Time { return r.machine.now() }

// Get returns the items as they are at one moment after Get was called.
func (r *replica) Get(ctx context.Context, keys ...string) ([]item, error) {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return nil, err
		}
	}
	for {
		if err := r.node.Barrier(ctx); err != nil {
			return nil, r.refuse("read not answered", err)
		}
		items, late, at := r.machine.get(keys)
		if !late {
			return items, nil
		}
		// What is over for us has to be over for all before we say so. An order
		// that sets the clock may be carried out twice.
		_, err := r.node.Propose(ctx, order{at: at.UnixMilli()}.append(nil))
		if err != nil && !errors.Is(err, raft.ErrUncertain) {
			return nil, r.refuse("read not answered", err)
		}
	}
}

// Edit carries out the edits in one step, exactly once: the session sees to that
// when the leader is lost on the way, and the order has to be proposed again.
func (r *replica) Edit(ctx context.Context, edits ...edit) ([]outcome, error) {
	for _, e := range edits {
		if err := e.check(); err != nil {
			return nil, err
		}
	}
	i := r.next.Add(1) % sessions
	session, err := r.session(ctx, i)
	if err != nil {
		return nil, r.refuse("write not done", err)
	}
	result, err := session.Propose(ctx, order{at: r.Now().UnixMilli(), edits: edits}.append(nil))
	if err != nil {
		if errors.Is(err, raft.ErrSessionExpired) {
			r.sessions[i].CompareAndSwap(session, nil)
		}
		return nil, r.explain(err)
	}
	return decodeOutcomes(result, len(edits))
}

// session returns the session of a place, and opens it when it is wanted first.
func (r *replica) session(ctx context.Context, i uint32) (*raft.Session, error) {
	place := &r.sessions[i]
	if s := place.Load(); s != nil {
		return s, nil
	}
	unlock, err := r.opening.lock(ctx, strconv.Itoa(int(i)))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s := place.Load(); s != nil {
		return s, nil
	}
	s, err := r.node.NewSession(ctx)
	if err != nil {
		return nil, err
	}
	place.Store(s)
	return s, nil
}

// explain turns an error of a write into what the client is to read.
func (r *replica) explain(err error) error {
	switch {
	case errors.Is(err, raft.ErrOverloaded):
		return replyError(fmt.Sprintf("TRYAGAIN write not done: %v", err))
	case errors.Is(err, raft.ErrDropped):
		return r.refuse("write not done", err)
	default:
		return r.refuse("write not acknowledged, "+uncertain, err)
	}
}

// refuse says what has not come about, and why.
func (r *replica) refuse(what string, err error) error {
	return replyError(fmt.Sprintf("NOQUORUM %s: %s: %v", what, r.leader(), err))
}

// leader says in words who leads.
func (r *replica) leader() string {
	switch s := r.node.Status(); {
	case s.Failure != nil:
		return fmt.Sprintf("this node has failed: %v", s.Failure)
	case s.Leader == "":
		return "no leader is known"
	default:
		return "the leader " + s.Leader + " found no majority in time"
	}
}
