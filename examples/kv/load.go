package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A load writes pairs through some servers at once, going on at the next server
// when one fails.
type load struct {
	pairs   []pair
	servers []*process

	acknowledged atomic.Int64
	unanswered   atomic.Int64 // writes that were sent and not acknowledged; they were sent again
	half         chan struct{}
}

func newLoad(pairs []pair, servers []*process) *load {
	return &load{pairs: pairs, servers: servers, half: make(chan struct{})}
}

// run returns when every pair has been acknowledged.
func (l *load) run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(l.servers))
	for i := range l.servers {
		wg.Go(func() { errs[i] = l.write(ctx, i) })
	}
	wg.Wait()
	return firstOf(errs)
}

// firstOf returns the first error that is one: those of all at once say the same.
func firstOf(errs []error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

// write is one of the writers: it takes every n-th pair, and begins at the n-th
// server.
func (l *load) write(ctx context.Context, n int) error {
	var c *caller
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	server := n
	for i := n; i < len(l.pairs); i += len(l.servers) {
		for {
			var err error
			if c == nil {
				c, err = dial(ctx, l.servers[server].clients)
			}
			if err == nil {
				if _, _, err = c.do(ctx, "SET", l.pairs[i].key, l.pairs[i].value); err == nil {
					break
				}
				l.unanswered.Add(1)
			}
			if ctx.Err() != nil {
				return fmt.Errorf("writing %s: %w", l.pairs[i].key, context.Cause(ctx))
			}
			if c != nil {
				c.close()
				c = nil
			}
			if server = (server + 1) % len(l.servers); server == n {
				pause(ctx, 20*time.Millisecond) // none of them took it
			}
		}
		if l.acknowledged.Add(1) == int64(len(l.pairs)/2) {
			close(l.half)
		}
	}
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// readBack asks one server for every pair, over some connections at once, and
// counts those that are there with the right value. The error is the first that
// a read had; a read with an error counts as not found.
func readBack(ctx context.Context, server *process, pairs []pair) (found int, err error) {
	const connections = 4
	var wg sync.WaitGroup
	counts, errs := make([]int, connections), make([]error, connections)
	for n := range connections {
		wg.Go(func() {
			c, err := dial(ctx, server.clients)
			if err != nil {
				errs[n] = err
				return
			}
			defer c.close()
			for i := n; i < len(pairs); i += connections {
				value, ok, err := c.do(ctx, "GET", pairs[i].key)
				if err != nil {
					errs[n] = fmt.Errorf("reading %s: %w", pairs[i].key, err)
					return
				}
				if ok && value == pairs[i].value {
					counts[n]++
				}
			}
		})
	}
	wg.Wait()
	for _, n := range counts {
		found += n
	}
	return found, firstOf(errs)
}
