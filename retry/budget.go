package retry

import (
	"cmp"
	"math"
	"sync/atomic"
	"time"
)

// A Budget bounds the retries and hedges of all calls that share it, so that
// they cannot multiply the load on a service in trouble. They may be a ratio of
// the calls, or, where calls are few, a fixed number a second, whichever is
// more. It is safe for concurrent use and made by [NewBudget].
//
// Counted from its making, it lets pass at most
//
//	Ratio * calls + Floor * seconds + max(Floor, 1)
//
// This holds exactly, with any number of goroutines. In the long run it is the
// larger of the first two terms and not their sum, for what the ratio pays for
// is taken off the floor, too. However long nothing was retried, no more than
// about the larger of Burst and Floor pass at once.
//
// Each Do, each Hedge and each request of a RoundTripper is one call. Where one
// runs inside another with the same budget, both count.
//
// Cost: a call 2 to 10 ns and a retry about 60 ns, without allocation.
type Budget struct {
	balance  atomic.Int64 // what the ratio has earned, in units; 0..capacity
	earned   int64        // units for each call
	capacity int64        // Burst, in units
	allowed  atomic.Uint64
	denied   atomic.Uint64
	base     time.Time    // the clock of the floor starts here
	paid     atomic.Int64 // until when the floor is used up, in ns after base (GCRA)
	interval int64        // ns for each retry of the floor; 0 without one
	depth    int64        // retries that the floor saves up
}

// BudgetConfig configures a [Budget]. The zero value allows one retry for every
// ten calls, saves up ten, and always one a second.
type BudgetConfig struct {
	// Ratio is how many retries each call earns. Default 0.1; bounds above 0,
	// to 10. More mends more failures and amplifies an outage more: the load
	// grows to 1+Ratio times at most.
	Ratio float64
	// Burst is how many earned retries are saved up for a bad moment. Default
	// 10; bounds 1 to 1e6.
	Burst int
	// Floor is how many retries a second are allowed even if there are too few
	// calls to earn them. A second's worth is saved up. Default 1; bounds above
	// 0, to 1e6. It holds for each Budget: a thousand processes have a thousand
	// floors.
	Floor float64
	// DisableFloor makes the ratio the only source.
	DisableFloor bool
}

// unit is one retry in the fixed point of Budget.balance: Burst takes 20 bits,
// and the ratio is exact to 2^-32.
const unit = 1 << 32

const maxFloor = 1e6

// NewBudget returns a budget that has earned nothing yet and whose floor is
// full, or an ErrInvalid.
func NewBudget(c BudgetConfig) (*Budget, error) {
	switch {
	case c.Ratio != 0 && !(c.Ratio > 0 && c.Ratio <= 10):
		return nil, invalid("BudgetConfig.Ratio", c.Ratio, "above 0, to 10, or 0 for 0.1")
	case c.Burst < 0 || c.Burst > 1e6:
		return nil, invalid("BudgetConfig.Burst", c.Burst, "1 to 1e6, or 0 for 10")
	case c.Floor != 0 && !(c.Floor > 0 && c.Floor <= maxFloor):
		return nil, invalid("BudgetConfig.Floor", c.Floor, "above 0, to 1e6, or 0 for 1")
	}
	c.Ratio, c.Burst, c.Floor = cmp.Or(c.Ratio, 0.1), cmp.Or(c.Burst, 10), cmp.Or(c.Floor, 1)
	b := &Budget{
		earned:   int64(math.Ceil(c.Ratio * unit)), // up: ten calls at 0.1 earn one whole retry
		capacity: int64(c.Burst) * unit,
		base:     time.Now(),
	}
	if !c.DisableFloor {
		// Rounded up, so that the floor is never exceeded.
		b.interval = int64(math.Ceil(min(float64(time.Second)/c.Floor, float64(maxInterval))))
		b.depth = int64(max(c.Floor, 1))
		b.paid.Store(math.MinInt64) // full, whatever the first time will be
	}
	return b, nil
}

// maxInterval is what a floor is at least: one retry a month.
const maxInterval = 30 * 24 * time.Hour

// Deposit counts one call, which earns its part of a retry. Do, Hedge and the
// round trippers deposit by themselves; it is for those who retry by hand.
func (b *Budget) Deposit() {
	for {
		have := b.balance.Load()
		if have == b.capacity { // the usual case writes nothing
			return
		}
		if b.balance.CompareAndSwap(have, min(have+b.earned, b.capacity)) {
			return
		}
	}
}

// Allow takes one retry out of the budget. It returns false, and takes nothing,
// if there is none left.
func (b *Budget) Allow() bool { return b.AllowN(time.Now(), 1) }

// AllowN takes n retries at a time, all or none. n of 0 or less is allowed and
// takes nothing. A time before the latest one never gives back what is spent.
func (b *Budget) AllowN(now time.Time, n int) bool {
	if n <= 0 {
		return true
	}
	earned := b.withdraw(n)
	floor := b.charge(int64(now.Sub(b.base)), n, earned)
	if !earned && !floor {
		b.denied.Add(uint64(n))
		return false
	}
	b.allowed.Add(uint64(n))
	return true
}

// withdraw takes n retries from what the ratio has earned.
func (b *Budget) withdraw(n int) bool {
	if int64(n) > b.capacity/unit {
		return false
	}
	need := int64(n) * unit
	for {
		have := b.balance.Load()
		if have < need {
			return false
		}
		if b.balance.CompareAndSwap(have, have-need) {
			return true
		}
	}
}

// charge takes n retries from the floor, if it has them. If they are paid for
// already it takes what is there. It is the generic cell rate algorithm (ITU-T
// I.371): the floor is used up to the time paid, which may be depth intervals
// ahead of now.
func (b *Budget) charge(now int64, n int, alreadyPaid bool) bool {
	if b.interval == 0 || int64(n) > b.depth && !alreadyPaid {
		return false
	}
	n = int(min(int64(n), b.depth))
	now = min(now, math.MaxInt64/2) // the sums below must not overflow
	for {
		paid := b.paid.Load()
		limit := now + b.depth*b.interval
		next := max(paid, now) + int64(n)*b.interval
		if next > limit {
			if !alreadyPaid {
				return false
			}
			next = max(limit, paid)
		}
		if b.paid.CompareAndSwap(paid, next) {
			return true
		}
	}
}

// BudgetStats is what a [Budget] has done since it was made.
type BudgetStats struct {
	Allowed uint64  // retries and hedges let pass
	Denied  uint64  // retries and hedges refused
	Balance float64 // retries that the ratio has earned and that are not used
}

// Stats returns the counts. Each is right by itself; together they may be of
// slightly different moments.
func (b *Budget) Stats() BudgetStats {
	return BudgetStats{
		Allowed: b.allowed.Load(),
		Denied:  b.denied.Load(),
		Balance: float64(b.balance.Load()) / unit,
	}
}
