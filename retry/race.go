package retry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// A race is one run of Hedge. Its fields but those under mu belong to the
// goroutine of the caller.
type race[T any] struct {
	ctx    context.Context
	policy HedgePolicy
	call   func(ctx context.Context) (T, error)

	tries    []*try[T] // all that were begun
	room     [defaultHedgeAttempts]*try[T]
	first    try[T] // in place: most races have no other
	received int    // tries whose outcome has been looked at
	failed   *try[T]
	pushed   bool          // a service asked to wait: the next call begins with the timer
	stopped  error         // why no further call begins; nil while one may
	timer    *time.Timer   // until the next call; nil if there is only one
	wake     chan struct{} // an outcome has arrived, or the timer has gone off; holds one

	mu      sync.Mutex
	arrived []*try[T] // outcomes that have not been looked at; guarded by mu
	space   [defaultHedgeAttempts]*try[T]
	alarm   int  // the latest setting of the timer; guarded by mu
	rung    bool // it has gone off; guarded by mu
	over    bool // Hedge is returning: outcomes are dealt with where they arise; guarded by mu
}

// A try is one call of a race, and how it ended. What follows cancel is written
// by the call's goroutine, before it reports the try.
type try[T any] struct {
	race     *race[T]
	ctx      context.Context
	cancel   context.CancelCauseFunc // nil once it has been handed over
	began    time.Time               // set on the first try if latencies are watched
	value    T
	err      error
	took     time.Duration
	returned bool      // false after a panic and after runtime.Goexit
	panicked *panicked // nil after runtime.Goexit
}

// start begins one more call, and sets the timer for the next if there may be one.
func (r *race[T]) start(t *try[T]) {
	t.race = r
	t.ctx, t.cancel = context.WithCancelCause(r.ctx)
	if len(r.tries) == 0 && r.policy.Latency != nil {
		t.began = time.Now()
	}
	r.tries = append(r.tries, t)
	go t.run()
	if len(r.tries) < r.policy.attempts() {
		r.set(r.policy.delay())
	}
}

// run makes the call and reports how it ended, whatever that is.
func (t *try[T]) run() {
	defer t.end()
	t.value, t.err = t.race.call(t.ctx)
	if !t.began.IsZero() {
		t.took = time.Since(t.began)
	}
	t.returned = true
}

func (t *try[T]) end() {
	if !t.returned {
		if value := recover(); value != nil {
			t.panicked = &panicked{value, debug.Stack()}
		}
	}
	r := t.race
	r.mu.Lock()
	over := r.over
	if !over {
		if r.arrived == nil {
			r.arrived = r.space[:0]
		}
		r.arrived = append(r.arrived, t)
	}
	r.mu.Unlock()
	if over {
		r.drop(t)
		return
	}
	r.signal()
}

// signal makes the caller look.
func (r *race[T]) signal() {
	select {
	case r.wake <- struct{}{}:
	default: // it will
	}
}

// set makes the timer go off after d. A timer that calls a function costs half
// of one with a channel; what an earlier setting still says is not heard.
func (r *race[T]) set(d time.Duration) {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Lock()
	r.alarm++
	r.rung = false
	alarm := r.alarm
	r.mu.Unlock()
	r.timer = time.AfterFunc(d, func() {
		r.mu.Lock()
		r.rung = r.rung || alarm == r.alarm
		r.mu.Unlock()
		r.signal()
	})
}

// run waits for outcomes and begins further calls until the race is decided.
func (r *race[T]) run() (value T, err error) {
	for {
		var h hint
		var failure error
		t, err := r.next()
		if err != nil {
			return value, err
		}
		if t != nil {
			h, failure = hintOf(t.err), bare(t.err)
			if decided, value, err := r.receive(t, h); decided {
				return value, err
			}
		}
		switch {
		case r.mayStart(h.wait):
			if r.policy.OnHedge != nil {
				r.policy.OnHedge(r.ctx, len(r.tries)+1, failure)
			}
			r.start(&try[T]{})
		case r.stopped == nil:
			if h.wait > 0 {
				r.set(h.wait)
			}
		case r.received == len(r.tries):
			return r.giveUp()
		}
	}
}

// next waits for an outcome, and returns none when it is time for another call.
// An outcome that is there comes before the end of the context and before a call
// that it may make needless.
//
// The context of the first call ends with that of the race, and until then
// nobody else ends it: to wait for that one keeps goroutines that race under one
// context from meeting at its channel.
func (r *race[T]) next() (t *try[T], err error) {
	for over := false; ; {
		if t, more := r.look(); t != nil || more {
			return t, nil
		}
		if over {
			return nil, r.exhausted(ended(r.ctx))
		}
		select {
		case <-r.wake:
		case <-r.first.ctx.Done():
			over = true
		}
	}
}

