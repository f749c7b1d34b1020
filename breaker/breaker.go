package breaker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/stripe"
)

// State is what a Breaker does with calls.
type State uint8

// The states of a Breaker.
const (
	Closed   State = iota // lets every call through and watches the results
	Open                  // rejects every call
	HalfOpen              // lets a few calls through, to find out
)

// String returns "closed", "open" or "half-open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// MarshalText returns String, for JSON and the like.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Mode is whether a Breaker acts on what it sees.
type Mode uint8

// The modes of a Breaker.
const (
	Automatic   Mode = iota // opens and closes by itself
	ForceOpen               // open until the mode is changed
	ForceClosed             // closed until the mode is changed: counts calls, judges none
	MetricsOnly             // opens and closes by itself, but lets every call through: a trial run
)

func (m Mode) valid() bool { return m <= MetricsOnly }

// String returns "automatic", "force-open", "force-closed" or "metrics-only".
func (m Mode) String() string {
	switch m {
	case Automatic:
		return "automatic"
	case ForceOpen:
		return "force-open"
	case ForceClosed:
		return "force-closed"
	case MetricsOnly:
		return "metrics-only"
	}
	return "Mode(" + strconv.Itoa(int(m)) + ")"
}

// MarshalText returns String, for JSON and the like.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// A Breaker stops calls to a service that fails, and finds out when it has
// recovered. Make one with New, for each service or host, and share it; all
// methods are safe for concurrent use. It owns no goroutine and no timer, and
// need not be closed: when an open time is over, the next call notices.
//
// A successful call through a closed Breaker without a window reads one pointer
// twice and writes nothing that it shares with others: it takes no lock, reads no
// clock and allocates nothing, however many goroutines call.
type Breaker struct {
	current atomic.Pointer[generation]

	config *Config
	name   string
	epoch  time.Time // where the breaker's clock begins
	counts counters
	shadow *generation // takes the calls that MetricsOnly lets through all the same
	log    *changeLog

	mu       sync.Mutex
	random   rand.PCG // guarded by mu
	reopened int      // openings since the one that followed Closed; guarded by mu
	opened   uint64   // openings altogether; guarded by mu
}

// New returns a closed Breaker, or an error that names each field of the
// configuration that is out of bounds.
func New(config Config) (*Breaker, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	return newBreaker(c, c.Name, c.Seed, stripe.Count(), &changeLog{}), nil
}

// newBreaker makes a breaker from a complete configuration, which it may share.
func newBreaker(c *Config, name string, seed uint64, stripes int, log *changeLog) *Breaker {
	b := &Breaker{
		config: c,
		name:   name,
		epoch:  time.Now().Add(-1), // the clock never shows 0, which stands for no time
		counts: counters{cells: make([]countCell, stripes)},
		log:    log,
	}
	b.shadow = &generation{breaker: b, state: Open}
	if seed == 0 {
		seed = rand.Uint64()
	}
	b.random.Seed(seed, 0)
	state := Closed
	if c.Mode == ForceOpen {
		state = Open
	}
	b.current.Store(b.newGeneration(1, state, c.Mode, b.now()))
	return b
}

// now returns the nanoseconds on the breaker's clock, which is monotonic: a wall
// clock that jumps does not move it. It is above 0.
func (b *Breaker) now() int64 { return int64(time.Since(b.epoch)) }

// at returns the time that belongs to a reading of the breaker's clock.
func (b *Breaker) at(now int64) time.Time { return b.epoch.Add(time.Duration(now)) }

// Name returns the name from the configuration.
func (b *Breaker) Name() string { return b.name }

// Acquire returns the permit of one call, for use where Do does not fit. The
// error is an *OpenError, or that of a ctx that has ended. It never waits.
func (b *Breaker) Acquire(ctx context.Context) (Permit, error) {
	if ctx.Err() != nil {
		return Permit{}, contextError(ctx)
	}
	g := b.current.Load()
	if g.state != Closed {
		return b.acquireNotClosed(g)
	}
	p := Permit{owner: g, classify: b.config.Classify}
	if b.config.SlowAfter > 0 {
		p.start = b.now()
	}
	return p, nil
}

