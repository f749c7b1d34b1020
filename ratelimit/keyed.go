package ratelimit

import (
	"context"
	"hash/maphash"
	"math/bits"
	"time"
)

// KeyedConfig says what each key of a Keyed may do, and how many are kept. The
// zero value allows each key 100 events a second, in bursts of 100, and keeps
// 100,000 keys.
type KeyedConfig struct {
	// Limit is what each key may do. Default 100 per second.
	Limit Limit
	// Burst is how many tokens each key's bucket holds; bounds as for New. Default
	// what Limit allows in a second, at least 1.
	Burst int
	// MaxKeys is how many keys are kept: 1 to 100 million. More than may be limited
	// at one time saves none; with fewer, keys start to share (see Keyed). One
	// takes 16 bytes and the size of K, by 1.25 to 1.9: 40 to 60 for a string,
	// beside its text. Memory grows with use, and is kept. Default 100,000.
	MaxKeys int
	// Name is the policy in Decisions and so in HTTP header fields: up to 64
	// characters of printable ASCII. Default "default".
	Name string
}

// A Keyed is a token bucket for each key, such as a user or an address, in
// bounded memory. All methods are safe for concurrent use. It owns no goroutine:
// the keys whose buckets are full, which need not be remembered, go when there is
// no room for a new one.
//
// If MaxKeys keys are limited and another comes, the least limited of a few is
// evicted. It is not forgiven: it joins a sixteenth as many shared slots, and a
// key that is not kept begins with the emptiest bucket that has been evicted into
// its slot. So a flood of new keys gets nobody a fresh bucket; the price is that
// unknown keys may be limited too early while it lasts, for as long as a bucket
// takes to fill, and no known one ever is.
//
// Keys are compared as those of a map are. So a key that is not equal to itself,
// such as a NaN, is another one in each call and never limited, and an interface
// that holds what cannot be compared, such as a slice, panics.
//
// A call costs a hash, a lock shared with one key in 64, and a look-up; it
// allocates nothing, but for memory to grow and to wait.
type Keyed[K comparable] struct {
	epoch  time.Time
	seed   maphash.Seed
	shards []shard[K] // a power of two
	name   string
}

const (
	maxKeys   = 100_000_000
	maxShards = 64
	shardKeys = 1024 // what is worth a shard
)

// NewKeyed returns a Keyed in which every bucket is full. The error names the
// field that is out of bounds.
func NewKeyed[K comparable](config KeyedConfig) (*Keyed[K], error) {
	if config.Limit == (Limit{}) {
		config.Limit = Per(100, time.Second)
	}
	if err := config.Limit.check("KeyedConfig.Limit"); err != nil {
		return nil, err
	}
	if config.Burst == 0 {
		config.Burst = int(max(1, min(maxBurst, config.Limit.in(time.Second))))
	}
	m, err := newMeter(config.Limit, config.Burst, "KeyedConfig.Limit", "KeyedConfig.Burst")
	if err != nil {
		return nil, err
	}
	if config.MaxKeys == 0 {
		config.MaxKeys = 100_000
	}
	if config.MaxKeys < 1 || config.MaxKeys > maxKeys {
		return nil, invalid("KeyedConfig.MaxKeys", config.MaxKeys, "from 1 to 100000000, or 0 for 100000")
	}
	if config.Name == "" {
		config.Name = "default"
	}
	if !printable(config.Name) {
		return nil, invalid("KeyedConfig.Name", config.Name, "at most 64 characters of printable ASCII")
	}
	n := min(maxShards, 1<<bits.Len(uint(config.MaxKeys/shardKeys))/2)
	k := &Keyed[K]{epoch: time.Now(), seed: maphash.MakeSeed(), shards: make([]shard[K], max(1, n)), name: config.Name}
	for i := range k.shards {
		s := &k.shards[i]
		s.meter, s.most = m, config.MaxKeys/len(k.shards)
	}
	return k, nil
}

// now and at are as those of a Limiter.
func (k *Keyed[K]) now() int64 { return int64(time.Since(k.epoch)) }

func (k *Keyed[K]) at(t time.Time) int64 { return onClock(t.Sub(k.epoch)) }

// lock locks and returns the shard of a key, and the key's hash in it.
func (k *Keyed[K]) lock(key K) (*shard[K], uint32) {
	h := maphash.Comparable(k.seed, key)
	s := &k.shards[h>>32&uint64(len(k.shards)-1)]
	s.mu.Lock()
	return s, max(1, uint32(h))
}

// Allow takes one token of the key's and reports whether there was one.
func (k *Keyed[K]) Allow(key K) bool { return k.allow(k.now(), key, 1) }

// AllowN takes n tokens of the key's at the time now, all or none, and reports
// whether they were there. Times and n are as for Limiter.AllowN.
func (k *Keyed[K]) AllowN(now time.Time, key K, n int) bool { return k.allow(k.at(now), key, n) }

