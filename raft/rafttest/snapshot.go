package rafttest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/parley-go/parley/raft"
)

// body returns n bytes that differ from each other wherever they are mixed up.
func body(n int) []byte {
	b := make([]byte, n)
	x := uint32(n) | 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func noSnapshot(c *check) {
	c.none()
	c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: list(1, 3, 1)})
	c.none()
	c.reopen()
	c.none()
}

func snapshotKept(c *check) {
	info := raft.SnapshotInfo{Index: 7, Term: 3, Membership: raft.Membership{
		Voters: []string{"c", "a", "b"}, Learners: []string{"d"}, Outgoing: []string{"a", "b", "e"},
	}}
	c.save(raft.Batch{Hard: raft.HardState{Term: 3, Commit: 7}, Entries: list(1, 9, 3)})
	c.commit(info, []byte("the state"))
	c.newest(info, []byte("the state"))
	for range 2 {
		c.reopen()
		if got := c.loaded.Snapshot; !sameInfo(got, info) {
			c.Errorf("Load: got snapshot %+v, want %+v", got, info)
		}
		c.newest(info, []byte("the state"))
		c.log(nil, list(1, 9, 3)) // the log stays as it is
	}
}

func snapshotSizes(c *check) {
	sizes := []int{0, 1, 511, 512, 4096, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1<<20 + 3}
	c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: list(1, uint64(len(sizes)), 1)})
	for i, n := range sizes {
		info := at(uint64(i + 1))
		c.commit(info, body(n))
		c.newest(info, body(n))
		c.reopen()
		c.newest(info, body(n))
	}
}

func snapshotReadsAnywhere(c *check) {
	content := body(100_000)
	c.commit(at(1), content)
	r := c.reader()
	defer r.Close()
	for _, from := range []int{0, 1, 4095, 16383, 16384, 65535, 65536, 99_999, 100_000, 100_001} {
		for _, n := range []int{0, 1, 2, 16384, 65536, 200_000} {
			want := content[min(from, len(content)):min(from+n, len(content))]
			p := make([]byte, n)
			k, err := r.ReadAt(p, int64(from))
			if k != len(want) || !bytes.Equal(p[:k], want) {
				c.Errorf("ReadAt of %d bytes at %d: got %d bytes, want the %d that were written there", n, from, k, len(want))
			}
			if short := k < n; short && !errors.Is(err, io.EOF) || !short && err != nil && !errors.Is(err, io.EOF) {
				c.Errorf("ReadAt of %d bytes at %d: got %d and error %v", n, from, k, err)
			}
		}
	}
}

func snapshotConcurrentReads(c *check) {
	content := body(200_000)
	c.commit(at(1), content)
	r := c.reader()
	defer r.Close()
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			p := make([]byte, 1000*(i+1))
			for from := 0; from+len(p) <= len(content); from += len(p) {
				if _, err := r.ReadAt(p, int64(from)); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(p, content[from:from+len(p)]) {
					c.Errorf("ReadAt of %d bytes at %d, beside others: wrong contents, or error %v", len(p), from, err)
				}
			}
		})
	}
	readers.Wait()
}

// snapshotInfoOwn writes to the lists that it gave.
func snapshotInfoOwn(c *check) {
	given, want := at(3), at(3)
	w := c.snapshot(given, nil)
	given.Membership.Voters[0] = "x"
	if err := w.Commit(); err != nil {
		c.Fatalf("Commit: %v", err)
	}
	c.newest(want, nil)
	r := c.reader()
	for i := range r.Info().Membership.Voters {
		r.Info().Membership.Voters[i] = "y"
	}
	if err := r.Close(); err != nil {
		c.Errorf("Close of a snapshot: %v", err)
	}
	c.newest(want, nil)
}

func snapshotUncommitted(c *check) {
	w := c.snapshot(at(5), body(100_000))
	c.none()
	c.commit(at(3), []byte("three"))
	c.newest(at(3), []byte("three"))
	if err := w.Commit(); err != nil {
		c.Fatalf("Commit: %v", err)
	}
	c.newest(at(5), body(100_000))
}

func snapshotAborted(c *check) {
	c.commit(at(3), []byte("three"))
	if err := c.snapshot(at(5), body(100_000)).Abort(); err != nil {
		c.Errorf("Abort: %v", err)
	}
	if _, err := c.storage.CreateSnapshot(at(6)); err != nil { // and never ended
		c.Errorf("CreateSnapshot: %v", err)
	}
	c.newest(at(3), []byte("three"))
	c.reopen()
	c.newest(at(3), []byte("three"))
	c.commit(at(5), []byte("five"))
	c.newest(at(5), []byte("five"))
}

func abortAfterCommit(c *check) {
	w := c.snapshot(at(3), []byte("three"))
	if err := w.Commit(); err != nil {
		c.Fatalf("Commit: %v", err)
	}
	if err := w.Abort(); err != nil {
		c.Errorf("Abort after Commit: %v", err)
	}
	c.newest(at(3), []byte("three"))
	c.reopen()
	c.newest(at(3), []byte("three"))
}

func olderSnapshot(c *check) {
	older := c.snapshot(at(3), []byte("three"))
	c.commit(at(5), []byte("five"))
	if err := older.Commit(); err != nil {
		c.Errorf("Commit of an older snapshot: got %v, want nil", err)
	}
	c.newest(at(5), []byte("five"))
	c.reopen()
	c.newest(at(5), []byte("five"))
}

// readerStaysValid reads a snapshot while four newer ones take its place.
func readerStaysValid(c *check) {
	content := body(300_000)
	c.save(raft.Batch{Hard: raft.HardState{Term: 1, Commit: 20}, Entries: list(1, 20, 1)})
	c.commit(at(10), content)
	r := c.reader()
	for i := uint64(11); i < 15; i++ {
		c.commit(at(i), body(int(i)))
		c.compact(i)
	}
	c.holds(r, at(10), content)
	if err := r.Close(); err != nil {
		c.Errorf("Close of a snapshot: %v", err)
	}
	c.newest(at(14), body(14))
}

// snapshotsBesideSaves takes snapshots on one goroutine while another saves.
func snapshotsBesideSaves(c *check) {
	c.save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: list(1, 1000, 1)})
	var failures []error
	var beside sync.WaitGroup
	beside.Go(func() {
		for i := uint64(1); i <= 10; i++ {
			w, err := c.storage.CreateSnapshot(at(i))
			if err == nil {
				_, err = w.Write(body(50_000))
				failures = append(failures, err, w.Commit())
			}
			r, openErr := c.storage.OpenSnapshot()
			failures = append(failures, err, openErr)
			if openErr == nil {
				failures = append(failures, r.Close())
			}
		}
	})
	for i := uint64(1001); i <= 1050; i++ {
		c.save(raft.Batch{Hard: raft.HardState{Term: 1, Commit: i - 1}, Entries: list(i, i, 1)})
		c.compact(1)
	}
	beside.Wait()
	if i := slices.IndexFunc(failures, func(err error) bool { return err != nil }); i >= 0 {
		c.Errorf("snapshot beside saves: %v", failures[i])
	}
	c.reopen()
	c.newest(at(10), body(50_000))
	c.log(list(1, 1, 1), list(2, 1050, 1))
}
