package retry

import (
	"context"
	"errors"
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
	// OnPanic is told of the panic of a loser: of a call that was not needed any
	// more, for Hedge had its result, so that there is no caller to pass the panic
	// to. It gets the context of Hedge, what the call panicked with, and the stack
	// where it arose; it may run after Hedge has returned, and may panic itself to
	// end the program. Default: the panic is logged by slog.Default, at the level
	// of an error. Must be safe for concurrent use.
	OnPanic func(ctx context.Context, value any, stack []byte)
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
// or its runtime.Goexit, is passed on to the caller of Hedge, unless another
// call has decided the result before: then it is a loser's, and
// HedgePolicy.OnPanic is told of it.
//
// Cost: 1 to 2 us more than the call, most of it for the goroutine and the timer.
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
	r := &race[T]{ctx: ctx, policy: p, call: call, wake: make(chan struct{}, 1)}
	r.tries = r.room[:0]
	defer r.close()
	r.start(&r.first)
	return r.run()
}
