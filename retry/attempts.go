package retry

import (
	"context"
	"iter"
)

// Attempts is the iterator form of [Do], for a body that does not fit into a
// function:
//
//	for attempt, err := range retry.Attempts(ctx, policy) {
//		if err != nil {
//			return nil, err // gave up: what Do would return
//		}
//		profile, err := fetch(attempt.Context())
//		if err == nil {
//			return profile, nil
//		}
//		attempt.Fail(err)
//	}
//
// Each turn is one attempt, with a nil error; the waits are between the turns.
// A body that leaves the loop has succeeded. One that goes on has failed, and
// tells why by Fail. When there is to be no other attempt, a last turn brings
// the error that Do would return, with an attempt whose context is over; after
// it the loop ends. A policy that is invalid, or a context that is over, brings
// just that last turn.
//
// The sequence may be ranged over again, each time as a new series.
func Attempts(ctx context.Context, p Policy) iter.Seq2[*Attempt, error] {
	return func(yield func(*Attempt, error) bool) {
		s, err := begin(ctx, &p)
		for err == nil {
			failure, again := turn(ctx, &p, s.tried+1, yield)
			if !again {
				return
			}
			err = s.next(ctx, &p, failure)
		}
		over, cancel := context.WithCancelCause(ctx)
		cancel(err)
		yield(&Attempt{ctx: over}, err)
	}
}

// turn runs the body of the loop once. It returns why the body failed, and
// whether it wants to go on. The context of the attempt ends with it, however
// the body is left.
func turn(ctx context.Context, p *Policy, number int, yield func(*Attempt, error) bool) (failure error, again bool) {
	a := &Attempt{ctx: ctx, number: number, failure: errUntold}
	if p.AttemptTimeout > 0 {
		var cancel context.CancelFunc
		a.ctx, cancel = context.WithTimeout(ctx, p.AttemptTimeout)
		defer cancel()
	}
	again = yield(a, nil)
	return a.failure, again
}

// An Attempt is one turn of the loop over [Attempts]. It is valid only within
// that turn and for one goroutine.
type Attempt struct {
	ctx     context.Context // of this attempt alone; it ends with the turn
	number  int
	failure error
}

// Context returns the context for the work of this attempt. It ends after
// Policy.AttemptTimeout, if that is set, and then with the turn.
func (a *Attempt) Context() context.Context { return a.ctx }

// Number returns which attempt this is, from 1; 0 in the last turn, which is
// none.
func (a *Attempt) Number() int { return a.number }

// Fail says why the attempt failed. The error may be marked by [Permanent] or
// [After]. Called again it replaces what was said before; nil counts as a
// failure that nothing is known of.
func (a *Attempt) Fail(err error) {
	if err == nil {
		err = errUntold
	}
	a.failure = err
}
