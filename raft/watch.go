package raft

import "context"

// A watch has the end of one context noticed for all callers who propose with it.
// They wait for their outcomes alone: to wait for the end of the context as well
// would have all of them, and whoever wakes them, contend for the one channel that
// says so. When the context ends, whoever waits is nudged, to look for himself.
//
// A node watches one context at a time: that of the callers who follow each other
// watchAfter times. Who has another waits for its end himself.
type watch struct {
	end  <-chan struct{}
	stop func() bool
}

const watchAfter = 64

// A witness sees which contexts are used. All fields are guarded by queue.mu.
type witness struct {
	watch *watch // nil if none
	last  <-chan struct{}
	times int
}

// see reports whether a context is watched that ends with end, and whether it is
// worth watching from now on.
func (s *witness) see(end <-chan struct{}) (watched, worth bool) {
	if end != s.last {
		s.last, s.times = end, 0
	}
	s.times++
	watched = s.watch != nil && s.watch.end == end
	return watched, s.times == watchAfter && !watched && end != nil
}

// startWatch watches a context, and no longer the one before.
func (n *Node) startWatch(ctx context.Context) {
	w := &watch{end: ctx.Done()}
	w.stop = context.AfterFunc(ctx, func() { n.endWatch(w) })
	n.mu.Lock()
	old := w
	if !n.closed {
		old = n.queue.setWatch(w)
		n.nudge()
	}
	n.mu.Unlock()
	if old != nil {
		old.stop()
	}
	if ctx.Err() != nil {
		n.endWatch(w) // it may have been too early before
	}
}

// endWatch ends a watch whose context has ended.
func (n *Node) endWatch(w *watch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queue.mu.Lock()
	current := n.queue.contexts.watch == w
	n.queue.mu.Unlock()
	if current {
		n.queue.setWatch(nil)
		n.nudge()
	}
}

// setWatch replaces the watch. Called with Node.mu held.
func (q *queue) setWatch(w *watch) (old *watch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	old, q.contexts.watch = q.contexts.watch, w
	return old
}

// nudge has all look up who wait for their commands. Called with mu held.
func (n *Node) nudge() {
	n.queue.mu.Lock()
	for _, w := range n.queue.filling.waiters {
		w.nudge()
	}
	n.queue.mu.Unlock()
	for i := range n.lines {
		for _, w := range n.lines[i].waiters[n.lines[i].head:] {
			w.nudge()
		}
	}
	for _, w := range n.apply.waiters {
		w.nudge() // it may have been told since, and wait for something else: that does no harm
	}
}
