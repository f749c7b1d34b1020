package ring

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// errExited is the outcome of a move whose function ended its goroutine.
var errExited = errors.New("ring: the move's function exited without returning")

// Run carries the plan out: it calls move for each range, several at a time within
// the bounds of PlanConfig, and completes those for which it returns nil. move
// copies the range and returns when m.To has all of it; it may be called again for
// a range that it failed on.
//
// After the first error, and when ctx ends, nothing new starts; Run waits for what
// is under way and returns the errors joined, with the ranges that they are
// about. What is complete stays so: run the plan again to go on. If moves are under
// way elsewhere when there is nothing more to start, Run says so in an error.
func (p *Plan) Run(ctx context.Context, move func(ctx context.Context, m Move) error) error {
	var running sync.WaitGroup
	defer running.Wait()
	outcomes := make(chan outcome, p.total)
	var failed error
	for started := 0; ; started-- {
		for failed == nil && ctx.Err() == nil {
			m, ok := p.Next()
			if !ok {
				break
			}
			started++
			running.Go(func() { attempt(ctx, m, move, outcomes) })
		}
		if started == 0 {
			return p.result(ctx, failed)
		}
		o := <-outcomes
		if o.err == nil {
			p.Complete(o.move)
			continue
		}
		p.Abandon(o.move)
		failed = errors.Join(failed, fmt.Errorf("ring: moving %v: %w", o.move, o.err))
	}
}

// result is what Run returns when it has nothing under way.
func (p *Plan) result(ctx context.Context, failed error) error {
	left := p.Left()
	switch {
	case left == 0:
		return failed
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), failed)
	case failed != nil:
		return failed
	}
	return fmt.Errorf("ring: %d moves of the plan are under way elsewhere", left)
}

type outcome struct {
	move Move
	err  error
}

// attempt calls move and reports its outcome, even if it ends the goroutine.
func attempt(ctx context.Context, m Move, move func(context.Context, Move) error, outcomes chan<- outcome) {
	o := outcome{m, errExited}
	defer func() { outcomes <- o }()
	o.err = move(ctx, m)
}
