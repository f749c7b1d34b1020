package lb

import (
	"math"
	"math/bits"
)

// choose returns one host by the policy. There must be some.
func (s *snapshot) choose(b *Balancer, r *Request, now int64) *host {
	switch b.kind {
	case roundRobin, weighted:
		return s.schedule.next(b.turn.Add(1))
	case random:
		return s.choices[pickOne(s.choices, uint32(b.draw()))].host
	case leastConnections:
		return s.least(b.draw(), r.Tried)
	case powerOfTwo:
		return s.lessLoaded(b.draw())
	case latencyAware:
		return s.soonest(b, now)
	case consistentHash:
		return s.onRing(b, r)
	}
	return s.inTable(r)
}

// pair returns the numbers of two different choices, if there are two. Where both
// halves of the draw fall on one, the second is any other, by bits that the draw
// has left.
func pair(choices []choice, draw uint64) (first, second int) {
	first, second = pickOne(choices, uint32(draw)), pickOne(choices, uint32(draw>>32))
	if first == second && len(choices) > 1 {
		further, _ := bits.Mul64(draw*0x9e3779b97f4a7c15, uint64(len(choices)-1))
		if second += 1 + int(further); second >= len(choices) {
			second -= len(choices)
		}
	}
	return first, second
}

// lessLoaded returns the host with fewer calls in flight of two.
func (s *snapshot) lessLoaded(draw uint64) *host {
	first, second := pair(s.choices, draw)
	a, b := &s.choices[first], &s.choices[second]
	if b.load() < a.load() {
		return b.host
	}
	return a.host
}

// load is what is in flight to a host for its share.
func (c *choice) load() float64 { return float64(c.host.inFlight.Load()) * c.perCall }

// least returns the host with the fewest calls in flight of all that were not
// tried; of equal ones the first from a random place on.
func (s *snapshot) least(draw uint64, tried *Tried) *host {
	start := pickOne(s.choices, uint32(draw))
	best, least := s.choices[start].host, math.Inf(1)
	for _, part := range [2][]choice{s.choices[start:], s.choices[:start]} {
		for i := range part {
			if load := part[i].load(); load < least && !tried.has(part[i].host) {
				best, least = part[i].host, load
			}
		}
	}
	return best
}

// soonest returns the host that will likely answer first, of two pairs. Of two
// hosts both may ail; that all four do is rare enough for the tail. A host of which
// too little is known is taken to be as quick as the quickest of the others.
func (s *snapshot) soonest(b *Balancer, now int64) *host {
	var drawn [4]*choice
	var latency, penalty [4]float64
	n := 2
	first, second := pair(s.choices, b.draw())
	drawn[0], drawn[1] = &s.choices[first], &s.choices[second]
	if len(s.choices) > 2 {
		n = 4
		first, second = pair(s.choices, b.draw())
		drawn[2], drawn[3] = &s.choices[first], &s.choices[second]
	}
	quickest := math.Inf(1)
	for i, c := range drawn[:n] {
		if latency[i], penalty[i] = c.host.outlook(now); latency[i] > 0 {
			quickest = min(quickest, latency[i])
		}
	}
	if math.IsInf(quickest, 1) {
		quickest = 1
	}
	best, least := drawn[0].host, math.Inf(1)
	for i, c := range drawn[:n] {
		if latency[i] == 0 {
			latency[i] = quickest
		}
		if cost := latency[i] * penalty[i] * (c.load() + 1); cost < least {
			best, least = c.host, cost
		}
	}
	return best
}

// avoid returns h or, if that has been tried, another host, and adds it to those
// tried. One is untried, unless other tries have just taken the last.
func (s *snapshot) avoid(b *Balancer, r *Request, now int64, h *host) *host {
	for range 4 {
		if r.Tried.add(h) {
			return h
		}
		if b.kind == consistentHash {
			h.release() // its place
		}
		h = s.choose(b, r, now)
	}
	if b.kind.hashes() { // they look for themselves: another try was quicker, each time
		r.Tried.add(h)
		return h
	}
	from := int(b.turn.Add(1) % uint32(len(s.hosts)))
	for i := range s.hosts {
		if other := s.hosts[(from+i)%len(s.hosts)]; r.Tried.add(other) {
			return other
		}
	}
	return h
}

// untried returns the first host from a place on that was not tried, or that
// place if all were.
func (s *snapshot) untried(from int, tried *Tried) int {
	for i := range s.hosts {
		if at := (from + i) % len(s.hosts); !tried.has(s.hosts[at]) {
			return at
		}
	}
	return from
}
