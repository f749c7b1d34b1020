package lb

import (
	"cmp"
	"math/bits"
	"slices"
)

// overprovision is how much more than its part a backend can take.
const overprovision = 1.4

// eligible returns the hosts to choose from and their shares, in any unit: those
// of this client's subset that are available, or, if too few of all are, those
// that do not drain. It brings forward until to when shares change.
func (b *Balancer) eligible(now int64, until *int64) (hosts []*host, shares []float64, panicked bool) {
	panicked = b.panics()
	usable := func(h *host) bool {
		state := h.state()
		return state == Available || panicked && state != Draining
	}
	near, far := b.arcs()
	most := orDefault(b.config.Subset, len(b.order))
	var here, able, whole, elsewhere float64
	open := 0
	for _, h := range near {
		if !h.draining && open < most {
			whole += b.base(h)
			open++
		}
		if usable(h) && len(hosts) < most {
			hosts = append(hosts, h)
			shares = append(shares, b.base(h)*b.warmth(h, now, until))
			able += b.base(h)
			here += shares[len(shares)-1]
		}
	}
	locals := len(hosts)
	stay := 0.0
	if whole > 0 {
		stay = overprovision * able / whole
	}
	if stay >= 1-rounding {
		return hosts, shares, panicked
	}
	for _, h := range far {
		if usable(h) && len(hosts) < most {
			hosts = append(hosts, h)
			shares = append(shares, b.base(h)*b.warmth(h, now, until))
			elsewhere += shares[len(shares)-1]
		}
	}
	if locals > 0 && elsewhere > 0 {
		for i := range shares {
			if i < locals {
				shares[i] *= stay / here
			} else {
				shares[i] *= (1 - stay) / elsewhere
			}
		}
	}
	return hosts, shares, panicked
}

// base is the share of a warm host in this client's zone.
func (b *Balancer) base(h *host) float64 {
	if b.kind == roundRobin || b.kind == maglev {
		return 1
	}
	return float64(h.info.Load().Weight)
}

// panics reports whether too few hosts are available to go by that.
func (b *Balancer) panics() bool {
	var open, available int
	for _, h := range b.order {
		switch h.state() {
		case Available:
			available++
			open++
		case Unhealthy, Ejected:
			open++
		}
	}
	return open > 0 && (available == 0 || float64(available) < b.config.PanicThreshold*float64(open)-rounding)
}

// arcs returns the hosts of this client's zone, if it prefers them, and the
// others, each in the order in which this client takes its subset: as they were
// given without one, else round the circle from the client's place on.
func (b *Balancer) arcs() (near, far []*host) {
	if b.config.Zone != "" && !b.kind.hashes() {
		for _, h := range b.order {
			if h.info.Load().Zone == b.config.Zone {
				near = append(near, h)
			} else {
				far = append(far, h)
			}
		}
	}
	if len(near) < b.config.ZoneMinimum {
		near, far = nil, b.order
	}
	return b.arc(near), b.arc(far)
}

func (b *Balancer) arc(hosts []*host) []*host {
	n := uint64(len(hosts))
	if b.config.Subset == 0 || n == 0 {
		return hosts
	}
	circle := slices.Clone(hosts)
	slices.SortFunc(circle, func(x, y *host) int {
		return cmp.Or(cmp.Compare(x.place, y.place), cmp.Compare(x.name, y.name))
	})
	var first uint64
	if b.config.Clients > 0 {
		first = uint64(b.config.Client) * n / uint64(b.config.Clients)
	} else {
		first, _ = bits.Mul64(b.start, n)
	}
	return slices.Concat(circle[first:], circle[:first])
}
