package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"slices"
	"time"
)

// A follower that needs what the leader's log no longer holds fetches the
// leader's snapshot, a piece at a time, by calls: so small messages never wait
// for it, and a piece that is lost is asked for again.
const (
	pieceBytes = 60 << 10 // with what goes around it below 64 KiB
	// A piece that cannot be had is asked for this often, a heartbeat apart.
	pieceTries = 10
	// Snapshots that are read by followers at the same time. The one that was
	// used the longest ago makes room.
	maxReaders = 4
	// A snapshot is kept open for a follower that is silent for this many
	// election times.
	readerPatience = 10
)

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
		n.unused = append(n.unused, r)
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
	data := make([]byte, min(pieceBytes, size-q.from))
	if got, err := r.ReadAt(data, int64(q.from)); got < len(data) {
		return nil, err
	}
	return append(b, data...), nil
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
	t := &n.transfer
	i := slices.IndexFunc(t.readers, func(r *openSnapshot) bool { return r.info.Index == index && r.info.Term == term })
	if i < 0 {
		return nil
	}
	r := t.readers[i]
	t.readers = append(slices.Delete(t.readers, i, i+1), r)
	r.used = n.host.now()
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

// startFetch begins to fetch the snapshot that the leader offers. Called with mu
// held.
func (n *Node) startFetch() {
	n.transfer.fetching = true
	f := &fetch{node: n, from: n.core.leader, info: n.core.fetch, sum: newSum()}
	n.workers.Go(func() {
		f.run(n.ending)
	})
}

// A fetch is one snapshot on its way here. It goes on when the leader changes or
// offers a newer one: what was committed stays so, and a newer one that always
// took its place would starve it.
type fetch struct {
	node   *Node
	from   string
	info   SnapshotInfo
	writer SnapshotWriter
	sum    hash.Hash32
	size   uint64
	offset uint64
	foot   []byte
}

func (f *fetch) run(ctx context.Context) {
	n := f.node
	err := f.pieces(ctx)
	if err == nil {
		err = f.commit()
	}
	if f.writer != nil {
		_ = f.writer.Abort() // does nothing after Commit
	}
	now := n.enter()
	defer n.leave(now, nil)
	n.transfer.fetching = false
	switch {
	case n.closed:
	case err != nil:
		n.note(slog.LevelWarn, "a snapshot could not be fetched", slog.String("from", f.from), slog.Uint64("index", f.info.Index), slog.Any("error", err))
		n.core.fetchFailed(now)
	default:
		n.stats.Fetched++
		n.transfer.fetching = true // until it is restored
		n.apply.restore = &f.info
	}
}

// errObsolete says that the node got what the snapshot holds in another way.
var errObsolete = errors.New("raft: no longer needed")

// commit makes a snapshot that is here the newest one.
func (f *fetch) commit() error {
	n := f.node
	if got := binary.LittleEndian.Uint32(f.foot); got != f.sum.Sum32() {
		return fmt.Errorf("%w: wrong checksum", errSnapshot)
	}
	now := n.enter()
	wanted := !n.closed && n.core.beginInstall(now, f.info)
	n.leave(now, nil)
	if !wanted {
		return errObsolete
	}
	return f.writer.Commit()
}

// pieces fetches the snapshot.
func (f *fetch) pieces(ctx context.Context) error {
	failures := 0
	for first := true; first || f.offset < f.size; {
		err := f.next(ctx)
		switch {
		case err == nil:
			first, failures = false, 0
			continue
		case failures == pieceTries || ctx.Err() != nil || errors.Is(err, errLocal) || errors.As(err, new(*remoteError)):
			return err // also if the other node says that it does not have it any more
		}
		failures++
		timer := time.NewTimer(f.node.config.Heartbeat)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// errLocal marks what another try does not mend.
var errLocal = errors.New("raft: cannot take the snapshot")

// next fetches the next piece and writes it.
func (f *fetch) next(ctx context.Context) error {
	n := f.node
	limited, cancel := context.WithTimeout(ctx, n.config.Election)
	defer cancel()
	response, err := n.ask(limited, f.from, &request{op: opSnapshot, index: f.info.Index, term: f.info.Term, from: f.offset})
	if err != nil {
		return err
	}
	r := reader{rest: response}
	size := r.uvarint()
	membership := r.take(r.uvarint())
	piece := r.rest
	switch {
	case r.err != nil || size < snapshotHead+snapshotFoot || len(piece) == 0 || uint64(len(piece)) > size-f.offset:
		return fmt.Errorf("%w: a piece of a snapshot from %s", errMalformed, f.from)
	case f.writer == nil:
		if err := f.info.Membership.UnmarshalBinary(membership); err != nil {
			return err
		}
		if f.writer, err = n.config.Storage.CreateSnapshot(f.info); err != nil {
			return fmt.Errorf("%w: %w", errLocal, err)
		}
		f.size = size
	case size != f.size:
		return fmt.Errorf("%w: the snapshot of %s changed its size", errLocal, f.from)
	}
	if _, err := f.writer.Write(piece); err != nil {
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	covered := int(min(uint64(len(piece)), f.size-snapshotFoot-min(f.offset, f.size-snapshotFoot)))
	f.sum.Write(piece[:covered])
	f.foot = append(f.foot, piece[covered:]...)
	f.offset += uint64(len(piece))
	return nil
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
