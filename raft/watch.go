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

// see returns the watch of a context that ends with end, and if there is none,
// whether it is worth watching from now on.
func (s *witness) see(end <-chan struct{}) (w *watch, worth bool) {
	if end != s.last {
		s.last, s.times = end, 0
	}
	s.times++
	if s.watch != nil && s.watch.end == end {
		return s.watch, false
	}
	return nil, s.times == watchAfter && end != nil
}

// startWatch watches a context, and no longer the one before.
func (n *Node) startWatch(ctx context.Context) {
	w := &watch{end: ctx.Done()}
	w.stop = context.AfterFunc(ctx, func() { n.endWatch(w) })
	n.mu.Lock()
	old := w
	if !n.closed {
		old = n.setWatch(w)
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
	if n.queue.watch() == w {
		n.setWatch(nil)
	}
}

func (q *queue) watch() *watch {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.contexts.watch
}

// setWatch replaces the watch. Who relied on the one before looks up, and waits for
// the end of his context himself. Called with mu held.
func (n *Node) setWatch(w *watch) (old *watch) {
	q := &n.queue
	q.mu.Lock()
	old, q.contexts.watch = q.contexts.watch, w
	if old != nil {
		nudge(q.filling.waiters, old)
	}
	q.mu.Unlock()
	if old == nil {
		return nil
	}
	for i := range n.lines {
		nudge(n.lines[i].waiters[n.lines[i].head:], old)
	}
	for _, w := range n.apply.waiters {
		w.nudge() // it may have been told since, and wait for something else: that does no harm
	}
	return old
}

// nudge has those look up who rely on a watch.
func nudge(waiters []*waiter, old *watch) {
	for _, w := range waiters {
		if w.watch == old {
			w.nudge()
		}
	}
}
