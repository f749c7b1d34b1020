package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/parley-go/parley/retry"
)

// No two events may fall on the same instant: their order would be left to the Go
// scheduler. So each request has one nanosecond of every 20 us, its lane, and all
// that happens to it happens then; except that its deadlines pass half a grid
// later, so that none coincides with an answer. Waits are multiples of grid. That
// is how the same seed gives the same run to the last call.
const (
	grid  = 20 * time.Microsecond
	later = grid / 2
)

// A request is one question of somebody to the service, with all its tries.
type request struct {
	random *rand.Rand    // its chance: no request changes the luck of another one
	began  time.Time     // of the script
	lane   time.Duration // below later
}

// newRequest returns one of a client's requests. The next one with the same lane is
// 500 later, when this one is long over.
func (c *client) newRequest(number uint64) *request {
	return &request{
		random: c.draws(number),
		began:  c.service.count.began,
		lane:   time.Duration(c.number+clients*number) % later,
	}
}

// after returns the request's first moment that is at least d from now, as a time
// to wait.
func (r *request) after(d time.Duration) time.Duration {
	since := time.Since(r.began) + d
	return d + (r.lane-since%grid+grid)%grid
}

// sleep waits for d, or for the end of ctx.
func (r *request) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(r.after(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// travel waits for as long as the network takes one way: 0.1 to 1 ms.
func (r *request) travel(ctx context.Context) error {
	return r.sleep(ctx, 100*time.Microsecond+time.Duration(r.random.Int64N(int64(900*time.Microsecond))))
}

// onGrid is an exponential back-off in multiples of grid.
type onGrid struct{ retry.Exponential }

// Delay is that of retry.Exponential, rounded down.
func (b onGrid) Delay(number int, last time.Duration, random uint64) time.Duration {
	return b.Exponential.Delay(number, last, random).Truncate(grid)
}
