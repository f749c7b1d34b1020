package event

import "time"

// A Key places an event in the order of a Queue: by time, then by Tie, then by
// Seq. No part of it depends on when the event was pushed, so events that were
// pushed in another order come out in the same one.
type Key struct {
	At  time.Duration // virtual time since the start
	Tie uint64        // the stream that the event belongs to, scrambled
	Seq uint64        // its number within the stream
}

func (k Key) less(o Key) bool {
	if k.At != o.At {
		return k.At < o.At
	}
	if k.Tie != o.Tie {
		return k.Tie < o.Tie
	}
	return k.Seq < o.Seq
}

// A Queue holds events in the order of their keys: a heap of four children a
// node over keys and slots, with the events themselves kept still in a slab. A
// push and a pop cost O(log n) and no allocation once the slab has grown. The
// zero value is an empty queue. It is not safe for concurrent use.
type Queue[E any] struct {
	heap []place
	slab []E
	free []uint32 // slots of slab that hold nothing
}

type place struct {
	Key
	slot uint32
}

// Len returns the number of events.
func (q *Queue[E]) Len() int { return len(q.heap) }

// First returns the key of the event that comes next.
func (q *Queue[E]) First() (k Key, ok bool) {
	if len(q.heap) == 0 {
		return Key{}, false
	}
	return q.heap[0].Key, true
}

// Push adds an event and returns its place, which is zero, to be filled before the
// next call.
func (q *Queue[E]) Push(k Key) *E {
	var slot uint32
	if n := len(q.free); n > 0 {
		slot = q.free[n-1]
		q.free = q.free[:n-1]
	} else {
		slot = uint32(len(q.slab))
		var zero E
		q.slab = append(q.slab, zero)
	}
	q.heap = append(q.heap, place{})
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !k.less(q.heap[parent].Key) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = place{k, slot}
	return &q.slab[slot]
}

// Pop removes the event that comes next. Its place may be read until the next
// Push, and has to be made zero again. The queue must not be empty.
func (q *Queue[E]) Pop() (Key, *E) {
	first := q.heap[0]
	n := len(q.heap) - 1
	last := q.heap[n]
	q.heap = q.heap[:n]
	if n > 0 {
		q.sink(last)
	}
	q.free = append(q.free, first.slot)
	return first.Key, &q.slab[first.slot]
}

// sink puts p into the hole at the top.
func (q *Queue[E]) sink(p place) {
	h := q.heap
	i := 0
	for {
		child := 4*i + 1
		if child >= len(h) {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, len(h)); c++ {
			if h[c].less(h[least].Key) {
				least = c
			}
		}
		if !h[least].less(p.Key) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = p
}
