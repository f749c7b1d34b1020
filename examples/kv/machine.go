package main

import (
	"bytes"
	"sync"
	"time"

	"github.com/parley-go/parley/raft"
)

// A machine is the state that the log makes: the same on every node that has
// applied the same entries. It is a raft.StateMachine.
//
// Time is a part of that state. Each entry carries the time of the node that
// proposed it, and the clock of the log is the latest of these. It never goes
// back, and an item is gone once it has passed its expiry; so all nodes agree on
// when. Between entries a node counts on by its own monotonic clock. Nobody's wall
// clock matters, but for the first entry of all, which sets the clock.
type machine struct {
	mu    sync.RWMutex // held to write while a batch is applied, which is seen whole
	table *table
	clock int64 // of the log, as Unix time in ms; 0 before the first entry

	// What this node takes for the present: it was known at since, and goes on
	// from there. It never goes back either, and is never behind clock.
	known int64
	since time.Time
}

func newMachine() *machine { return &machine{table: newTable()} }

// now returns the time of the log as far as this node can tell.
func (m *machine) now() time.Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.present()
}

// present is now, with mu held.
func (m *machine) present() time.Time {
	if m.clock == 0 {
		return time.Now()
	}
	return time.UnixMilli(m.known).Add(time.Since(m.since))
}

// setClock sets the clock of the log to a later time.
func (m *machine) setClock(at int64) {
	if m.clock == 0 || at > m.present().UnixMilli() {
		m.known, m.since = at, time.Now()
	}
	m.clock = at
}

// get returns the items of some keys as they are at one moment. It reports late
// when one of them is over by what this node knows of the time, and the log has
// not said so yet: an answer would not bind those who ask other nodes. at is the
// time that an entry has to bring.
func (m *machine) get(keys []string) (items []item, late bool, at time.Time) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	at = m.present()
	logged := time.UnixMilli(m.clock)
	items = make([]item, len(keys))
	for i, key := range keys {
		it := m.table.get(key)
		if it.expired(logged) {
			it = nothing
		} else if it.expired(at) {
			late = true
		}
		items[i] = it
	}
	return items, late, at
}

// Apply carries out orders of the log.
func (m *machine) Apply(commands []raft.Command) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range commands {
		commands[i].Result = m.carryOut(commands[i].Data)
	}
	m.table.sweep(func(it item) bool { return it.expired(time.UnixMilli(m.clock)) })
	return nil
}

// carryOut carries out one order and returns its outcomes. One that cannot be read
// does nothing: all nodes agree on that, too.
func (m *machine) carryOut(data []byte) []byte {
	o, err := decodeOrder(data)
	if err != nil {
		return appendOutcomes(nil, []outcome{{failure: replyError(errorText(err))}})
	}
	if o.at > m.clock {
		m.setClock(o.at)
	}
	outcomes := make([]outcome, len(o.edits))
	for i, e := range o.edits {
		if e.item.expires != never {
			// It counts from the time of the log, which may be ahead of that of
			// the node that proposed it.
			e.item.expires = min(e.item.expires+m.clock-o.at, 2*maxExpiry)
		}
		outcomes[i] = m.change(e)
	}
	return appendOutcomes(nil, outcomes)
}

// change carries out one edit.
func (m *machine) change(e edit) outcome {
	now := time.UnixMilli(m.clock)
	o, after := e.apply(now, m.table.get(e.key))
	switch {
	case !o.done:
	case after.expired(now):
		m.table.remove(e.key)
	default:
		after.value = bytes.Clone(after.value) // the order's memory is raft's
		m.table.set(e.key, after)
	}
	return o
}
