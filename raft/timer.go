package raft

import (
	"container/heap"
	"math"
	"sync"
	"time"
)

// timers wake the nodes of a host: one goroutine, one timer, and a heap of the
// times. With several groups times are rounded up a little, so that many groups
// tick, and their heartbeats leave, together.
type timers struct {
	host *Host
	wake chan struct{}
	done chan struct{}

	mu      sync.Mutex
	due     dueHeap
	next    time.Duration // what the goroutine waits for
	groups  int           // that were ever started
	finest  time.Duration // a quarter of the shortest heartbeat
	round   time.Duration // times are multiples of it; 0: as they are
	closing bool
}

// A due is what stands in the heap for a node.
type due struct {
	at     time.Duration
	node   *Node
	number int // of the node
}

// Where a node stands is kept here by its number, and not in the node: its memory
// would have to be fetched each time that another passes it.
type dueHeap struct {
	all    []due
	places []int // by number, counted from 1; 0: it has none
	spare  []int // numbers that no node has any more
}

func startTimers(h *Host) *timers {
	t := &timers{host: h, wake: make(chan struct{}, 1), done: make(chan struct{}), next: math.MaxInt64, finest: math.MaxInt64}
	go t.run()
	return t
}

// enroll gives a node its number, and sets the rounding, once there is a second
// group.
func (t *timers) enroll(n *Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := len(t.due.spare) - 1; last >= 0 {
		n.number, t.due.spare = t.due.spare[last], t.due.spare[:last]
	} else {
		n.number, t.due.places = len(t.due.places), append(t.due.places, 0)
	}
	t.finest = min(t.finest, n.config.Heartbeat/4)
	if t.groups++; t.groups > 1 {
		t.round = t.finest
	}
}

// arm has the node ticked at the given time, or a little later, instead of when
// it was to be before. Called with the node's lock held.
func (t *timers) arm(n *Node, at time.Duration) {
	t.mu.Lock()
	if t.round > 0 && at > 0 {
		at = (at + t.round - 1) / t.round * t.round
	}
	if place := t.due.places[n.number]; place > 0 {
		t.due.all[place-1].at = at
		heap.Fix(&t.due, place-1)
	} else if !t.closing {
		heap.Push(&t.due, due{at, n, n.number})
	}
	early := at < t.next
	if early {
		t.next = at
	}
	t.mu.Unlock()
	if early {
		t.nudge()
	}
}

// dismiss takes the number of a node that has closed, and is never armed again.
func (t *timers) dismiss(n *Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if place := t.due.places[n.number]; place > 0 {
		heap.Remove(&t.due, place-1)
	}
	t.due.spare = append(t.due.spare, n.number)
}

func (t *timers) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run ticks nodes until close.
func (t *timers) run() {
	defer close(t.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var nodes []*Node
	var out outbox
	for {
		nodes = t.take(nodes[:0])
		for _, n := range nodes {
			n.tick(&out)
		}
		t.host.sendAll(&out)
		clear(nodes)
		wait, more := t.plan()
		if !more {
			return
		}
		if wait <= 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-t.wake:
		}
	}
}

// take returns the nodes whose time has come.
func (t *timers) take(nodes []*Node) []*Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.host.now()
	for len(t.due.all) > 0 && t.due.all[0].at <= now {
		nodes = append(nodes, heap.Pop(&t.due).(due).node)
	}
	return nodes
}

// plan returns how long there is nothing to do.
func (t *timers) plan() (wait time.Duration, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = math.MaxInt64
	wait = time.Hour
	if len(t.due.all) > 0 {
		t.next = t.due.all[0].at
		wait = min(wait, t.next-t.host.now())
	}
	return wait, !t.closing
}

func (t *timers) close() {
	t.mu.Lock()
	t.closing = true
	t.mu.Unlock()
	t.nudge()
	<-t.done
}

func (h *dueHeap) Len() int           { return len(h.all) }
func (h *dueHeap) Less(i, j int) bool { return h.all[i].at < h.all[j].at }

func (h *dueHeap) Swap(i, j int) {
	h.all[i], h.all[j] = h.all[j], h.all[i]
	h.places[h.all[i].number], h.places[h.all[j].number] = i+1, j+1
}

// Push is called by package heap.
func (h *dueHeap) Push(x any) {
	d := x.(due)
	h.all = append(h.all, d)
	h.places[d.number] = len(h.all)
}

// Pop is called by package heap.
func (h *dueHeap) Pop() any {
	last := len(h.all) - 1
	d := h.all[last]
	h.all[last] = due{}
	h.all = h.all[:last]
	h.places[d.number] = 0
	return d
}
