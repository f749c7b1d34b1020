package raft

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"log/slog"
)

// The contents of a snapshot: a version byte, the length of the sessions in
// eight bytes, the sessions, what the state machine wrote, and the CRC-32C of
// all that in four bytes. Numbers are little endian. The sum goes with the
// snapshot from node to node: whatever happens on the way, what is restored is
// what was written.
const (
	snapshotVersion = 1
	snapshotHead    = 1 + 8
	snapshotFoot    = 4
)

var errSnapshot = errors.New("raft: damaged snapshot")

func newSum() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

// snapshotDue counts a batch, and reports whether it is time for a snapshot.
func (n *Node) snapshotDue(entries []Entry) bool {
	a := &n.apply
	a.entries += len(entries)
	a.bytes += int64(sizeOf(entries))
	return !n.config.DisableSnapshots && (a.entries >= n.config.SnapshotEntries || a.bytes >= n.config.SnapshotBytes)
}

// takeSnapshot captures the state between two batches, and has it written while
// applying goes on. It does nothing while an earlier one is being written.
func (n *Node) takeSnapshot(info SnapshotInfo) {
	a := &n.apply
	n.mu.Lock()
	busy := a.writing || n.closed
	if !busy {
		a.writing = true
		n.workers.Add(1)
	}
	n.mu.Unlock()
	if busy {
		return
	}
	info.Membership = info.Membership.clone()
	a.entries, a.bytes = 0, 0
	started := false
	defer func() {
		if !started { // it failed, or ended the goroutine
			n.snapshotTaken(info, errors.New("raft: the state machine gave no snapshot"))
			n.workers.Done()
		}
	}()
	write, err := n.config.StateMachine.Snapshot()
	sessions := a.sessions.append(nil)
	started = true
	go func() {
		defer n.workers.Done()
		defer func() { n.snapshotTaken(info, err) }()
		if err == nil {
			err = errors.New("raft: the writer of the snapshot ended its goroutine")
			err = n.writeSnapshot(info, sessions, write)
		}
	}()
}

// writeSnapshot writes and commits a snapshot.
func (n *Node) writeSnapshot(info SnapshotInfo, sessions []byte, write func(io.Writer) error) error {
	w, err := n.config.Storage.CreateSnapshot(info)
	if err != nil {
		return err
	}
	defer func() { _ = w.Abort() }() // does nothing after Commit
	sum := newSum()
	buffered := bufio.NewWriterSize(io.MultiWriter(untilClosed{n, w}, sum), 64<<10)
	head := binary.LittleEndian.AppendUint64([]byte{snapshotVersion}, uint64(len(sessions)))
	_, _ = buffered.Write(append(head, sessions...)) // its error stays: Flush returns it
	if err := write(buffered); err != nil {
		return fmt.Errorf("the state machine: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return err
	}
	return w.Commit()
}

// untilClosed writes until the node closes, so that Close need not wait for the
// end of a large snapshot.
type untilClosed struct {
	node *Node
	w    io.Writer
}

func (u untilClosed) Write(b []byte) (int, error) {
	u.node.mu.Lock()
	closed := u.node.closed
	u.node.mu.Unlock()
	if closed {
		return 0, ErrClosed
	}
	return u.w.Write(b)
}

// snapshotTaken makes use of a snapshot: the log before it may go, but for a
// tail that is kept for followers that lag.
func (n *Node) snapshotTaken(info SnapshotInfo, err error) {
	now := n.enter()
	defer n.leave(now, nil)
	n.apply.writing = false
	switch {
	case n.closed || n.failure != nil:
	case err != nil:
		n.note(slog.LevelWarn, "no snapshot was taken", slog.Uint64("index", info.Index), slog.Any("error", err))
	default:
		n.stats.Snapshots++
		n.note(slog.LevelInfo, "snapshot taken", slog.Uint64("index", info.Index))
		n.core.snapshotted(info)
		n.compact(info.Index)
	}
}

// heldSnapshots is for how many snapshots the log is kept for a follower that
// fetches an older one.
const heldSnapshots = 4

// compact drops the log up to a new snapshot, but for KeepEntries, and for what
// those will need who are fetching an older one: without that, they would have to
// fetch again and again while the log grows quickly. Called with mu held, before
// leave.
func (n *Node) compact(index uint64) {
	if len(n.taken) == heldSnapshots {
		n.taken = append(n.taken[:0], n.taken[1:]...)
	}
	n.taken = append(n.taken, index)
	to := index - min(index, uint64(n.config.KeepEntries))
	for _, r := range n.transfer.readers {
		to = min(to, max(r.info.Index, n.taken[0]))
	}
	if to >= n.core.first() {
		n.core.compact(to)
		n.save.compact = n.core.first() - 1 // not above what is durable
	}
}

// restoreNewest makes the newest snapshot of Storage, which should be the given
// one, the state of the applier, but for the index. Called when nothing is being
// applied.
func (n *Node) restoreNewest(info SnapshotInfo) error {
	r, err := n.config.Storage.OpenSnapshot()
	if err != nil {
		return err
	}
	defer r.Close() // nothing was written
	if got := r.Info(); got.Index != info.Index || got.Term != info.Term {
		return fmt.Errorf("%w: the storage holds one at index %d of term %d", errSnapshot, got.Index, got.Term)
	}
	sessions := newSessionTable(MaxSessions)
	if err := restoreSnapshot(r, r.Size(), sessions, n.config.StateMachine); err != nil {
		return err
	}
	a := &n.apply
	a.sessions, a.membership, a.entries, a.bytes = sessions, info.Membership.clone(), 0, 0
	return nil
}

// restoreSnapshot reads the contents of a snapshot.
func restoreSnapshot(r io.ReaderAt, size int64, sessions *sessionTable, machine StateMachine) error {
	if size < snapshotHead+snapshotFoot {
		return fmt.Errorf("%w: it has %d bytes", errSnapshot, size)
	}
	sum := newSum()
	content := io.TeeReader(bufio.NewReaderSize(io.NewSectionReader(r, 0, size-snapshotFoot), 64<<10), sum)
	var head [snapshotHead]byte
	if _, err := io.ReadFull(content, head[:]); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint64(head[1:])
	if head[0] != snapshotVersion || length > uint64(size-snapshotHead-snapshotFoot) {
		return fmt.Errorf("%w: bad head", errSnapshot)
	}
	table := make([]byte, length)
	if _, err := io.ReadFull(content, table); err != nil {
		return err
	}
	if err := sessions.decode(table); err != nil {
		return err
	}
	if err := machine.Restore(content); err != nil {
		return fmt.Errorf("the state machine: %w", err)
	}
	if _, err := io.Copy(io.Discard, content); err != nil { // what it left
		return err
	}
	var foot [snapshotFoot]byte
	if _, err := r.ReadAt(foot[:], size-snapshotFoot); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if binary.LittleEndian.Uint32(foot[:]) != sum.Sum32() {
		return fmt.Errorf("%w: wrong checksum", errSnapshot)
	}
	return nil
}
