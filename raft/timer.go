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
	finest  time.Duration // an eighth of the shortest heartbeat
	round   time.Duration // times are multiples of it; 0: as they are
	closing bool
}

// A due is the place of a node in the heap.
type due struct {
	node *Node
	at   time.Duration
}

// Each node knows its place, counted from 1: 0 if it has none.
type dueHeap struct{ all []due }

func startTimers(h *Host) *timers {
	t := &timers{host: h, wake: make(chan struct{}, 1), done: make(chan struct{}), next: math.MaxInt64, finest: math.MaxInt64}
	go t.run()
	return t
}

// quantum sets the rounding, once there is a second group.
func (t *timers) quantum(heartbeat time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finest = min(t.finest, heartbeat/8)
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
	if n.due > 0 {
		t.due.all[n.due-1].at = at
		heap.Fix(&t.due, n.due-1)
	} else if !t.closing {
		heap.Push(&t.due, due{n, at})
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

func (t *timers) disarm(n *Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.due > 0 {
		heap.Remove(&t.due, n.due-1)
	}
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
	h.all[i].node.due, h.all[j].node.due = i+1, j+1
}

// Push is called by package heap.
func (h *dueHeap) Push(x any) {
	d := x.(due)
	h.all = append(h.all, d)
	d.node.due = len(h.all)
}

// Pop is called by package heap.
func (h *dueHeap) Pop() any {
	last := len(h.all) - 1
	d := h.all[last]
	h.all[last] = due{}
	h.all = h.all[:last]
	d.node.due = 0
	return d
}
