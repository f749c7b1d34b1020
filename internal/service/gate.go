package service

import (
	"math"
	"sync/atomic"
)

// A gate counts the calls that run inside it, and once shut lets no more in.
// The zero value is open. Entering and leaving cost one atomic addition each.
type gate struct {
	state atomic.Int64 // calls inside; plus shut once it is shut
	empty chan struct{}
}

const shut = math.MinInt64 / 2

func newGate() *gate { return &gate{empty: make(chan struct{}, 1)} }

func (g *gate) enter() bool {
	if g.state.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.state.Add(-1) == shut {
		g.signal()
	}
}

// close lets no more calls in. It reports whether the gate was open.
func (g *gate) close() bool {
	for {
		n := g.state.Load()
		if n < 0 {
			return false
		}
		if g.state.CompareAndSwap(n, n+shut) {
			if n == 0 {
				g.signal()
			}
			return true
		}
	}
}

// wait returns when the gate is shut and empty; any number of waiters may wait.
func (g *gate) wait() {
	<-g.empty
	g.signal() // for the next waiter
}

// done reports whether the gate is shut and empty.
func (g *gate) done() bool { return g.state.Load() == shut }

func (g *gate) signal() {
	select {
	case g.empty <- struct{}{}:
	default:
	}
}
