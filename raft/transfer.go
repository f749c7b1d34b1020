package raft

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// A follower that needs what the leader's log no longer holds fetches the
// leader's snapshot, in pieces, by calls: so small messages never wait for it, and
// a piece that is lost is asked for again. This is the side that serves them, and
// what becomes of a snapshot that is here; fetch.go asks for them.
const (
	pieceBytes = 60 << 10 // with what goes around it below 64 KiB
	// Snapshots that are read by followers at the same time. The one that was
	// used the longest ago makes room.
	maxReaders = 4
	// A snapshot is kept open for a follower that is silent for this many
	// election times.
	readerPatience = 10
	// Pieces that all groups of a host read for others at a time, and about how
	// many they fetch: 30 MiB each. Beyond it, who asks is told to come again, and
	// a fetch has one piece on its way.
	hostPieces = 512
)

// A pieceCount is how many pieces of snapshots are in the memory of a host.
type pieceCount struct {
	served  atomic.Int64 // being read for others
	fetched atomic.Int64 // on their way here, or waiting to be written
}

// A transfer is what is under way of both kinds. All fields are guarded by
// Node.mu.
type transfer struct {
	fetching bool
	readers  []*openSnapshot // in order of last use
}

// An openSnapshot is a snapshot that followers read. It stays as it is when a
// newer one takes its place, so that a follower gets it whole.
type openSnapshot struct {
	SnapshotReader
	info   SnapshotInfo
	used   time.Duration
	users  int
	forgot bool // not in readers any more: the last user closes it
}

// forgetReaders forgets the open snapshots. Called with mu held, before leave.
func (n *Node) forgetReaders() {
	for len(n.transfer.readers) > 0 {
		n.forgetReader()
	}
}

// forgetReader forgets the snapshot that was used the longest ago. Called with
// mu held, before leave.
func (n *Node) forgetReader() {
	t := &n.transfer
	r := t.readers[0]
	t.readers = slices.Delete(t.readers, 0, 1)
	r.forgot = true
	if r.users == 0 {
		n.workers.Go(func() { _ = r.Close() }) // not by the timer of all groups; nothing was written
	}
}

// expireReaders forgets those that nobody has used for a while. Called with mu
// held, when the timer ticks.
func (n *Node) expireReaders(now time.Duration) {
	for len(n.transfer.readers) > 0 && now-n.transfer.readers[0].used > readerPatience*n.config.Election {
		n.forgetReader()
	}
}

// piece answers a follower that asks for a piece of a snapshot: its size, its
// membership with the first piece, and the bytes. Close waits for it: Storage may be
// closed then.
func (n *Node) piece(q *request) ([]byte, error) {
	served := &n.host.pieces.served
	defer served.Add(-1)
	if served.Add(1) > hostPieces {
		return nil, fmt.Errorf("%w: %d pieces of snapshots are being read", ErrOverloaded, hostPieces)
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, ErrClosed
	}
	n.workers.Add(1)
	n.mu.Unlock()
	defer n.workers.Done()
	r, err := n.openReader(q.index, q.term)
	if err != nil {
		return nil, err
	}
	defer n.closeReader(r)
	size := uint64(r.Size())
	if q.from > size {
		return nil, fmt.Errorf("%w: it has %d bytes, asked for those from %d on", errSnapshot, size, q.from)
	}
	b := binary.AppendUvarint(make([]byte, 0, pieceBytes+64), size)
	var membership []byte
	if q.from == 0 {
		membership, _ = r.info.Membership.AppendBinary(nil) // never fails
	}
	b = binary.AppendUvarint(b, uint64(len(membership)))
	b = append(b, membership...)
	head := len(b)
	b = slices.Grow(b, pieceBytes)[:head+int(min(pieceBytes, size-q.from))]
	if got, err := r.ReadAt(b[head:], int64(q.from)); got < len(b)-head {
		return nil, fmt.Errorf("%w: %d bytes at %d: %w", errSnapshot, got, q.from, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	return b, nil
}

// openReader returns the snapshot that is asked for, if it is open or the
// newest.
func (n *Node) openReader(index, term uint64) (*openSnapshot, error) {
	if r := n.findReader(index, term); r != nil {
		return r, nil
	}
	reader, err := n.config.Storage.OpenSnapshot()
	if err != nil {
		return nil, err
	}
	info := reader.Info()
	now := n.enter()
	defer n.leave(now, nil)
	if info.Index != index || info.Term != term || n.closed {
		n.unused = append(n.unused, reader)
		return nil, fmt.Errorf("%w: the newest is at index %d of term %d", ErrNoSnapshot, info.Index, info.Term)
	}
	if r := n.useReader(index, term, now); r != nil { // somebody was quicker
		n.unused = append(n.unused, reader)
		return r, nil
	}
	if len(n.transfer.readers) == maxReaders {
		n.forgetReader()
	}
	r := &openSnapshot{SnapshotReader: reader, info: info, used: now, users: 1}
	n.transfer.readers = append(n.transfer.readers, r)
	return r, nil
}

func (n *Node) findReader(index, term uint64) *openSnapshot {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.useReader(index, term, n.host.now())
}

// useReader returns a snapshot if it is open. Called with mu held.
func (n *Node) useReader(index, term uint64, now time.Duration) *openSnapshot {
	t := &n.transfer
	i := slices.IndexFunc(t.readers, func(r *openSnapshot) bool { return r.info.Index == index && r.info.Term == term })
	if i < 0 {
		return nil
	}
	r := t.readers[i]
	t.readers = append(slices.Delete(t.readers, i, i+1), r)
	r.used = now
	r.users++
	return r
}

func (n *Node) closeReader(r *openSnapshot) {
	n.mu.Lock()
	r.users--
	last := r.forgot && r.users == 0
	n.mu.Unlock()
	if last {
		_ = r.Close() // nothing was written
	}
}

// takeOver makes a snapshot that was fetched the state of the node. Called by
// the applier, between two batches.
func (n *Node) takeOver(info SnapshotInfo) {
	err := n.restoreNewest(info)
	now := n.enter()
	defer n.leave(now, nil)
	n.apply.restore, n.transfer.fetching = nil, false
	if n.closed {
		return
	}
	if err != nil {
		n.fail(fmt.Errorf("raft: restoring a snapshot from the leader: %w", err))
		return
	}
	n.apply.index, n.apply.term = info.Index, info.Term
	n.core.installed(now, info)
	n.unapplied, n.counted = 0, info.Index
	n.note(slog.LevelInfo, "snapshot restored", slog.Uint64("index", info.Index))
	for _, w := range n.dequeue(info.Index, info.Term, nil) {
		if w.index > info.Index {
			w.decide(nil, errReplacedEntry)
		} else {
			w.decide(nil, uncertain(errSkipped))
		}
	}
	n.caughtUp()
}

var errSkipped = errors.New("raft: a snapshot has taken the place of its entry")
