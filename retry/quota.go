package retry

import (
	"errors"
	"io"
	"sync/atomic"
)

// A quota is how many more bytes the requests of a Deduplicator may take.
type quota struct{ left atomic.Int64 }

// A loan is what one request has taken of a quota. It is not safe for concurrent
// use, as a request is not.
type loan struct {
	from *quota
	held int64
}

// take takes n bytes, or none and returns false.
func (l *loan) take(n int64) bool {
	for {
		left := l.from.left.Load()
		if left < n {
			return false
		}
		if l.from.left.CompareAndSwap(left, left-n) {
			l.held += n
			return true
		}
	}
}

// giveBack gives all back.
func (l *loan) giveBack() {
	l.from.left.Add(l.held)
	l.held = 0
}

// errNoRoom says that a quota is used up.
var errNoRoom = errors.New("no room")

// A meteredReader takes what it reads out of a quota. What has not been sent is
// not counted, whatever length it was announced with.
type meteredReader struct {
	io.Reader
	held *loan
}

func (r meteredReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if !r.held.take(int64(n)) {
		return 0, errNoRoom
	}
	return n, err
}
