package main

import (
	"hash/maphash"
	"maps"
)

// tableBuckets is a power of two. More make a copy of one cheaper, and freezing
// dearer.
const tableBuckets = 4096

// A table is a map that can be frozen: in one step it gives out what it holds,
// and goes on being written to. It consists of many small maps; one that is
// written to for the first time after it was frozen is copied before.
type table struct {
	seed    maphash.Seed
	buckets [tableBuckets]*bucket // nil: empty
	epoch   uint64                // of the next bucket; each freeze begins a new one
	next    int                   // to be swept
}

// A bucket may be written to while its epoch is that of the table. Items are
// never changed, only replaced.
type bucket struct {
	epoch uint64
	items map[string]item
}

func newTable() *table { return &table{seed: maphash.MakeSeed()} }

func (t *table) slot(key string) int {
	return int(maphash.String(t.seed, key) % tableBuckets)
}

// get returns nothing where there is no item.
func (t *table) get(key string) item {
	if b := t.buckets[t.slot(key)]; b != nil {
		if it, found := b.items[key]; found {
			return it
		}
	}
	return nothing
}

func (t *table) set(key string, it item) { t.writable(t.slot(key)).items[key] = it }

func (t *table) remove(key string) {
	if i := t.slot(key); t.buckets[i] != nil {
		delete(t.writable(i).items, key)
	}
}

// writable returns a bucket that nobody else reads.
func (t *table) writable(i int) *bucket {
	b := t.buckets[i]
	switch {
	case b == nil:
		b = &bucket{t.epoch, map[string]item{}}
	case b.epoch == t.epoch:
		return b
	default:
		b = &bucket{t.epoch, maps.Clone(b.items)}
	}
	t.buckets[i] = b
	return b
}

// freeze returns what the table holds now. Nothing of it will be changed.
func (t *table) freeze() []*bucket {
	t.epoch++
	frozen := t.buckets
	return frozen[:]
}

// sweep looks through one bucket, the next one at each call, and removes what is
// to be removed.
func (t *table) sweep(useless func(item) bool) {
	i := t.next
	t.next = (i + 1) % tableBuckets
	if t.buckets[i] == nil {
		return
	}
	for key, it := range t.buckets[i].items {
		if useless(it) {
			delete(t.writable(i).items, key)
		}
	}
}
