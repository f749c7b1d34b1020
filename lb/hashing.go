package lb

import (
	"fmt"
	"math"
	"slices"

	"github.com/parley-go/parley/ring"
)

// checkRing reports backends that a ring cannot hold.
func checkRing(backends []Backend) error {
	weight := 0
	for _, be := range backends {
		weight += be.Weight
	}
	if most := ring.MaxPoints / ring.DefaultVirtualNodes; weight > most {
		return fmt.Errorf("%w: sum of Backend.Weight is %d: must be at most %d with ConsistentHash", ErrInvalid, weight, most)
	}
	return nil
}

// equipHashing makes the ring or the table of a hashing policy, or takes that of
// the state before if the hosts are the same.
func (b *Balancer) equipHashing(s *snapshot) {
	if b.kind == maglev {
		if old := b.current.Load(); old != nil && slices.Equal(old.hosts, s.hosts) {
			s.maglev, s.byName = old.maglev, old.byName
			return
		}
	}
	names := make([]string, len(s.hosts))
	s.byName = make(map[string]int, len(s.hosts))
	for i, h := range s.hosts {
		names[i] = h.name
		s.byName[h.name] = i
	}
	if b.kind == maglev {
		s.maglev = ring.NewMaglev(names)
		return
	}
	nodes := make([]ring.Node, len(s.hosts))
	total := 0.0
	for i, h := range s.hosts {
		nodes[i] = ring.Node{Name: h.name, Weight: h.info.Load().Weight}
		total += s.shares[i]
	}
	_ = b.ring.Set(nodes...) // checkRing has made sure of it
	s.ring = b.ring.Snapshot()
	factor := b.config.Policy.(ConsistentHash).LoadFactor
	s.fair = make([]float64, len(s.hosts))
	for i, share := range s.shares {
		s.fair[i] = factor * share / total
	}
}

// onRing takes a place on the first host round the ring from the key's that has
// room: at most its fair part of the calls in flight, this one included, times the
// load factor, rounded up.
func (s *snapshot) onRing(b *Balancer, r *Request) *host {
	total := float64(b.inFlight.Add(1))
	name, _ := s.ring.Owner(r.Key)
	owner := s.byName[name]
	if h := s.hosts[owner]; !r.Tried.has(h) && h.takeBelow(int64(math.Ceil(total*s.fair[owner]))) {
		return h
	}
	var buf [16]string
	for _, name := range s.ring.Owners(buf[:0], r.Key, len(buf)) {
		i := s.byName[name]
		if h := s.hosts[i]; !r.Tried.has(h) && h.takeBelow(int64(math.Ceil(total*s.fair[i]))) {
			return h
		}
	}
	// They are full, or have been tried: take the host that is the least full of all.
	best, least := s.hosts[owner], math.Inf(1)
	for i, h := range s.hosts {
		if load := float64(h.inFlight.Load()+1) / s.fair[i]; load < least && !r.Tried.has(h) {
			best, least = h, load
		}
	}
	best.inFlight.Add(1)
	return best
}

// takeBelow counts a call to the host, if that makes no more than most.
func (h *host) takeBelow(most int64) bool {
	for {
		n := h.inFlight.Load()
		if n >= most {
			return false
		}
		if h.inFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// inTable returns the host of the key in the Maglev table, or one that follows
// it if that has been tried.
func (s *snapshot) inTable(r *Request) *host {
	name, _ := s.maglev.Owner(r.Key)
	first := s.byName[name]
	if r.Tried.has(s.hosts[first]) {
		first = s.untried(first, r.Tried)
	}
	return s.hosts[first]
}
