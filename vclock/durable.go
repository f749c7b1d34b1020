package vclock

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Durable is a hybrid clock whose stamps rise across restarts as well, whatever
// was done to the machine's clock meanwhile. It issues no stamp above a bound
// that has been saved before, and after a restart none below: so a stamp costs no
// write to disk, only a bound every few seconds does.
//
//	clock := vclock.NewDurable(saved, vclock.HybridConfig{}) // saved: as the last run left it
//	err := clock.Extend(5*time.Second, save)                 // at once, and then every second or so
//	stamp, err := clock.Now()
//
// A restart goes on from the bound, and so up to the ahead of the last Extend in
// front of the time. Peers refuse that while it is more than their MaxOffset. Keep
// ahead below it, or let a node that starts wait until Ahead is.
//
// It is safe for concurrent use and must not be copied.
type Durable struct {
	hybrid Hybrid
	bound  atomic.Uint64 // the highest stamp that may be issued; only rises
	saving atomic.Bool
}

// NewDurable returns a clock that goes on above saved, the last bound that the
// save of an Extend has stored, or 0 on the very first start. It issues stamps
// after the first Extend.
func NewDurable(saved Stamp, config HybridConfig) *Durable {
	d := new(Durable)
	d.hybrid.configure(saved, config)
	d.bound.Store(uint64(saved))
	return d
}

// Extend lets the clock run for a further ahead from now. It calls save with the
// new bound, and when that has returned nil, stamps up to the bound may be
// issued. save must have made it durable by then, in the place of the former
// bound: as 9 bytes by AppendBinary, say, written to a file that is synced and
// renamed. While save runs, stamps go on to be issued up to the old bound.
//
// Call it well before ahead is over; one that comes too late, or when the time
// jumps forward, is no harm but ErrBound until then. Only one Extend runs at a
// time: another one meanwhile, also from within save, returns an error at once. An
// error of save is returned as it is, and the bound stays.
func (d *Durable) Extend(ahead time.Duration, save func(bound Stamp) error) error {
	if ahead <= 0 {
		return fmt.Errorf("vclock: ahead is %v, it must be above 0", ahead)
	}
	if !d.saving.CompareAndSwap(false, true) {
		return errors.New("vclock: an Extend is under way")
	}
	defer d.saving.Store(false)
	from := max(d.hybrid.read(), Stamp(d.hybrid.last.Load()))
	// What is saved is never below what was allowed before, not even when the
	// time was set back: a crash right after must find all stamps covered.
	bound := max(microStamp(from.micro()+int64(ahead/time.Microsecond)), Stamp(d.bound.Load()))
	if err := save(bound); err != nil {
		return err
	}
	d.bound.Store(uint64(bound))
	return nil
}

// Now is Hybrid.Now, with the error ErrBound in place of a stamp above the bound.
func (d *Durable) Now() (Stamp, error) { return d.advance(0, d.hybrid.read()) }

// Observe is Hybrid.Observe, with the error ErrBound in place of a stamp above the
// bound. Nothing has been observed then.
func (d *Durable) Observe(remote Stamp) (Stamp, error) {
	reading := d.hybrid.read()
	if err := d.hybrid.check(remote, reading); err != nil {
		return 0, err
	}
	return d.advance(remote, reading)
}

// Ahead is Hybrid.Ahead.
func (d *Durable) Ahead() time.Duration { return d.hybrid.Ahead() }

func (d *Durable) advance(remote, reading Stamp) (Stamp, error) {
	for {
		last := d.hybrid.last.Load()
		next := max(uint64(reading), last+1, uint64(remote)+1)
		if bound := d.bound.Load(); next > bound {
			return 0, fmt.Errorf("%w: %v is above %v", ErrBound, Stamp(next), Stamp(bound))
		}
		if d.hybrid.last.CompareAndSwap(last, next) {
			return Stamp(next), nil
		}
	}
}
