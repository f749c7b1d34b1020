package vclock

import (
	"sync/atomic"
	"time"
)

// DefaultMaxOffset is the MaxOffset of a zero HybridConfig.
const DefaultMaxOffset = 500 * time.Millisecond

// HybridConfig sets up a Hybrid or a Durable. Every value is valid; the zero value
// is a good default.
type HybridConfig struct {
	// MaxOffset is how far the time of a remote stamp may be ahead of this
	// machine's. Nothing else keeps one wrong clock from dragging all others
	// along, for good. Too small, it refuses honest peers: it must be above the
	// largest difference between two machines' clocks. 0 and below mean
	// DefaultMaxOffset; parts of a microsecond count as a whole one. Stamps
	// beyond the year 2111 are refused whatever it says.
	MaxOffset time.Duration

	// Now reads the time of day; nil means time.Now. It is called from every
	// goroutine that uses the clock, without a lock.
	Now func() time.Time
}

// Hybrid is a hybrid logical clock: its stamps respect cause and effect like
// Lamport's, and stay close to the time of day. They always rise: when the
// machine's clock stands still or is set back, the last stamp is counted on from.
//
// It lives as long as the process does. A restart on a clock that was set back
// meanwhile begins below the stamps of before; where that matters, use Durable.
//
// Two nodes may make the same stamp: a total order compares their names next.
// A Hybrid is safe for concurrent use, never blocks, and must not be copied.
//
// The source is Kulkarni et al., "Logical Physical Clocks", 2014.
type Hybrid struct {
	last      atomic.Uint64 // the highest stamp issued
	maxOffset int64         // in microseconds
	now       func() time.Time
}

// NewHybrid returns a clock that has seen nothing.
func NewHybrid(config HybridConfig) *Hybrid {
	h := new(Hybrid)
	h.configure(0, config)
	return h
}

// configure makes h a clock whose stamps are above last. Beyond the last reading
// there is no last that a clock has issued, and no room to go on from.
func (h *Hybrid) configure(last Stamp, config HybridConfig) {
	h.now = config.Now
	if h.now == nil {
		h.now = time.Now
	}
	offset := config.MaxOffset
	if offset <= 0 {
		offset = DefaultMaxOffset
	}
	h.maxOffset = int64((offset-1)/time.Microsecond) + 1
	h.last.Store(uint64(min(last, microStamp(lastMicro))))
}

// Now returns the stamp of a new event here, such as a write or the sending of
// a message. It is above every stamp that this clock has issued or observed.
func (h *Hybrid) Now() Stamp {
	reading := h.read()
	for {
		last := h.last.Load()
		next := max(uint64(reading), last+1)
		if h.last.CompareAndSwap(last, next) {
			return Stamp(next)
		}
	}
}

// Observe returns the stamp of the receipt of a message that was sent at remote.
// It is above remote and above every stamp that this clock has issued or
// observed. A stamp too far ahead is refused with an *OffsetError, and the clock
// stays as it was: drop the message, for to use it would break the order.
func (h *Hybrid) Observe(remote Stamp) (Stamp, error) {
	reading := h.read()
	if err := h.check(remote, reading); err != nil {
		return 0, err
	}
	for {
		last := h.last.Load()
		next := max(uint64(reading), last+1, uint64(remote)+1)
		if h.last.CompareAndSwap(last, next) {
			return Stamp(next), nil
		}
	}
}

// Ahead returns how far the clock is in front of this machine's time, or 0 if it
// is not: after the time was set back, or while a peer is ahead. When it is more
// than the MaxOffset of the peers, they refuse our stamps.
func (h *Hybrid) Ahead() time.Duration {
	return offset(Stamp(h.last.Load()), h.read())
}

// check refuses a stamp that is too far ahead of a reading.
func (h *Hybrid) check(remote, reading Stamp) error {
	limit := microStamp(reading.micro() + h.maxOffset)
	if remote.micro() <= limit.micro() {
		return nil
	}
	return &OffsetError{
		Remote:    remote,
		Offset:    offset(remote, reading),
		MaxOffset: offset(limit, reading),
	}
}

// offset returns how far s is ahead of a reading, or 0. It cannot run over: all
// stamps together span 142 years.
func offset(s, reading Stamp) time.Duration {
	return time.Duration(max(s.micro()-reading.micro(), 0)) * time.Microsecond
}

func (h *Hybrid) read() Stamp { return microStamp(h.now().UnixMicro()) }
