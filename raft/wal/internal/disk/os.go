package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// OS is the file system of the machine.
type OS struct{}

var _ FS = OS{} // constant: an assertion

// MakeDir creates a directory with its parents, and syncs the parent of each that
// is new. It syncs the parent of the first that is there as well, if it may: whoever
// made that one may have died before.
func (o OS) MakeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &os.PathError{Op: "mkdir", Path: dir, Err: errors.New("not a directory")}
		}
		err := o.SyncDir(filepath.Dir(dir))
		if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EINVAL) {
			return nil // not ours, or a file system without syncs that another is mounted on
		}
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := o.MakeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return o.SyncDir(filepath.Dir(dir))
}

// List returns the names in a directory.
func (OS) List(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Open opens a file for reading.
func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

// OpenWrite opens a file for reading and writing.
func (OS) OpenWrite(name string) (File, error) { return open(name, os.O_RDWR) }

// Create makes a file.
func (OS) Create(name string) (File, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Rename gives a file another name.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a name.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir makes the names in a directory durable.
func (OS) SyncDir(dir string) error { return syncDir(dir) }

// Lock takes a lock.
func (OS) Lock(name string) (io.Closer, error) { return lock(name) }

type file struct{ *os.File }

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f file) Sync() error { return datasync(f.File) }

func (f file) Allocate(size int64) error {
	from, err := f.Size()
	if err != nil || from >= size {
		return err
	}
	err = allocate(f.File, from, size)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	zeros := make([]byte, 256<<10)
	for from < size {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}
