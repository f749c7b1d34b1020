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

func (m *memoryStore) Get(_ context.Context, key string) (item, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it, found := m.items[key]
	return it, found, m.err
}

func (m *memoryStore) Set(_ context.Context, key string, it item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.items[key] = it
	}
	return m.err
}

func (m *memoryStore) Edit(_ context.Context, key string, e edit) (outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return outcome{}, m.err
	}
	before, found := m.items[key]
	o, after := e.apply(time.Now(), before, found)
	switch {
	case !o.done:
	case e.verb == remove:
		delete(m.items, key)
	default:
		m.items[key] = after
	}
	return o, nil
}
