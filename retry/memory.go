package retry

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// A memory holds the entries of a Deduplicator: those whose handler runs, and
// the responses of the rest, oldest first. A running one is never evicted: it
// would run twice at a time.
type memory struct {
	maxEntries int
	maxBytes   int64
	ttl        time.Duration

	mu      sync.Mutex
	entries map[[sha256.Size]byte]*entry
	kept    list.List // of *entry with a response, in the order of expiry
	bytes   int64     // the size of all in kept

	replayed, conflicts, mismatched, evicted, refused atomic.Uint64

	waiting atomic.Int64 // requests that wait for the first of their key
}

// An entry is what is remembered of a key.
type entry struct {
	id      [sha256.Size]byte // of scope and key
	content [sha256.Size]byte // of the request
	done    chan struct{}     // closed when the handler has ended
	// response is set before done is closed, and then never changed; nil means
	// that the operation has no outcome, and the entry is no longer in memory.
	response *response
	expires  time.Time // guarded by memory.mu
}

// entryBytes is what an entry takes besides its response, generously.
const entryBytes = 1 << 10

func (m *memory) init(maxEntries int, maxBytes int64, ttl time.Duration) {
	m.maxEntries, m.maxBytes, m.ttl = maxEntries, maxBytes, ttl
	m.entries = map[[sha256.Size]byte]*entry{}
}

// over reports whether the handler has ended.
func (e *entry) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// claim returns the entry of a key. first is true if there was none; the caller
// then has to settle it. nil means that there is no room.
func (m *memory) claim(now time.Time, id, content [sha256.Size]byte) (e *entry, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for oldest := m.oldest(); oldest != nil && !oldest.expires.After(now); oldest = m.oldest() {
		m.drop(oldest)
	}
	if e = m.entries[id]; e != nil {
		return e, false
	}
	if len(m.entries) >= m.maxEntries && !m.evict() {
		return nil, false
	}
	e = &entry{id: id, content: content, done: make(chan struct{})}
	m.entries[id] = e
	return e, true
}

// settle ends the claim of an entry: with a response to be kept, or with nil to
// be forgotten, so that the next request runs.
func (m *memory) settle(now time.Time, e *entry, kept *response) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.response = kept
	close(e.done)
	if kept == nil {
		delete(m.entries, e.id)
		return
	}
	e.expires = now.Add(m.ttl)
	m.kept.PushBack(e)
	m.bytes += kept.size()
	for m.bytes > m.maxBytes && m.evict() {
	}
}

// evict forgets the oldest response before its time, if there is one.
func (m *memory) evict() bool {
	oldest := m.oldest()
	if oldest == nil {
		return false
	}
	m.drop(oldest)
	m.evicted.Add(1)
	return true
}

func (m *memory) oldest() *entry {
	if front := m.kept.Front(); front != nil {
		return front.Value.(*entry)
	}
	return nil
}

// drop forgets the oldest response.
func (m *memory) drop(oldest *entry) {
	m.kept.Remove(m.kept.Front())
	m.bytes -= oldest.response.size()
	delete(m.entries, oldest.id)
}

func (m *memory) stats() DeduplicateStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return DeduplicateStats{
		Entries: len(m.entries), Bytes: m.bytes,
		Replayed: m.replayed.Load(), Conflicts: m.conflicts.Load(),
		Mismatched: m.mismatched.Load(), Evicted: m.evicted.Load(), Refused: m.refused.Load(),
		Waiting: int(m.waiting.Load()),
	}
}
