package breaker

import "time"

// A waiter is a call that waits for a permit. It is answered once, on ready,
// which has room for the answer: nobody who answers ever blocks.
type waiter struct {
	turn  uint64 // increases from arrival to arrival, over all queues of the owner
	ready chan error

	weight int // in a Bulkhead

	caller   *caller       // in an Adaptive
	patience time.Duration // how long it may wait
	start    int64         // when it was let in; read it after ready

	queue      *queue // that it stands in; nil once it has been taken out
	prev, next *waiter
}

// A queue holds waiters in the order of their arrival. Any of them can leave in
// constant time. The zero value is empty.
type queue struct {
	first, last *waiter
	n           int
}

func (q *queue) push(w *waiter) {
	w.queue, w.prev = q, q.last
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.n++
}

// remove takes w out of the queue that it stands in, and reports whether it
// still stood in one.
func (w *waiter) remove() bool {
	q := w.queue
	if q == nil {
		return false
	}
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.queue, w.prev, w.next = nil, nil, nil
	q.n--
	return true
}
