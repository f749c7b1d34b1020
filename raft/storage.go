package raft

import "io"

// A Storage keeps what a node must not forget: the hard state, the log and the
// newest snapshot. Package raft/wal keeps it on disk, [MemoryStorage] in memory,
// for tests. Package raft/rafttest checks whether an implementation of yours
// does what is asked here.
//
// Load is called once, before everything else. After it, Save and Compact are
// called one at a time, from one goroutine; the snapshot methods may be called
// from others at the same time. A Storage belongs to one node; whoever opened
// it closes it, after the node is closed.
//
// An error of Save is final: the node stops to vote, to lead and to acknowledge,
// because nobody knows what a disk holds after a failed write. See Status. So is one
// of the snapshot methods while the node takes over a snapshot of the leader, for it
// cannot go on without; one about a snapshot of its own is logged, and that one is
// not taken. A method that ends its goroutine has failed.
type Storage interface {
	// Load returns what was saved. The zero State means that nothing ever was.
	Load() (State, error)

	// Save makes the batch durable before it returns: all of it or, if the
	// process dies meanwhile, none or a prefix of its entries; Hard is saved
	// before or together with the first of them. b and what it refers to is not
	// used after Save returned, except that Data of entries may be kept and not
	// written to.
	Save(b Batch) error

	// Compact allows to forget entries up to and including index; a snapshot
	// covers them. It may keep more: Load may return them again. An error is
	// logged, and what was not freed is tried again at the next Compact.
	Compact(index uint64) error

	// CreateSnapshot begins a snapshot that becomes the newest one when it is
	// committed, and durable before Commit returns. The log stays as it is.
	CreateSnapshot(info SnapshotInfo) (SnapshotWriter, error)

	// OpenSnapshot opens the newest snapshot. The reader stays valid when a newer
	// one takes its place. If there is none, the error is ErrNoSnapshot.
	OpenSnapshot() (SnapshotReader, error)
}

// State is what a Storage holds when a node starts.
type State struct {
	Hard HardState
	// Snapshot describes the newest snapshot; its Index is 0 if there is none.
	Snapshot SnapshotInfo
	// Entries is the log, in order and without gaps. It may begin before the end
	// of the snapshot. What follows the snapshot follows it directly, unless the
	// process died between taking over a snapshot and restarting the log: the
	// node drops what does not fit.
	Entries []Entry
}

// A Batch is what is saved at once.
type Batch struct {
	// Hard is the hard state from now on, always filled in.
	Hard HardState
	// Restart, if it is not 0, says that the log begins anew: every entry saved
	// before is dropped, and the next one will have this index. It follows a
	// snapshot that came from the leader.
	Restart uint64
	// Entries are in order and without gaps. They replace every saved entry from
	// Entries[0].Index on; otherwise they follow the last one.
	Entries []Entry
	// Lazy says that nothing waits for this batch: only Hard.Commit moved, or
	// nothing. It may be written without waiting for the disk.
	Lazy bool
}

// SnapshotInfo describes a snapshot: the state after the entry at Index, which
// has the given Term, and the configuration that was in force there.
type SnapshotInfo struct {
	Index, Term uint64
	Membership  Membership
}

// A SnapshotWriter takes the contents of one snapshot. It is used by one
// goroutine, and ended by one of Commit and Abort.
type SnapshotWriter interface {
	io.Writer
	// Commit makes the snapshot durable and the newest one. If a newer one was
	// committed meanwhile, that one stays, and Commit returns nil.
	Commit() error
	// Abort drops what was written. After Commit it does nothing.
	Abort() error
}

// A SnapshotReader reads one snapshot. ReadAt may be called concurrently.
type SnapshotReader interface {
	io.ReaderAt
	io.Closer
	// Info returns the description that CreateSnapshot was given.
	Info() SnapshotInfo
	// Size returns the length of the contents in bytes.
	Size() int64
}
