package raft

import (
	"fmt"
	"slices"
)

// A simDisk is what of a node survives a crash.
type simDisk struct {
	hard    HardState
	snap    SnapshotInfo
	base    uint64 // index before the first entry
	entries []Entry
}

func (d *simDisk) last() uint64 { return d.base + uint64(len(d.entries)) }

// holds reports whether the entry at index, of the given term, would be there
// after a crash at this moment.
func (d *simDisk) holds(index, term uint64) bool {
	if index <= d.snap.Index {
		return true
	}
	return index > d.base && index <= d.last() && d.entries[index-d.base-1].Term == term
}

// save writes a batch, or that part of it that a crash lets through: of steps 1
// is the hard state, 2 the restart, and every further one an entry.
func (d *simDisk) save(b *Batch, steps int) error {
	if steps > 0 {
		d.hard = b.Hard
	}
	if steps > 1 && b.Restart > 0 {
		d.base, d.entries = b.Restart-1, nil
	}
	for i := range min(len(b.Entries), max(steps-2, 0)) {
		e := b.Entries[i]
		if e.Index <= d.base || e.Index > d.last()+1 {
			return fmt.Errorf("entry %d was saved to a log of entries %d to %d", e.Index, d.base+1, d.last())
		}
		d.entries = append(d.entries[:e.Index-d.base-1], e)
	}
	return nil
}

// simSteps is how many steps all of a batch takes.
func simSteps(b *Batch) int { return 2 + len(b.Entries) }

// commit makes a snapshot the newest one, unless there is a newer one.
func (d *simDisk) commit(info SnapshotInfo) {
	if info.Index > d.snap.Index {
		d.snap = info
	}
}

// compact forgets the entries up to index.
func (d *simDisk) compact(index uint64) {
	index = min(index, d.last(), d.snap.Index)
	if index > d.base {
		d.entries = slices.Clone(d.entries[index-d.base:])
		d.base = index
	}
}

func (d *simDisk) state() State {
	return State{Hard: d.hard, Snapshot: d.snap, Entries: slices.Clone(d.entries)}
}
