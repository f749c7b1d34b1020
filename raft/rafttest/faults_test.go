package rafttest_test

import (
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/parley-go/parley/raft"
)

// A fault breaks a Storage in one way. The cases in found have to notice.
type fault struct {
	name  string
	found string
	wrap  func(raft.Storage) raft.Storage // around what is kept from one open to the next
}

// A broken Storage does something else where a function is set.
type broken struct {
	raft.Storage
	load    func(raft.State) raft.State
	save    func(raft.Batch) raft.Batch
	compact func(uint64) uint64
	create  func(raft.SnapshotInfo, raft.SnapshotWriter) raft.SnapshotWriter
	open    func(raft.SnapshotReader) raft.SnapshotReader
}

func (b *broken) Load() (raft.State, error) {
	s, err := b.Storage.Load()
	if b.load != nil {
		s = b.load(s)
	}
	return s, err
}

func (b *broken) Save(batch raft.Batch) error {
	if b.save != nil {
		batch = b.save(batch)
	}
	return b.Storage.Save(batch)
}

func (b *broken) Compact(index uint64) error {
	if b.compact != nil {
		index = b.compact(index)
	}
	return b.Storage.Compact(index)
}

func (b *broken) CreateSnapshot(info raft.SnapshotInfo) (raft.SnapshotWriter, error) {
	w, err := b.Storage.CreateSnapshot(info)
	if b.create != nil && err == nil {
		w = b.create(info, w)
	}
	return w, err
}

func (b *broken) OpenSnapshot() (raft.SnapshotReader, error) {
	r, err := b.Storage.OpenSnapshot()
	if b.open != nil && err == nil {
		r = b.open(r)
	}
	return r, err
}

func saving(name, found string, save func(raft.Batch) raft.Batch) fault {
	return fault{name, found, func(s raft.Storage) raft.Storage { return &broken{Storage: s, save: save} }}
}

func loading(name, found string, load func(raft.State) raft.State) fault {
	return fault{name, found, func(s raft.Storage) raft.Storage { return &broken{Storage: s, load: load} }}
}

func creating(name, found string, create func(raft.SnapshotInfo, raft.SnapshotWriter) raft.SnapshotWriter) fault {
	return fault{name, found, func(s raft.Storage) raft.Storage { return &broken{Storage: s, create: create} }}
}

func opening(name, found string, open func(raft.SnapshotReader) raft.SnapshotReader) fault {
	return fault{name, found, func(s raft.Storage) raft.Storage { return &broken{Storage: s, open: open} }}
}

// each returns a copy of the entries, changed.
func each(entries []raft.Entry, change func(*raft.Entry)) []raft.Entry {
	entries = slices.Clone(entries)
	for i := range entries {
		change(&entries[i])
	}
	return entries
}

func faults() []fault {
	return slices.Concat(savingFaults(), logFaults(), loadingFaults(), writingFaults(), readingFaults())
}

// savingFaults are those of Save: what a batch loses on its way.
func savingFaults() []fault {
	return []fault{
		saving("the vote is forgotten", "HardStateIsKept HardStateComesWithEntries RandomOperations",
			func(b raft.Batch) raft.Batch { b.Hard.Vote = ""; return b }),
		saving("the commit index is forgotten", "HardStateComesWithEntries CompactKeepsTheHardState",
			func(b raft.Batch) raft.Batch { b.Hard.Commit = 0; return b }),
		{"the hard state is not saved with entries", "HardStateComesWithEntries EntriesAreKept", func(s raft.Storage) raft.Storage {
			var hard raft.HardState
			return &broken{Storage: s, save: func(b raft.Batch) raft.Batch {
				if len(b.Entries) > 0 {
					b.Hard = hard
				}
				hard = b.Hard
				return b
			}}
		}},
		{"a vote outlives its term", "HardStateComesWithEntries", func(s raft.Storage) raft.Storage {
			var vote string
			return &broken{Storage: s, save: func(b raft.Batch) raft.Batch {
				if b.Hard.Vote == "" {
					b.Hard.Vote = vote
				}
				vote = b.Hard.Vote
				return b
			}}
		}},
		saving("kinds are forgotten", "EntriesAreKept",
			func(b raft.Batch) raft.Batch {
				b.Entries = each(b.Entries, func(e *raft.Entry) { e.Kind = 0 })
				return b
			}),
		saving("Save writes to the entries", "BatchStaysTheCallers",
			func(b raft.Batch) raft.Batch {
				given := b.Entries
				b.Entries = slices.Clone(given)
				clear(given)
				return b
			}),
		saving("Save writes to Data", "BatchStaysTheCallers",
			func(b raft.Batch) raft.Batch {
				for _, e := range b.Entries {
					copy(e.Data, "xx")
				}
				return b
			}),
	}
}

