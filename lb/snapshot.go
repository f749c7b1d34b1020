package lb

import (
	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/ring"
)

// A snapshot is what the pick path goes by. It never changes: whatever does makes
// another.
type snapshot struct {
	version  uint64
	until    int64 // when it is to be made anew because time has passed
	hosts    []*host
	shares   []float64 // of hosts
	schedule schedule  // RoundRobin, Weighted
	choices  []choice  // the policies that draw
	ring     *ring.Snapshot
	maglev   *ring.Maglev
	byName   map[string]int // into hosts, for the hashing policies
	fair     []float64      // of hosts: the part of all calls in flight that each may have
	panicked bool
	light    bool // whether a pick is no more than the next turn
}

const (
	leastWarmth = 0.1 // share of a host in the first moment of its slow start
	warmthSteps = 20  // of a slow start
)

// rebuild publishes the state at a time. b.mu is held.
func (b *Balancer) rebuild(now int64) {
	b.version++
	s := &snapshot{version: b.version, until: never}
	if !b.config.DisableEjection {
		s.until = b.comeBack(now)
	}
	s.hosts, s.shares, s.panicked = b.eligible(now, &s.until)
	if len(s.hosts) > 0 {
		b.equip(s)
	}
	s.light = s.schedule.turns != nil && s.until == never && !b.timed && !b.counted
	b.current.Store(s)
}

// equip makes what the policy looks things up in.
func (b *Balancer) equip(s *snapshot) {
	switch b.kind {
	case roundRobin, weighted:
		// A place drawn anew each time: with one that follows from the turn, changes
		// in step with calls could pass over a host for ever.
		s.schedule = newSchedule(s.hosts, s.shares, draw.At(b.start, s.version))
	case consistentHash, maglev:
		b.equipHashing(s)
	default:
		s.choices = newChoices(s.hosts, s.shares)
	}
}

// warmUp begins the slow start of a host. The table of Maglev knows no shares.
func (b *Balancer) warmUp(h *host, now int64) {
	if !b.config.DisableSlowStart && b.kind != maglev {
		h.warmSince = max(now, 1)
	}
}

// warmth returns how much of its share a host gets, for its slow start, and brings
// forward until to when that changes. All hosts change at the same times, so that
// many of them cost no more changes of the state than one.
func (b *Balancer) warmth(h *host, now int64, until *int64) float64 {
	if h.warmSince == 0 {
		return 1
	}
	whole := int64(b.config.SlowStart)
	age := now - h.warmSince
	if age >= whole {
		h.warmSince = 0
		return 1
	}
	step := max(whole/warmthSteps, 1)
	*until = min(*until, (now/step+1)*step)
	return max(leastWarmth, float64(age)/float64(whole))
}
