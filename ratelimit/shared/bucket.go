package shared

import (
	"math"
	"math/bits"
	"time"

	"github.com/parley-go/parley/ratelimit"
)

// A rate is how fast tokens come back: events in period nanoseconds.
type rate struct{ events, period uint64 }

// rateOf returns the rate of a limit that is divided into equal parts.
func rateOf(limit ratelimit.Limit, parts int) rate {
	hi, lo := bits.Mul64(uint64(limit.Period), uint64(parts))
	if hi != 0 || lo > math.MaxInt64 {
		lo = math.MaxInt64
	}
	return rate{uint64(limit.Events), lo}
}

// takes returns how long n tokens take to come back, less what has come back of
// the first one, rounded up.
func (r rate) takes(n int64, done uint64) time.Duration {
	if n <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), r.period)
	lo, borrow := bits.Sub64(lo, done, 0)
	hi -= borrow
	lo, carry := bits.Add64(lo, r.events-1, 0)
	hi += carry
	if hi >= r.events {
		return math.MaxInt64
	}
	d, _ := bits.Div64(hi, lo, r.events)
	return time.Duration(min(d, math.MaxInt64))
}

// A bucket holds whole tokens and, exactly, the part of the next one that has
// come back: no rounding adds up, at any rate.
type bucket struct {
	tokens int64
	part   uint64        // of a token, in 1/period
	at     time.Duration // when this was so
}

// fill adds what has come back until now, to at most size tokens. A time before
// the last one changes nothing.
func (b *bucket) fill(now time.Duration, r rate, size int64) {
	elapsed := now - b.at
	if elapsed > 0 {
		b.at = now
	} else {
		elapsed = 0
	}
	if b.tokens >= size {
		b.tokens, b.part = size, 0
		return
	}
	hi, lo := bits.Mul64(uint64(elapsed), r.events)
	lo, carry := bits.Add64(lo, min(b.part, r.period-1), 0)
	hi += carry
	if hi >= r.period {
		b.tokens, b.part = size, 0
		return
	}
	n, part := bits.Div64(hi, lo, r.period)
	if n >= uint64(size-b.tokens) {
		b.tokens, b.part = size, 0
		return
	}
	b.tokens, b.part = b.tokens+int64(n), part
}

// newBucket returns the bucket of a key that nothing is known of: empty at a time
// before which others may have granted its tokens, or full if that is forgiven.
func newBucket(from time.Duration, size int64, forgive bool) bucket {
	b := bucket{at: from}
	if forgive {
		b.tokens = size
	}
	return b
}

// forgettable reports whether a new bucket would be just like this one, or hold
// less.
func (b *bucket) forgettable(now, from time.Duration, r rate, size int64, forgive bool) bool {
	fresh := newBucket(from, size, forgive)
	fresh.fill(now, r, size)
	b.fill(now, r, size)
	return b.tokens > fresh.tokens || b.tokens == fresh.tokens && b.part >= fresh.part
}

// wait returns how long it is until there are n tokens.
func (b *bucket) wait(n int64, r rate) time.Duration {
	return r.takes(n-b.tokens, b.part)
}
