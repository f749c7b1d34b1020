package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/rafttest"
	"github.com/parley-go/parley/raft/wal/internal/faultdisk"
)

func TestLogConforms(t *testing.T) {
	t.Run("files", func(t *testing.T) {
		rafttest.Run(t, func(dir string) (raft.Storage, error) {
			return Open(filepath.Join(dir, "log"), Config{SegmentSize: 64 << 10})
		})
	})
	t.Run("memory", func(t *testing.T) {
		disks := map[string]*faultdisk.Disk{}
		rafttest.Run(t, func(name string) (raft.Storage, error) {
			if disks[name] == nil {
				disks[name] = faultdisk.New(1)
			}
			return open(disks[name], dir, small)
		})
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, size := range []int64{-1, 1, minSegmentSize - 1, maxSegmentSize + 1} {
		_, err := Open(t.TempDir(), Config{SegmentSize: size})
		require.ErrorContains(t, err, fmt.Sprintf("Config.SegmentSize is %d, it must be 4096 to 1073741824", size))
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, Config{})
	require.NoError(t, err)
	_, err = Open(dir, Config{})
	require.ErrorIs(t, err, ErrLocked)
	_, err = Verify(dir)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, l.Close())
	l, err = Open(dir, Config{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// A batch that cannot be is refused, leaves nothing behind, and the log goes on.
func TestInvalidBatchesAreRefused(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	good := raft.Batch{Hard: raft.HardState{Term: 1}, Entries: entries(1, 1, "a", "b")}
	require.NoError(t, l.Save(good))
	for name, b := range map[string]raft.Batch{
		"gap before":      {Hard: raft.HardState{Term: 2}, Entries: entries(4, 1, "x")},
		"gap within":      {Hard: raft.HardState{Term: 2}, Entries: append(entries(3, 1, "x"), entries(5, 1, "y")...)},
		"index 0":         {Hard: raft.HardState{Term: 2}, Entries: entries(0, 1, "x")},
		"long vote":       {Hard: raft.HardState{Term: 2, Vote: strings.Repeat("x", MaxName+1)}},
		"restart nowhere": {Hard: raft.HardState{Term: 2}, Restart: 9},
		"other restart":   {Hard: raft.HardState{Term: 2}, Restart: 1, Entries: entries(2, 1, "x")},
	} {
		require.ErrorIs(t, l.Save(b), ErrInvalid, name)
	}
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1, Commit: 2}}))
	s := mustLoad(t, reopen(t, d, l))
	require.Equal(t, raft.HardState{Term: 1, Commit: 2}, s.Hard)
	require.Equal(t, good.Entries, s.Entries)
}

func TestClosedLogRefuses(t *testing.T) {
	l := mustOpen(t, faultdisk.New(1))
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1}}), ErrClosed)
	require.ErrorIs(t, l.Compact(1), ErrClosed)
	_, err := l.CreateSnapshot(raft.SnapshotInfo{Index: 1})
	require.ErrorIs(t, err, ErrClosed)
	_, err = l.OpenSnapshot()
	require.ErrorIs(t, err, ErrClosed)
	_, err = l.Load()
	require.Error(t, err)
}

// A lazy batch waits for no sync, unless it has a term or a vote; the next one that
// is synced takes it along, and so does Close.
func TestLazyBatchIsNotSynced(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1, Vote: "a"}, Entries: entries(1, 1, "x"), Lazy: true}))
	require.Equal(t, l.end, l.synced, "a vote is never lazy")
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1, Vote: "a", Commit: 1}, Lazy: true}))
	require.Less(t, l.synced, l.end)
	end := l.end
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1, Vote: "a", Commit: 1}}))
	require.Equal(t, []int64{end, end}, []int64{l.end, l.synced}, "nothing new: a sync, and no record")
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1, Vote: "a", Commit: 2}, Lazy: true}))
	require.NoError(t, l.Close())
	d.Crash()
	require.EqualValues(t, 2, mustLoad(t, mustOpen(t, d)).Hard.Commit)
}

// Segments that a snapshot made superfluous are used again, at most two are kept,
// and space does not grow with time.
func TestSegmentsAreRecycled(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	var last uint64
	for range 20 {
		last = fill(t, l, last+1, len(l.segments)+4)
		snapshot(t, l, last, "state")
		require.NoError(t, l.Compact(last))
		require.LessOrEqual(t, len(l.spares), keepSpares)
		require.Less(t, d.Used(), int64(20*minSegmentSize))
	}
	l = reopen(t, d, l)
	require.Less(t, l.Report().Segments, 12)
	require.Equal(t, last, l.Report().Last)
}

