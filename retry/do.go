package retry

import (
	"context"
	"io"
	"net/http"
	"time"
)

// Do calls f until it succeeds, and waits between the attempts as the policy
// says. It returns the value and error of the last attempt: nil after a
// success; the error itself, without its mark, where trying again is ruled out
// by [Permanent] or Policy.Retryable; else an *[ExhaustedError] that holds the
// last error and why there was no other attempt.
//
// Do returns at once when there is no point in waiting: the deadline of ctx or
// Policy.Elapsed would pass before the next attempt, the service asks for too
// long a wait, the budget has nothing left. While it waits it watches ctx. A
// context that is over before the first attempt, and a policy that is invalid,
// return their error without calling f.
//
// f runs on the caller's goroutine. A panic passes through. What an attempt
// returns together with an error and must be released, f releases itself.
//
// An operation that succeeds at once costs a few nanoseconds more than the bare
// call, and no allocation.
func Do[T any](ctx context.Context, p Policy, f func(ctx context.Context) (T, error)) (T, error) {
	if p.Elapsed|p.AttemptTimeout != 0 || !p.sound() && p.Check() != nil || ctx.Err() != nil {
		return prepare(ctx, &p, f)
	}
	if p.Budget != nil {
		p.Budget.Deposit()
	}
	value, err := f(ctx)
	if err == nil {
		return value, nil // most calls need no more than this
	}
	return pursue(ctx, &p, series{}, f, value, err)
}

// prepare is Do for policies that have something to set up or are wrong.
func prepare[T any](ctx context.Context, p *Policy, f func(ctx context.Context) (T, error)) (T, error) {
	s, err := begin(ctx, p)
	if err != nil {
		var none T
		return none, err
	}
	if p.AttemptTimeout > 0 {
		f = timed(p.AttemptTimeout, f)
	}
	value, err := f(ctx)
	return pursue(ctx, p, s, f, value, err)
}

// pursue goes on from the result of the first attempt.
func pursue[T any](ctx context.Context, p *Policy, s series, f func(ctx context.Context) (T, error), value T, err error) (T, error) {
	for err != nil {
		if err = s.next(ctx, p, err); err != nil {
			return value, err
		}
		value, err = f(ctx)
	}
	return value, nil
}

// timed gives each call of f a deadline of its own.
func timed[T any](timeout time.Duration, f func(ctx context.Context) (T, error)) func(ctx context.Context) (T, error) {
	return func(ctx context.Context) (value T, err error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer func() {
			if err != nil { // f has released what it returns with it
				cancel()
				return
			}
			release(value, cancel)
		}()
		return f(ctx)
	}
}

// release ends the context of a call that is over. A response lives on until
// its body is closed, and so does its context: cancelled earlier, it would cut
// off the reading.
func release(value any, cancel context.CancelFunc) {
	resp, ok := value.(*http.Response)
	if !ok || resp == nil || resp.Body == nil {
		cancel()
		return
	}
	body := cancelBody{resp.Body, cancel}
	if w, ok := resp.Body.(io.Writer); ok { // 101 Switching Protocols
		resp.Body = struct {
			cancelBody
			io.Writer
		}{body, w}
		return
	}
	resp.Body = body
}

// A cancelBody cancels the context of its request when it is closed.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b cancelBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// abort makes a Read that waits for the network return.
func (b cancelBody) abort() { b.cancel() }

// A series is the state of one run of a policy. It is the one place that
// decides about retries: Do, Attempts and RoundTripper all ask it.
type series struct {
	tried int           // attempts that have failed
	last  time.Duration // the back-off drawn before the latest retry
	began time.Time     // when the first attempt began; set only if Elapsed is
}

// begin is called before the first attempt.
func begin(ctx context.Context, p *Policy) (s series, err error) {
	if err := p.Check(); err != nil {
		return s, err
	}
	if ctx.Err() != nil {
		return s, ended(ctx)
	}
	if p.Elapsed > 0 {
		s.began = time.Now()
	}
	if p.Budget != nil {
		p.Budget.Deposit()
	}
	return s, nil
}

// next is told how an attempt failed. It waits and returns nil if there is to
// be another, and returns at once what to give up with if not.
func (s *series) next(ctx context.Context, p *Policy, failure error) error {
	wait, err := s.decide(ctx, p, failure)
	if err != nil {
		return err
	}
	if wait == 0 && p.OnRetry == nil {
		return nil
	}
	return s.wait(ctx, p, wait, failure)
}

// decide returns the wait before the next attempt, or the error to give up
// with. The budget comes last, so that nothing is taken from it for a retry
// that another rule forbids.
func (s *series) decide(ctx context.Context, p *Policy, failure error) (time.Duration, error) {
	s.tried++
	h := hintOf(failure)
	failure = bare(failure)
	switch {
	case h.permanent:
		return 0, failure
	case ctx.Err() != nil:
		return 0, s.exhausted(failure, ended(ctx))
	case p.Retryable != nil && !p.Retryable(failure):
		return 0, failure
	case s.tried >= p.attempts():
		return 0, s.exhausted(failure, ErrAttempts)
	case h.asked && h.wait > p.maxAfter():
		return 0, s.exhausted(failure, ErrAfter)
	}
	s.last = p.delay(s.tried, s.last)
	wait := s.last
	switch {
	case h.spread:
		wait = saturated(h.wait, s.last)
	case h.asked:
		wait = h.wait
	}
	if wait > 0 {
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return 0, s.exhausted(failure, context.DeadlineExceeded)
		}
	}
	if p.Elapsed > 0 && wait > p.Elapsed-time.Since(s.began) {
		return 0, s.exhausted(failure, ErrElapsed)
	}
	if p.Budget != nil && !p.Budget.Allow() {
		return 0, s.exhausted(failure, ErrBudget)
	}
	return wait, nil
}

// wait sleeps before the next attempt. It returns an error if ctx ends first.
func (s *series) wait(ctx context.Context, p *Policy, d time.Duration, failure error) error {
	if p.OnRetry != nil {
		p.OnRetry(ctx, s.tried, bare(failure), d)
	}
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil { // also where it ended together with the wait, or in OnRetry
		return s.exhausted(bare(failure), ended(ctx))
	}
	return nil
}

func (s *series) exhausted(last, cause error) error {
	return &ExhaustedError{Attempts: s.tried, Last: last, Cause: cause}
}

// saturated adds two waits without overflow.
func saturated(a, b time.Duration) time.Duration {
	if sum := a + b; sum >= a {
		return sum
	}
	return forever
}
