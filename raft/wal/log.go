package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// A Log keeps the log, the hard state and the snapshots of one node in one
// directory. It implements raft.Storage, and is safe for concurrent use, though
// calls of Save and Compact wait for each other.
//
// A failed write or sync is final: whatever the kernel says later, nobody knows
// what the disk holds. Every later Save and Compact fails with ErrFailed and that
// first error; opening the directory again finds out what is there.
type Log struct {
	fs     disk.FS
	dir    string
	config Config
	lock   io.Closer
	report Report
	snaps  snapshots

	mu       sync.Mutex
	err      error // why nothing is written any more
	loaded   *raft.State
	file     disk.File // the last of the segments
	segments []segment
	spares   []string
	salt     uint64 // of the last segment
	hard     raft.HardState
	next     uint64 // index that the next entry has at most
	end      int64  // where the next record goes
	synced   int64  // what lies before is on the disk
	prev     uint32 // crc of the last record
	marked   bool   // the last record says that all before it is synced, and has nothing else to lose
	buffer   []byte
}

var _ raft.Storage = (*Log)(nil) // constant: an assertion

// Open opens a directory, or makes it, durably. What it finds is read and checked
// as a whole; what was being written when the last process ended, and was not
// synced, is there in full batches or cut off. Anything else that is damaged is a
// *CorruptError, except that a snapshot is done without if an older one and the log
// together hold the same. It takes the time to read the directory, and a few syncs.
//
// Other errors: ErrLocked, a wrong Config, those of the file system.
func Open(dir string, config Config) (*Log, error) { return open(disk.OS{}, dir, config) }

func open(fs disk.FS, dir string, config Config) (*Log, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := fs.MakeDir(dir); err != nil {
		return nil, err
	}
	lock, err := fs.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	r, err := inspect(fs, dir, false)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	l := &Log{
		fs: fs, dir: dir, config: config, lock: lock, report: r.report,
		snaps:    snapshots{fs: fs, dir: dir, good: r.snapshots, bad: r.damaged},
		loaded:   &raft.State{Hard: r.hard, Snapshot: r.report.Snapshot, Entries: r.entries},
		segments: r.segments, spares: r.spares, salt: r.tail.salt,
		hard: r.hard, next: r.next, end: r.tail.at, synced: r.tail.synced, prev: r.tail.prev,
	}
	if err := l.mend(r.temps); err != nil {
		return nil, errors.Join(l.fail(err), l.Close())
	}
	return l, nil
}

// mend makes durable what was found, and leaves nothing else that could be found.
func (l *Log) mend(temps []string) error {
	for _, name := range temps {
		if err := l.fs.Remove(l.path(name)); err != nil {
			return err
		}
	}
	// Names that are seen may still be lost in a crash.
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	if len(l.segments) == 0 {
		return l.begin(segmentInfo{number: 1, next: l.next}, 0)
	}
	last := &l.segments[len(l.segments)-1]
	f, err := l.fs.OpenWrite(l.path(segmentName(last.number)))
	if err != nil {
		return err
	}
	l.file = f
	// What no record calls synced may be in memory only, and count as clean there
	// after a failed sync: it is written again, so that the next sync counts.
	if err := l.rewrite(l.synced, l.end); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.synced = l.end
	// This record stands between what was found and whatever lies behind: see
	// record.go.
	return l.write(&raft.Batch{Hard: l.hard}, true, 0)
}

func (l *Log) rewrite(from, to int64) error {
	chunk := make([]byte, min(to-from, 1<<20))
	for from < to {
		b := chunk[:min(to-from, int64(len(chunk)))]
		if err := readFull(l.file, b, from); err != nil {
			return err
		}
		if _, err := l.file.WriteAt(b, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

// Load returns what Open found. It may be called once, before the first Save.
func (l *Log) Load() (raft.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded == nil {
		return raft.State{}, errors.New("wal: Load is called once, before everything else")
	}
	s := *l.loaded
	l.loaded = nil
	return s, nil
}

// Report returns what Open found.
func (l *Log) Report() Report { return l.report }

// CreateSnapshot begins a snapshot. The membership may take 1 MiB. What is written
// goes to the disk in blocks of 16 KiB; Commit waits for it. The log may be written
// to meanwhile.
func (l *Log) CreateSnapshot(info raft.SnapshotInfo) (raft.SnapshotWriter, error) {
	return l.snaps.create(info)
}

// OpenSnapshot opens the newest snapshot. Its ReadAt checks every block that it
// reads, of 16 KiB, and returns a *CorruptError rather than damaged contents.
func (l *Log) OpenSnapshot() (raft.SnapshotReader, error) { return l.snaps.open() }

// Close makes durable what was saved lazily, notes that everything is, so that no
// damage can pass for a torn write any more, and gives the directory free. Calling
// it again does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, ErrClosed) {
		return nil
	}
	var errs []error
	if l.err == nil && l.file != nil {
		errs = append(errs, l.seal())
	}
	l.err = ErrClosed
	l.loaded = nil
	l.snaps.close()
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	return errors.Join(append(errs, l.lock.Close())...)
}

// seal syncs, and writes a record that says so, unless there is no room left: the
// next segment will say it then.
func (l *Log) seal() error {
	if err := l.sync(); err != nil || l.marked || l.end+maxState > l.last().size {
		return err
	}
	return l.write(&raft.Batch{Hard: l.hard}, true, 0)
}

func (l *Log) last() *segment { return &l.segments[len(l.segments)-1] }

// fail notes the error after which nothing is written any more.
func (l *Log) fail(err error) error {
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return err
}
