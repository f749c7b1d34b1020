package disk

import (
	"errors"
	"os"
	"syscall"
)

// datasync leaves out times and the like, which fsync would write as well.
func datasync(f *os.File) error {
	return retry("fdatasync", f, func(fd int) error { return syscall.Fdatasync(fd) })
}

func allocate(f *os.File, from, to int64) error {
	return retry("fallocate", f, func(fd int) error { return syscall.Fallocate(fd, 0, from, to-from) })
}

func retry(op string, f *os.File, call func(fd int) error) error {
	fd := int(f.Fd())
	for {
		err := call(fd)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EINTR):
			return &os.PathError{Op: op, Path: f.Name(), Err: err}
		}
	}
}
