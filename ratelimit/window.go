package ratelimit

import (
	"math"
	"sync"
	"time"
)

// WindowConfig says how finely a Window counts. The zero value counts in tenths.
type WindowConfig struct {
	// Slots is how many parts the period is counted in: 1 to 1,000, 4 bytes each.
	// An event counts until the slot it fell into is a whole period old, so up to a
	// slot too long: with more slots, less of the limit is lost. Default 10.
	Slots int
}

// A Window is a sliding-window counter: in no period of the limit, wherever it
// begins, does it allow more than the limit's events. That is what contracts
// such as "at most 1,000 in any hour" say; a Limiter would allow up to its burst
// more. After the events of a period have all come at once, the next come a
// period later. All methods are safe for concurrent use; there is nothing to
// close.
//
// A call costs a reading of the clock and a lock, and allocates nothing.
type Window struct {
	limit Limit
	width int64 // nanoseconds a slot, rounded up
	epoch time.Time

	mu     sync.Mutex
	slots  []uint32 // a slot more than the period has: the one that is under way
	number int64    // of the slot under way, from the epoch
	begun  bool     // slots holds something
	sum    int64    // of slots
}

// NewWindow returns a window that has counted nothing. The error names the value
// that is out of bounds: those of New, and at most 2^32-1 events in the period.
func NewWindow(limit Limit, config WindowConfig) (*Window, error) {
	if err := limit.check("Limit"); err != nil {
		return nil, err
	}
	if int64(limit.Events) > math.MaxUint32 {
		return nil, invalid("Limit.Events", limit.Events, "at most 2^32-1 for a Window")
	}
	if config.Slots == 0 {
		config.Slots = int(min(10, limit.Period))
	}
	if config.Slots < 1 || config.Slots > 1000 || int64(config.Slots) > int64(limit.Period) {
		return nil, invalid("WindowConfig.Slots", config.Slots, "from 1 to 1000 and to the nanoseconds of the period, or 0 for 10")
	}
	return &Window{
		limit: limit,
		width: (int64(limit.Period) + int64(config.Slots) - 1) / int64(config.Slots),
		epoch: time.Now(),
		slots: make([]uint32, config.Slots+1),
	}, nil
}

// Allow counts one event and reports whether it is within the limit. It never
// waits. What is refused does not count.
func (w *Window) Allow() bool { return w.decide(int64(time.Since(w.epoch)), 1).Allowed }

// AllowN counts n events at the time now, all or none, and reports whether they
// are within the limit. A time before the latest, be that one only of a look or a
// refusal, counts as the latest. 0 events or fewer are always allowed.
func (w *Window) AllowN(now time.Time, n int) bool { return w.Decide(now, n).Allowed }

// Decide is AllowN with the whole answer. The decision's Burst is the limit's
// events. Decide(now, 0) counts nothing and tells the state.
func (w *Window) Decide(now time.Time, n int) Decision {
	return w.decide(onClock(now.Sub(w.epoch)), n)
}

func (w *Window) decide(now int64, n int) Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(now)
	d := Decision{Limit: w.limit, Burst: w.limit.Events}
	left := int64(w.limit.Events) - w.sum
	switch {
	case n <= 0:
		d.Allowed = true
	case int64(n) <= left:
		d.Allowed = true
		w.begun = true
		w.sum += int64(n)
		left -= int64(n)
		w.slots[w.place(w.number)] += uint32(n)
	case n > w.limit.Events:
		d.RetryAfter = Never
	default:
		d.RetryAfter = w.until(int64(n)-left, now)
	}
	d.Remaining = int(left)
	return d
}

// turn forgets the slots that are a period old at the time now.
func (w *Window) turn(now int64) {
	number := now / w.width
	if now < 0 && number*w.width != now {
		number-- // rounded down, before the epoch, too
	}
	if !w.begun {
		w.number = number
		return
	}
	for w.number < number {
		if w.sum == 0 {
			w.number = number
			return
		}
		w.number++
		slot := &w.slots[w.place(w.number)]
		w.sum -= int64(*slot)
		*slot = 0
	}
}

// place returns where a slot is kept.
func (w *Window) place(number int64) int {
	size := int64(len(w.slots))
	return int((number%size + size) % size)
}

// until returns how long it is until so many events are forgotten.
func (w *Window) until(missing, now int64) time.Duration {
	size := int64(len(w.slots))
	number := w.number + 1 // with its beginning the oldest slot is forgotten
	for ; number < w.number+size; number++ {
		if missing -= int64(w.slots[w.place(number)]); missing <= 0 {
			break
		}
	}
	return time.Duration(number*w.width - now)
}
