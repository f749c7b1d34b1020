package tcp

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// An Event says that the connection with a peer was made or lost.
type Event struct {
	Peer  string    // the peer's name
	Up    bool      // made, or lost
	Cause error     // why it was lost; nil if Up
	Time  time.Time // when
}

// A feed hands the latest event of each peer to any number of readers. A reader
// that is slow misses what was overtaken, never the last word.
type feed struct {
	mu      sync.Mutex
	closed  bool
	up      map[string]Event
	readers []*feedReader
}

type feedReader struct {
	wake    chan struct{} // 1 slot
	pending []Event       // at most one a peer, oldest first; guarded by feed.mu
}

func (f *feed) publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Up {
		if f.up == nil {
			f.up = map[string]Event{}
		}
		f.up[e.Peer] = e
	} else {
		delete(f.up, e.Peer)
	}
	for _, r := range f.readers {
		r.pending = slices.DeleteFunc(r.pending, func(old Event) bool { return old.Peer == e.Peer })
		r.pending = append(r.pending, e)
		notify(r.wake)
	}
}

// events returns the peers that are up, then what changes.
func (f *feed) events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		r := &feedReader{wake: make(chan struct{}, 1)}
		f.mu.Lock()
		for _, e := range f.up {
			r.pending = append(r.pending, e)
		}
		slices.SortFunc(r.pending, func(a, b Event) int { return a.Time.Compare(b.Time) })
		f.readers = append(f.readers, r)
		f.mu.Unlock()
		defer f.leave(r)
		for {
			f.mu.Lock()
			batch, closed := r.pending, f.closed
			r.pending = nil
			f.mu.Unlock()
			for _, e := range batch {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			if len(batch) > 0 {
				continue
			}
			if closed {
				return
			}
			select {
			case <-r.wake:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (f *feed) leave(r *feedReader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers = slices.DeleteFunc(f.readers, func(other *feedReader) bool { return other == r })
}

// close ends all readers once they have read what is pending.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, r := range f.readers {
		notify(r.wake)
	}
}

// notify puts a token into a channel of one slot, if there is none.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