// logFaults are those of the log as a whole.
func logFaults() []fault {
	return []fault{
		{"entries are kept as they were given", "BatchStaysTheCallers", func(s raft.Storage) raft.Storage {
			var kept [][]raft.Entry
			return &broken{
				Storage: s,
				save:    func(b raft.Batch) raft.Batch { kept = append(kept, b.Entries); return b },
				load: func(s raft.State) raft.State {
					s.Entries = slices.Concat(kept...)
					return s
				},
			}
		}},
		saving("large data is cut", "LargeBatchIsKept", func(b raft.Batch) raft.Batch {
			b.Entries = each(b.Entries, func(e *raft.Entry) { e.Data = e.Data[:min(len(e.Data), 1<<20)] })
			return b
		}),
		{"conflicting entries stay behind", "EntriesReplaceWhatTheyConflictWith RandomOperations", func(s raft.Storage) raft.Storage {
			var all []raft.Entry
			return &broken{
				Storage: s,
				save: func(b raft.Batch) raft.Batch {
					for _, e := range b.Entries {
						if i := slices.IndexFunc(all, func(o raft.Entry) bool { return o.Index == e.Index }); i >= 0 {
							all[i] = e
						} else {
							all = append(all, e)
						}
					}
					return b
				},
				load: func(s raft.State) raft.State {
					s.Entries = slices.Clone(all)
					return s
				},
			}
		}},
		saving("a restart keeps the log", "RestartDropsTheLog RestartWithEntries RandomOperations", func(b raft.Batch) raft.Batch {
			if len(b.Entries) == 0 || b.Entries[0].Index < 20 {
				b.Restart = 0
			}
			return b
		}),
		saving("the entries of a restart are dropped", "RestartWithEntries", func(b raft.Batch) raft.Batch {
			if b.Restart != 0 {
				b.Entries = nil
			}
			return b
		}),
		{"lazy batches overtake", "LazyBatchesKeepTheirOrder", func(s raft.Storage) raft.Storage {
			var lazy *raft.Batch
			return &broken{
				Storage: s,
				save: func(b raft.Batch) raft.Batch {
					if b.Lazy {
						lazy = &b
					}
					return b
				},
				load: func(s raft.State) raft.State {
					if lazy != nil {
						s.Entries = s.Entries[:min(5, len(s.Entries))]
					}
					return s
				},
			}
		}},
	}
}

// loadingFaults are those of Compact and Load.
func loadingFaults() []fault {
	return []fault{
		{"Compact goes one too far", "CompactKeepsWhatFollows RandomOperations", func(s raft.Storage) raft.Storage {
			return &broken{Storage: s, compact: func(index uint64) uint64 { return index + 1 }}
		}},
		{"Compact forgets the hard state", "CompactKeepsTheHardState CompactMayBeRepeated", func(s raft.Storage) raft.Storage {
			var gone bool
			return &broken{
				Storage: s,
				compact: func(index uint64) uint64 { gone = true; return index },
				load: func(s raft.State) raft.State {
					if gone {
						s.Hard = raft.HardState{}
					}
					return s
				},
			}
		}},
		loading("nothing is there after a restart", "HardStateIsKept EntriesAreKept SnapshotIsKept ManyBatchesAreKept",
			func(raft.State) raft.State { return raft.State{} }),
		loading("the log begins with the snapshot", "SnapshotIsKept", func(s raft.State) raft.State {
			s.Entries = slices.DeleteFunc(slices.Clone(s.Entries), func(e raft.Entry) bool { return e.Index <= s.Snapshot.Index })
			return s
		}),
		loading("a state out of nowhere", "NothingSavedIsTheZeroState", func(s raft.State) raft.State {
			s.Hard.Term = max(s.Hard.Term, 1)
			return s
		}),
	}
}

