package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/faultdisk"
)

// A modelState is what a node has saved, in the obvious form: nothing is compacted.
type modelState struct {
	hard raft.HardState
	log  []raft.Entry
	next uint64
}

func (m modelState) after(b raft.Batch) modelState {
	m.hard = b.Hard
	if b.Restart != 0 {
		m.log, m.next = nil, b.Restart
	}
	if len(b.Entries) > 0 {
		first := b.Entries[0].Index
		i := slices.IndexFunc(m.log, func(e raft.Entry) bool { return e.Index >= first })
		if i < 0 {
			i = len(m.log)
		}
		m.log = append(slices.Clone(m.log[:i]), b.Entries...)
		m.next = b.Entries[len(b.Entries)-1].Index + 1
	}
	return m
}

// allows reports whether a storage with this content may return what it did.
func (m modelState) allows(s raft.State, compacted uint64) error {
	if s.Hard != m.hard {
		return fmt.Errorf("hard state %v, not %v", s.Hard, m.hard)
	}
	kept := m.log
	if len(s.Entries) > 0 {
		kept = slices.DeleteFunc(slices.Clone(m.log), func(e raft.Entry) bool { return e.Index < s.Entries[0].Index })
	}
	if len(s.Entries) == 0 {
		if n := len(m.log); n > 0 && m.log[n-1].Index > compacted {
			return fmt.Errorf("no entries, not up to %d", m.log[n-1].Index)
		}
		return nil
	}
	if first := s.Entries[0].Index; first > compacted+1 && len(kept) < len(m.log) {
		return fmt.Errorf("the log begins with %d, though only %d was compacted", first, compacted)
	}
	if !slices.EqualFunc(kept, s.Entries, sameEntry) {
		return fmt.Errorf("entries %s, not %s", brief(s.Entries), brief(kept))
	}
	return nil
}

func sameEntry(a, b raft.Entry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Kind == b.Kind && bytes.Equal(a.Data, b.Data)
}

func brief(list []raft.Entry) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, " %d/%d:%.3s(%d)", e.Index, e.Term, e.Data, len(e.Data))
	}
	return b.String()
}

// A model knows what a log may hold after a crash.
type model struct {
	states    []modelState // the first is acknowledged; the others may be there
	compacted uint64
	snapshots map[uint64]string // content of all that were ever begun
	snapshot  uint64            // the newest that was acknowledged
	begun     uint64            // the newest that was begun
}

func newModel() *model {
	return &model{states: []modelState{{}}, snapshots: map[uint64]string{}}
}

func (m *model) now() modelState { return m.states[len(m.states)-1] }

// found checks what was loaded, and takes it over: it has to stay.
func (m *model) found(t *testing.T, l *Log) {
	t.Helper()
	s := mustLoad(t, l)
	var complaints []error
	i := slices.IndexFunc(m.states, func(c modelState) bool {
		err := c.allows(s, m.compacted)
		complaints = append(complaints, err)
		return err == nil
	})
	if i < 0 {
		t.Fatalf("the log holds none of what it may:\n%v", errors.Join(complaints...))
	}
	m.states = m.states[i : i+1]
	if got := s.Snapshot.Index; got != m.snapshot && got != m.begun {
		t.Fatalf("snapshot %d, not %d or %d", got, m.snapshot, m.begun)
	}
	m.snapshot = s.Snapshot.Index
	m.begun = m.snapshot
	if m.snapshot == 0 {
		_, err := l.OpenSnapshot()
		require.ErrorIs(t, err, raft.ErrNoSnapshot)
		return
	}
	require.Equal(t, m.snapshots[m.snapshot], content(t, l))
}

var errBelieved = errors.New("a Save succeeds after one that failed")

// A workload is a node that does what comes to its mind.
type workload struct {
	*rand.Rand
	model *model
	log   *Log
}

// step does one thing. An error is that of the log.
func (w *workload) step() error {
	switch k := w.IntN(20); {
	case k < 12:
		return w.save(w.batch())
	case k < 16:
		b := raft.Batch{Hard: w.model.now().hard, Lazy: true}
		b.Hard.Commit = max(b.Hard.Commit, w.upTo())
		return w.save(b)
	case k < 17: // a snapshot from the leader
		index := w.model.now().next + 1 + w.Uint64N(5)
		if err := w.takeSnapshot(index); err != nil {
			return err
		}
		b := raft.Batch{Hard: w.model.now().hard, Restart: index + 1}
		b.Hard.Commit = max(b.Hard.Commit, index)
		if w.IntN(2) == 0 {
			b.Entries = w.entries(index+1, b.Hard.Term)
		}
		return w.save(b)
	case k < 18: // one of its own
		if index := w.upTo(); index > w.model.snapshot {
			return w.takeSnapshot(index)
		}
		return nil
	default:
		index := w.Uint64N(w.model.snapshot + 1)
		w.model.compacted = max(w.model.compacted, index)
		return w.log.Compact(index)
	}
}

