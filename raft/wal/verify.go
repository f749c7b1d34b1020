package wal

import (
	"path/filepath"
	"slices"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// A Report says what a directory holds.
type Report struct {
	Segments int   // files of the log
	Bytes    int64 // that they take from the disk
	Records  int   // batches in them
	Torn     bool  // the head of one more is there, which was being written when the process ended, and was not acknowledged

	First, Last uint64         // indexes of the entries; 0: there are none
	Hard        raft.HardState // the newest
	// Snapshot describes the newest snapshot that is not damaged; its Index is 0
	// if there is none.
	Snapshot raft.SnapshotInfo
	// Damaged lists snapshots that are damaged and not needed.
	Damaged []error
}

// Verify reads a directory as Open does, and all snapshots, and changes nothing. The
// error is the one that Open would return: a *CorruptError, or ErrLocked while a
// Log has it open; while Verify runs, Open returns ErrLocked in turn. A directory that
// does not exist is an error as well.
func Verify(dir string) (Report, error) { return verify(disk.OS{}, dir) }

func verify(files disk.FS, dir string) (Report, error) {
	names, err := files.List(dir)
	if err != nil {
		return Report{}, err
	}
	if slices.Contains(names, lockName) { // Lock would create it
		lock, err := files.Lock(filepath.Join(dir, lockName))
		if err != nil {
			return Report{}, err
		}
		defer lock.Close()
	}
	r, err := inspect(files, dir, true)
	if err != nil {
		return Report{}, err
	}
	return r.report, nil
}
