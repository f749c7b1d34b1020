package rafttest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/parley-go/parley/raft"
)

// list returns entries from one index to another, of one term.
func list(first, last, term uint64) (entries []raft.Entry) {
	for i := first; i <= last; i++ {
		entries = append(entries, raft.Entry{
			Index: i, Term: term, Kind: raft.EntryKind(i % 4), Data: fmt.Appendf(nil, "entry %d of term %d", i, term),
		})
	}
	return entries
}

func describe(e raft.Entry) string {
	return fmt.Sprintf("{index %d, term %d, kind %d, %d bytes %.20q}", e.Index, e.Term, e.Kind, len(e.Data), e.Data)
}

// at describes a snapshot at an index.
func at(index uint64) raft.SnapshotInfo {
	return raft.SnapshotInfo{Index: index, Term: 1, Membership: raft.Membership{Voters: []string{"a"}}}
}

func nothingSaved(c *check) {
	for range 2 {
		c.hard(raft.HardState{})
		c.log(nil, nil)
		if got := c.loaded.Snapshot; !sameInfo(got, raft.SnapshotInfo{}) {
			c.Errorf("Load: got snapshot %+v, want none", got)
		}
		c.reopen()
	}
}

func hardStateKept(c *check) {
	for _, h := range []raft.HardState{
		{Term: 1, Vote: "a"},
		{Term: 2},
		{Term: 2, Vote: "b", Commit: 0},
		{Term: 1 << 63, Vote: "a\x00b\xff"},
		{Term: 1<<64 - 1, Vote: strings.Repeat("n", 255)},
	} {
		c.save(raft.Batch{Hard: h})
		c.reopen()
		c.hard(h)
		c.log(nil, nil)
	}
}

func entriesKept(c *check) {
	all := []raft.Entry{
		{Index: 1, Term: 1, Kind: raft.EntryNoop},
		{Index: 2, Term: 1, Kind: raft.EntryCommand, Data: []byte{}},
		{Index: 3, Term: 1, Kind: raft.EntryMembership, Data: []byte{0}},
		{Index: 4, Term: 7, Kind: raft.EntrySession, Data: bytes.Repeat([]byte{0xff, 0}, 300)},
		{Index: 5, Term: 1 << 60, Kind: raft.EntryCommand, Data: make([]byte, 1000)},
	}
	h := raft.HardState{Term: 1 << 60, Vote: "b", Commit: 3}
	c.save(raft.Batch{Hard: h, Entries: all[:2]})
	c.save(raft.Batch{Hard: h, Entries: all[2:]})
	for range 3 {
		c.reopen()
		c.hard(h)
		c.log(nil, all)
	}
}

func largeBatch(c *check) {
	all := list(1, 2000, 1)
	for i := range all {
		all[i].Data = bytes.Repeat([]byte{byte(i)}, i)
	}
	all[1000].Data = bytes.Repeat([]byte("large "), 300_000)
	c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: all})
	c.reopen()
	c.log(nil, all)
}

// manyBatches is for files of bounded size, of which it takes several.
func manyBatches(c *check) {
	var all []raft.Entry
	var h raft.HardState
	for i := uint64(1); i <= 300; i += 2 {
		pair := list(i, i+1, i)
		pair[0].Data = bytes.Repeat([]byte{byte(i)}, 1500)
		h = raft.HardState{Term: i, Vote: "a", Commit: i - 1}
		c.save(raft.Batch{Hard: h, Entries: pair})
		all = append(all, pair...)
		if i%99 == 0 {
			c.reopen()
		}
	}
	c.reopen()
	c.hard(h)
	c.log(nil, all)
}

// batchStaysCallers uses the batch for something else; Data alone may be kept.
func batchStaysCallers(c *check) {
	want := list(1, 20, 1)
	batch := make([]raft.Entry, 0, 20)
	for i := 0; i < len(want); i += 4 {
		batch = append(batch[:0], want[i:i+4]...)
		c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: batch})
		for k := range batch {
			if batch[k].Index != want[i+k].Index || !bytes.Equal(batch[k].Data, want[i+k].Data) {
				c.Errorf("Save wrote to its batch: got %s, want %s", describe(batch[k]), describe(want[i+k]))
			}
			batch[k] = raft.Entry{Index: 99, Term: 99, Data: []byte("something else")}
		}
	}
	c.reopen()
	c.log(nil, want)
	fresh := list(1, 20, 1)
	c.log(nil, fresh) // what want refers to was not written to either
}

func hardStateWithEntries(c *check) {
	for i := uint64(1); i <= 5; i++ {
		h := raft.HardState{Term: i, Vote: fmt.Sprint("node ", i), Commit: i - 1}
		c.save(raft.Batch{Hard: h, Entries: list(i, i, i)})
		c.reopen()
		c.hard(h)
	}
	// A term without a vote is a vote that is still free.
	c.save(raft.Batch{Hard: raft.HardState{Term: 6, Commit: 5}})
	c.reopen()
	c.hard(raft.HardState{Term: 6, Commit: 5})
}

