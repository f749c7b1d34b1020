package ring

import (
	"fmt"
	"sync/atomic"
)

// SpreadConfig says how far hot keys are spread. The zero value is a good
// default.
type SpreadConfig struct {
	// Copies is the number of owners over which a hot key is spread: 2 to 16,
	// default 3, and no more than there are nodes. In a store with N replicas,
	// Copies = N costs nothing: the owners are those that hold the key anyway.
	Copies int
	// Hot says which keys are hot.
	Hot HotKeysConfig
}

// Spread takes the load of hot keys (the celebrity problem) from their owners: it
// counts requests, and sends those for a hot key to several owners in turn.
//
//   - Where reads are many: write to All, read from One. Any owner has the value.
//   - Where writes are many and can be added up, such as counters: write to One,
//     read from All and add up.
//
// Either way the result is right whichever key is hot when, and whatever other
// processes think of it: All does not depend on what is hot, and One is always
// among All as long as the members stay the same. Where All would be too many to
// write to for each key, as with a cache, let One choose the cache, fill it from
// the store, and let values expire.
//
// All methods are safe for concurrent use.
type Spread struct {
	ring   *Ring
	copies int
	hot    *HotKeys
	turn   atomic.Uint64
}

// NewSpread returns a Spread over a ring, whose members it follows.
//
// Errors: ErrInvalid.
func NewSpread(r *Ring, c SpreadConfig) (*Spread, error) {
	if c.Copies == 0 {
		c.Copies = 3
	}
	if c.Copies < 2 || c.Copies > few {
		return nil, fmt.Errorf("%w: SpreadConfig.Copies is %d, want 2 to %d, or 0 for 3", ErrInvalid, c.Copies, few)
	}
	hot, err := NewHotKeys(c.Hot)
	if err != nil {
		return nil, err
	}
	return &Spread{ring: r, copies: c.Copies, hot: hot}, nil
}

// One counts a request for a key and returns the node for it: the key's owner,
// or, while the key is hot, each of its owners in turn. ok is false without
// nodes. Takes some 30 ns, and as many more for a hot key.
func (s *Spread) One(key string) (name string, ok bool) {
	if !s.hot.Record(key) {
		return s.ring.Owner(key)
	}
	var buf [few]string
	owners := s.ring.Owners(buf[:0], key, s.copies)
	if len(owners) == 0 {
		return "", false
	}
	return owners[s.turn.Add(1)%uint64(len(owners))], true
}

// All appends to buf all nodes that One can return for a key, and returns it.
// They are the first of [Ring.Owners].
func (s *Spread) All(buf []string, key string) []string {
	return s.ring.Owners(buf, key, s.copies)
}

// HotKeys returns what counts the requests, to ask which keys are hot.
func (s *Spread) HotKeys() *HotKeys { return s.hot }
