package ratelimit

import "context"

// LeakyConfig says how many may queue at a Leaky. The zero value lets 100.
type LeakyConfig struct {
	// Queue is how many may wait: 1 to 1,000,000. A longer queue refuses less and
	// makes all wait longer, up to Queue events at the limit; more than callers
	// have patience for only does work that nobody waits for. Default 100.
	Queue int
}

// A Leaky is a leaky bucket as a queue: events leave one by one, evenly spaced at
// the limit, and those that come faster wait in order or, if too many do, are
// refused. It smooths where a Limiter lets bursts pass: in front of what can do
// only one thing after the other. All methods are safe for concurrent use; there
// is nothing to close.
type Leaky struct {
	limiter *Limiter
	queue   int
}

// NewLeaky returns a Leaky with an empty queue. The error names the value that is
// out of bounds.
func NewLeaky(limit Limit, config LeakyConfig) (*Leaky, error) {
	if config.Queue == 0 {
		config.Queue = 100
	}
	if config.Queue < 1 || config.Queue > 1_000_000 {
		return nil, invalid("LeakyConfig.Queue", config.Queue, "from 1 to 1000000, or 0 for 100")
	}
	l, err := New(limit, 1)
	if err != nil {
		return nil, err
	}
	return &Leaky{l, config.Queue}, nil
}

// Wait returns when the turn of this event has come: at once, if the one before
// was long enough ago. The error is ErrFull, at once, if the queue is full, or as
// for Limiter.Wait; those behind then move up.
func (l *Leaky) Wait(ctx context.Context) error { return l.limiter.wait(ctx, 1, l.queue) }

// SetLimit changes the limit for those who wait, too. The error is that of New.
func (l *Leaky) SetLimit(limit Limit) error { return l.limiter.SetLimit(limit, 1) }

// Waiting returns how many wait.
func (l *Leaky) Waiting() int {
	l.limiter.mu.Lock()
	defer l.limiter.mu.Unlock()
	return l.limiter.line.size
}
