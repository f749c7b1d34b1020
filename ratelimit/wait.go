package ratelimit

import (
	"context"
	"time"
)

// Wait takes one token and returns when its turn has come: at once, if there is
// one. Those who wait are served in the order in which they came, whatever their
// n, and Allow takes nothing before them.
//
// The error is that of ctx, with its cause, if it has ended or ends before the
// turn; those behind then move up. A turn that would come after the deadline of
// ctx, or further ahead than ReserveN plans, is not waited for: the error is a
// *LimitedError, at once. When the turn has come, the result is nil even if ctx
// ends at the same moment.
//
// Waiting takes about 200 bytes, and one timer for all who wait.
func (l *Limiter) Wait(ctx context.Context) error { return l.wait(ctx, 1, 0) }

// WaitN is Wait for n tokens at a time. More than the burst is ErrOverBurst at
// once; 0 or fewer return at once.
func (l *Limiter) WaitN(ctx context.Context, n int) error { return l.wait(ctx, n, 0) }

// wait is WaitN with at most most waiters; 0 is any number.
func (l *Limiter) wait(ctx context.Context, n, most int) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	for {
		now := l.now()
		t, ok := l.take(now, n)
		switch {
		case ok:
			return nil
		case t.outcome == overBurst:
			return ErrOverBurst
		}
		after := time.Duration(t.bucket.when(t.next-t.bucket.depth) - now)
		if err := inVain(ctx, after, t.next-t.bucket.depth-t.v); err != nil {
			return err
		}
		w, err := l.join(t, most)
		if err != nil {
			return err
		}
		if w != nil {
			return l.stand(ctx, w)
		}
	}
}

// inVain returns the error of a wait that is too long for ctx, or for a meter, on
// whose clock it takes so many units.
func inVain(ctx context.Context, after time.Duration, units int64) error {
	deadline, bounded := ctx.Deadline()
	late := bounded && time.Until(deadline) < after
	if late || units > maxAhead {
		return &LimitedError{RetryAfter: after, deadline: late}
	}
	return nil
}

// A line is those who wait for a limiter, in order. Their tokens have been taken
// out of the bucket already: each has a span of the meter's clock to itself, and
// its turn is when the end of the span is no further ahead than the bucket is
// deep. Spans that touch form a run. When a waiter leaves, those behind it in its
// run move up; the next run stays where it is, because what lies before it was
// promised to somebody else by Reserve. So only the bounds of runs are kept, and
// only the head needs to know its turn.
type line struct {
	head, tail *waiter
	size       int
}

type run struct{ start, end int64 }

type waiter struct {
	units      int64
	run        *run
	prev, next *waiter
	served     bool          // its turn has come
	wake       chan struct{} // served, or the new head, or a new limit; holds one
}

// join takes the place at the end of the line that the refused ticket t found.
// There is neither a waiter nor an error if somebody else was quicker.
func (l *Limiter) join(t ticket, most int) (*waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if most > 0 && l.line.size >= most {
		l.serve(l.bucket.Load(), l.now()) // whose turn has come may not have run yet
		if l.line.size >= most {
			return nil, ErrFull
		}
	}
	if !t.bucket.tat.CompareAndSwap(t.tat, t.next) {
		return nil, nil
	}
	w := &waiter{units: t.units(), wake: make(chan struct{}, 1)}
	l.line.push(w, t.next)
	return w, nil
}

// stand waits in the line until the turn has come or ctx ends.
func (l *Limiter) stand(ctx context.Context, w *waiter) error {
	var timer *time.Timer
	var alarm <-chan time.Time
	for {
		turn, served := l.look(w)
		if served {
			return nil
		}
		if turn > 0 && timer == nil {
			timer = time.NewTimer(turn)
			defer timer.Stop()
			alarm = timer.C
		} else if turn > 0 {
			timer.Reset(turn)
		}
		select {
		case <-alarm:
		case <-w.wake:
		case <-ctx.Done():
			if l.leave(w) {
				return contextError(ctx)
			}
			return nil
		}
	}
}

// look serves whose turn has come, and returns whether that is so for w, and how
// long it is until then if w is the head.
func (l *Limiter) look(w *waiter) (turn time.Duration, served bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, now := l.bucket.Load(), l.now()
	l.serve(b, now)
	if !w.served && l.line.head == w {
		turn = max(1, time.Duration(b.when(w.run.start+w.units-b.depth)-now))
	}
	return turn, w.served
}

// serve lets all go whose turn has come. The caller holds mu.
func (l *Limiter) serve(b *bucket, now int64) {
	v := b.clock(now - b.origin)
	served := false
	for w := l.line.head; w != nil && w.run.start+w.units-b.depth <= v; w = l.line.head {
		l.line.remove(w)
		w.run.start += w.units
		w.served, served = true, true
		w.signal()
	}
	if served {
		l.line.wakeHead()
	}
}

// leave takes a waiter out of the line, and gives its units to those behind it or
// back to the bucket. It returns false if its turn has come.
func (l *Limiter) leave(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket.Load()
	l.serve(b, l.now())
	if w.served {
		return false
	}
	wasHead := l.line.head == w
	l.line.remove(w)
	end := w.run.end
	w.run.end -= w.units
	// Where others have taken tokens behind the run, these are lost: whoever has
	// reserved a later turn counts on it.
	b.tat.CompareAndSwap(end, w.run.end)
	if wasHead {
		l.line.wakeHead()
	}
	return true
}

// push puts a waiter at the end of the line, with its span ending at end.
func (q *line) push(w *waiter, end int64) {
	w.prev = q.tail
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	if start := end - w.units; q.tail != nil && q.tail.run.end == start {
		w.run = q.tail.run
		w.run.end = end
	} else {
		w.run = &run{start, end}
	}
	q.tail = w
	q.size++
}

func (q *line) remove(w *waiter) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	q.size--
}

// move puts the line on the clock of the bucket that replaces another, and
// returns its end: full if it is empty.
func (q *line) move(from, to *bucket) (end int64) {
	end = full
	var last *run
	for w := q.head; w != nil; w = w.next {
		if w.run != last {
			last = w.run
			last.start = max(end, from.moved(last.start))
			last.end = last.start
		}
		// A far lower limit may bring the end out of range; nobody waits longer than that.
		w.units = min(mulDiv(w.units, to.cost, from.cost, true), max(0, maxAhead-last.end))
		last.end += w.units
		end = last.end
	}
	return end
}

func (q *line) wakeHead() {
	if q.head != nil {
		q.head.signal()
	}
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