// look returns the outcome that came first, or else whether the timer has gone
// off.
func (r *race[T]) look() (t *try[T], more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.arrived) > 0 {
		t = r.arrived[0]
		r.arrived = r.arrived[1:]
		return t, false
	}
	more = r.rung
	if more {
		r.rung, r.pushed = false, false
	}
	return nil, more
}

// mayStart reports whether another call begins now: it may not if a service
// asked for a wait. Where there will never be another, it sets stopped.
func (r *race[T]) mayStart(wait time.Duration) bool {
	deadline, bounded := r.ctx.Deadline()
	switch {
	case r.stopped != nil:
	case r.ctx.Err() != nil: // what has just failed has failed for that
		r.stopped = ended(r.ctx)
	case len(r.tries) == r.policy.attempts():
		r.stopped = ErrAttempts
	case wait > defaultMaxAfter:
		r.stopped = ErrAfter
	case wait > 0 && bounded && time.Until(deadline) <= wait:
		r.stopped = context.DeadlineExceeded
	case wait > 0:
		r.pushed = true
	case r.pushed:
	case r.policy.Budget != nil && !r.policy.Budget.Allow():
		r.stopped = ErrBudget
	default:
		return true
	}
	return false
}

// receive deals with an outcome. It reports whether it decides the race.
func (r *race[T]) receive(t *try[T], h hint) (decided bool, value T, err error) {
	r.received++
	failure := bare(t.err)
	switch {
	case t.panicked != nil:
		panic(t.panicked)
	case !t.returned:
		runtime.Goexit()
	case failure == nil:
		r.observe(t)
		return true, t.hand(), nil
	case h.permanent, r.policy.Retryable != nil && !r.policy.Retryable(failure):
		return true, t.hand(), failure
	case r.failed != nil:
		r.discard(r.failed.value)
	}
	r.failed = t
	return false, value, nil
}

// hand returns the value of an outcome to the caller, and with it the duty to
// end its context.
func (t *try[T]) hand() T {
	cancel := t.cancel
	t.cancel = nil
	release(t.value, func() { cancel(nil) })
	return t.value
}

// giveUp returns the last failure, when nothing runs and nothing may follow.
func (r *race[T]) giveUp() (T, error) {
	err := r.exhausted(r.stopped)
	last := r.failed
	r.failed = nil
	return last.hand(), err
}

func (r *race[T]) exhausted(cause error) error {
	e := &ExhaustedError{Attempts: len(r.tries), Cause: cause}
	if r.failed != nil {
		e.Last = bare(r.failed.err)
	}
	return e
}

// observe tells the latency of the first call to those who watch it. If a hedge
// won, the first would have taken longer than it has.
func (r *race[T]) observe(winner *try[T]) {
	l := r.policy.Latency
	switch {
	case l == nil:
	case winner == &r.first:
		l.Observe(winner.took)
	case r.failed != &r.first:
		l.Observe(time.Since(r.first.began))
	}
}

// close ends the losers and deals with what has come in from them.
func (r *race[T]) close() {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Lock()
	r.over = true
	arrived := r.arrived
	r.mu.Unlock()
	for _, t := range r.tries {
		if t.cancel != nil {
			t.cancel(errLost)
		}
	}
	if r.failed != nil {
		r.discard(r.failed.value)
	}
	for _, t := range arrived {
		r.drop(t)
	}
}

// drop deals with an outcome that decides nothing any more.
func (r *race[T]) drop(t *try[T]) {
	switch {
	case t.panicked == nil:
		r.discard(t.value)
	case r.policy.OnPanic != nil:
		r.policy.OnPanic(r.ctx, t.panicked.value, t.panicked.stack)
	default:
		slog.ErrorContext(r.ctx, "retry: a call whose result was not needed any more panicked",
			"panic", t.panicked.value, "stack", string(t.panicked.stack))
	}
}

// discard releases a value that nobody gets. The zero value, such as the nil
// that comes with an error, has nothing to release.
func (r *race[T]) discard(value T) {
	if reflect.ValueOf(&value).Elem().IsZero() {
		return
	}
	if r.policy.Discard != nil {
		r.policy.Discard(value)
		return
	}
	switch v := any(value).(type) {
	case *http.Response:
		if v.Body != nil {
			_ = v.Body.Close()
		}
	case io.Closer:
		_ = v.Close()
	}
}

// A panicked is the panic of a call, passed on to the goroutine of the caller.
type panicked struct {
	value any
	stack []byte
}

// Error returns the value of the panic with the stack where it arose.
func (p *panicked) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// Unwrap returns the value of the panic, if that is an error.
func (p *panicked) Unwrap() error {
	err, _ := p.value.(error)
	return err
}