func conflict(c *check) {
	c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: list(1, 10, 1)})
	c.save(raft.Batch{Hard: raft.HardState{Term: 2}, Entries: list(4, 5, 2)})
	c.reopen()
	want := append(list(1, 3, 1), list(4, 5, 2)...)
	c.log(nil, want)
	c.save(raft.Batch{Hard: raft.HardState{Term: 3}, Entries: list(6, 7, 3)})
	c.save(raft.Batch{Hard: raft.HardState{Term: 4}, Entries: list(5, 8, 4)})
	c.reopen()
	c.log(nil, append(want[:4:4], list(5, 8, 4)...))
}

func conflictWithAll(c *check) {
	c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: list(1, 10, 1)})
	c.save(raft.Batch{Hard: raft.HardState{Term: 2}, Entries: list(1, 1, 2)})
	c.reopen()
	c.log(nil, list(1, 1, 2))
}

func restart(c *check) {
	h := raft.HardState{Term: 2, Vote: "a", Commit: 50}
	c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: list(1, 10, 1)})
	c.commit(at(50), []byte("from the leader"))
	c.save(raft.Batch{Hard: h, Restart: 51})
	c.reopen()
	c.hard(h)
	c.log(nil, nil)
	c.save(raft.Batch{Hard: h, Entries: list(51, 53, 2)})
	c.reopen()
	c.log(nil, list(51, 53, 2))
	// Back, where the log had been before: what was there is gone.
	c.save(raft.Batch{Hard: h, Restart: 51})
	c.save(raft.Batch{Hard: h, Entries: list(51, 51, 3)})
	c.reopen()
	c.log(nil, list(51, 51, 3))
	c.newest(at(50), []byte("from the leader"))
}

func restartWithEntries(c *check) {
	h := raft.HardState{Term: 2, Commit: 8}
	c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: list(1, 10, 1)})
	c.commit(at(8), nil)
	c.save(raft.Batch{Hard: h, Restart: 9, Entries: list(9, 12, 2)})
	c.reopen()
	c.hard(h)
	c.log(nil, list(9, 12, 2)) // without 1 to 8
}

// lazyOrder saves lazily what later batches build on.
func lazyOrder(c *check) {
	h := raft.HardState{Term: 1, Vote: "a"}
	c.save(raft.Batch{Hard: h, Entries: list(1, 5, 1)})
	for commit := range uint64(5) {
		h.Commit = commit
		c.save(raft.Batch{Hard: h, Lazy: true})
	}
	h.Commit = 5
	c.save(raft.Batch{Hard: h, Entries: list(6, 7, 1)})
	c.save(raft.Batch{Hard: h, Lazy: true})
	c.reopen()
	c.hard(h)
	c.log(nil, list(1, 7, 1))
}

// compacted saves a hundred entries with a snapshot, and compacts up to it.
func (c *check) compacted(index uint64) raft.HardState {
	c.Helper()
	h := raft.HardState{Term: 1, Vote: "a", Commit: index}
	for i := uint64(1); i <= 100; i += 5 {
		group := list(i, i+4, 1)
		c.save(raft.Batch{Hard: h, Entries: group})
	}
	c.commit(at(index), []byte("state"))
	c.compact(index)
	return h
}

func compactKeeps(c *check) {
	h := c.compacted(60)
	c.reopen()
	c.log(list(1, 60, 1), list(61, 100, 1))
	c.save(raft.Batch{Hard: h, Entries: list(101, 102, 1)})
	c.save(raft.Batch{Hard: h, Entries: list(90, 91, 2)})
	c.reopen()
	c.log(list(1, 60, 1), append(list(61, 89, 1), list(90, 91, 2)...))
	c.newest(at(60), []byte("state"))
}

func compactKeepsHardState(c *check) {
	h := c.compacted(100)
	c.reopen()
	c.hard(h)
	c.compact(100)
	c.reopen()
	c.hard(h)
}

func compactAll(c *check) {
	h := c.compacted(100)
	c.save(raft.Batch{Hard: h, Entries: list(101, 103, 2)})
	c.reopen()
	c.log(list(1, 100, 1), list(101, 103, 2))
}

func compactRepeated(c *check) {
	h := c.compacted(60)
	for _, index := range []uint64{60, 10, 0, 59} {
		c.compact(index)
	}
	for i := uint64(60); i <= 80; i += 4 {
		c.commit(at(i), []byte("later state"))
		c.compact(i)
	}
	c.reopen()
	c.hard(h)
	c.log(list(1, 80, 1), list(81, 100, 1))
}