// A batch larger than a segment gets one of its size, which is not kept as a spare.
func TestBatchLargerThanASegment(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	h := raft.HardState{Term: 1}
	require.NoError(t, l.Save(raft.Batch{Hard: h, Entries: entries(1, 1, "a", strings.Repeat("large", 10_000))}))
	last := fill(t, l, 3, len(l.segments)+2)
	l = reopen(t, d, l)
	require.Len(t, mustLoad(t, l).Entries, int(last))
	snapshot(t, l, last-1, "")
	snapshot(t, l, last, "")
	require.NoError(t, l.Compact(last))
	require.Less(t, d.Used(), int64(6*minSegmentSize))
}

func TestVerifyOnlyReads(t *testing.T) {
	d, l := written(t)
	d.Kill()
	before := copyOf(t, d)
	got, err := verify(d, dir)
	require.NoError(t, err)
	require.Equal(t, before.Files(), d.Files())
	for _, name := range d.Files() {
		want, _ := before.ReadFile(name)
		b, err := d.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, want, b, name)
	}
	last := l.next - 1
	require.Equal(t, 3, got.Segments)
	require.EqualValues(t, 3*minSegmentSize, got.Bytes)
	require.Equal(t, []uint64{1, last, last - 7}, []uint64{got.First, got.Last, got.Snapshot.Index})
	require.Equal(t, raft.HardState{Term: 2, Vote: "b", Commit: last - 5}, got.Hard)
	require.False(t, got.Torn)
	require.Empty(t, got.Damaged)

	name := inDir(segmentName(3))
	b, err := d.ReadFile(name)
	require.NoError(t, err)
	clear(b[l.end-16 : l.end])
	d.WriteFile(name, b)
	got, err = verify(d, dir)
	require.NoError(t, err)
	require.True(t, got.Torn)
	require.Equal(t, last-1, got.Last)

	_, err = Verify(filepath.Join(t.TempDir(), "missing"))
	require.Error(t, err)
	empty, err := Verify(t.TempDir())
	require.NoError(t, err)
	require.Equal(t, Report{}, empty)
}

// When the newest snapshot is damaged, the one before it and the log hold the same,
// because Compact leaves the log for it.
func TestOlderSnapshotTakesOver(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	last := fill(t, l, 1, 4)
	snapshot(t, l, 5, "first")
	require.NoError(t, l.Compact(5))
	snapshot(t, l, 10, "older")
	snapshot(t, l, last-1, strings.Repeat("newest", 10_000))
	require.NoError(t, l.Compact(last-1))
	newest := inDir(snapshotFile{last - 1, 1}.name())
	require.Len(t, l.snaps.good, keepSnapshots)
	require.NoError(t, l.Close())

	d.Rot(newest, 20_000, 3)
	l = mustOpen(t, d)
	s := mustLoad(t, l)
	require.EqualValues(t, 10, s.Snapshot.Index)
	require.Equal(t, "older", content(t, l))
	require.LessOrEqual(t, s.Entries[0].Index, uint64(11))
	require.Equal(t, last, s.Entries[len(s.Entries)-1].Index)
	damage := new(CorruptError)
	require.Len(t, l.Report().Damaged, 1)
	require.ErrorAs(t, l.Report().Damaged[0], &damage)
	require.Equal(t, newest, damage.File)

	// The next one takes its place.
	snapshot(t, l, last, "next")
	l = reopen(t, d, l)
	require.Empty(t, l.Report().Damaged)
	require.Equal(t, "next", content(t, l))
	require.NoError(t, l.Close())

	// With the older one damaged as well, the log is not enough.
	d.Rot(inDir(snapshotFile{last, 1}.name()), 30, 0)
	d.Rot(inDir(snapshotFile{10, 1}.name()), 30, 0)
	_, err := open(d, dir, small)
	require.ErrorAs(t, err, &damage)
	require.ErrorContains(t, err, "the log does not hold what was in it")
}

// A snapshot that rots while it is in use is not handed out.
func TestReaderChecksWhatItReturns(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	snapshot(t, l, 1, strings.Repeat("x", 5*blockSize))
	r, err := l.OpenSnapshot()
	require.NoError(t, err)
	defer r.Close()
	d.Rot(inDir(snapshotFile{1, 1}.name()), 3*blockSize, 7)
	p := make([]byte, 100)
	_, err = r.ReadAt(p, 0)
	require.NoError(t, err)
	n, err := r.ReadAt(make([]byte, 5*blockSize), 0)
	damage := new(CorruptError)
	require.ErrorAs(t, err, &damage)
	require.Equal(t, 2*blockSize, n, "what lies before the damage")
}

