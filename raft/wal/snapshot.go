package wal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// keepSnapshots is how many are kept: the newest, and the one to go back to when it
// turns out to be damaged.
const keepSnapshots = 2

// syncEvery is after how many bytes of a snapshot they are synced, so that a large
// one does not hold up the syncs of the log behind all of it.
const syncEvery = 4 << 20

// A snapshotFile is a snapshot in the directory.
type snapshotFile struct {
	index, term uint64
}

func (s snapshotFile) name() string {
	return fmt.Sprintf("%016x-%016x%s", s.index, s.term, snapshotEnding)
}

func (s snapshotFile) compare(o snapshotFile) int {
	return cmp.Or(cmp.Compare(s.index, o.index), cmp.Compare(s.term, o.term))
}

func parseSnapshotName(name string) (s snapshotFile, ok bool) {
	index, term, ok := strings.Cut(name, "-")
	if !ok {
		return s, false
	}
	var good [2]bool
	s.index, good[0] = numberOf(index, "")
	s.term, good[1] = numberOf(term, snapshotEnding)
	return s, good[0] && good[1]
}

// tempName returns the name of a snapshot that is being written, the n-th of a Log.
func (s snapshotFile) tempName(n int) string { return fmt.Sprintf("%s-%d%s", s.name(), n, tempEnding) }

// isTemp reports whether tempName returned the name.
func isTemp(name string) bool {
	name, ok := strings.CutSuffix(name, tempEnding)
	i := strings.LastIndexByte(name, '-')
	if !ok || i < 0 {
		return false
	}
	_, err := strconv.ParseUint(name[i+1:], 10, 64)
	_, ok = parseSnapshotName(name[:i])
	return ok && err == nil
}

// snapshots are those of one directory. It is safe for concurrent use.
type snapshots struct {
	fs  disk.FS
	dir string

	mu     sync.Mutex
	good   []snapshotFile // oldest first; the last is the newest
	bad    []snapshotFile // damaged ones, which the next snapshot makes superfluous
	temps  int            // names given to files that are being written
	closed bool
}

func (s *snapshots) path(name string) string { return filepath.Join(s.dir, name) }

// oldest returns the index of the oldest snapshot that is kept, which is worth
// nothing without the log from there on; 0 if there is none.
func (s *snapshots) oldest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.good) == 0 {
		return 0
	}
	return s.good[0].index
}

// newest returns the index of the newest snapshot; 0 if there is none.
func (s *snapshots) newest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.good) == 0 {
		return 0
	}
	return s.good[len(s.good)-1].index
}