func (k *Keyed[K]) allow(now int64, key K, n int) bool {
	s, hash := k.lock(key)
	t := s.attempt(now, hash, key, n)
	s.mu.Unlock()
	return t.outcome == taken || t.outcome == idle
}

// Decide is AllowN with the whole answer. Decide(now, key, 0) takes nothing and
// tells the state.
func (k *Keyed[K]) Decide(now time.Time, key K, n int) Decision {
	d, _ := k.decide(k.at(now), key, n)
	return d
}

// Take is Decide at the present time: it makes a Keyed[string] a Store. The only
// error is that of a ctx that has ended, in which case nothing is taken.
func (k *Keyed[K]) Take(ctx context.Context, key K, n int) (Decision, error) {
	if ctx.Err() != nil {
		return Decision{}, contextError(ctx)
	}
	d, _ := k.decide(k.now(), key, n)
	return d, nil
}

// decide is Decide with what is needed for a refund.
func (k *Keyed[K]) decide(now int64, key K, n int) (Decision, keyTicket) {
	s, hash := k.lock(key)
	defer s.mu.Unlock()
	t := s.attempt(now, hash, key, n)
	d := s.decision(&t)
	d.Policy = k.name
	return d, keyTicket{t, s.own[key], s.moves}
}

type keyTicket struct {
	ticket
	own   *ownLimit
	moves uint64
}

// refund gives back what may be given back of a ticket, if the key still has the
// limit that it had.
func (k *Keyed[K]) refund(now int64, key K, t keyTicket) {
	s, hash := k.lock(key)
	defer s.mu.Unlock()
	switch {
	case s.own[key] != t.own || t.outcome != taken:
	case t.own != nil:
		t.own.limiter.refund(t.ticket, now, false)
	case s.moves == t.moves:
		s.refund(now, hash, key, &t.ticket)
	}
}

// SetLimit changes the limit and the burst of all keys that have none of their
// own, as Limiter.SetLimit does: what is lacking in a bucket stays lacking. It
// takes some nanoseconds a key, during which calls for other shards go on, under
// the old limit or the new one. The error, as of New, leaves everything as it was.
func (k *Keyed[K]) SetLimit(limit Limit, burst int) error {
	return k.setLimit(k.now(), limit, burst)
}

// SetLimitAt is SetLimit at the time now, for those who tell the other methods
// the time, too.
func (k *Keyed[K]) SetLimitAt(now time.Time, limit Limit, burst int) error {
	return k.setLimit(k.at(now), limit, burst)
}

func (k *Keyed[K]) setLimit(now int64, limit Limit, burst int) error {
	m, err := newMeter(limit, burst, "Limit", "burst")
	if err != nil {
		return err
	}
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		s.move(m, now)
		for _, o := range s.own {
			if !o.set {
				_ = o.limiter.setLimit(now, limit, burst) // which have been checked
			}
		}
		s.mu.Unlock()
	}
	return nil
}

// SetKeyLimit gives a key a limit and a burst of its own, or, with a zero Limit,
// puts it back under that of all. What is lacking in its bucket stays lacking.
// Such a key does not count as one of MaxKeys and is never evicted; it takes about
// 300 bytes. So it is for the customers that have a contract, not for every key.
// The error is that of New, and one for a key that is not equal to itself.
func (k *Keyed[K]) SetKeyLimit(key K, limit Limit, burst int) error {
	return k.setKeyLimit(k.now(), key, limit, burst)
}

// SetKeyLimitAt is SetKeyLimit at the time now, for those who tell the other
// methods the time, too.
func (k *Keyed[K]) SetKeyLimitAt(now time.Time, key K, limit Limit, burst int) error {
	return k.setKeyLimit(k.at(now), key, limit, burst)
}

func (k *Keyed[K]) setKeyLimit(now int64, key K, limit Limit, burst int) error {
	s, hash := k.lock(key)
	defer s.mu.Unlock()
	if limit == (Limit{}) {
		s.clearOwn(now, hash, key)
		return nil
	}
	return s.setOwn(now, k.epoch, hash, key, limit, burst)
}

// KeyedStats is a snapshot of a Keyed.
type KeyedStats struct {
	// Keys is how many keys are kept, Own how many have their own limit, and
	// Waiting how many callers of Wait stand in a line.
	Keys, Own, Waiting int
	// Evicted is how many keys have been removed, and Early how many of them while
	// their buckets were not full: if it grows, MaxKeys is too small for the keys
	// that are limited at one time, or somebody floods the limiter with new ones.
	Evicted, Early uint64
}

// Stats returns a snapshot. It locks one shard after the other.
func (k *Keyed[K]) Stats() (sum KeyedStats) {
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		sum.Keys += s.table.count
		for _, o := range s.own {
			sum.Waiting += o.waiting
			if o.set {
				sum.Own++
			}
		}
		sum.Evicted += s.evicted
		sum.Early += s.early
		s.mu.Unlock()
	}
	return sum
}
