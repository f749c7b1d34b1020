package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/parley-go/parley/retry"
)

// run plays a script in virtual time, with some guards, and returns what was
// counted.
func run(t *testing.T, acts []act, seed uint64, g guards) *record {
	var count *record
	synctest.Test(t, func(t *testing.T) {
		count = newRecord(length(acts))
		s, err := newService(acts, g, count)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range uint64(clients) {
			c, err := newClient(s, seed, i, g)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { c.live(t.Context(), length(acts)) })
		}
		wg.Wait()
	})
	return count
}

// A client is one process that needs the service.
type client struct {
	service *service
	seed    uint64
	number  uint64
	policy  retry.Policy
	guard   *breaker.Breaker // nil without one
}

// newClient makes a client with its guards.
func newClient(s *service, seed, number uint64, g guards) (c *client, err error) {
	c = &client{service: s, seed: seed, number: number, policy: retry.Policy{
		Attempts:       attempts,
		AttemptTimeout: timeout + later,
		Backoff:        onGrid{retry.Exponential{Initial: 50 * time.Millisecond, Max: 500 * time.Millisecond}},
		// A call that the breaker stopped will not get through a moment later.
		Retryable: func(err error) bool { return !errors.Is(err, breaker.ErrOpen) },
	}}
	if g.budget { // one retry for ten requests
		c.policy.Budget, err = retry.NewBudget(retry.BudgetConfig{Ratio: 0.1, DisableFloor: true})
	}
	if err == nil && g.breaker { // opens when half of the calls of a second have failed
		c.guard, err = breaker.New(breaker.Config{
			WindowTime: time.Second, MinimumCalls: 20, FailureRate: 0.5,
			OpenFor: 500 * time.Millisecond, MaxOpenFor: 2 * time.Second,
			Probes: 3, Classify: classify, Seed: c.draws(0).Uint64(),
		})
	}
	return c, err
}

// classify tells the breaker what a call says about the service: one that sheds
// load is alive, and an open breaker would not help it.
func classify(_ any, err error) breaker.Outcome {
	switch {
	case err == nil:
		return breaker.Success
	case errors.Is(err, errBusy):
		return breaker.Ignored
	}
	return breaker.Failure
}

// draws returns the chance of one request; 0 is the client itself.
func (c *client) draws(number uint64) *rand.Rand {
	return rand.New(rand.NewPCG(c.seed, c.number<<32|number))
}

// live makes requests until the script is over, at random moments, as many as the
// script says, and waits for their ends.
func (c *client) live(ctx context.Context, d time.Duration) {
	random := c.draws(0)
	var wg sync.WaitGroup
	for number := uint64(1); ; number++ {
		r := c.newRequest(number)
		mean := time.Second * clients / time.Duration(c.service.act().asked)
		time.Sleep(r.after(time.Duration(random.ExpFloat64() * float64(mean))))
		if c.service.count.elapsed() >= d {
			break
		}
		wg.Go(func() { c.ask(ctx, r) })
	}
	wg.Wait()
}

// ask makes one request, with as many tries as the policy allows.
func (c *client) ask(ctx context.Context, r *request) {
	count := c.service.count
	count.add(asked)
	ctx, cancel := context.WithTimeout(ctx, patience+later)
	defer cancel()

	call := func(ctx context.Context) (int, error) { return c.service.call(ctx, r) }
	guarded := call
	if c.guard != nil {
		guarded = func(ctx context.Context) (int, error) { return breaker.Do(ctx, c.guard, call) }
	}
	tries := 0
	policy := c.policy
	policy.Random = r.random.Uint64
	_, err := retry.Do(ctx, policy, func(ctx context.Context) (int, error) {
		if tries++; tries > 1 {
			count.add(retried)
		}
		value, err := guarded(ctx)
		if errors.Is(err, breaker.ErrOpen) {
			count.add(stopped)
		}
		return value, err
	})
	if err == nil {
		count.add(answered)
	}
}
