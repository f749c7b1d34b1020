//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// lock takes a flock, which the kernel ends with the process.
func lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		var readOnly error // where nothing can be written, what is there can be locked
		if f, readOnly = os.Open(name); readOnly != nil {
			return nil, err
		}
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			_ = f.Close()
			return nil, fmt.Errorf("%w: %s", ErrLocked, name)
		default:
			_ = f.Close()
			return nil, &os.PathError{Op: "flock", Path: name, Err: err}
		}
	}
}