// acquireNotClosed rejects a call while the breaker is open, without a lock, and
// otherwise makes the change of state that may be due.
func (b *Breaker) acquireNotClosed(g *generation) (Permit, error) {
	now := b.now()
	if g.state == HalfOpen || now >= g.until {
		b.mu.Lock()
		g = b.settle(now)
		admitted := g.state == Closed || g.state == HalfOpen && g.admitProbe(now)
		b.mu.Unlock()
		if admitted {
			return Permit{owner: g, classify: b.config.Classify, start: now}, nil
		}
	}
	b.counts.add(countRejected)
	if g.mode == MetricsOnly {
		return Permit{owner: b.shadow, classify: b.config.Classify, start: now}, nil
	}
	return Permit{}, g.rejection
}

// State returns the state that a call made now would meet: an open time that is
// over shows as HalfOpen. In MetricsOnly it is the state that the breaker would
// be in.
func (b *Breaker) State() State {
	if g := b.current.Load(); g.state == Closed {
		return Closed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settle(b.now()).state
}

// Mode returns the mode.
func (b *Breaker) Mode() Mode { return b.current.Load().mode }

// SetMode switches the breaker by hand. Every switch begins a new generation:
// open for ForceOpen, otherwise closed, with an empty window and the first open
// time next. So SetMode(Automatic) resets a breaker, also one that is automatic
// already. What calls of an earlier generation report is counted, and changes
// nothing. The error says that there is no such mode.
func (b *Breaker) SetMode(m Mode) error {
	if !m.valid() {
		return fmt.Errorf("breaker: no %v: the modes are %v to %v", m, Automatic, MetricsOnly)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.settle(now)
	state := Closed
	if m == ForceOpen {
		state = Open
	}
	b.enter(state, m, now, CauseForced)
	return nil
}

// Stats is a snapshot of a Breaker. The totals count from New on; they are read
// one by one while calls go on, so they may differ by the calls of that moment.
type Stats struct {
	State State // as State returns it
	Mode  Mode  // as Mode returns it
	// Generation counts the states, the first being 1.
	Generation uint64
	// Opened is how often the breaker has opened, by itself or by force.
	Opened uint64
	// RetryAfter is how long an open breaker stays so; 0 if it is not open, or
	// forced open.
	RetryAfter time.Duration

	// Totals of the outcomes of all calls that ran; Successes stays 0 unless
	// Config.CountSuccesses is set.
	Successes, Failures, Ignored uint64
	// Slow is how many calls took longer than SlowAfter, whatever their outcome.
	Slow uint64
	// Rejected is how many calls were rejected; in MetricsOnly, would have been.
	Rejected uint64
	// Late is how many calls, counted above as well, ended after the state in
	// which they began, so that their outcome changed nothing.
	Late uint64

	// Consecutive is how many calls in a row have failed, while closed and if
	// that is a condition.
	Consecutive int
	// What the window holds, while closed: all calls, those that failed, and
	// those that were slow.
	WindowCalls, WindowFailures, WindowSlow int
}

// Stats returns a snapshot.
func (b *Breaker) Stats() Stats {
	b.mu.Lock()
	now := b.now()
	g := b.settle(now)
	s := Stats{State: g.state, Mode: g.mode, Generation: g.number, Opened: b.opened}
	b.mu.Unlock()

	if g.state == Open && g.mode != ForceOpen {
		s.RetryAfter = time.Duration(g.until - now)
	}
	s.Successes = b.counts.sum(countSuccess)
	s.Failures = b.counts.sum(countFailure)
	s.Ignored = b.counts.sum(countIgnored)
	s.Slow = b.counts.sum(countSlow)
	s.Rejected = b.counts.sum(countRejected)
	s.Late = b.counts.sum(countLate)
	s.Consecutive = int(g.failures.Load())
	if g.window != nil {
		t := g.window.tally(now)
		s.WindowCalls, s.WindowFailures, s.WindowSlow = int(t.calls), int(t.failures), int(t.slow)
	}
	return s
}

// Changes returns the changes of state from this call on, in order; see Change.
// The loop waits for the next one, and ends with ctx. The loop body runs on the
// loop's goroutine and outside all locks: it may do anything, also with the
// breaker, and calls never wait for it.
func (b *Breaker) Changes(ctx context.Context) iter.Seq[Change] { return b.log.changes(ctx) }

// judge is the default classification of an error: a call that some guard
// rejected further down did not reach the service, and one that the service
// refused for its number says nothing about its health.
func (g *generation) judge(err error) Outcome {
	if status, ok := err.(statusError); ok && status == http.StatusTooManyRequests || errors.Is(err, ErrRejected) {
		return Ignored
	}
	return Failure
}

// lasts is false: how the call went shows in its beginning.
func (g *generation) lasts() bool { return false }
