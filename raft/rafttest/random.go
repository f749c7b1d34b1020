package rafttest

import (
	"bytes"
	"math/rand/v2"

	"github.com/parley-go/parley/raft"
)

// randomOperations does what nodes do in all orders, and compares with a model
// after each restart.
func randomOperations(c *check) {
	for seed := range uint64(3) {
		m := &model{check: c, Rand: rand.New(rand.NewPCG(seed, 0))}
		c.dir = c.TempDir()
		c.reopen()
		for range 100 {
			m.step()
		}
		if c.Failed() {
			c.Logf("seed %d of RandomOperations", seed)
			return
		}
	}
}

// A model keeps everything, and compacts nothing.
type model struct {
	*check
	*rand.Rand
	hard      raft.HardState
	entries   []raft.Entry
	next      uint64
	compacted uint64
	snapshot  uint64
}

func (m *model) last() uint64 { return max(m.next, 1) - 1 }

func (m *model) step() {
	switch k := m.IntN(20); {
	case k < 10:
		m.append()
	case k < 13:
		m.hard.Commit += m.Uint64N(max(m.last(), m.hard.Commit) - m.hard.Commit + 1)
		m.save(raft.Batch{Hard: m.hard, Lazy: true})
	case k < 15 && m.hard.Commit > m.snapshot:
		m.snapshot = m.hard.Commit
		m.commit(at(m.snapshot), body(int(m.snapshot)))
		m.compacted = max(m.compacted, m.Uint64N(m.snapshot+1))
		m.compact(m.compacted)
	case k < 16:
		m.install()
	case k < 18:
		m.reopen()
		m.compare()
	default:
		m.hard.Term++
		m.hard.Vote = []string{"", "a", "b"}[m.IntN(3)]
		m.save(raft.Batch{Hard: m.hard})
	}
}

func (m *model) append() {
	first := m.last() + 1
	if m.IntN(4) == 0 { // a conflict
		first = m.hard.Commit + 1 + m.Uint64N(first-m.hard.Commit)
		m.hard.Term++
		m.hard.Vote = ""
	}
	batch := list(first, first+m.Uint64N(6), m.hard.Term)
	if m.IntN(10) == 0 {
		batch[0].Data = bytes.Repeat([]byte("long "), m.IntN(4000))
	}
	m.save(raft.Batch{Hard: m.hard, Entries: batch})
	kept := 0
	for kept < len(m.entries) && m.entries[kept].Index < first {
		kept++
	}
	m.entries = append(m.entries[:kept:kept], batch...)
	m.next = batch[len(batch)-1].Index + 1
}

// install takes a snapshot over from a leader.
func (m *model) install() {
	m.snapshot = max(m.last(), m.snapshot) + 1 + m.Uint64N(10)
	m.commit(at(m.snapshot), body(int(m.snapshot)))
	m.hard.Commit = m.snapshot
	m.next = m.snapshot + 1
	m.entries = nil
	m.save(raft.Batch{Hard: m.hard, Restart: m.next})
}

func (m *model) compare() {
	m.Helper()
	m.check.hard(m.hard)
	gone := 0
	for gone < len(m.entries) && m.entries[gone].Index <= m.compacted {
		gone++
	}
	m.log(m.entries[:gone], m.entries[gone:])
	if m.snapshot == 0 {
		m.none()
		return
	}
	m.newest(at(m.snapshot), body(int(m.snapshot)))
}
