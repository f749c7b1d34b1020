package raft

import (
	"fmt"
	"log/slog"
	"time"
)

// A save is what goes to Storage: one batch at a time, by a goroutine that is
// there while there are any. What the core wants to save meanwhile makes the
// next batch. All fields are guarded by Node.mu, but for the batch that is being
// saved.
type save struct {
	run     func()         // saveAll, bound once
	memory  *MemoryStorage // nil if it is another: one that never blocks is saved to under the lock
	running bool
	ready   bool // batch has to be saved
	batch   Batch
	entries []Entry // the memory of batches
	compact uint64  // entries up to here may be forgotten; 0: nothing new
}

// saveHere saves to a Storage that is memory.
func (n *Node) saveHere(now time.Duration) {
	s := &n.save
	for {
		batch, ok := n.core.takePiece()
		if !ok {
			break
		}
		if err := s.memory.keep(batch); err != nil {
			n.fail(fmt.Errorf("raft: saving: %w", err))
			return
		}
		n.core.saved(now)
		n.stats.Saves++
	}
	if s.compact > 0 {
		_ = s.memory.Compact(s.compact) // it never fails
		s.compact = 0
	}
}

// startSave sees to what has to be saved. Called with mu held.
func (n *Node) startSave() {
	s := &n.save
	if !s.ready {
		s.batch, s.ready = n.core.takeBatch(s.entries)
	}
	if !s.running && (s.ready || s.compact > 0) {
		s.running = true
		n.workers.Add(1)
		go s.run()
	}
}

// saveAll saves until there is nothing to save.
func (n *Node) saveAll() {
	defer n.workers.Done()
	ended := false
	defer func() {
		if !ended {
			n.abandoned("the storage")
		}
	}()
	for {
		batch, ready, compact := n.nextToSave()
		if !ready && compact == 0 {
			ended = true
			return
		}
		if ready {
			n.noteSaved(batch, n.config.Storage.Save(batch))
		}
		if compact > 0 {
			n.noteCompacted(compact, n.config.Storage.Compact(compact))
		}
	}
}

// nextToSave returns what to save, and up to where to compact; neither if the
// goroutine is to end.
func (n *Node) nextToSave() (batch Batch, ready bool, compact uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.save
	if n.closed || n.failure != nil || !s.ready && s.compact == 0 {
		s.running = false
		return Batch{}, false, 0
	}
	compact, s.compact = s.compact, 0
	return s.batch, s.ready, compact
}

func (n *Node) noteSaved(batch Batch, err error) {
	now := n.enter()
	defer n.leave(now, nil)
	switch {
	case n.closed:
	case err != nil:
		n.fail(fmt.Errorf("raft: saving: %w", err))
	default:
		n.core.saved(now)
		n.save.free(batch)
		n.save.batch, n.save.ready = Batch{}, false
		n.stats.Saves++
	}
}

// free takes the memory of a batch back.
func (s *save) free(batch Batch) {
	clear(batch.Entries)
	if s.entries = batch.Entries[:0]; cap(s.entries) > keptEntries {
		s.entries = nil
	}
}

func (n *Node) noteCompacted(index uint64, err error) {
	if err == nil {
		return
	}
	now := n.enter()
	n.note(slog.LevelWarn, "the storage did not compact", slog.Uint64("index", index), slog.Any("error", err))
	n.leave(now, nil)
}
