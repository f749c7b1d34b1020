package raft

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
)

// MemoryStorage is a Storage that forgets with the process: for tests, and for
// groups whose state is worth nothing without the process. A node that comes back
// with an empty one under its old name has forgotten its vote, and can break what
// the cluster has promised: let it join anew instead.
//
// It keeps the Data of entries without copying it. It is safe for concurrent use.
type MemoryStorage struct {
	mu       sync.Mutex
	hard     HardState
	log      logbook
	snapshot *memorySnapshot
}

var _ Storage = (*MemoryStorage)(nil) // constant: an assertion

// NewMemoryStorage returns an empty MemoryStorage.
func NewMemoryStorage() *MemoryStorage { return new(MemoryStorage) }

// Clone returns a copy of what is saved: what a node would find if it crashed now.
// It takes time and memory for the entries, but shares their Data.
func (s *MemoryStorage) Clone() *MemoryStorage {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &MemoryStorage{hard: s.hard, snapshot: s.snapshot}
	c.log.restart(s.log.base, s.log.baseTerm)
	c.log.append(s.entries())
	return c
}

// entries returns a copy of the log.
func (s *MemoryStorage) entries() []Entry {
	all := make([]Entry, 0, s.log.last()-s.log.base)
	for i := s.log.first(); i <= s.log.last(); i = s.log.first() + uint64(len(all)) {
		all = append(all, s.log.slice(i, s.log.last(), math.MaxInt)...)
	}
	return all
}

// Load returns what was saved. It may be called at any time.
func (s *MemoryStorage) Load() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := State{Hard: s.hard, Entries: s.entries()}
	if s.snapshot != nil {
		state.Snapshot = s.snapshot.Info()
	}
	return state, nil
}

// Save saves the batch. It fails if the entries leave a gap, and has saved nothing
// then. It allocates for about one entry in a thousand.
func (s *MemoryStorage) Save(b Batch) error { return s.save(&b, (*logbook).append) }

// keep is Save for entries that are part of a logbook, and stay as they are.
func (s *MemoryStorage) keep(b Batch) error { return s.save(&b, (*logbook).adopt) }

func (s *MemoryStorage) save(b *Batch, add func(*logbook, []Entry)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.log.last() + 1
	if b.Restart != 0 {
		next = b.Restart
	}
	first := next
	if len(b.Entries) > 0 {
		if first = b.Entries[0].Index; first == 0 || first > next {
			return fmt.Errorf("raft: entry %d saved where %d is the next", first, next)
		}
	}
	if b.Restart != 0 || first <= s.log.base {
		s.log.restart(first-1, 0)
	}
	s.hard = b.Hard
	s.log.truncate(first)
	add(&s.log, b.Entries)
	return nil
}

// Compact forgets entries up to and including index.
func (s *MemoryStorage) Compact(index uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.compact(min(index, s.log.last()))
	return nil
}

// CreateSnapshot begins a snapshot.
func (s *MemoryStorage) CreateSnapshot(info SnapshotInfo) (SnapshotWriter, error) {
	info.Membership = copied(info.Membership)
	return &memoryWriter{storage: s, info: info}, nil
}

// OpenSnapshot opens the newest snapshot.
func (s *MemoryStorage) OpenSnapshot() (SnapshotReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot == nil {
		return nil, ErrNoSnapshot
	}
	return s.snapshot, nil
}

// copied returns a copy that shares nothing, in the same order.
func copied(m Membership) Membership {
	return Membership{slices.Clone(m.Voters), slices.Clone(m.Learners), slices.Clone(m.Outgoing)}
}

var errSnapshotEnded = errors.New("raft: the snapshot was committed or aborted")

type memoryWriter struct {
	storage *MemoryStorage
	info    SnapshotInfo
	content []byte
	ended   bool
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	if w.ended {
		return 0, errSnapshotEnded
	}
	w.content = append(w.content, p...)
	return len(p), nil
}

func (w *memoryWriter) Commit() error {
	if w.ended {
		return errSnapshotEnded
	}
	w.ended = true
	s := w.storage
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot == nil || w.info.Index >= s.snapshot.info.Index {
		s.snapshot = &memorySnapshot{w.info, w.content}
	}
	return nil
}

func (w *memoryWriter) Abort() error {
	w.ended, w.content = true, nil
	return nil
}

// A memorySnapshot never changes, and serves all its readers.
type memorySnapshot struct {
	info    SnapshotInfo
	content []byte
}

func (m *memorySnapshot) Info() SnapshotInfo {
	return SnapshotInfo{m.info.Index, m.info.Term, copied(m.info.Membership)}
}

func (m *memorySnapshot) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, fmt.Errorf("raft: reading a snapshot at %d", at)
	}
	n := copy(p, m.content[min(at, m.Size()):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memorySnapshot) Size() int64  { return int64(len(m.content)) }
func (m *memorySnapshot) Close() error { return nil }
