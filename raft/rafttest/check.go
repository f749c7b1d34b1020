package rafttest

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/parley-go/parley/raft"
)

// A check is one run of a case.
type check struct {
	testing.TB
	start   func(dir string) (raft.Storage, error)
	dir     string
	storage raft.Storage
	loaded  raft.State
}

// open opens the directory and loads what is there.
func (c *check) open() {
	c.Helper()
	s, err := c.start(c.dir)
	if err != nil {
		c.Fatalf("open: %v", err)
	}
	c.storage = s
	if c.loaded, err = s.Load(); err != nil {
		c.Fatalf("Load: %v", err)
	}
}

// reopen does what the restart of a node does.
func (c *check) reopen() {
	c.Helper()
	c.close()
	c.open()
}

func (c *check) save(b raft.Batch) {
	c.Helper()
	if err := c.storage.Save(b); err != nil {
		c.Fatalf("Save of term %d, restart %d, %d entries: %v", b.Hard.Term, b.Restart, len(b.Entries), err)
	}
}

func (c *check) compact(index uint64) {
	c.Helper()
	if err := c.storage.Compact(index); err != nil {
		c.Fatalf("Compact of %d: %v", index, err)
	}
}

// hard checks the hard state that was loaded.
func (c *check) hard(want raft.HardState) {
	c.Helper()
	if c.loaded.Hard != want {
		c.Errorf("Load: got hard state %+v, want %+v", c.loaded.Hard, want)
	}
}

// log checks the entries that were loaded: those wanted, and before them none but
// the next of those that may have been forgotten.
func (c *check) log(mayBeGone, want []raft.Entry) {
	c.Helper()
	got := c.loaded.Entries
	more := len(got) - len(want)
	if more < 0 || more > len(mayBeGone) {
		c.Errorf("Load: got %d entries, want %d, or up to %d more before", len(got), len(want), len(mayBeGone))
		return
	}
	for i, w := range append(mayBeGone[len(mayBeGone)-more:len(mayBeGone):len(mayBeGone)], want...) {
		if g := got[i]; g.Index != w.Index || g.Term != w.Term || g.Kind != w.Kind || !bytes.Equal(g.Data, w.Data) {
			c.Errorf("Load: entry %d of %d: got %s, want %s", i, len(got), describe(g), describe(w))
			return
		}
	}
}

// snapshot writes a snapshot in pieces, up to before its end.
func (c *check) snapshot(info raft.SnapshotInfo, content []byte) raft.SnapshotWriter {
	c.Helper()
	w, err := c.storage.CreateSnapshot(info)
	if err != nil {
		c.Fatalf("CreateSnapshot at %d: %v", info.Index, err)
	}
	for n := 1; len(content) > 0; n = min(3*n+1, 100_000) {
		n = min(n, len(content))
		piece := bytes.Clone(content[:n])
		if k, err := w.Write(piece); k != n || err != nil {
			c.Fatalf("Write of a snapshot: got %d, %v; want %d, nil", k, err, n)
		}
		clear(piece) // it is the caller's again
		content = content[n:]
	}
	return w
}

// commit writes a snapshot and commits it.
func (c *check) commit(info raft.SnapshotInfo, content []byte) {
	c.Helper()
	if err := c.snapshot(info, content).Commit(); err != nil {
		c.Fatalf("Commit of the snapshot at %d: %v", info.Index, err)
	}
}

// reader opens the newest snapshot.
func (c *check) reader() raft.SnapshotReader {
	c.Helper()
	r, err := c.storage.OpenSnapshot()
	if err != nil {
		c.Fatalf("OpenSnapshot: %v", err)
	}
	return r
}

// newest checks what OpenSnapshot opens.
func (c *check) newest(info raft.SnapshotInfo, content []byte) {
	c.Helper()
	r := c.reader()
	c.holds(r, info, content)
	if err := r.Close(); err != nil {
		c.Errorf("Close of a snapshot: %v", err)
	}
}

// holds checks a snapshot.
func (c *check) holds(r raft.SnapshotReader, info raft.SnapshotInfo, content []byte) {
	c.Helper()
	if got := r.Info(); !sameInfo(got, info) {
		c.Errorf("Info: got %+v, want %+v", got, info)
	}
	if got := r.Size(); got != int64(len(content)) {
		c.Errorf("Size: got %d, want %d", got, len(content))
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, content) {
		c.Errorf("snapshot: got %d bytes and error %v, want the %d bytes that were written", len(got), err, len(content))
	}
}

// none checks that there is no snapshot.
func (c *check) none() {
	c.Helper()
	if r, err := c.storage.OpenSnapshot(); !errors.Is(err, raft.ErrNoSnapshot) {
		c.Errorf("OpenSnapshot: got %v and error %v, want ErrNoSnapshot", r, err)
	}
}

func sameInfo(a, b raft.SnapshotInfo) bool {
	same := func(a, b []string) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }
	return a.Index == b.Index && a.Term == b.Term && same(a.Membership.Voters, b.Membership.Voters) &&
		same(a.Membership.Learners, b.Membership.Learners) && same(a.Membership.Outgoing, b.Membership.Outgoing)
}
