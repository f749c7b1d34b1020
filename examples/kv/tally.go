package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// A tally is the load of the demo with a leader: clients that count, each with
// INCR and GET of some counters, and write down what they are told.
type tally struct {
	servers []*process
	began   time.Time
	stop    context.CancelFunc
	clients sync.WaitGroup

	mu    sync.Mutex
	calls []call
	acked int           // INCRs
	since time.Duration // see watch
	first chan struct{} // closed by the first INCR that is acknowledged and began after since; nil: nobody waits
}

const (
	tallyClients  = 6
	tallyCounters = 8
)

func startTally(ctx context.Context, servers []*process) *tally {
	ctx, cancel := context.WithCancel(ctx)
	t := &tally{servers: servers, began: time.Now(), stop: cancel}
	for n := range tallyClients {
		t.clients.Go(func() { t.count(ctx, n) })
	}
	return t
}

// end stops the clients and returns what they were told.
func (t *tally) end() []call {
	t.stop()
	t.clients.Wait()
	return t.calls
}

// count is one client. It stays with a server until that fails.
func (t *tally) count(ctx context.Context, n int) {
	random := rand.New(rand.NewPCG(uint64(n), 0))
	var c *caller
	for server := n % len(t.servers); ctx.Err() == nil; {
		var err error
		if c == nil {
			c, err = dial(ctx, t.servers[server].clients)
		}
		if err == nil {
			err = t.ask(ctx, c, n, fmt.Sprint("counter ", random.IntN(tallyCounters)), random.IntN(2) == 0)
		}
		if err != nil {
			if c != nil {
				c.close()
				c = nil
			}
			server = (server + 1) % len(t.servers)
			pause(ctx, 5*time.Millisecond)
		}
	}
	if c != nil {
		c.close()
	}
}

// ask asks one thing and writes it down.
func (t *tally) ask(ctx context.Context, c *caller, client int, key string, incr bool) error {
	verb := "GET"
	if incr {
		verb = "INCR"
	}
	asked := call{Client: client, Key: key, Incr: incr, Begun: time.Since(t.began)}
	reply, found, err := c.do(ctx, verb, key)
	asked.Ended = time.Since(t.began)
	if err == nil && found {
		asked.Number, err = strconv.ParseInt(reply, 10, 64)
	}
	asked.Answered = err == nil
	t.note(asked)
	return err
}

func (t *tally) note(c call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, c)
	if !c.Incr || !c.Answered {
		return
	}
	t.acked++
	if t.first != nil && c.Begun >= t.since {
		close(t.first)
		t.first = nil
	}
}

// watch returns a channel that is closed when an INCR is acknowledged that begins
// from now on.
func (t *tally) watch() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.first = time.Since(t.began), make(chan struct{})
	return t.first
}

// progress waits until so many INCRs more are acknowledged.
func (t *tally) progress(ctx context.Context, more int) error {
	for goal := t.acknowledged() + more; t.acknowledged() < goal; pause(ctx, 5*time.Millisecond) {
		if ctx.Err() != nil {
			return fmt.Errorf("the clients do not get on: %w", context.Cause(ctx))
		}
	}
	return nil
}

func (t *tally) acknowledged() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acked
}

// readAll has every server say once more how far each counter is.
func (t *tally) readAll(ctx context.Context) error {
	var errs []error
	for _, p := range t.servers {
		c, err := dial(ctx, p.clients)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for i := range tallyCounters {
			errs = append(errs, t.ask(ctx, c, tallyClients, fmt.Sprint("counter ", i), false))
		}
		c.close()
	}
	return errors.Join(errs...)
}
