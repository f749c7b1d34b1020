package breaker

import (
	"context"
	"errors"
	"strconv"
)

// A Guard decides whether a call may run now. *Breaker, *Bulkhead and *Adaptive
// are guards, and so is what Bulkhead.For and Adaptive.For return. One of your
// own passes the question on to one of these, say to the breaker of the host
// that ctx names; it may also let a call through with the zero Permit.
type Guard interface {
	// Acquire returns the permit of one call, or an error: one that matches
	// ErrRejected, or that of a ctx that has ended. Whoever gets a permit must
	// report the outcome of the call, once.
	Acquire(ctx context.Context) (Permit, error)
}

// Outcome is how a call went, as far as a guard is concerned.
type Outcome uint8

// The outcomes of a call.
const (
	Success Outcome = iota // it speaks for the service
	Failure                // it speaks against the service
	Ignored                // it says nothing about the service
)

// String returns the outcome in one word.
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Ignored:
		return "ignored"
	}
	return "Outcome(" + strconv.Itoa(int(o)) + ")"
}

// A Permit is the right to make one call, from a Guard's Acquire. Done or Report
// gives it back; a second one does nothing, and neither does the zero Permit. Do
// not copy a Permit that is in use, nor share it between goroutines.
type Permit struct {
	// Four words, so that a Permit travels in registers.
	owner    owner
	classify func(result any, err error) Outcome
	start    int64 // for the owner: when the call began, on its clock, or a place
}

// An owner takes back a permit.
type owner interface {
	done(start int64, o Outcome)
	// judge classifies an error that nothing more special explains; of a
	// statusError, too.
	judge(err error) Outcome
	// lasts reports whether the permit is for as long as a response is read.
	lasts() bool
}

// Done gives the permit back with the error of the call, which is classified as
// in Do: ctx is the caller's. Use it where a call begins and ends in different
// functions. It cannot see a panic, so give it back as a Failure if the call does
// not return:
//
//	permit, err := b.Acquire(ctx)
//	if err != nil {
//		return err
//	}
//	defer permit.Report(breaker.Failure) // does nothing after Done
//	err = call(ctx)
//	permit.Done(ctx, err)
//	return err
func (p *Permit) Done(ctx context.Context, err error) {
	if p.owner != nil {
		p.Report(p.outcome(ctx, nil, err))
	}
}

// Report gives the permit back with an outcome that the caller knows.
func (p *Permit) Report(o Outcome) {
	if owner := p.owner; owner != nil {
		p.owner = nil
		owner.done(p.start, o)
	}
}

// outcome classifies a result. That the caller gave up says nothing about the
// service; that its deadline passed does: the service was too slow.
func (p Permit) outcome(ctx context.Context, result any, err error) Outcome {
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return Ignored
	case p.classify != nil:
		return p.classify(result, err)
	case err == nil:
		return Success
	}
	return p.owner.judge(err)
}

// Do calls f if the guard lets it through, and tells the guard how it went. The
// error is that of the guard, a rejection or the end of ctx, with f not called;
// or that of f, unchanged.
//
// An error is a Failure unless it is itself a rejection by a guard, or ctx was
// cancelled: that is Ignored, whatever the error. A deadline that passes while f
// runs is a Failure. Config.Classify judges otherwise. If f panics or ends its
// goroutine, that is a Failure, the permit is given back, and the panic goes on.
//
// Do allocates nothing of its own, unless the guard has a Classify and T is not
// a pointer.
func Do[T any](ctx context.Context, g Guard, f func(ctx context.Context) (T, error)) (result T, err error) {
	if b, ok := g.(*Breaker); ok && ctx.Err() == nil {
		if gen := b.current.Load(); gen.plain {
			return doPlain(ctx, gen, f)
		}
	}
	p, err := g.Acquire(ctx)
	if err != nil {
		return result, err
	}
	if p.owner == nil {
		return f(ctx)
	}
	outcome := Failure // what it is if f does not return
	defer func() { p.owner.done(p.start, outcome) }()
	result, err = f(ctx)
	switch {
	case p.classify != nil:
		outcome = p.outcome(ctx, result, err)
	case err != nil:
		outcome = p.outcome(ctx, nil, err) // without the result, which would have to be boxed
	default:
		outcome = Success
	}
	return result, err
}

// doPlain is Do through a closed breaker that needs no clock and classifies by
// default: the same in half the time, because most calls are such.
func doPlain[T any](ctx context.Context, g *generation, f func(ctx context.Context) (T, error)) (result T, err error) {
	returned := false
	defer func() {
		if !returned {
			g.done(0, Failure)
		}
	}()
	result, err = f(ctx)
	returned = true
	if err == nil {
		g.succeed()
		return result, nil
	}
	g.done(0, Permit{owner: g}.outcome(ctx, nil, err))
	return result, err
}

// Fallback is Do with a second way to an answer: if the guard rejects the call,
// or f fails, otherwise is called with the error, and may answer from a cache,
// with a default, or by returning an error of its own, which comes back joined
// with the first. It is not called once ctx is cancelled: nobody waits for it
// any more. After a deadline it is, with the ctx that has ended.
func Fallback[T any](ctx context.Context, g Guard, f func(ctx context.Context) (T, error), otherwise func(ctx context.Context, err error) (T, error)) (T, error) {
	result, err := Do(ctx, g, f)
	if err == nil || errors.Is(ctx.Err(), context.Canceled) {
		return result, err
	}
	result, second := otherwise(ctx, err)
	switch {
	case second == nil:
		return result, nil
	case errors.Is(second, err):
		return result, second
	}
	return result, errors.Join(err, second)
}
