package raft

// A replayFilter tells a forwarded command that comes again from a new one, as
// long as this node leads in one term. transport.Transport promises that a
// request is handled once; a network that breaks the promise would have a
// command applied twice.
type replayFilter struct {
	windows map[replayKey]*replayWindow
	order   []replayKey // oldest first
}

// A replayKey is a sender in one of its lives.
type replayKey struct {
	node string
	life uint64
}

const (
	// replaySpan is how far a command may be behind the latest of its sender.
	replaySpan = 1 << 13
	// maxWindows bounds the senders that are remembered.
	maxWindows = 256
)

// A replayWindow is which numbers of a sender have been seen, among the latest
// replaySpan.
type replayWindow struct {
	highest uint64
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
		if len(f.order) == maxWindows {
			delete(f.windows, f.order[0])
			f.order = append(f.order[:0], f.order[1:]...)
		}
		w = new(replayWindow)
		f.windows[key] = w
		f.order = append(f.order, key)
	}
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

func (w *replayWindow) clear(seq uint64) { w.seen[seq%replaySpan/64] &^= 1 << (seq % 64) }
