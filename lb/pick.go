package lb

import (
	"context"
	"errors"
	"net/http"
)

// A Request is what a choice may depend on. The zero value is a request like any
// other.
type Request struct {
	// Key is what the hashing policies go by; any string is one.
	Key string
	// Tried holds the backends that this request was sent to before: another is
	// chosen, while there is one, and added. nil for a request that is sent once.
	Tried *Tried
}

// A Pick is a backend chosen for one call. Tell it with Done how the call went,
// whatever happens, also on a panic; a second Done does nothing, and neither does
// that of the zero Pick. Do not copy a Pick that is in use, nor share it between
// goroutines.
type Pick struct {
	host     *host
	start    int64 // of the call, on the balancer's clock, or one of those below
	answered int64 // when the answer began; 0: at Done
	version  uint64
}

// What stands in for the start of a Pick.
const (
	untimed = 0
	light   = -1 // it has counted nothing, so that there is nothing to do if all went well
	settled = -2 // it is Done
)

// Pick chooses a backend for one call. It reads the clock with LatencyAware, with
// Ejection.SuccessRate and Latency, and while some backend is ejected or starts
// slowly; see the package's documentation for what it costs.
//
// Errors: ErrNoBackends.
func (b *Balancer) Pick(r Request) (Pick, error) {
	s := b.current.Load()
	if s.light && r.Tried == nil { // the same as below, in a third of the time
		return Pick{host: s.schedule.next(b.turn.Add(1)), start: light, version: s.version}, nil
	}
	return b.pick(s, r)
}

func (b *Balancer) pick(s *snapshot, r Request) (Pick, error) {
	now := int64(untimed)
	if b.timed || s.until != never {
		if now = b.now(); now >= s.until {
			s = b.refresh(now)
		}
	}
	if len(s.hosts) == 0 {
		return Pick{}, ErrNoBackends
	}
	if r.Tried.covers(s.hosts) {
		r.Tried = nil
	}
	h := s.choose(b, &r, now)
	if r.Tried != nil {
		h = s.avoid(b, &r, now, h)
	}
	if b.counted {
		h.inFlight.Add(1)
	}
	return Pick{host: h, start: now, version: s.version}, nil
}

// refresh makes the state anew because time has passed. While one goroutine does,
// the others go on with the old state.
func (b *Balancer) refresh(now int64) *snapshot {
	if b.mu.TryLock() {
		defer b.mu.Unlock()
		if now >= b.current.Load().until {
			b.rebuild(now)
		}
	}
	return b.current.Load()
}

// Backend returns the backend; the zero Backend for the zero Pick.
func (p *Pick) Backend() Backend {
	if p.host == nil {
		return Backend{}
	}
	return *p.host.info.Load()
}

// Answered notes that the answer has begun, so that the latency of the call is
// counted up to here, and the call as in flight up to Done. For answers whose
// length says nothing about the backend, such as streams.
func (p *Pick) Answered() {
	if h := p.host; h != nil && h.owner.timed && p.answered == 0 && p.start != settled {
		p.answered = h.owner.now()
	}
}

// Done ends the call, with its error. nil speaks for the backend, and an error
// against it, unless Config.Failed says otherwise; context.Canceled, by which a
// caller says that it has lost interest, says nothing.
func (p *Pick) Done(err error) {
	if p.start == light && err == nil && p.host.failures.Load() == 0 {
		p.start = settled
	} else {
		p.done(err)
	}
}

func (p *Pick) done(err error) {
	h, start := p.host, p.start
	if h == nil || start == settled {
		return
	}
	p.start = settled
	b := h.owner
	if b.counts() {
		h.release()
	}
	failed, known := b.judge(err)
	if !known {
		return
	}
	if b.timed {
		h.learn(p.version, start, p.answered, failed)
	}
	if failed {
		h.fail(p.version)
	} else if h.failures.Load() != 0 && h.counts(p.version) {
		h.failures.Store(0)
	}
}

// judge returns whether the backend has failed a call, if its error says.
func (b *Balancer) judge(err error) (failed, known bool) {
	if err == nil {
		return false, true
	}
	if errors.Is(err, context.Canceled) {
		return false, false
	}
	if b.config.Failed != nil {
		return b.config.Failed(err), true
	}
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusTooManyRequests {
		return false, false
	}
	return true, true
}

// learn takes the time of a call into account.
func (h *host) learn(version uint64, start, end int64, failed bool) {
	b := h.owner
	now := b.now()
	took := now - start
	if end != 0 {
		took = end - start
	}
	if b.kind == latencyAware {
		h.estimate.observe(now, took, failed)
	}
	if b.judged {
		if h.counts(version) {
			h.window.add(took, failed)
		}
		b.compare(now)
	}
}

// release ends a call in flight.
func (h *host) release() {
	if b := h.owner; b.kind == consistentHash {
		b.inFlight.Add(-1)
	}
	if h.inFlight.Add(-1) == 0 && h.waited.Load() {
		h.owner.mu.Lock()
		defer h.owner.mu.Unlock()
		h.tellIdle()
	}
}

// tellIdle ends the wait for the last call, if it has ended. owner.mu is held.
func (h *host) tellIdle() {
	if h.idle != nil && h.inFlight.Load() == 0 {
		close(h.idle)
		h.idle = nil
		h.waited.Store(false)
	}
}