// A failed sync of a snapshot is no snapshot, and no harm to the log.
func TestFailingSnapshotLeavesTheLogAlone(t *testing.T) {
	for failing := 1; failing <= 2; failing++ {
		d := faultdisk.New(1)
		l := mustOpen(t, d)
		snapshot(t, l, 1, "good")
		w, err := l.CreateSnapshot(raft.SnapshotInfo{Index: 2, Term: 1})
		require.NoError(t, err)
		d.FailSync(failing) // of the file, of the directory
		require.ErrorIs(t, w.Commit(), faultdisk.ErrSync)
		require.NoError(t, w.Abort())
		require.Equal(t, "good", content(t, l))
		require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1}}))
		snapshot(t, l, 3, "better")
		require.Equal(t, "better", content(t, l))
		_, err = w.Write([]byte("x"))
		require.Error(t, err)
		require.Error(t, w.Commit())
	}
}

func TestSnapshotTempsAreRemoved(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	w, err := l.CreateSnapshot(raft.SnapshotInfo{Index: 2, Term: 1})
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 3*blockSize))
	require.NoError(t, err)
	d.Kill()
	mustOpen(t, d)
	for _, name := range d.Files() {
		require.False(t, strings.HasSuffix(name, tempEnding), name)
	}
	_, err = l.CreateSnapshot(raft.SnapshotInfo{Index: 2, Membership: raft.Membership{Voters: []string{strings.Repeat("x", maxInfo)}}})
	require.Error(t, err)
	require.False(t, errors.Is(err, ErrFailed))
}

// After the buffer has grown, Save allocates nothing.
func TestSaveDoesNotAllocate(t *testing.T) {
	l, err := Open(t.TempDir(), Config{})
	require.NoError(t, err)
	defer l.Close()
	batch := entries(1, 1, strings.Split(strings.Repeat("0123456789abcdef ", 64), " ")...)
	next := uint64(1)
	save := func(lazy bool) func() {
		return func() {
			for i := range batch {
				batch[i].Index = next
				next++
			}
			if err := l.Save(raft.Batch{Hard: raft.HardState{Term: 1, Vote: "a", Commit: next - 1}, Entries: batch, Lazy: lazy}); err != nil {
				t.Error(err)
			}
		}
	}
	save(false)()
	require.Zero(t, testing.AllocsPerRun(100, save(true)))
	require.Zero(t, testing.AllocsPerRun(20, save(false)))
}

// Open clears away what a crash left of its own files, and nobody else's.
func TestForeignFilesAreLeftAlone(t *testing.T) {
	d := faultdisk.New(1)
	require.NoError(t, mustOpen(t, d).Close())
	foreign := []string{"upload.tmp", "notes-1.tmp", "part.spare", "0000000000000001.spare.tmp", "0000000000000001-0000000000000001.snap-x.tmp", "a.wal", "b.snap"}
	own := []string{snapshotFile{7, 2}.tempName(12), spareName(9)}
	for _, name := range append(foreign, own...) {
		d.WriteFile(inDir(name), []byte("contents"))
	}
	require.NoError(t, mustOpen(t, d).Close())
	files := d.Files()
	for _, name := range foreign {
		require.Contains(t, files, inDir(name))
	}
	for _, name := range own {
		require.NotContains(t, files, inDir(name))
	}
}

// A snapshot that is given up after Close must not touch that of the next Log, whose
// file may have the same name.
func TestAbortAfterCloseLeavesTheNextLogAlone(t *testing.T) {
	for _, end := range []func(raft.SnapshotWriter) error{raft.SnapshotWriter.Abort, raft.SnapshotWriter.Commit} {
		d := faultdisk.New(1)
		l := mustOpen(t, d)
		info := raft.SnapshotInfo{Index: 3, Term: 1}
		old, err := l.CreateSnapshot(info)
		require.NoError(t, err)
		l = reopen(t, d, l)
		w, err := l.CreateSnapshot(info)
		require.NoError(t, err)
		_, err = w.Write([]byte("new"))
		require.NoError(t, err)
		_ = end(old)
		require.NoError(t, w.Commit())
		require.Equal(t, "new", content(t, l))
	}
}
