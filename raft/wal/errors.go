package wal

import (
	"errors"
	"fmt"

	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// The errors of this package, matched with errors.Is; besides them *CorruptError.
var (
	// ErrLocked says that the directory is open already, in this process or in
	// another.
	ErrLocked = disk.ErrLocked
	// ErrClosed says that the Log was closed.
	ErrClosed = errors.New("wal: closed")
	// ErrFailed says that a write or a sync failed before: what the disk holds is
	// not known until the directory is opened again. It comes with the first
	// error.
	ErrFailed = errors.New("wal: failed before")
	// ErrInvalid says that a batch cannot be: its entries leave a gap, or it is
	// beyond the bounds. Nothing was written, and the Log goes on.
	ErrInvalid = errors.New("wal: invalid batch")
)

// A CorruptError says where a directory is damaged. What it holds cannot be
// trusted, and is not used: a node that goes on without something that it has
// acknowledged breaks its promise to the others.
type CorruptError struct {
	File   string // path of the file
	Offset int64  // where in the file, in bytes: the place itself or the begin of the record or block it is in
	Reason string
}

// Error names the place and the reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: %s is damaged at offset %d: %s", e.File, e.Offset, e.Reason)
}
