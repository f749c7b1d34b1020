package ratelimit

import (
	"sync/atomic"
	"time"
)

// A Reservation is a promise of a Limiter: that the event it was made for may
// happen after its delay. Whoever made it waits that long, or calls Cancel.
// Its methods are safe for concurrent use.
type Reservation struct {
	limiter  *Limiter
	ticket   ticket
	at       int64 // when to act, on the limiter's clock
	ok       bool
	canceled atomic.Bool
}

// Reserve reserves one token, for now or for later. It never blocks.
func (l *Limiter) Reserve() *Reservation { return l.reserve(l.now(), 1) }

// ReserveN reserves n tokens at the time now, for now or for later. It never
// blocks. The reservation is not OK if n is more than the burst, or if its turn
// would be further ahead than the limiter plans: 9 minutes at limits above a
// million a second, 6 days below. For n of 0 or less it is for now.
func (l *Limiter) ReserveN(now time.Time, n int) *Reservation { return l.reserve(l.at(now), n) }

func (l *Limiter) reserve(now int64, n int) *Reservation {
	for {
		t, ok := l.take(now, n)
		r := &Reservation{limiter: l, ticket: t, at: now, ok: ok}
		if ok || t.outcome == overBurst || t.tooFar() {
			return r
		}
		if t.bucket.tat.CompareAndSwap(t.tat, t.next) {
			r.ticket.outcome, r.ok = taken, true
			r.at = t.bucket.when(t.next - t.bucket.depth)
			return r
		}
	}
}

// tooFar reports whether a turn behind all that is promised would be out of the
// meter's range.
func (t *ticket) tooFar() bool { return t.next-t.bucket.depth-t.v > maxAhead }

// OK reports whether the tokens are reserved. If not, there is nothing to wait
// for and nothing to cancel.
func (r *Reservation) OK() bool { return r.ok }

// Delay returns how long to wait from now on before acting; 0 if there is nothing
// to wait for, and Never if the reservation is not OK.
func (r *Reservation) Delay() time.Duration { return r.delay(r.limiter.now()) }

// DelayFrom is Delay from the time now on.
func (r *Reservation) DelayFrom(now time.Time) time.Duration { return r.delay(r.limiter.at(now)) }

func (r *Reservation) delay(now int64) time.Duration {
	if !r.ok {
		return Never
	}
	return time.Duration(max(0, r.at-now))
}

// Cancel says that the event will not happen, and gives back as many of its
// tokens as nobody else counts on. That is all of them for the latest
// reservation before its turn. If others have been promised a later turn, they
// keep it, and it is none; otherwise it is what cannot have come back by itself
// since. Only the first Cancel counts.
func (r *Reservation) Cancel() { r.cancel(0, true) }

// CancelAt is Cancel at the time now, which must not be before the times that the
// limiter has been told already: what came back until then would be given twice.
func (r *Reservation) CancelAt(now time.Time) { r.cancel(r.limiter.at(now), false) }

func (r *Reservation) cancel(now int64, live bool) {
	if r.ok && !r.canceled.Swap(true) {
		r.limiter.refund(r.ticket, now, live)
	}
}

// refund gives back what may be given back of a ticket. A ticket of a bucket
// that has been replaced moves on to its successor as the tat did. If live is
// set, the time is read once the tat is known: a reading from before could be
// older than the takings in it.
func (l *Limiter) refund(t ticket, now int64, live bool) {
	if t.outcome != taken {
		return
	}
	for {
		b := t.bucket
		tat := b.tat.Load()
		if tat == frozen {
			l.mu.Lock() // whoever froze it has now said where it went
			if l.shut(b); b.next != nil {
				t = t.moved()
			}
			l.mu.Unlock()
			continue
		}
		if live {
			now = l.now()
		}
		back := b.backTo(tat, &t, b.clock(now-b.origin))
		if back >= tat || b.tat.CompareAndSwap(tat, back) {
			return
		}
	}
}

// moved returns the ticket in the terms of the next bucket.
func (t ticket) moved() ticket {
	b := t.bucket
	units := mulDiv(t.units(), b.next.cost, b.cost, false)
	end := b.moved(t.next)
	return ticket{b.next, end - units, end, b.moved(t.v), taken}
}
