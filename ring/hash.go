package ring

import "github.com/cespare/xxhash/v2"

// Hash returns the place of a key on the ring: its XXH64 with seed 0. It is the
// hash that [Range] speaks of and that every hashing [Partitioner] of this
// package begins with. It will not change: nodes of different versions have to
// agree on it. About 4 ns for a short key.
func Hash(key string) uint64 { return xxhash.Sum64String(key) }

// golden is 2^64 divided by the golden ratio, the step of SplitMix64.
const golden = 0x9e3779b97f4a7c15

// mix is the output function of SplitMix64 (Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", OOPSLA 2014): a bijection in which
// every bit of x reaches every bit of the result.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// pointHash is the place of one virtual node. Name and number enter apart, so
// that "server1", 11 and "server11", 1 are different points; the places of a
// node do not depend on its weight, so that a heavier node keeps those it had.
func pointHash(nameHash uint64, number int) uint64 {
	return mix(nameHash + golden*uint64(number+1))
}
