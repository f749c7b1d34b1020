package wal

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// BenchmarkSave saves batches: on the disk, with a sync each, and into nothing, which
// leaves our own cost.
func BenchmarkSave(b *testing.B) {
	for _, size := range []int{16, 1024} {
		for _, n := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("disk/%dx%dB", n, size), func(b *testing.B) { benchmarkSave(b, disk.OS{}, n, size) })
			b.Run(fmt.Sprintf("nothing/%dx%dB", n, size), func(b *testing.B) { benchmarkSave(b, nothing{}, n, size) })
		}
	}
}

func benchmarkSave(b *testing.B, fs disk.FS, n, size int) {
	l, err := open(fs, b.TempDir(), Config{SegmentSize: 64 << 20})
	require.NoError(b, err)
	defer l.Close()
	batch := make([]raft.Entry, n)
	next := uint64(1)
	w, err := l.CreateSnapshot(raft.SnapshotInfo{Index: 1 << 60}) // so that Compact may free all
	require.NoError(b, err)
	require.NoError(b, w.Commit())
	for i := range batch {
		batch[i] = raft.Entry{Term: 1, Data: make([]byte, size)}
	}
	b.SetBytes(int64(n * size))
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i].Index = next
			next++
		}
		if err := l.Save(raft.Batch{Hard: raft.HardState{Term: 1, Vote: "a", Commit: next - 1}, Entries: batch}); err != nil {
			b.Fatal(err)
		}
		if len(l.segments) > 2 {
			require.NoError(b, l.Compact(next-1))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
}

// BenchmarkOpen reads a log of 64 MiB.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l, err := Open(dir, Config{})
	require.NoError(b, err)
	batch := make([]raft.Entry, 64)
	for next := uint64(1); len(l.segments) < 5; {
		for i := range batch {
			batch[i] = raft.Entry{Index: next, Term: 1, Data: make([]byte, 256)}
			next++
		}
		require.NoError(b, l.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: batch}))
	}
	b.SetBytes(int64(len(l.segments)) * defaultSegmentSize)
	require.NoError(b, l.Close())
	for b.Loop() {
		l, err := Open(dir, Config{})
		require.NoError(b, err)
		_, err = l.Load()
		require.NoError(b, err)
		require.NoError(b, l.Close())
	}
}

// nothing is a disk that takes everything and does nothing.
type nothing struct{}

func (nothing) MakeDir(string) error                 { return nil }
func (nothing) List(string) ([]string, error)        { return nil, nil }
func (nothing) Open(string) (disk.File, error)       { return empty{}, nil }
func (nothing) OpenWrite(string) (disk.File, error)  { return empty{}, nil }
func (nothing) Create(string) (disk.File, error)     { return empty{}, nil }
func (nothing) Rename(string, string) error          { return nil }
func (nothing) Remove(string) error                  { return nil }
func (nothing) SyncDir(string) error                 { return nil }
func (nothing) Lock(string) (c io.Closer, err error) { return empty{}, nil }

type empty struct{}

func (empty) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (empty) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (empty) Close() error                           { return nil }
func (empty) Size() (int64, error)                   { return 64 << 20, nil }
func (empty) Allocate(int64) error                   { return nil }
func (empty) Sync() error                            { return nil }
