package raft

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/transport/sim"
)

// A latch is a gate that opens and shuts.
type latch struct {
	gate
	state chan chan struct{} // holds what is closed when it opens, nil while it is open
}

func (l *latch) Apply(commands []Command) error {
	shut := <-l.state
	l.state <- shut
	if shut != nil {
		<-shut
	}
	return l.gate.Apply(commands)
}

func (l *latch) toggle() {
	shut := <-l.state
	if shut == nil {
		l.state <- make(chan struct{})
		return
	}
	close(shut)
	l.state <- nil
}

// A crowd proposes with one context.
type crowd struct {
	ctx      context.Context
	cancel   context.CancelFunc
	callers  int
	returned chan error
}

func newCrowd(rng *rand.Rand) *crowd {
	c := &crowd{returned: make(chan error, 100_000)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if rng.IntN(4) == 0 {
		c.ctx = &leash{Context: c.ctx} // a type that package context does not know
	}
	return c
}

func (c *crowd) propose(n *Node, callers int) {
	c.callers += callers
	for range callers {
		go func() {
			_, err := n.Propose(c.ctx, []byte("x"))
			c.returned <- err
		}()
	}
}

// Crowds come, and their contexts end, while the queue is held up, the state machine
// stands still, the leadership moves or the node closes: whose context has ended
// returns, whatever his command waits for.
func TestWatchAtRandom(t *testing.T) {
	sim.Seeds(t, 30, func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { watchAtRandom(t, rand.New(rand.NewPCG(seed, 3))) })
	})
}

func watchAtRandom(t *testing.T, rng *rand.Rand) {
	l := &latch{state: make(chan chan struct{}, 1)}
	l.state <- nil
	voters := []string{"a", "b", "c"}[:1+2*rng.IntN(2)]
	n := leaderOf(t, l, voters...)
	var crowds []*crowd
	for range 4 {
		crowds = append(crowds, newCrowd(rng))
	}
	held, closed := false, false
	for range 60 {
		c := crowds[len(crowds)-1-rng.IntN(4)]
		switch k := rng.IntN(40); {
		case k < 16:
			c.propose(n, []int{1, 3, watchAfter, 2 * watchAfter}[rng.IntN(4)])
		case k < 26:
			c.propose(n, watchAfter) // some of them after it has ended
			c.cancel()
			crowds = append(crowds, newCrowd(rng))
		case k < 31:
			l.toggle()
		case k < 34 && !held && !closed:
			held = n.holdQueue()
		case k < 36 && held:
			held = false
			n.drain()
		case k < 37 && len(voters) > 1 && !closed:
			hear(n, message{Kind: msgHeartbeat, From: "b", Term: n.Status().Term + 2})
		case k < 38 && len(voters) > 1 && !closed:
			n.win(voters...)
		case k < 39 && !closed && rng.IntN(3) == 0:
			closed = true
			go func() { _ = n.Close() }()
		}
		if rng.IntN(3) > 0 {
			synctest.Wait()
		}
	}
	synctest.Wait()
	for i, c := range crowds {
		if got := len(c.returned); c.ctx.Err() != nil && got != c.callers {
			t.Errorf("%d of %d callers of crowd %d returned, whose context has ended", got, c.callers, i)
		}
		c.cancel()
	}
	synctest.Wait()
	for i, c := range crowds {
		if got := len(c.returned); got != c.callers {
			t.Errorf("%d of %d callers of crowd %d returned in the end", got, c.callers, i)
		}
	}
	if held {
		n.drain()
	}
	if shut := <-l.state; shut != nil {
		close(shut) // Close waits for the state machine
	}
	l.state <- nil
}

// holdQueue has commands wait in the queue until somebody drains it.
func (n *Node) holdQueue() bool {
	n.queue.mu.Lock()
	defer n.queue.mu.Unlock()
	if n.queue.draining {
		return false
	}
	n.queue.draining = true
	return true
}

// win has the node elected by the other voters.
func (n *Node) win(voters ...string) {
	now := n.enter()
	n.core.campaign(true)
	for _, voter := range voters[1:] {
		n.step(now, &message{Kind: msgVoteReply, From: voter, Term: n.core.term})
	}
	n.leave(now, nil)
}
