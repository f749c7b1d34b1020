package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// A HedgePolicy says when a call that takes long is made a second time, so that
// the faster answers (Dean and Barroso, "The Tail at Scale", CACM 2013). It is
// a plain value: copy it, change a field, share it between goroutines. The zero
// value is a good default: one hedge after 100 ms.
//
// A hedge is one more call: only calls that are safe to make twice may be
// hedged, and only with a Budget does a slow service not get the load twice.
type HedgePolicy struct {
	// After is the delay between a call and its hedge, and between one hedge
	// and the next. Default 100 ms; must not be negative. Best a little over
	// the 95th percentile of the service: sooner costs more calls, later saves
	// less time.
	After time.Duration
	// Latency gives the delay from the calls seen, in place of After, as soon
	// as it has seen enough. Default none.
	Latency *Latency
	// Attempts is how many calls are made at most, the first included. Default
	// 2; bounds 1 to 16; 1 never hedges.
	Attempts int
	// Budget bounds the hedges of all calls that share it; it may be that of
	// the retries. Default none. A call that it refuses gets no hedge any more.
	Budget *Budget
	// DisableDeposit leaves the counting of calls to others: set it where each
	// hedged call is itself an attempt of a Policy with the same Budget, which
	// has counted it. Otherwise the call would earn its part twice.
	DisableDeposit bool
	// Retryable reports whether a call that failed in this way leaves hope for
	// another. Default: all but those marked Permanent do. Must be safe for
	// concurrent use.
	Retryable func(err error) bool
	// OnHedge is called before each further call, on the goroutine of the caller
	// of Hedge, with the number of the call to come (from 2) and the failure
	// that it follows; nil if the calls before it are late. For logs, counts and
	// traces. Default none. Must be safe for concurrent use.
	OnHedge func(ctx context.Context, attempt int, failure error)
	// Discard is given what a call returned that is not returned by Hedge, to
	// release it, unless it is the zero value of its type; it may run after
	// Hedge has returned. Default: the body of an *http.Response and any
	// io.Closer are closed. Must be safe for concurrent use.
	Discard func(value any)
}

const (
	defaultHedgeAfter    = 100 * time.Millisecond
	defaultHedgeAttempts = 2
	maxHedgeAttempts     = 16
)

// errLost is the cause of the end of a call's context when Hedge returns.
var errLost = errors.New("retry: another call was faster")

// Check returns nil for a policy within its bounds, and otherwise an
// ErrInvalid that names the field and its value. Hedge checks by itself.
func (p *HedgePolicy) Check() error {
	switch {
	case p.After < 0:
		return invalid("HedgePolicy.After", p.After, "above 0, or 0 for 100ms")
	case p.Attempts < 0 || p.Attempts > maxHedgeAttempts:
		return invalid("HedgePolicy.Attempts", p.Attempts, "1 to 16, or 0 for 2")
	}
	return nil
}

func (p *HedgePolicy) attempts() int {
	if p.Attempts == 0 {
		return defaultHedgeAttempts
	}
	return p.Attempts
}

// delay returns the time from one call to the next.
func (p *HedgePolicy) delay() time.Duration {
	if p.Latency != nil {
		if late, ok := p.Latency.Late(); ok {
			return late
		}
	}
	if p.After == 0 {
		return defaultHedgeAfter
	}
	return p.After
}

// Hedge makes a call, and makes it again each time the delay of the policy
// passes without an answer. The first success is returned, and the contexts of
// the others end at once. A call that fails is followed by the next at once,
// or after the time that its error asks for by [After]; one that fails for good
// ([Permanent], HedgePolicy.Retryable) ends all and its error is returned,
// without the mark. When none is left, the value and error of the last are
// returned, the error in an *[ExhaustedError].
//
// Each call runs on a goroutine of its own, with a context of its own; call must
// be safe for concurrent use, and return soon when its context ends: Hedge does
// not wait for the losers. What a loser returns all the same is released; see
// HedgePolicy.Discard. The winner's context ends with Hedge, too, except that
// an *http.Response keeps it alive until its body is closed. A panic of a call,
// or its runtime.Goexit, is passed on to the caller of Hedge; one after Hedge
// has returned is not caught.
//
// Cost: about 2 us more than the call.
func Hedge[T any](ctx context.Context, p HedgePolicy, call func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if err := p.Check(); err != nil {
		return none, err
	}
	if ctx.Err() != nil {
		return none, ended(ctx)
	}
	if p.Budget != nil && !p.DisableDeposit {
		p.Budget.Deposit()
	}
	r := &race[T]{ctx: ctx, policy: p, call: call, outcomes: make(chan outcome[T], p.attempts())}
	r.cancels = r.room[:0]
	defer r.close()
	r.start()
	return r.run()
}

// An outcome is how one call of a race ended.
type outcome[T any] struct {
	index    int
	value    T
	err      error
	took     time.Duration // of the first call, if latencies are watched
	returned bool          // false after a panic and after runtime.Goexit
	panicked *panicked     // nil after runtime.Goexit
}

// A race is one run of Hedge. Its fields but those under mu belong to the
// goroutine of the caller.
type race[T any] struct {
	ctx      context.Context
	policy   HedgePolicy
	call     func(ctx context.Context) (T, error)
	began    time.Time                                     // set if latencies are watched
	cancels  []context.CancelCauseFunc                     // one for each call begun; nil once handed over
	room     [defaultHedgeAttempts]context.CancelCauseFunc // for cancels, as long as they fit
	received int                                           // outcomes taken out of the channel
	failed   *outcome[T]                                   // the last failure; its value is kept
	pushed   bool                                          // a service asked to wait: the next call begins with the timer
	stopped  error                                         // why no further call begins; nil while one may
	outcomes chan outcome[T]                               // holds as many as there are calls: a send never blocks

	mu   sync.Mutex
	over bool // Hedge is returning: later outcomes are discarded where they arise
}

