package ratelimit

import (
	"math"
	"time"
)

// The generic cell rate algorithm (ITU-T I.371, annex A) is a token bucket in
// one number, the theoretical arrival time (tat): the time at which the bucket
// will be full again. Taking a token moves it on by the time that a token takes
// to come back; there is room as long as it is no further ahead than the time
// that all tokens take. Time passing fills the bucket without any work.
//
// Nanoseconds are too coarse for that: at 10^9 a second a token takes one, and
// at 7 million a second 142.86 of them. So a meter counts in units: scale units
// pass in a nanosecond and a token takes cost of them, both whole numbers. At a
// rate of N in P nanoseconds, N units a nanosecond and P units a token are
// exact; where N is too large for the range of an int64, cost is rounded up, so
// that the rate is never above the limit, and below it by less than 0.1% at
// 10^12 a second, by less than one part in a million below 10^9.
type meter struct {
	scale int64 // units that pass in a nanosecond
	cost  int64 // units that a token takes
	depth int64 // units that all tokens of the burst take
	reach int64 // nanoseconds from the origin, either way, that fit into maxClock

	limit Limit
	burst int
}

const (
	maxClock = 1 << 60 // units from the origin, either way
	maxAhead = 1 << 59 // how far from the clock a reservation may lie
	maxDepth = 1 << 58

	// full is the tat of a bucket that has not been used: before any time.
	full = math.MinInt64 / 2
	// frozen is the tat of a bucket that has been replaced: after any time.
	frozen = math.MaxInt64 / 2
)

// newMeter returns the meter of a limit and a burst. limitName and burstName are
// what the caller calls them.
func newMeter(limit Limit, burst int, limitName, burstName string) (meter, error) {
	if err := limit.check(limitName); err != nil {
		return meter{}, err
	}
	if burst < 1 || burst > maxBurst {
		return meter{}, invalid(burstName, burst, burstBound)
	}
	fill := int64(limit.takes(int64(burst)))
	if fill > int64(maxPeriod) {
		return meter{}, invalid(burstName, burst, "as many as the limit allows in 8760h, or fewer")
	}
	g := gcd(int64(limit.Events), int64(limit.Period))
	n, p := int64(limit.Events)/g, int64(limit.Period)/g
	finest := int64(1 << 10)
	if n > p/1000 { // above a million a second a nanosecond matters
		finest = 1 << 20
	}
	scale := min(n, finest, maxDepth/fill)
	cost := mulDiv(p, scale, n, true)
	return meter{
		scale: scale,
		cost:  cost,
		depth: int64(burst) * cost,
		reach: maxClock / scale,
		limit: limit,
		burst: burst,
	}, nil
}

// need returns the units that n tokens take. n is at most the burst.
func (m *meter) need(n int) int64 { return int64(n) * m.cost }

// after returns the tat after units more are taken, and whether there is room
// for them at clock v.
func (m *meter) after(tat, v, units int64) (next int64, ok bool) {
	next = max(tat, v) + units
	return next, next-m.depth <= v
}

// tokens returns how many whole tokens the bucket holds.
func (m *meter) tokens(tat, v int64) int {
	return int(max(0, v+m.depth-max(tat, v)) / m.cost)
}

// nanos returns how long it is until the clock has moved on by units, rounded up.
func (m *meter) nanos(units int64) time.Duration {
	if units <= 0 {
		return 0
	}
	return time.Duration((units + m.scale - 1) / m.scale)
}

// A ticket is what an attempt to take tokens found and did.
type ticket struct {
	bucket    *bucket // of a Limiter
	tat, next int64   // the state before, and after if taken
	v         int64   // when, on the meter's clock
	outcome   outcome
}

type outcome uint8

const (
	refused   outcome = iota // no room
	taken                    // moved tat to next
	idle                     // nothing asked for, nothing taken
	overBurst                // never room
)

// try returns the ticket of an attempt to take n tokens; if it is taken, the tat
// has yet to become next.
func (m *meter) try(tat, v int64, n int) ticket {
	if uint(n-1) >= uint(m.burst) {
		return ticket{tat: tat, next: tat, v: v, outcome: edge(n)}
	}
	t := ticket{tat: tat, v: v}
	var room bool
	if t.next, room = m.after(tat, v, m.need(n)); room {
		t.outcome = taken
	}
	return t
}

// edge returns the outcome of asking for what a bucket never gives or always does.
func edge(n int) outcome {
	if n <= 0 {
		return idle
	}
	return overBurst
}

// units returns what the ticket took.
func (t *ticket) units() int64 { return t.next - max(t.tat, t.v) }

// decision is the answer that a ticket stands for.
func (m *meter) decision(t *ticket) Decision {
	d := Decision{Allowed: t.outcome == taken || t.outcome == idle, Limit: m.limit, Burst: m.burst}
	switch t.outcome {
	case taken:
		d.Remaining = m.tokens(t.next, t.v)
		return d
	case refused:
		d.RetryAfter = m.nanos(t.next - m.depth - t.v)
	case overBurst:
		d.RetryAfter = Never
	}
	d.Remaining = m.tokens(t.tat, t.v)
	return d
}

// backTo returns the tat after a ticket is refunded at clock v; tat itself, or
// more, if nothing may be given back.
func (m *meter) backTo(tat int64, t *ticket, v int64) int64 {
	v = max(v, t.v) // not before it was taken
	switch units := t.units(); {
	case tat-m.depth > v && tat == t.next: // the latest promise
		return tat - units
	case tat-m.depth > v: // somebody has been promised a later turn
		return tat
	default:
		// That tat is t.next does not say that this is the latest: others may have
		// given back and taken as much since.
		//
		// What has come back by itself since may have been used by others already,
		// so all of it counts as this ticket's. Then what all tickets together
		// could give back is never more than what the bucket lacks.
		return tat - min(units, units-(v-t.v))
	}
}

// rescale returns where a tat belongs on another meter's clock, so that the
// number of tokens that are lacking stays the same. v and w are the same moment
// on the two clocks.
func (m *meter) rescale(tat, v int64, to *meter, w int64) int64 {
	lacking := tat - v
	switch {
	case tat == full: // and only then: a bucket that was used has a past
		return full
	case lacking < 0:
		return w - min(maxClock, mulDiv(-lacking, to.cost, m.cost, false))
	}
	return w + min(maxAhead, mulDiv(lacking, to.cost, m.cost, true))
}