// writingFaults are those of the writers of snapshots.
func writingFaults() []fault {
	return []fault{
		creating("the end of a snapshot is lost", "SnapshotOfAnySize SnapshotReadsAnywhere", func(_ raft.SnapshotInfo, w raft.SnapshotWriter) raft.SnapshotWriter {
			return &writer{SnapshotWriter: w, write: func(p []byte) []byte { return p[:len(p)/2] }}
		}),
		{"a snapshot refers to what was written", "SnapshotOfAnySize", func(s raft.Storage) raft.Storage {
			var pieces [][]byte
			return &broken{
				Storage: s,
				create: func(_ raft.SnapshotInfo, w raft.SnapshotWriter) raft.SnapshotWriter {
					pieces = nil
					return &writer{SnapshotWriter: w, write: func(p []byte) []byte { pieces = append(pieces, p); return p }}
				},
				open: func(r raft.SnapshotReader) raft.SnapshotReader {
					return &reader{SnapshotReader: r, readAt: func(p []byte, at int64) (int, error) {
						return strings.NewReader(string(slices.Concat(pieces...))).ReadAt(p, at)
					}}
				},
			}
		}},
		creating("a snapshot is there before Commit", "SnapshotIsThereAfterCommit SnapshotAborted", func(_ raft.SnapshotInfo, w raft.SnapshotWriter) raft.SnapshotWriter {
			_ = w.Commit()
			return &writer{SnapshotWriter: w, write: func([]byte) []byte { return nil }, commit: func() error { return nil }}
		}),
		creating("an aborted snapshot is committed", "SnapshotAborted", func(_ raft.SnapshotInfo, w raft.SnapshotWriter) raft.SnapshotWriter {
			return &writer{SnapshotWriter: w, abort: w.Commit}
		}),
		creating("Abort fails after Commit", "AbortAfterCommitDoesNothing", func(_ raft.SnapshotInfo, w raft.SnapshotWriter) raft.SnapshotWriter {
			return &writer{SnapshotWriter: w, abort: func() error { return io.ErrClosedPipe }}
		}),
		creating("the older snapshot is an error", "OlderSnapshotDoesNotReplaceNewer", func(info raft.SnapshotInfo, w raft.SnapshotWriter) raft.SnapshotWriter {
			return &writer{SnapshotWriter: w, commit: func() error {
				if err := w.Commit(); err != nil || info.Index != 3 {
					return err
				}
				return io.ErrClosedPipe
			}}
		}),
	}
}

// readingFaults are those of their readers.
func readingFaults() []fault {
	return []fault{
		opening("the membership is forgotten", "SnapshotIsKept SnapshotInfoIsTheStoragesOwn", func(r raft.SnapshotReader) raft.SnapshotReader {
			return &reader{SnapshotReader: r, info: func(i raft.SnapshotInfo) raft.SnapshotInfo { i.Membership = raft.Membership{}; return i }}
		}),
		opening("ReadAt does not say where it ends", "SnapshotReadsAnywhere", func(r raft.SnapshotReader) raft.SnapshotReader {
			return &reader{SnapshotReader: r, readAt: func(p []byte, at int64) (int, error) {
				n, _ := r.ReadAt(p, at)
				return n, nil
			}}
		}),
		opening("readers share a position", "SnapshotReadConcurrently SnapshotReadsAnywhere", func(r raft.SnapshotReader) raft.SnapshotReader {
			var mu sync.Mutex
			var position int64
			return &reader{SnapshotReader: r, readAt: func(p []byte, _ int64) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				n, err := r.ReadAt(p, position)
				position += int64(n)
				return n, err
			}}
		}),
		{"the info is the caller's", "SnapshotInfoIsTheStoragesOwn", func(s raft.Storage) raft.Storage {
			var given raft.SnapshotInfo
			return &broken{
				Storage: s,
				create:  func(i raft.SnapshotInfo, w raft.SnapshotWriter) raft.SnapshotWriter { given = i; return w },
				open: func(r raft.SnapshotReader) raft.SnapshotReader {
					return &reader{SnapshotReader: r, info: func(raft.SnapshotInfo) raft.SnapshotInfo { return given }}
				},
			}
		}},
		{"a reader moves on to the newest", "ReaderStaysValid", func(s raft.Storage) raft.Storage {
			return &broken{Storage: s, open: func(r raft.SnapshotReader) raft.SnapshotReader {
				newest := func() raft.SnapshotReader {
					if n, err := s.OpenSnapshot(); err == nil {
						return n
					}
					return r
				}
				return &reader{
					SnapshotReader: r,
					info:           func(raft.SnapshotInfo) raft.SnapshotInfo { return newest().Info() },
					readAt:         func(p []byte, at int64) (int, error) { return newest().ReadAt(p, at) },
				}
			}}
		}},
	}
}

type writer struct {
	raft.SnapshotWriter
	write         func([]byte) []byte
	commit, abort func() error
}

func (w *writer) Write(p []byte) (int, error) {
	kept := p
	if w.write != nil {
		kept = w.write(p)
	}
	_, err := w.SnapshotWriter.Write(kept)
	if w.commit != nil && w.write != nil {
		err = nil
	}
	return len(p), err
}

func (w *writer) Commit() error {
	if w.commit != nil {
		return w.commit()
	}
	return w.SnapshotWriter.Commit()
}

func (w *writer) Abort() error {
	if w.abort != nil {
		return w.abort()
	}
	return w.SnapshotWriter.Abort()
}

type reader struct {
	raft.SnapshotReader
	info   func(raft.SnapshotInfo) raft.SnapshotInfo
	readAt func([]byte, int64) (int, error)
}

func (r *reader) Info() raft.SnapshotInfo {
	if r.info != nil {
		return r.info(r.SnapshotReader.Info())
	}
	return r.SnapshotReader.Info()
}

func (r *reader) ReadAt(p []byte, at int64) (int, error) {
	if r.readAt != nil {
		return r.readAt(p, at)
	}
	return r.SnapshotReader.ReadAt(p, at)
}
