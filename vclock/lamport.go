package vclock

import (
	"fmt"
	"sync/atomic"
)

// Lamport is a logical clock of one number: if an event happened before another,
// its time is lower. The reverse does not hold; and different nodes may have the
// same time, so that a total order compares the names of the nodes next. The zero
// value stands at 0 and is ready to use. It is safe for concurrent use and must
// not be copied.
//
// A node that restarts goes on from its last time, given to Observe, or from the
// times of its peers; it would otherwise begin in the past.
//
// The source is Lamport, "Time, Clocks, and the Ordering of Events in a
// Distributed System", 1978.
type Lamport struct {
	time atomic.Uint64
}

// Tick counts one event, such as the sending of a message, and returns its time:
// 1 for the first, and above all that Tick and Observe returned before.
func (l *Lamport) Tick() uint64 { return l.time.Add(1) }

// Observe counts the receipt of a message that was sent at the time remote, and
// returns the time of the receipt, above remote and above all times of this clock.
// A time above MaxCounter is refused with an error that is ErrTooLarge, and
// leaves the clock as it was: from there it would soon run over and begin at 0.
func (l *Lamport) Observe(remote uint64) (uint64, error) {
	if remote > MaxCounter {
		return 0, fmt.Errorf("%w: Lamport time %d, at most %d", ErrTooLarge, remote, uint64(MaxCounter))
	}
	for {
		last := l.time.Load()
		next := max(last, remote) + 1
		if l.time.CompareAndSwap(last, next) {
			return next, nil
		}
	}
}

// Now returns the time of the last event, without counting one.
func (l *Lamport) Now() uint64 { return l.time.Load() }
