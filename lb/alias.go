package lb

// A choice is one host that a draw can fall on.
type choice struct {
	host    *host
	perCall float64 // by how much a call loads it: 1 over its share of the mean
	keep    uint32  // the part of its draws that stay with it, of 2^32
	other   uint32  // where the others go
}

// newChoices returns a table from which a host is drawn in proportion to its
// share in constant time: Walker's alias method, as Vose builds it ("A linear
// algorithm for generating random numbers with a given distribution", 1991).
func newChoices(hosts []*host, shares []float64) []choice {
	choices := make([]choice, len(hosts))
	total := 0.0
	for _, share := range shares {
		total += share
	}
	mean := total / float64(len(hosts))
	left := make([]float64, len(hosts)) // of a host's chance, times the number of hosts
	var small, large []int
	for i, h := range hosts {
		left[i] = shares[i] / mean
		choices[i] = choice{host: h, perCall: mean / shares[i], keep: 1<<32 - 1, other: uint32(i)}
		if left[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		choices[s].keep, choices[s].other = uint32(left[s]*(1<<32-1)), uint32(l)
		if left[l] -= 1 - left[s]; left[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	return choices
}

// pickOne returns the number of the choice that a draw of 32 bits falls on: the
// upper part of the product is a place, the lower one says whether to stay there.
func pickOne(choices []choice, draw uint32) int {
	product := uint64(draw) * uint64(len(choices))
	i := product >> 32
	c := &choices[i]
	if uint32(product) <= c.keep {
		return int(i)
	}
	return int(c.other)
}
