package ratelimit

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// A Limit is a rate: so many events in a period. It says nothing about how they
// are spread; that is the burst's part. It is made with Per, or as a literal.
type Limit struct {
	// Events is how many events a Period allows: at least 1, and at most 1,000
	// for each nanosecond of it.
	Events int
	// Period is the time in which they may happen: 1 ns to 365 days. Per(100,
	// time.Second) and Per(6000, time.Minute) are the same limit for a Limiter,
	// and two different ones for a Window.
	Period time.Duration
}

// Per returns the limit of n events in each period. It checks nothing: New and
// the other constructors do.
func Per(n int, period time.Duration) Limit { return Limit{n, period} }

// String returns the limit as "100 per 1s".
func (l Limit) String() string { return fmt.Sprintf("%d per %v", l.Events, l.Period) }

// A Decision is the answer of a limiter with all that a caller may want to tell
// its client.
type Decision struct {
	// Allowed says whether the tokens were taken.
	Allowed bool
	// Remaining is how many tokens are left: what could be taken at once now.
	Remaining int
	// RetryAfter is when the same tokens would be allowed if nobody takes any in
	// between: 0 if they were, and Never if they are more than the burst.
	RetryAfter time.Duration
	// Limit and Burst are the ones that were applied.
	Limit Limit
	Burst int
	// Policy is the name of what was applied, from the configuration; "" for a
	// limiter without a name.
	Policy string
}

// Never is the RetryAfter of what will not be allowed at any time.
const Never = time.Duration(math.MaxInt64)

const (
	maxPeriod   = 365 * 24 * time.Hour
	maxPerNano  = 1000 // events in a nanosecond: 10^12 a second
	maxBurst    = math.MaxInt32
	eventsBound = "from 1 to 1000 for each nanosecond of Period"
	periodBound = "from 1ns to 8760h"
	burstBound  = "from 1 to 2^31-1"
)

// check returns what is wrong with the limit, which is the field named name.
func (l Limit) check(name string) error {
	if l.Period < 1 || l.Period > maxPeriod {
		return invalid(name+".Period", l.Period, periodBound)
	}
	if l.Events < 1 || (int64(l.Events)-1)/maxPerNano >= int64(l.Period) {
		return invalid(name+".Events", l.Events, eventsBound)
	}
	return nil
}

// in returns how many events of the limit fit into d, rounded down.
func (l Limit) in(d time.Duration) int64 {
	return mulDiv(int64(d), int64(l.Events), int64(l.Period), false)
}

// takes returns how long n events take at the limit, rounded up.
func (l Limit) takes(n int64) time.Duration {
	return time.Duration(mulDiv(n, int64(l.Period), int64(l.Events), true))
}

// mulDiv returns a*b/c, rounded down or up, without overflow in between. None may
// be negative, and c not 0; what does not fit is math.MaxInt64.
func mulDiv(a, b, c int64, up bool) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if up {
		var carry uint64
		lo, carry = bits.Add64(lo, uint64(c)-1, 0)
		hi += carry
	}
	if hi >= uint64(c) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(min(q, math.MaxInt64))
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
