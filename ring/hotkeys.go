package ring

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// HotKeysConfig says which keys count as hot. The zero value is a good default.
type HotKeysConfig struct {
	// Threshold is the share of all requests from which a key is hot: 0.0001 to
	// 0.5, default 0.01. Memory grows with 1/Threshold: 128 bytes times it.
	Threshold float64
	// Window is the number of requests after which what was counted weighs half:
	// 16/Threshold to 1<<30, default 1,000/Threshold. A longer one is slower to
	// notice and to forget, and less easily fooled by a burst.
	Window int
}

// HotKeys finds the keys that take a large share of the requests, with bounded
// memory however many keys there are. A key whose share stays at or above the
// threshold is hot within two windows, mostly one, and the sooner the higher its share: after
// threshold x window of its own requests. It stops being hot within a few
// windows after its share has fallen below half the threshold. A key that was
// asked for less often than half of that is never hot: the estimate can only be
// too low. Windows are counted in requests, not in time, so that a sequence of
// requests always gives the same answers.
//
// All methods are safe for concurrent use. The counters are those of Space-Saving
// (Metwally, Agrawal and El Abbadi, ICDT 2005), eight in a bucket.
type HotKeys struct {
	enough uint32 // count from which a key is hot
	window int

	hot atomic.Pointer[map[uint64]hotKey] // by hash; replaced, never changed

	mu      sync.Mutex
	buckets [][8]counter // guarded by mu
	seen    int          // requests since the last halving; guarded by mu
	weight  int          // of all requests, as they weigh now; guarded by mu
}

// A counter counts the requests for one key: count is too high by at most over.
type counter struct {
	hash        uint64
	count, over uint32
}

type hotKey struct {
	key   string
	share float64 // when last estimated
}

// NewHotKeys returns a HotKeys that has seen nothing.
//
// Errors: ErrInvalid.
func NewHotKeys(c HotKeysConfig) (*HotKeys, error) {
	if c.Threshold == 0 {
		c.Threshold = 0.01
	}
	if !(c.Threshold >= 0.0001 && c.Threshold <= 0.5) {
		return nil, fmt.Errorf("%w: HotKeysConfig.Threshold is %v, want 0.0001 to 0.5, or 0 for 0.01", ErrInvalid, c.Threshold)
	}
	if c.Window == 0 {
		c.Window = int(1000 / c.Threshold)
	}
	if least := int(16 / c.Threshold); c.Window < least || c.Window > 1<<30 {
		return nil, fmt.Errorf("%w: HotKeysConfig.Window is %d, want %d (16/Threshold) to %d, or 0 for 1000/Threshold",
			ErrInvalid, c.Window, least, 1<<30)
	}
	h := &HotKeys{
		enough:  uint32(c.Threshold * float64(c.Window)),
		window:  c.Window,
		buckets: make([][8]counter, int(1/c.Threshold)+1),
	}
	h.hot.Store(&map[uint64]hotKey{})
	return h, nil
}

// Record counts a request for a key and reports whether the key is hot. It never
// waits: a request that comes while another one is being counted is not counted,
// which is a fair sample of them. Takes some 20 ns.
func (h *HotKeys) Record(key string) bool {
	hash := Hash(key)
	if h.mu.TryLock() {
		h.count(hash, key)
		h.mu.Unlock()
	}
	return h.isHot(hash)
}

// Hot reports whether a key is hot, without counting a request. Takes no lock.
func (h *HotKeys) Hot(key string) bool { return h.isHot(Hash(key)) }

func (h *HotKeys) isHot(hash uint64) bool {
	hot := *h.hot.Load()
	if len(hot) == 0 {
		return false
	}
	_, ok := hot[hash]
	return ok
}

// Keys yields the hot keys and their shares of the requests, as estimated when
// the key became hot or a window ended, the hottest first. There are at most
// 4/Threshold.
func (h *HotKeys) Keys() iter.Seq2[string, float64] {
	hot := *h.hot.Load()
	keys := make([]hotKey, 0, len(hot))
	for _, k := range hot { // any order: sorted below
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b hotKey) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(a.key, b.key))
	})
	return func(yield func(string, float64) bool) {
		for _, k := range keys {
			if !yield(k.key, k.share) {
				return
			}
		}
	}
}

// count adds one request. A key without a counter takes over the lowest of its
// bucket, with its count: it may have had that many requests, or none.
func (h *HotKeys) count(hash uint64, key string) {
	if h.seen++; h.seen > h.window {
		h.halve()
	}
	h.weight++
	at, _ := bits.Mul64(hash, uint64(len(h.buckets)))
	bucket := &h.buckets[at]
	c := &bucket[0]
	for i := range bucket {
		if bucket[i].hash == hash {
			c = &bucket[i]
			break
		}
		if bucket[i].count < c.count {
			c = &bucket[i]
		}
	}
	if c.hash != hash {
		*c = counter{hash, c.count, c.count}
	}
	c.count++
	if c.count-c.over == h.enough {
		h.heat(hash, hotKey{strings.Clone(key), h.share(c)})
	}
}

func (h *HotKeys) share(c *counter) float64 { return float64(c.count-c.over) / float64(h.weight) }

// heat publishes the hot keys with one more.
func (h *HotKeys) heat(hash uint64, k hotKey) {
	old := *h.hot.Load()
	hot := make(map[uint64]hotKey, len(old)+1)
	maps.Copy(hot, old)
	hot[hash] = k
	h.hot.Store(&hot)
}

// halve lets all that was counted weigh half, and lets those keys cool down that
// then have less than half of what makes a key hot.
func (h *HotKeys) halve() {
	old := *h.hot.Load()
	hot := make(map[uint64]hotKey, len(old))
	h.seen, h.weight = 1, h.weight/2
	for b := range h.buckets {
		for i := range h.buckets[b] {
			c := &h.buckets[b][i]
			c.count /= 2
			c.over = min(c.count, (c.over+1)/2) // rounded up, so that the estimate is never too high
			k, was := old[c.hash]
			if was && c.count-c.over >= h.enough/2 {
				hot[c.hash] = hotKey{k.key, h.share(c)}
			}
		}
	}
	h.hot.Store(&hot)
}
