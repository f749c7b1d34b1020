package ring

import (
	"math/bits"
	"slices"
)

// A Partitioner says which node holds a key; ok is false if none does. It is
// what [Ring], [Snapshot], [Maglev], [Jump], [Rendezvous], [Modulo], [Range],
// [Directory] and [Plan] have in common, so that code need not care how its keys
// are placed. All of them are safe for concurrent use.
type Partitioner interface {
	// Owner returns the name of the node that holds a key.
	Owner(key string) (name string, ok bool)
}

// Modulo places a key by the remainder of its hash. Nothing is simpler or more
// even, and nothing moves more: after a change of n nodes, all but 1/n of the
// keys. It is right where the number of parts never changes, and as a yardstick.
type Modulo struct{ names []string }

// NewModulo returns a Modulo over names, in that order. A name that stands twice
// gets two parts.
func NewModulo(names []string) *Modulo { return &Modulo{slices.Clone(names)} }

// Owner returns the node of a key; ok is false without names. Takes some 10 ns.
func (m *Modulo) Owner(key string) (name string, ok bool) {
	if len(m.names) == 0 {
		return "", false
	}
	return m.names[Hash(key)%uint64(len(m.names))], true
}

// Jump places keys by jump consistent hashing (Lamping and Veach, 2014): without
// any table, and perfectly even. Nodes can join and leave only at the end of the
// list: appending one moves 1/n of the keys, all to it; taking out any but the
// last renumbers those behind it. It suits numbered shards.
type Jump struct{ names []string }

// NewJump returns a Jump over names, in that order. A name that stands twice gets
// two parts.
func NewJump(names []string) *Jump { return &Jump{slices.Clone(names)} }

// Owner returns the node of a key; ok is false without names. Takes a few
// divisions, in proportion to the logarithm of the number of nodes: 20 to 60 ns.
func (j *Jump) Owner(key string) (name string, ok bool) {
	if len(j.names) == 0 {
		return "", false
	}
	return j.names[jump(Hash(key), len(j.names))], true
}

// jump returns the bucket of a hash among n. As the number of buckets grows, a
// key jumps to the newest one with chance 1/number; instead of trying each, the
// next jump is drawn at once from a generator that the hash seeds.
func jump(hash uint64, n int) int {
	const (
		multiplier = 2862933555777941757 // of the paper's linear congruential generator
		unit       = 1 << 31
	)
	bucket, next := int64(0), int64(0)
	for next < int64(n) {
		bucket = next
		hash = hash*multiplier + 1
		draw := float64(hash>>33 + 1) // 1 to unit
		next = int64(float64(bucket+1) * (unit / draw))
	}
	return int(bucket)
}

// Rendezvous places a key on the node with the highest score for it (Thaler and
// Ravishankar, 1998). It has the stability of the ring without its table, and
// keys spread as if at random; but a look-up asks every node. It suits some ten
// nodes.
type Rendezvous struct {
	names []string // sorted
	seeds []uint64 // of names
}

// NewRendezvous returns a Rendezvous over the set of names: their order does not
// matter, and a name that stands twice counts once.
func NewRendezvous(names []string) *Rendezvous {
	r := &Rendezvous{names: uniqueNames(names)}
	for _, name := range r.names {
		r.seeds = append(r.seeds, Hash(name))
	}
	return r
}

// Owner returns the node of a key; ok is false without names. Takes about 1 ns a
// node.
func (r *Rendezvous) Owner(key string) (name string, ok bool) {
	if len(r.names) == 0 {
		return "", false
	}
	hash := Hash(key)
	best, highest := 0, uint64(0)
	for i, seed := range r.seeds {
		// Both are hashes already: one wide product, folded, is enough to make the
		// scores of a key on different nodes independent. Of equal ones the first
		// name wins.
		high, low := bits.Mul64(hash^seed, golden)
		if score := high ^ low; score > highest {
			best, highest = i, score
		}
	}
	return r.names[best], true
}

// uniqueNames returns a sorted copy of names without repetitions.
func uniqueNames(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}
