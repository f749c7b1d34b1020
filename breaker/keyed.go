package breaker

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/stripe"
)

// KeyedConfig says how the breakers of a Keyed work. The zero value keeps 10,000
// breakers of the zero Config.
type KeyedConfig struct {
	// Breaker configures each breaker. Its Name is followed by the key, as in
	// "hosts/10.0.0.1:80".
	Breaker Config
	// MaxKeys is how many breakers are kept: 1 to 1,000,000. One without a window
	// takes about 500 bytes and its key. Default 10,000.
	MaxKeys int
}

// A Keyed holds a Breaker for each key, such as a host or a tenant, in bounded
// memory. All methods are safe for concurrent use.
//
// When there is no room for the breaker of a new key, another has to go: a closed
// one that nobody has asked for lately and that has seen no failures, else any
// closed one. A breaker that is open, or forced into some mode, stays. If need
// be, one whose open time is over goes; its key is remembered, for MaxKeys more that
// go like this, and when it comes back it begins half-open, with a probe, and not
// closed; so does one in eight of the keys that are new. If even such a one is
// not to be found, the new key's calls go through a breaker that is forced
// closed, without protection, and Untracked counts them.
type Keyed[K comparable] struct {
	config *Config
	log    *changeLog
	limit  int
	spare  *Breaker // for keys that found no room

	mu      sync.RWMutex
	entries map[K]*keyedEntry[K]
	ring    []*keyedEntry[K] // all entries, for the hand to go around
	hand    int
	made    uint64
	evicted *keyFilter[K] // keys whose breaker was not closed when it went; nil until there are any

	untracked atomic.Uint64
}

type keyedEntry[K comparable] struct {
	key     K
	breaker *Breaker
	used    atomic.Bool // since the hand was last here
}

// NewKeyed returns a Keyed without keys, or an error that names each field of the
// configuration that is out of bounds.
func NewKeyed[K comparable](config KeyedConfig) (*Keyed[K], error) {
	c, err := config.Breaker.withDefaults()
	if err != nil {
		return nil, err
	}
	check := checker{config: "KeyedConfig"}
	limit := orDefault(config.MaxKeys, 10_000)
	check.field(limit >= 1 && limit <= 1_000_000, "MaxKeys", limit, "from 1 to 1000000")
	if err := check.err(); err != nil {
		return nil, err
	}
	spare := *c
	spare.Mode = ForceClosed
	k := &Keyed[K]{config: c, log: &changeLog{}, limit: limit, entries: map[K]*keyedEntry[K]{}}
	k.spare = newBreaker(&spare, k.nameOf("(untracked)"), 0, stripe.Count(), k.log)
	return k, nil
}

func (k *Keyed[K]) nameOf(key string) string {
	if k.config.Name == "" {
		return key
	}
	return k.config.Name + "/" + key
}

