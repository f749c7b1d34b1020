package main

import (
	"context"
	"sync"
	"time"
)

// A memoryStore is the simplest store that the commands can stand on. It is the
// specification of the interface in a few lines.
type memoryStore struct {
	mu    sync.Mutex
	items map[string]item
	err   error // what every call answers, if set
}

func (m *memoryStore) Now() time.Time { return time.Now() }

func (m *memoryStore) Get(_ context.Context, keys ...string) ([]item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := make([]item, len(keys))
	for i, key := range keys {
		items[i] = m.read(key)
	}
	return items, m.err
}

func (m *memoryStore) read(key string) item {
	if it, found := m.items[key]; found {
		return it
	}
	return nothing
}

func (m *memoryStore) Edit(_ context.Context, edits ...edit) ([]outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	outcomes := make([]outcome, len(edits))
	for i, e := range edits {
		var after item
		outcomes[i], after = e.apply(m.Now(), m.read(e.key))
		if outcomes[i].done {
			m.items[e.key] = after
		}
	}
	return outcomes, nil
}