func (s *snapshots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *snapshots) create(info raft.SnapshotInfo) (raft.SnapshotWriter, error) {
	head, err := appendInfo(nil, info)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.temps++
	id := snapshotFile{info.Index, info.Term}
	temp := id.tempName(s.temps)
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	f, err := s.fs.Create(s.path(temp))
	if err != nil {
		return nil, err
	}
	w := &snapshotWriter{
		all: s, id: id, temp: temp, file: f, block: make([]byte, 0, blockSize+crcSize),
		crc: binary.LittleEndian.Uint32(head[len(head)-crcSize:]),
	}
	if err := w.write(head); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

// A snapshotWriter writes a file under a name of its own until it is complete.
type snapshotWriter struct {
	all  *snapshots
	id   snapshotFile
	temp string
	file disk.File // nil when ended

	crc    uint32 // of the head
	block  []byte // what is not written yet
	number int64  // of the block
	size   int64  // of the contents
	at     int64  // in the file
	synced int64
	err    error // the first
}

func (w *snapshotWriter) write(b []byte) error {
	if w.err != nil {
		return w.err
	}
	_, w.err = w.file.WriteAt(b, w.at)
	w.at += int64(len(b))
	if w.err == nil && w.at-w.synced >= syncEvery {
		w.synced = w.at
		w.err = w.file.Sync()
	}
	return w.err
}

// Write adds to the contents.
func (w *snapshotWriter) Write(p []byte) (n int, err error) {
	if w.file == nil {
		return 0, errEnded
	}
	for n < len(p) {
		k := copy(w.block[len(w.block):blockSize], p[n:])
		w.block = w.block[:len(w.block)+k]
		if len(w.block) == blockSize {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
		n += k
	}
	w.size += int64(n)
	return n, w.err
}

var errEnded = errors.New("wal: the snapshot was committed or aborted")

func (w *snapshotWriter) flush() error {
	sum := blockSum(w.crc, w.number, w.block)
	err := w.write(binary.LittleEndian.AppendUint32(w.block, sum))
	w.number++
	w.block = w.block[:0]
	return err
}

// Commit makes the snapshot the newest one.
func (w *snapshotWriter) Commit() error {
	if w.file == nil {
		return errEnded
	}
	if len(w.block) > 0 {
		_ = w.flush() // kept in w.err
	}
	end := binary.LittleEndian.AppendUint64(nil, uint64(w.size))
	end = binary.LittleEndian.AppendUint32(end, blockSum(w.crc, w.number, end))
	if w.write(end) == nil {
		w.err = w.file.Sync()
	}
	if w.err != nil {
		return errors.Join(w.err, w.Abort())
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return errors.Join(err, w.all.drop(w.temp))
	}
	return w.all.commit(w.id, w.temp)
}

// Abort drops the snapshot, unless it was committed.
func (w *snapshotWriter) Abort() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return errors.Join(err, w.all.drop(w.temp))
}

// drop removes a file that was being written, unless the directory was given free
// meanwhile: another Log may have it, which has removed the file, or uses the name.
func (s *snapshots) drop(temp string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.remove(temp)
}

func (s *snapshots) remove(name string) error { return s.fs.Remove(s.path(name)) }

// commit gives a complete file its name, and removes what it makes superfluous.
func (s *snapshots) commit(id snapshotFile, temp string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed // see drop
	}
	if n := len(s.good); n > 0 && id.compare(s.good[n-1]) < 0 {
		return s.remove(temp)
	}
	if err := s.fs.Rename(s.path(temp), s.path(id.name())); err != nil {
		return errors.Join(err, s.remove(temp))
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	s.bad = slices.DeleteFunc(s.bad, func(b snapshotFile) bool { return b == id })
	if !slices.Contains(s.good, id) {
		s.good = append(s.good, id)
	}
	// What cannot be removed now is tried again with the next one.
	s.bad = slices.DeleteFunc(s.bad, func(b snapshotFile) bool { return s.remove(b.name()) == nil })
	for len(s.good) > keepSnapshots {
		if s.remove(s.good[0].name()) != nil {
			break
		}
		s.good = s.good[1:]
	}
	return nil
}

// open opens the newest snapshot.
func (s *snapshots) open() (raft.SnapshotReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if len(s.good) == 0 {
		return nil, raft.ErrNoSnapshot
	}
	return openSnapshot(s.fs, s.path(s.good[len(s.good)-1].name()))
}

func openSnapshot(fs disk.FS, path string) (*snapshotReader, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	l, err := readLayout(f, path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r := &snapshotReader{file: f, path: path, layout: l}
	r.buffers.New = func() any {
		b := make([]byte, blockSize+crcSize)
		return &b
	}
	return r, nil
}

// A snapshotReader checks all that it returns.
type snapshotReader struct {
	file    disk.File
	path    string
	layout  *snapshotLayout
	buffers sync.Pool
}

func (r *snapshotReader) Info() raft.SnapshotInfo { return r.layout.info }
func (r *snapshotReader) Size() int64             { return r.layout.size }
func (r *snapshotReader) Close() error            { return r.file.Close() }

// ReadAt reads whole blocks and returns the part that is asked for.
func (r *snapshotReader) ReadAt(p []byte, at int64) (n int, err error) {
	if at < 0 {
		return 0, fmt.Errorf("wal: reading a snapshot at %d", at)
	}
	buffer := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(buffer)
	for n < len(p) {
		if at >= r.layout.size {
			return n, io.EOF
		}
		b, err := r.layout.readBlock(r.file, r.path, at/blockSize, *buffer)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], b[at%blockSize:])
		n += k
		at += int64(k)
	}
	return n, nil
}