// Get returns the breaker of a key, and makes it if need be. Ask for each call
// anew: a breaker that has been evicted no longer protects the key. It costs one
// read lock and one look-up.
func (k *Keyed[K]) Get(key K) *Breaker {
	e := k.look(key)
	if e == nil {
		return k.add(key)
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.breaker
}

// look returns the entry of a key; nil if it has none. A key may panic: of an
// interface type, holding what cannot be compared.
func (k *Keyed[K]) look(key K) *keyedEntry[K] {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.entries[key]
}

// add makes the breaker of a new key.
func (k *Keyed[K]) add(key K) *Breaker {
	name := k.nameOf(fmt.Sprint(key)) // which may run a method of the key: not under the lock
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[key]; e != nil {
		return e.breaker
	}
	if key != key { // NaN: no map finds it again, nor can it be deleted
		k.untracked.Add(1)
		return k.spare
	}
	place := len(k.ring)
	if place == k.limit {
		if place = k.evict(); place < 0 {
			k.untracked.Add(1)
			return k.spare
		}
	} else {
		k.ring = append(k.ring, nil)
	}
	seed := k.config.Seed
	if seed != 0 {
		k.made++
		seed += k.made // the same in every run, and not the same for every key
	}
	b := newBreaker(k.config, name, seed, 1, k.log)
	if k.evicted.has(key) && b.Mode() != ForceOpen {
		b.current.Store(b.newGeneration(1, HalfOpen, b.Mode(), b.now()))
	}
	e := &keyedEntry[K]{key: key, breaker: b}
	k.ring[place], k.entries[key] = e, e
	return e.breaker
}

// maxEvictionSteps bounds how many entries are looked at to make room for one.
const maxEvictionSteps = 128

// evict takes one entry out and returns its place in the ring; -1 if none may go.
// The caller holds mu.
func (k *Keyed[K]) evict() int {
	best, place := stays, -1
	for range min(len(k.ring), maxEvictionSteps) {
		k.hand = (k.hand + 1) % len(k.ring)
		e := k.ring[k.hand]
		if worth := e.worth(); worth < best {
			best, place = worth, k.hand
		}
		e.used.Store(false)
		if best == idle {
			break
		}
	}
	if place < 0 {
		return -1
	}
	e := k.ring[place]
	if best == halfOpen {
		if k.evicted == nil {
			k.evicted = newKeyFilter[K](k.limit)
		}
		k.evicted.add(e.key)
	}
	delete(k.entries, e.key)
	return place
}

// What is lost with a breaker, from little to much.
const (
	idle     = iota // closed, nobody asked for it lately, no failures
	clean           // closed, no failures
	marked          // closed
	halfOpen        // half-open, or due to be
	stays
)

// worth looks at a breaker, and makes it open again if its probes are overdue.
func (e *keyedEntry[K]) worth() int {
	b := e.breaker
	g, now := b.current.Load(), b.now()
	switch {
	case g.mode != b.config.Mode:
		return stays
	case g.state == Open && now < g.until:
		return stays
	case g.state == HalfOpen && b.State() == Open: // its probes are overdue
		return stays
	case g.state != Closed:
		return halfOpen
	case g.failures.Load() > 0, g.window != nil && g.window.tally(now).failures > 0:
		return marked
	case e.used.Load():
		return clean
	}
	return idle
}

// All returns the keys and their breakers at the time of the call, in no order.
func (k *Keyed[K]) All() iter.Seq2[K, *Breaker] {
	return func(yield func(K, *Breaker) bool) {
		k.mu.RLock()
		all := make([]*keyedEntry[K], len(k.ring))
		copy(all, k.ring)
		k.mu.RUnlock()
		for _, e := range all {
			if !yield(e.key, e.breaker) {
				return
			}
		}
	}
}

// Len returns how many breakers are kept.
func (k *Keyed[K]) Len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.ring)
}

// Untracked returns how often Get found no room for a key.
func (k *Keyed[K]) Untracked() uint64 { return k.untracked.Load() }

// Changes returns the changes of state of all breakers; see Breaker.Changes.
func (k *Keyed[K]) Changes(ctx context.Context) iter.Seq[Change] { return k.log.changes(ctx) }

// A keyFilter remembers keys in one bit each: it knows the last n keys that were
// added, and takes a few others for one. A nil filter knows none.
type keyFilter[K comparable] struct {
	seed maphash.Seed
	bits []uint64
	old  []uint64 // as bits were before they had taken in limit keys
	room int      // keys until then
}

// newKeyFilter makes a filter that is wrong about one other key in eight at most.
func newKeyFilter[K comparable](n int) *keyFilter[K] {
	words := (n + 3) / 4 // 16 bits a key, in each of two halves
	return &keyFilter[K]{seed: maphash.MakeSeed(), bits: make([]uint64, words), old: make([]uint64, words), room: n}
}

func (f *keyFilter[K]) place(key K) (word, bit uint64) {
	h := maphash.Comparable(f.seed, key)
	return (h >> 6) % uint64(len(f.bits)), 1 << (h & 63)
}

func (f *keyFilter[K]) add(key K) {
	word, bit := f.place(key)
	if f.bits[word]&bit != 0 {
		return
	}
	if f.room == 0 { // or in time every new key would be taken for an old one
		f.room = 4 * len(f.bits)
		f.bits, f.old = f.old, f.bits
		clear(f.bits)
	}
	f.bits[word] |= bit
	f.room--
}

func (f *keyFilter[K]) has(key K) bool {
	if f == nil {
		return false
	}
	word, bit := f.place(key)
	return (f.bits[word]|f.old[word])&bit != 0
}
