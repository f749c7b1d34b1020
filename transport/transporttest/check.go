package transporttest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/transport"
)

// A check is one run of a case: its nodes, and the time that is left.
type check struct {
	testing.TB
	network  Network
	patience time.Duration
	ctx      context.Context // ends when patience does, or the case
	cancel   context.CancelFunc
	nodes    []transport.Transport
	started  sync.WaitGroup
}

func begin(t testing.TB, n Network) *check {
	t.Helper()
	if n.Join == nil {
		t.Fatal("transporttest: Network.Join is nil")
	}
	n.MaxMessage = cmp.Or(n.MaxMessage, transport.DefaultMaxMessage)
	if n.MaxMessage < 1024 {
		t.Fatalf("transporttest: Network.MaxMessage is %d, at least 1024 is needed", n.MaxMessage)
	}
	if n.MaxCalls != 0 && n.MaxCalls < manyCalls {
		t.Fatalf("transporttest: Network.MaxCalls is %d, at least %d is needed", n.MaxCalls, manyCalls)
	}
	c := &check{TB: t, network: n, patience: cmp.Or(n.Patience, 30*time.Second)}
	c.ctx, c.cancel = context.WithTimeout(t.Context(), c.patience)
	c.started.Add(1) // until end: a late handler may start something while it waits
	return c
}

// end lets go whatever still waits, and closes all nodes.
func (c *check) end() {
	c.cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var closing sync.WaitGroup
		for _, node := range c.nodes {
			closing.Go(func() {
				if err := node.Close(); err != nil {
					c.Errorf("Close of %s: %v", node.Local(), err)
				}
			})
		}
		closing.Wait()
		c.started.Done() // no handler begins, and starts something, from here on
		c.started.Wait()
	}()
	limit := time.NewTimer(c.patience)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		c.Errorf("closing all nodes took over %v", c.patience)
	}
}

// join adds a node.
func (c *check) join(name string) transport.Transport {
	c.Helper()
	node := c.network.Join(name)
	c.nodes = append(c.nodes, node)
	return node
}

// pair adds the nodes a and b.
func (c *check) pair() (a, b transport.Transport) {
	c.Helper()
	return c.join("a"), c.join("b")
}

// start runs f on a goroutine that end waits for.
func (c *check) start(f func()) { c.started.Go(f) }

// A group is a sync.WaitGroup whose goroutines end waits for, too.
type group struct {
	check *check
	sync.WaitGroup
}

func (c *check) group() *group { return &group{check: c} }

func (g *group) Go(f func()) {
	g.Add(1)
	g.check.start(func() {
		defer g.Done()
		f()
	})
}

// within fails the case if f does not return.
func (c *check) within(what string, f func()) {
	c.Helper()
	done := make(chan struct{})
	c.start(func() {
		defer close(done)
		f()
	})
	wait(c, done, what+" to return")
}

// wait receives from ch.
func wait[T any](c *check, ch <-chan T, what string) (v T) {
	c.Helper()
	select {
	case v = <-ch:
	case <-c.ctx.Done():
		c.Fatalf("waited in vain for %s", what)
	}
	return v
}

// A signal is given once, however often fire is called: a handler that runs more
// often than it should is a finding, not the end of the test.
type signal struct {
	given chan struct{}
	once  sync.Once
}

func newSignal() *signal { return &signal{given: make(chan struct{})} }

func (s *signal) fire() { s.once.Do(func() { close(s.given) }) }

// hold blocks until ch has something to receive or the case ends. It is for
// handlers, which cannot end the test.
func (c *check) hold(ch <-chan struct{}) {
	select {
	case <-ch:
	case <-c.ctx.Done():
	}
}

// put sends to ch, unless the case ends before. It is for handlers.
func put[T any](c *check, ch chan<- T, v T) {
	select {
	case ch <- v:
	case <-c.ctx.Done():
	}
}

// eventually waits for a condition that only asking can tell.
func (c *check) eventually(what string, holds func() bool) {
	c.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		wait(c, tick.C, what)
	}
}

// meanwhile gives time to what must not happen. In a bubble all that can happen
// does; in real time a fault may go unseen, but nothing else fails for it.
func (c *check) meanwhile() {
	c.Helper()
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	wait(c, timer.C, "a few milliseconds")
}

// send sends where nothing stands in the way.
func (c *check) send(from, to transport.Transport, service string, body []byte) {
	c.Helper()
	if err := from.Send(to.Local(), service, body); err != nil {
		c.Errorf("Send from %s to %s: %v", from.Local(), to.Local(), err)
	}
}

// result makes a call, and reports one that does not return.
func (c *check) result(ctx context.Context, from transport.Transport, to, service string, request []byte) ([]byte, error) {
	c.Helper()
	type outcome struct {
		response []byte
		err      error
	}
	returned := make(chan outcome, 1)
	c.start(func() {
		response, err := from.Call(ctx, to, service, request)
		returned <- outcome{response, err}
	})
	select {
	case o := <-returned:
		return o.response, o.err
	case <-c.ctx.Done():
		c.Errorf("Call from %s to %s has not returned after %v", from.Local(), to, c.patience)
		return nil, c.ctx.Err()
	}
}

// call calls where nothing stands in the way.
func (c *check) call(from, to transport.Transport, service, request string) string {
	c.Helper()
	response, err := c.result(c.ctx, from, to.Local(), service, []byte(request))
	if err != nil {
		c.Errorf("Call from %s to %s: %v", from.Local(), to.Local(), err)
	}
	return string(response)
}

// meet makes a first contact in both directions, so that what follows does not
// depend on how that went.
func (c *check) meet(a, b transport.Transport) {
	c.Helper()
	for _, node := range []transport.Transport{a, b} {
		defer node.Serve("transporttest.meet", echo)()
	}
	c.call(a, b, "transporttest.meet", "")
	c.call(b, a, "transporttest.meet", "")
}

// is reports an error that is not the wanted one.
func (c *check) is(got, want error, what string) {
	c.Helper()
	if !errors.Is(got, want) {
		c.Errorf("%s: got error %q, want %q", what, text(got), text(want))
	}
}

// equal reports content that is not the wanted one.
func (c *check) equal(got, want []byte, what string) {
	c.Helper()
	if !bytes.Equal(got, want) {
		c.Errorf("%s: got %d bytes %q, want %d bytes %q", what, len(got), start(got), len(want), start(want))
	}
}

func text(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}

func start(b []byte) []byte { return b[:min(len(b), 64)] }

// echo answers with the request.
func echo(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil }

// filled returns n bytes that differ by seed and place.
func filled(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i) + byte(i>>8)
	}
	return b
}