// start begins one more call.
func (r *race[T]) start() {
	ctx, cancel := context.WithCancelCause(r.ctx)
	index := len(r.cancels)
	r.cancels = append(r.cancels, cancel)
	if index == 0 && r.policy.Latency != nil {
		r.began = time.Now()
	}
	go r.finish(ctx, index, r.began)
}

// finish makes a call and reports its outcome, whatever it is.
func (r *race[T]) finish(ctx context.Context, index int, began time.Time) {
	o := outcome[T]{index: index}
	defer func() {
		if !o.returned {
			if value := recover(); value != nil {
				o.panicked = &panicked{value, debug.Stack()}
			}
		}
		r.report(o)
	}()
	o.value, o.err = r.call(ctx)
	if index == 0 && !began.IsZero() {
		o.took = time.Since(began)
	}
	o.returned = true
}

// report hands an outcome to the caller, or, if Hedge has returned, deals with
// it here.
func (r *race[T]) report(o outcome[T]) {
	r.mu.Lock()
	over := r.over
	if !over {
		r.outcomes <- o
	}
	r.mu.Unlock()
	if over {
		r.drop(o)
	}
}

// drop deals with an outcome that decides nothing any more.
func (r *race[T]) drop(o outcome[T]) {
	if o.panicked != nil {
		panic(o.panicked)
	}
	r.discard(o.value)
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

// run waits for outcomes and begins further calls until the race is decided.
func (r *race[T]) run() (value T, err error) {
	timer := time.NewTimer(r.policy.delay())
	defer timer.Stop()
	for {
		var h hint
		var failure error
		o, received, err := r.next(timer.C)
		if err != nil {
			return value, err
		}
		if received {
			h, failure = hintOf(o.err), bare(o.err)
			if decided, value, err := r.receive(&o, h); decided {
				return value, err
			}
		}
		switch {
		case r.mayStart(h.wait):
			if r.policy.OnHedge != nil {
				r.policy.OnHedge(r.ctx, len(r.cancels)+1, failure)
			}
			r.start()
			timer.Reset(r.policy.delay())
		case r.stopped == nil:
			if h.wait > 0 {
				timer.Reset(h.wait)
			}
		case r.received == len(r.cancels):
			return r.giveUp()
		}
	}
}

// next waits for an outcome, and returns without one when it is time for another
// call. An outcome that is there comes before the end of the context and before
// a call that it may make needless.
func (r *race[T]) next(more <-chan time.Time) (o outcome[T], received bool, err error) {
	select {
	case o = <-r.outcomes:
		return o, true, nil
	default:
	}
	select {
	case o = <-r.outcomes:
		return o, true, nil
	case <-more:
		r.pushed = false
		return o, false, nil
	case <-r.ctx.Done():
		return o, false, r.exhausted(ended(r.ctx))
	}
}

// mayStart reports whether another call begins now: it may not if a service
// asked for a wait. Where there will never be another, it sets stopped.
func (r *race[T]) mayStart(wait time.Duration) bool {
	deadline, bounded := r.ctx.Deadline()
	switch {
	case r.stopped != nil:
	case len(r.cancels) == r.policy.attempts():
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
func (r *race[T]) receive(o *outcome[T], h hint) (decided bool, value T, err error) {
	r.received++
	failure := bare(o.err)
	switch {
	case o.panicked != nil:
		panic(o.panicked)
	case !o.returned:
		runtime.Goexit()
	case failure == nil:
		r.observe(o)
		return true, r.hand(o), nil
	case h.permanent, r.policy.Retryable != nil && !r.policy.Retryable(failure):
		return true, r.hand(o), failure
	case r.failed != nil:
		r.discard(r.failed.value)
	}
	r.failed = o
	return false, value, nil
}

// hand returns the value of an outcome to the caller, and with it the duty to
// end its context.
func (r *race[T]) hand(o *outcome[T]) T {
	cancel := r.cancels[o.index]
	r.cancels[o.index] = nil
	release(o.value, func() { cancel(nil) })
	return o.value
}

// giveUp returns the last failure, when nothing runs and nothing may follow.
func (r *race[T]) giveUp() (T, error) {
	err := r.exhausted(r.stopped)
	last := r.failed
	r.failed = nil
	return r.hand(last), err
}

func (r *race[T]) exhausted(cause error) error {
	e := &ExhaustedError{Attempts: len(r.cancels), Cause: cause}
	if r.failed != nil {
		e.Last = bare(r.failed.err)
	}
	return e
}

// observe tells the latency of the first call to those who watch it. If a hedge
// won, the first would have taken longer than it has.
func (r *race[T]) observe(winner *outcome[T]) {
	l := r.policy.Latency
	switch {
	case l == nil:
	case winner.index == 0:
		l.Observe(winner.took)
	case r.failed == nil || r.failed.index != 0:
		l.Observe(time.Since(r.began))
	}
}

// close ends the losers and releases what has come in from them.
func (r *race[T]) close() {
	for _, cancel := range r.cancels {
		if cancel != nil {
			cancel(errLost)
		}
	}
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	if r.failed != nil {
		r.discard(r.failed.value)
	}
	for {
		select {
		case o := <-r.outcomes:
			r.drop(o)
		default:
			return
		}
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
