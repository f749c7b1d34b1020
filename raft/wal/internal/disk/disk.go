// Package disk is what package wal needs of a file system, so that tests can put
// one with faults in its place: see package faultdisk.
//
// disk.go holds the interface, os.go the operating system's files, the files
// named after systems what differs between them.
package disk

import (
	"errors"
	"io"
)

// ErrLocked says that another process, or another place in this one, holds a lock.
var ErrLocked = errors.New("wal: locked")

// FS is a file system. What is done to names, by Create, Rename and Remove,
// outlives a crash of the machine after SyncDir; what is done to a file, after its
// Sync. Nothing more is taken for granted.
type FS interface {
	// MakeDir creates a directory with its parents, durably. It may exist.
	MakeDir(dir string) error
	// List returns the names of the files in a directory, sorted.
	List(dir string) ([]string, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// OpenWrite opens a file that exists for reading and writing.
	OpenWrite(name string) (File, error)
	// Create makes a file that does not exist, for reading and writing.
	Create(name string) (File, error)
	// Rename gives a file another name at once: at every moment the name to stands
	// for the file that had it or for the one that gets it.
	Rename(from, to string) error
	// Remove removes a name. A file that is open stays readable.
	Remove(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Lock takes a lock that ends with Close, or with the process, however that
	// ends. If it is held, the error is ErrLocked. Lock creates the file, unless
	// it is there.
	Lock(name string) (io.Closer, error)
}

// A File is an open file. ReadAt may be called concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size returns the length in bytes.
	Size() (int64, error)
	// Allocate makes the file at least this long, and takes the space from the disk:
	// later writes into it do not fail for want of space. New bytes are zero.
	Allocate(size int64) error
	// Sync makes the contents and the length durable. After an error nobody knows
	// what is; to try again proves nothing.
	Sync() error
}
