package lb

import (
	"math"
	"math/bits"
)

// A schedule is a round of turns: who is next is a matter of one counter. Each
// host has as many turns in a round as its share comes to.
type schedule struct {
	turns   []*host
	inverse uint64 // for the remainder by len(turns)
}

// maxTurns and turnsEach bound a round, the greater of the two: however many hosts
// there are, each has some turns to tell shares apart by, and one at least.
const (
	maxTurns  = 1 << 16
	turnsEach = 8 // in the mean
)

// newSchedule returns a round for the given shares, all above 0. Equal shares
// take turns in their order; others are spread. start says where it begins.
func newSchedule(hosts []*host, shares []float64, start uint64) schedule {
	slots := slotsOf(shares)
	total := 0
	for _, n := range slots {
		total += n
	}
	if total == 0 {
		return schedule{}
	}
	step := 1
	if total > len(hosts) {
		step = goldenStep(total)
	}
	owners := make([]*host, 0, total)
	for i, n := range slots {
		for range n {
			owners = append(owners, hosts[i])
		}
	}
	// A rotation by the golden ratio comes to every place once in a round, and
	// spreads its visits to any range of places as evenly as can be.
	turns := make([]*host, total)
	at := int(start % uint64(total))
	for i := range turns {
		turns[i] = owners[at]
		if at += step; at >= total {
			at -= total
		}
	}
	return schedule{turns, math.MaxUint64/uint64(total) + 1}
}

// next returns the host whose turn it is. The remainder by multiplication is
// that of Lemire, Kaser and Kurz, "Faster remainder by direct computation", 2019.
func (s *schedule) next(turn uint32) *host {
	i, _ := bits.Mul64(s.inverse*uint64(turn), uint64(len(s.turns)))
	return s.turns[i]
}

// slotsOf returns whole numbers in proportion to shares: exactly, if they are whole
// themselves and come to no more than a round may have; else rounded, and at least
// 1.
func slotsOf(shares []float64) []int {
	most := float64(max(maxTurns, turnsEach*len(shares)))
	slots := make([]int, len(shares))
	total, whole := 0.0, true
	for i, share := range shares {
		total += share
		slots[i] = int(share)
		whole = whole && share == math.Trunc(share)
	}
	if whole {
		common := 0
		for _, n := range slots {
			common = gcd(n, common)
		}
		if total <= most*float64(common) {
			for i := range slots {
				slots[i] /= common
			}
			return slots
		}
	}
	scale := min(most, max(1024, 64*float64(len(shares)))) / total
	for i, share := range shares {
		slots[i] = max(1, int(math.Round(share*scale)))
	}
	return slots
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// goldenStep returns a number that has no factor in common with n, near n over
// the golden ratio, whose ratio to n is as far from simple fractions as there is
// one nearby: the largest quotient of its continued fraction is small.
func goldenStep(n int) int {
	best, least := 1, math.MaxInt
	middle := int(math.Round(float64(n) / math.Phi))
	for step := max(1, middle-8); step <= min(n-1, middle+8); step++ {
		if largest := largestQuotient(n, step); largest < least {
			best, least = step, largest
		}
	}
	return best
}

// largestQuotient returns the largest quotient of the continued fraction of a/b,
// or more than any if a and b have a common factor.
func largestQuotient(a, b int) (largest int) {
	for b != 0 {
		largest = max(largest, a/b)
		a, b = b, a%b
	}
	if a != 1 {
		return math.MaxInt
	}
	return largest
}
