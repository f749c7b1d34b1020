package sim

import (
	"fmt"
	"time"

	"github.com/parley-go/parley/internal/event"
	"github.com/parley-go/parley/transport"
)

// Config sets up a World. Its zero value is a good default: a network with small
// even delays and no faults.
type Config struct {
	// Seed decides every draw of the run. 0 stands for the flag -sim.seed, which
	// is 1 unless it is given.
	Seed uint64
	// Faults of every link between two different nodes, until Link.Set. A node
	// reaches itself at once and without faults.
	Faults Faults
	// Queue bounds, per directed link, the one-way messages that are on the way
	// or wait for their handler, and likewise the calls in flight. One more is
	// answered with transport.ErrOverflow. Default 16,384; 1 to 1<<20.
	Queue int
	// MaxMessage is the largest body in bytes. Default
	// transport.DefaultMaxMessage; 1 to 1<<30.
	MaxMessage int
	// Limit is the virtual time after which a run fails: all nodes crash then,
	// so that whoever waits for one goes on. A run that still goes on at twice
	// the limit panics, which shows where. Default 1 hour; at least 1 ms.
	Limit time.Duration
	// Trace is the number of last events that are kept, and shown when the test
	// fails. The hash covers all. Default 100; 1 to 1<<24.
	Trace int
}

// Faults says what a directed link does to what is sent on it. The zero value is
// a link with the usual delay that loses nothing.
//
// For messages, Drop and Delay stay within what transport.Transport promises.
// Duplicate and Reorder break its "once and in order", for protocols that claim
// to survive that. A dropped request or response leaves its Call waiting for the
// end of its context; a duplicated request runs its handler twice. A connection
// (see Transport.DialContext) never loses, repeats or reorders bytes: a dropped
// segment comes late, after a retransmission.
type Faults struct {
	// Drop is the chance of a message to be lost, from 0 to 1.
	Drop float64
	// Duplicate is the chance of a message to arrive a second time, after
	// another Delay, from 0 to 1.
	Duplicate float64
	// Reorder is the chance of a message to be held back by another Delay, at
	// least 1 ms, while those after it go on, from 0 to 1.
	Reorder float64
	// Delay is the time on the way. Default: that of Config.Faults, and there
	// Uniform(500us, 2ms).
	Delay Delay
	// Bandwidth in bytes a second: what is sent waits until what was sent before
	// has left. Default 0: no limit.
	Bandwidth int64
}

// A Delay is a distribution of times, given by its quantiles: it is called with
// numbers evenly spread over [0, 1), and must be a pure function. Results are
// taken into the bounds 0 and 24 h.
type Delay func(u float64) time.Duration

// Constant returns the Delay that is always d.
func Constant(d time.Duration) Delay { return event.Constant(d) }

// Uniform returns the Delay that is even between low and high. A high below low
// counts as low.
func Uniform(low, high time.Duration) Delay { return event.Uniform(low, high) }

// Exponential returns the Delay of low plus an exponential distribution with the
// given mean: mostly short, at times long.
func Exponential(low, mean time.Duration) Delay { return event.Exponential(low, mean) }

// LogNormal returns the Delay with the given median whose logarithm has the
// standard deviation sigma: the long tail of real networks. With sigma 0.5 one in
// a hundred takes more than 3.2 times the median, with 1 more than 10 times.
func LogNormal(median time.Duration, sigma float64) Delay { return event.LogNormal(median, sigma) }

// withDefaults returns c with its defaults in place, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	for _, f := range []struct {
		name                string
		value               *int
		preset, least, most int
	}{
		{"Queue", &c.Queue, 1 << 14, 1, 1 << 20},
		{"MaxMessage", &c.MaxMessage, transport.DefaultMaxMessage, 1, 1 << 30},
		{"Trace", &c.Trace, 100, 1, 1 << 24},
	} {
		if *f.value == 0 {
			*f.value = f.preset
		}
		if *f.value < f.least || *f.value > f.most {
			return c, fmt.Errorf("sim: Config.%s is %d: it is from %d to %d", f.name, *f.value, f.least, f.most)
		}
	}
	if c.Limit == 0 {
		c.Limit = time.Hour
	}
	if c.Limit < time.Millisecond {
		return c, fmt.Errorf("sim: Config.Limit is %v: it is at least 1ms", c.Limit)
	}
	if c.Faults.Delay == nil {
		c.Faults.Delay = Uniform(500*time.Microsecond, 2*time.Millisecond)
	}
	if err := c.Faults.internal(nil).Validate(); err != nil {
		return c, fmt.Errorf("sim: Config: %w", err)
	}
	if c.Seed == 0 {
		c.Seed = *seedFlag
	}
	return c, nil
}

// summary returns what f says in numbers, for the trace.
func (f Faults) summary() string {
	return fmt.Sprintf("drop=%v duplicate=%v reorder=%v bandwidth=%d", f.Drop, f.Duplicate, f.Reorder, f.Bandwidth)
}

// internal returns f as the event loop knows it, with a default for Delay.
func (f Faults) internal(delay Delay) event.Faults {
	if f.Delay != nil {
		delay = f.Delay
	}
	return event.Faults{
		Drop: f.Drop, Duplicate: f.Duplicate, Reorder: f.Reorder,
		Delay: delay, Bandwidth: f.Bandwidth,
	}
}
