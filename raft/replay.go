package raft

import "math"

// A replayFilter tells a forwarded command that comes again from a new one, as
// long as this node leads in one term. transport.Transport promises that a
// request is handled once; a network that breaks the promise would have a
// command applied twice.
type replayFilter struct {
	windows map[replayKey]*replayWindow
	asked   uint64 // times
}

// A replayKey is a sender in one of its lives.
type replayKey struct {
	node string
	life uint64
}

const (
	// replaySpan is how far a command may be behind the latest of its sender.
	replaySpan = 1 << 13
	// maxWindows bounds the senders that are remembered. The one that was silent for
	// the longest makes room.
	maxWindows = 256
)

// A replayWindow is which numbers of a sender have been seen, among the latest
// replaySpan.
type replayWindow struct {
	highest uint64
	used    uint64 // when it was, by replayFilter.asked
	seen    [replaySpan / 64]uint64
}

// fresh notes number seq of a sender, and reports whether it is new. What is too
// old to tell is not.
func (f *replayFilter) fresh(node string, life, seq uint64) bool {
	key := replayKey{node, life}
	w := f.windows[key]
	if w == nil {
		if f.windows == nil {
			f.windows = map[replayKey]*replayWindow{}
		}
		if len(f.windows) == maxWindows {
			f.forget()
		}
		w = new(replayWindow)
		f.windows[key] = w
	}
	f.asked++
	w.used = f.asked
	if seq > w.highest {
		if seq-w.highest >= replaySpan {
			clear(w.seen[:])
		} else {
			for s := w.highest + 1; s < seq; s++ {
				w.clear(s)
			}
		}
		w.highest = seq
	} else if w.highest-seq >= replaySpan || w.seen[seq%replaySpan/64]&(1<<(seq%64)) != 0 {
		return false
	}
	w.seen[seq%replaySpan/64] |= 1 << (seq % 64)
	return true
}

// forget makes room.
func (f *replayFilter) forget() {
	var oldest replayKey
	used := uint64(math.MaxUint64)
	for key, w := range f.windows { // any order: no two were used at the same time
		if w.used < used {
			oldest, used = key, w.used
		}
	}
	delete(f.windows, oldest)
}

func (w *replayWindow) clear(seq uint64) { w.seen[seq%replaySpan/64] &^= 1 << (seq % 64) }
