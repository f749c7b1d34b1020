package ring

import "math/bits"

// Maglev places keys by the look-up table of Google's load balancer (Eisenbud et
// al., NSDI 2016, section 3.4). It is the most even of the consistent schemes and
// the fastest to ask; a change of n nodes moves 1/n of the keys and, unlike the
// ring, some few more between other nodes. It suits balancing, where a moved key
// costs a cold cache, rather than storage.
//
// The table has at least 100 entries a node, and at least 65,537, so that shares
// differ by at most 1%. When the number of nodes grows past a step in the
// table's size (655, and then each doubling), almost every key moves.
type Maglev struct {
	names []string // sorted
	table []uint32 // index into names
}

// NewMaglev returns a Maglev over the set of names: their order does not matter,
// and a name that stands twice counts once. Takes some ten steps an entry of the
// table, about 2 ms for up to 655 nodes.
func NewMaglev(names []string) *Maglev {
	m := &Maglev{names: uniqueNames(names)}
	if len(m.names) == 0 {
		return m
	}
	m.table = maglevTable(m.names, maglevSize(len(m.names)))
	return m
}

// maglevSize returns the number of entries for that many names: a prime, the next
// one from 2^16, 2^17 and so on to 2^27. It is part of the placement.
func maglevSize(names int) int {
	sizes := [...]int{
		65537, 131101, 262147, 524309, 1048583, 2097169,
		4194319, 8388617, 16777259, 33554467, 67108879, 134217757,
	}
	for _, size := range sizes {
		if size >= 100*names {
			return size
		}
	}
	return sizes[len(sizes)-1]
}

// Owner returns the node of a key; ok is false without names. Takes some 10 ns.
func (m *Maglev) Owner(key string) (name string, ok bool) {
	if len(m.table) == 0 {
		return "", false
	}
	// The upper half of the product spreads hashes over the table like a
	// remainder, without the division.
	entry, _ := bits.Mul64(Hash(key), uint64(len(m.table)))
	return m.names[m.table[entry]], true
}

// maglevTable lets the names take turns; each takes the free entry that comes
// first in its own order of all entries. size is a prime.
func maglevTable(names []string, size int) []uint32 {
	orders := make([]maglevOrder, len(names))
	for i, name := range names {
		h := Hash(name)
		orders[i] = maglevOrder{uint32(mix(h) % uint64(size)), uint32(mix(h+golden)%uint64(size-1)) + 1}
	}
	table := make([]uint32, size) // 1 + index; 0 is free
	for filled := 0; ; {
		for i := range orders {
			o := &orders[i]
			for table[o.at] != 0 {
				o.advance(size)
			}
			table[o.at] = uint32(i) + 1
			if filled++; filled == size {
				for e := range table {
					table[e]--
				}
				return table
			}
		}
	}
}

// A maglevOrder is one name's order of the entries: every step further.
type maglevOrder struct{ at, step uint32 }

func (o *maglevOrder) advance(size int) {
	if o.at += o.step; o.at >= uint32(size) {
		o.at -= uint32(size)
	}
}