// upTo returns an index that may be called committed.
func (w *workload) upTo() uint64 {
	s := w.model.now()
	if n := len(s.log); n > 0 && s.log[n-1].Index > s.hard.Commit {
		return s.hard.Commit + w.Uint64N(s.log[n-1].Index-s.hard.Commit+1)
	}
	return s.hard.Commit
}

func (w *workload) batch() raft.Batch {
	s := w.model.now()
	b := raft.Batch{Hard: s.hard}
	if w.IntN(4) == 0 {
		b.Hard.Term++
		b.Hard.Vote = []string{"", "a", "b", "a node with a name that is rather long"}[w.IntN(4)]
	}
	if w.IntN(8) == 0 {
		return b
	}
	first := max(s.next, 1)
	if n := len(s.log); n > 0 && w.IntN(4) == 0 { // a conflict, behind what is committed
		first = max(s.log[0].Index, s.hard.Commit+1)
		first += w.Uint64N(s.next - first + 1)
	}
	b.Entries = w.entries(first, b.Hard.Term)
	return b
}

// entries have little variety: what was cut off and what is written in its stead
// are often the same.
func (w *workload) entries(first, term uint64) (list []raft.Entry) {
	for i := range 1 + w.IntN(4) {
		data := []string{"", "a", "b", strings.Repeat("c", 200), strings.Repeat("d", 600)}[w.IntN(5)]
		if w.IntN(60) == 0 {
			data = strings.Repeat("e", 6000)
		}
		list = append(list, entries(first+uint64(i), term, data)...)
	}
	return list
}

func (w *workload) save(b raft.Batch) error {
	w.model.states = append(w.model.states, w.model.now().after(b))
	err := w.log.Save(b)
	if err != nil && w.log.Save(b) == nil {
		return errBelieved
	}
	if err == nil && !b.Lazy {
		w.model.states = w.model.states[len(w.model.states)-1:]
	}
	return err
}

func (w *workload) takeSnapshot(index uint64) error {
	body := strings.Repeat(fmt.Sprintf("snapshot %d ", index), 1+int(index*index%200))
	out, err := w.log.CreateSnapshot(raft.SnapshotInfo{Index: index, Term: 1})
	if err != nil {
		return err
	}
	if _, err := out.Write([]byte(body)); err != nil {
		return errors.Join(err, out.Abort())
	}
	w.model.snapshots[index], w.model.begun = body, max(w.model.begun, index)
	if err := out.Commit(); err != nil {
		return err
	}
	w.model.snapshot = max(w.model.snapshot, index) // an older one does not take the place of a newer one
	return nil
}

// lives runs a log through so many lives on a disk, each of which ends with a crash
// of the machine, the death of the process, or Close, and has segments of its own size.
func lives(t *testing.T, r *rand.Rand, d *faultdisk.Disk, m *model, n int, begin func()) {
	for range n {
		begin()
		w := &workload{Rand: r, model: m}
		steps := 1 + r.IntN(30)
		var err error
		if w.log, err = open(d, dir, Config{SegmentSize: minSegmentSize + r.Int64N(9001)}); err == nil {
			m.found(t, w.log)
		}
		for ; steps > 0 && err == nil; steps-- {
			err = w.step()
		}
		if err != nil && !errors.Is(err, faultdisk.ErrCrashed) && !errors.Is(err, faultdisk.ErrSync) && !errors.Is(err, faultdisk.ErrWrite) {
			t.Fatalf("unexpected: %v", err)
		}
		end(t, r, d, w, err)
	}
}

func end(t *testing.T, r *rand.Rand, d *faultdisk.Disk, w *workload, err error) {
	switch r.IntN(4) {
	case 0:
		d.Kill()
		if errors.Is(err, faultdisk.ErrCrashed) {
			d.Crash()
		}
	case 1:
		if w.log != nil && err == nil {
			if err := w.log.Close(); err == nil {
				w.model.states = w.model.states[len(w.model.states)-1:]
			}
			return
		}
		d.Crash()
	default:
		d.Crash()
	}
}

// After each crash everything is there that was acknowledged, nothing that was not
// saved, and a batch as a whole or not at all; what is found stays.
func TestCrashesLoseNothingAcknowledged(t *testing.T) {
	seeds(t, 150, func(t *testing.T, seed uint64, r *rand.Rand) {
		d := faultdisk.New(seed)
		lives(t, r, d, newModel(), 30, func() {
			switch r.IntN(4) {
			case 0:
				d.CrashIn(1 + r.IntN(12)) // often while it opens
			case 1, 2:
				d.CrashIn(1 + r.IntN(80))
			}
			d.FailSync(0)
			d.FailWrite(0)
			if r.IntN(8) == 0 {
				d.FailWrite(1 + r.IntN(20))
			}
			if r.IntN(4) == 0 {
				d.FailSync(1 + r.IntN(20))
			}
		})
	})
}
