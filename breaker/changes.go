package breaker

import (
	"context"
	"iter"
	"sync"
	"time"
)

// Cause is why a Breaker changed its state, in words fit for a log.
type Cause string

// The causes of changes.
const (
	CauseConsecutive  Cause = "too many failures in a row"
	CauseFailureRate  Cause = "failure rate reached"
	CauseSlowRate     Cause = "rate of slow calls reached"
	CauseOpenTime     Cause = "open time over"
	CauseProbesPassed Cause = "probes passed"
	CauseProbeFailed  Cause = "probes failed"
	CauseProbeTime    Cause = "no verdict in time"
	CauseForced       Cause = "set by hand"
)

// Change is one change of the state or mode of a Breaker.
type Change struct {
	Name       string    // of the breaker
	From, To   State     // the same after some changes of mode
	Mode       Mode      // from this change on
	Generation uint64    // the number of the state that begins
	Cause      Cause     // why
	At         time.Time // when it took effect, which may be before anybody noticed
	// Missed is how many changes before this one the loop was too slow to see:
	// only the last 256 are kept.
	Missed uint64
}

const keptChanges = 256

// A changeLog keeps the latest changes for loops to read at their own pace.
// Nobody is called back, so nobody can block a breaker, or call into one that is
// locked, or see changes out of order.
type changeLog struct {
	mu   sync.Mutex
	next uint64        // how many changes there have been; guarded by mu
	kept []Change      // a ring: change n is at n%keptChanges; guarded by mu
	wake chan struct{} // closed at the next change; nil if nobody waits; guarded by mu
}

func (l *changeLog) add(c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) < keptChanges {
		l.kept = append(l.kept, c)
	} else {
		l.kept[l.next%keptChanges] = c
	}
	l.next++
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// get returns change n or the oldest kept one after it, and its number; or, if
// there is none yet, a channel that will be closed when there is.
func (l *changeLog) get(n uint64) (c Change, number uint64, wait <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == l.next {
		if l.wake == nil {
			l.wake = make(chan struct{})
		}
		return Change{}, n, l.wake
	}
	number = max(n, l.next-uint64(len(l.kept)))
	c = l.kept[number%keptChanges]
	c.Missed = number - n
	return c, number, nil
}

func (l *changeLog) changes(ctx context.Context) iter.Seq[Change] {
	l.mu.Lock()
	first := l.next
	l.mu.Unlock()
	return func(yield func(Change) bool) {
		for n := first; ctx.Err() == nil; {
			c, number, wait := l.get(n)
			if wait == nil {
				if !yield(c) {
					return
				}
				n = number + 1
				continue
			}
			select {
			case <-wait:
			case <-ctx.Done():
			}
		}
	}
}
