package breaker

import (
	"math"
	"sync/atomic"
	"time"
)

// A generation is one stay of a breaker in one state, with all that is remembered
// only that long. A permit holds the generation in which its call began: if the
// breaker has moved on by the time the call ends, the result belongs to the past
// and can neither close nor open anything.
//
// The fields in the first group never change.
type generation struct {
	breaker *Breaker
	number  uint64
	state   State
	mode    Mode
	plain   bool // Closed, with nothing to do before a call or for a Classify; see doPlain

	// While Closed.
	failures atomic.Int64 // in a row, if Config.Consecutive is a condition
	window   window       // nil if it is not a condition, or nobody judges

	// While Open, and never changed: when it ends, on the breaker's clock.
	until int64

	// While Open or HalfOpen, and never changed: what rejected calls get.
	rejection *OpenError

	// While HalfOpen; guarded by Breaker.mu.
	admitted int   // probes let through, less those that were Ignored
	judged   tally // probes that have ended
	deadline int64 // when the verdict is due; 0 before the first probe
}

// newGeneration makes a generation that begins now.
func (b *Breaker) newGeneration(number uint64, state State, mode Mode, now int64) *generation {
	g := &generation{breaker: b, number: number, state: state, mode: mode}
	switch state {
	case Closed:
		g.plain = b.config.SlowAfter == 0 && b.config.Classify == nil && !b.config.CountSuccesses
		if mode != ForceClosed {
			g.window = newWindow(b.config, now)
		}
	case HalfOpen:
		g.rejection = &OpenError{Name: b.name, State: HalfOpen}
	case Open:
		g.rejection = &OpenError{Name: b.name, State: Open}
		g.until = math.MaxInt64
		if mode != ForceOpen {
			g.until = now + int64(b.drawOpenFor())
			g.rejection.Until = b.at(g.until)
		}
	}
	return g
}

// drawOpenFor returns the length of the next open time. The jitter only ever
// shortens it, so it stays under the bound.
func (b *Breaker) drawOpenFor() time.Duration {
	d := b.config.openFor(b.reopened)
	chance := float64(b.random.Uint64()>>11) / (1 << 53) // from 0 to under 1
	return d - time.Duration(b.config.Jitter*chance*float64(d))
}

// enter begins a new generation and puts it on record. The caller holds mu.
func (b *Breaker) enter(state State, mode Mode, now int64, cause Cause) {
	last := b.current.Load()
	g := b.newGeneration(last.number+1, state, mode, now)
	if state == Open {
		b.opened++
	}
	b.current.Store(g)
	b.log.add(Change{
		Name: b.name, From: last.state, To: state, Mode: mode,
		Generation: g.number, Cause: cause, At: b.at(now),
	})
}

// settle makes the changes that are due by the passing of time, and returns the
// generation that holds now. The caller holds mu.
//
// A half-open state that got no verdict ended at its deadline, not when somebody
// looks: a service that nobody has called since is not rejected for it now.
func (b *Breaker) settle(now int64) *generation {
	for {
		g := b.current.Load()
		switch {
		case g.state == Open && now >= g.until:
			b.enter(HalfOpen, g.mode, now, CauseOpenTime)
		case g.state == HalfOpen && g.deadline != 0 && now >= g.deadline:
			b.reopened++
			b.enter(Open, g.mode, g.deadline, CauseProbeTime)
		default:
			return g
		}
	}
}

// admitProbe reports whether there is room for one more probe, and takes it. The
// caller holds mu.
func (g *generation) admitProbe(now int64) bool {
	if g.admitted >= g.breaker.config.Probes {
		return false
	}
	g.admitted++
	if g.deadline == 0 {
		g.deadline = now + int64(g.breaker.config.ProbeFor)
	}
	return true
}

// done takes the outcome of a call that began in this generation.
func (g *generation) done(start int64, o Outcome) {
	b := g.breaker
	slow := false
	if b.config.SlowAfter > 0 && start != 0 && o != Ignored {
		slow = b.now()-start > int64(b.config.SlowAfter)
	}
	switch {
	case o == Failure:
		b.counts.add(countFailure)
	case o == Ignored:
		b.counts.add(countIgnored)
	case b.config.CountSuccesses:
		b.counts.add(countSuccess)
	}
	if slow {
		b.counts.add(countSlow)
	}
	switch {
	case g == b.shadow:
	case g != b.current.Load():
		b.counts.add(countLate)
	case g.state == HalfOpen:
		b.endProbe(g, o, slow)
	case o != Ignored && g.mode != ForceClosed:
		g.watch(o == Failure, slow)
	}
}

// succeed is done(0, Success) of a plain generation.
func (g *generation) succeed() {
	switch {
	case g != g.breaker.current.Load():
		g.breaker.counts.add(countLate)
	case g.failures.Load() != 0 || g.window != nil:
		g.watch(false, false)
	}
}

// watch takes the outcome of a call through the closed breaker, and opens the
// breaker if that is the one too many.
func (g *generation) watch(failed, slow bool) {
	c := g.breaker.config
	switch {
	case c.Consecutive == 0:
	case failed:
		if g.failures.Add(1) >= int64(c.Consecutive) {
			g.trip(CauseConsecutive)
			return
		}
	case g.failures.Load() != 0: // a plain store would take the line from everybody else
		g.failures.Store(0)
	}
	if g.window == nil {
		return
	}
	var now int64
	if c.WindowTime > 0 {
		now = g.breaker.now()
	}
	if !g.window.record(now, failed, slow) {
		return
	}
	if cause := c.verdict(g.window.tally(now), c.MinimumCalls); cause != "" {
		g.trip(cause)
	}
}

// trip opens the breaker, if this generation is still the current one.
func (g *generation) trip(cause Cause) {
	b := g.breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current.Load() == g {
		b.reopened = 0
		b.enter(Open, g.mode, b.now(), cause)
	}
}

// endProbe takes the outcome of a probe.
func (b *Breaker) endProbe(g *generation, o Outcome, slow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if b.settle(now) != g {
		b.counts.add(countLate)
		return
	}
	if o == Ignored {
		g.admitted-- // another may try
		return
	}
	g.judged.calls++
	if o == Failure {
		g.judged.failures++
	}
	if slow {
		g.judged.slow++
	}
	switch b.config.probeVerdict(g.judged) {
	case Open:
		b.reopened++
		b.enter(Open, g.mode, now, CauseProbeFailed)
	case Closed:
		b.enter(Closed, g.mode, now, CauseProbesPassed)
	}
}

// probeVerdict returns the state that the probes ended so far lead to: Open as
// soon as they cannot pass any more, Closed once all have been judged, and
// HalfOpen before that.
func (c *Config) probeVerdict(judged tally) State {
	failed := judged.failures > 0
	if c.WindowCalls > 0 || c.WindowTime > 0 {
		worst := judged
		worst.calls = int64(c.Probes) // even if all the others were good
		failed = c.verdict(worst, 1) != ""
	}
	switch {
	case failed:
		return Open
	case judged.calls >= int64(c.Probes):
		return Closed
	}
	return HalfOpen
}
