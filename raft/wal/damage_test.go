package wal

import (
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

// copyOf returns a disk with the same files.
func copyOf(t *testing.T, d *faultdisk.Disk) *faultdisk.Disk {
	c := faultdisk.New(1)
	for _, name := range d.Files() {
		b, err := d.ReadFile(name)
		require.NoError(t, err)
		c.WriteFile(name, b)
	}
	return c
}

// a log of three segments, of which the last is about half full, and two snapshots.
func written(t *testing.T) (*faultdisk.Disk, *Log) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	last := fill(t, l, 1, 3)
	snapshot(t, l, 2, "older")
	snapshot(t, l, last-2, strings.Repeat("newest ", 100))
	for i := last + 1; i < last+6; i++ {
		require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 2, Vote: "b", Commit: last}, Entries: entries(i, 2, "data")}))
	}
	return d, l
}

// Wherever a bit rots in a directory that was closed, Open names the file, or the
// bit did not matter: never does it return anything else than what was saved.
func TestEveryRottenBitIsFoundOrHarmless(t *testing.T) {
	d, l := written(t)
	require.NoError(t, l.Close())
	check := mustOpen(t, copyOf(t, d))
	want, body := mustLoad(t, check), content(t, check)
	found, names := map[string]int{}, d.Files()
	for _, name := range names {
		b, err := d.ReadFile(name)
		require.NoError(t, err)
		for at := range b {
			if at > 700 && at%13 > 1 { // the head, the first record, and a sample of the rest
				continue
			}
			rotten := copyOf(t, d)
			rotten.Rot(name, int64(at), at%8)
			l, err := open(rotten, dir, small)
			damage := new(CorruptError)
			switch {
			case errors.As(err, &damage):
				require.Equal(t, name, damage.File)
				require.LessOrEqual(t, damage.Offset, int64(at))
				found[name]++
				continue
			case err != nil:
				t.Fatalf("%s, bit %d of byte %d: %v", name, at%8, at, err)
			}
			got := mustLoad(t, l)
			if len(l.Report().Damaged) > 0 {
				found[name]++
				require.Equal(t, "older", content(t, l))
				got.Snapshot = want.Snapshot
			} else {
				require.Equal(t, body, content(t, l))
			}
			require.Equal(t, want, got, "%s, bit %d of byte %d", name, at%8, at)
		}
	}
	for _, name := range names {
		older := strings.HasPrefix(name, inDir("0000000000000002-"))
		if name != inDir(lockName) && !older && found[name] == 0 {
			t.Errorf("no damage was found in %s", name)
		}
	}
}

// Nothing in the middle passes for a torn write: not in the last segment either,
// as soon as anything was saved after it, and no Close.
func TestDamageInTheMiddleIsRefusedWithItsPlace(t *testing.T) {
	d, l := written(t)
	end := l.end
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 2, Vote: "b", Commit: l.next - 1}, Lazy: true}))
	name := inDir(segmentName(l.last().number))
	d.Kill()
	for at := int64(segmentHead); at < end; at++ {
		rotten := copyOf(t, d)
		rotten.Rot(name, at, int(at)%8)
		_, err := open(rotten, dir, small)
		damage := new(CorruptError)
		if !errors.As(err, &damage) {
			b, _ := d.ReadFile(name)
			require.NoError(t, err)
			require.Zero(t, b[at], "byte %d is no padding", at)
			continue
		}
		require.Equal(t, name, damage.File)
		require.Greater(t, at, damage.Offset-recordAlign)
		require.Less(t, at, damage.Offset+recordHead+350, "the record that byte %d is in", at)
	}
}

// The zeroed or torn end of what was not synced is cut, and the batch before it
// stays.
func TestTornTailIsCut(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: entries(1, 1, "kept")}))
	begin := l.end
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 2, Vote: "b"}, Entries: entries(2, 2, strings.Repeat("torn", 100), "x")}))
	name := inDir(segmentName(1))
	d.Kill()
	whole, err := d.ReadFile(name)
	require.NoError(t, err)
	end := begin + recordHead + readInfo(whole[begin:]).size // behind it is padding
	for at := begin; at < end; at += 3 {
		for _, tail := range []byte{0, 0xff} {
			torn := slices.Clone(whole)
			for i := at; i < end; i++ {
				torn[i] = tail
			}
			d := faultdisk.New(1)
			d.WriteFile(name, torn)
			l := mustOpen(t, d)
			s := mustLoad(t, l)
			require.Equal(t, raft.HardState{Term: 1}, s.Hard, "term and vote come with their entries, or not at all")
			require.Equal(t, entries(1, 1, "kept"), s.Entries)
			require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: entries(2, 1, "next")}))
			require.Len(t, mustLoad(t, reopen(t, d, l)).Entries, 2)
		}
	}
}

// Two batches are written and not synced; a crash leaves the second and not the
// first. Whatever is written in the place of the first, be it the same again or
// something that ends just where the second begins, the second must not come back.
func TestRemainsBehindTheCutAreNeverBelieved(t *testing.T) {
	one := raft.Batch{Hard: raft.HardState{Term: 1}, Entries: entries(1, 1, strings.Repeat("x", 100)), Lazy: true}
	name := inDir(segmentName(1))
	crashed := func() (d *faultdisk.Disk, phantom int64) {
		d = faultdisk.New(1)
		l := mustOpen(t, d)
		require.NoError(t, l.Save(raft.Batch{Hard: one.Hard}))
		begin := l.end
		require.NoError(t, l.Save(one))
		phantom = l.end
		require.NoError(t, l.Save(raft.Batch{Hard: one.Hard, Entries: entries(1, 1, "phantom"), Lazy: true}))
		d.Kill()
		b, err := d.ReadFile(name)
		require.NoError(t, err)
		clear(b[begin:phantom])
		d.WriteFile(name, b)
		return d, phantom
	}
	t.Run("same again", func(t *testing.T) {
		d, _ := crashed()
		l := mustOpen(t, d)
		require.Empty(t, mustLoad(t, l).Entries)
		require.NoError(t, l.Save(one))
		d.Kill()
		require.Equal(t, one.Entries, mustLoad(t, mustOpen(t, d)).Entries)
	})
	t.Run("ends there", func(t *testing.T) {
		d, phantom := crashed()
		l := mustOpen(t, d)
		fits := raft.HardState{Term: 2}
		fits.Vote = strings.Repeat("v", int(phantom-l.end)-recordHead-5) // 5 numbers of one byte
		require.NoError(t, l.Save(raft.Batch{Hard: fits}))
		require.Equal(t, phantom, l.end)
		d.Kill()
		s := mustLoad(t, mustOpen(t, d))
		require.Empty(t, s.Entries)
		require.Equal(t, fits, s.Hard)
	})
	t.Run("nothing", func(t *testing.T) {
		d, _ := crashed()
		for range 10 { // each Open writes a record, one of them next to the phantom perhaps
			l := mustOpen(t, d)
			require.Empty(t, mustLoad(t, l).Entries)
			d.Kill()
		}
	})
}

// The records of a segment's earlier life stay where they are when it is used
// again, and are not believed.
func TestRecycledSegmentForgetsItsEarlierLife(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	last := fill(t, l, 1, 3)
	snapshot(t, l, last, "")
	require.NoError(t, l.Compact(last))
	require.Len(t, l.spares, 2)
	want := fill(t, l, last+1, 2)
	require.Len(t, l.spares, 1, "a spare was used")
	for range 2 {
		l = reopen(t, d, l)
		s := mustLoad(t, l)
		require.Equal(t, want, s.Entries[len(s.Entries)-1].Index)
	}
}

// When a sync has failed, the kernel takes the pages for written; the next sync
// succeeds and proves nothing.
func TestFailingSyncIsNotBelievedOnRetry(t *testing.T) {
	for seed := range uint64(20) {
		d := faultdisk.New(seed)
		l := mustOpen(t, d)
		require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: entries(1, 1, "a")}))
		d.FailSync(1)
		b := raft.Batch{Hard: raft.HardState{Term: 2}, Entries: entries(2, 2, "b")}
		require.ErrorIs(t, l.Save(b), faultdisk.ErrSync)
		for range 3 {
			err := l.Save(b)
			require.ErrorIs(t, err, ErrFailed)
			require.ErrorIs(t, err, faultdisk.ErrSync)
			require.ErrorIs(t, l.Compact(1), ErrFailed)
		}
		// The process starts again, and finds the entry in the cache. It is not on the
		// disk before Open has returned it: Open may fail as well, at each of its syncs.
		for sync := range 3 {
			d.Kill()
			d.FailSync(1 + sync)
			_, err := open(d, dir, small)
			require.ErrorIs(t, err, faultdisk.ErrSync)
		}
		d.Kill()
		l = mustOpen(t, d)
		require.Len(t, mustLoad(t, l).Entries, 2)
		d.Crash()
		require.Len(t, mustLoad(t, mustOpen(t, d)).Entries, 2)
	}
}

// After a failed write, what is on the disk is not known either.
func TestFailingWriteIsFinal(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	one := raft.Batch{Hard: raft.HardState{Term: 1}, Entries: entries(1, 1, "a")}
	require.NoError(t, l.Save(one))
	d.FailWrite(1)
	b := raft.Batch{Hard: raft.HardState{Term: 2}, Entries: entries(2, 2, strings.Repeat("b", 1000))}
	require.ErrorIs(t, l.Save(b), faultdisk.ErrWrite)
	err := l.Save(b)
	require.ErrorIs(t, err, ErrFailed)
	require.ErrorIs(t, err, faultdisk.ErrWrite)
	require.NoError(t, l.Close())
	require.Equal(t, one.Entries, mustLoad(t, mustOpen(t, d)).Entries)
}

// A disk that says that it synced, and did not, is beyond repair; but what is
// returned was once saved as a whole.
func TestLyingDiskYieldsThePastOrAnError(t *testing.T) {
	seeds(t, 100, func(t *testing.T, seed uint64, r *rand.Rand) {
		d := faultdisk.New(seed)
		w := &workload{Rand: r, model: newModel(), log: mustOpen(t, d)}
		d.Lie(true)
		past := []modelState{{}}
		for range 40 {
			require.NoError(t, w.step())
			past = append(past, w.model.now())
		}
		d.Crash()
		d.Lie(false)
		l, err := open(d, dir, small)
		if damage := new(CorruptError); errors.As(err, &damage) {
			return
		}
		require.NoError(t, err)
		s := mustLoad(t, l)
		require.True(t, slices.ContainsFunc(past, func(m modelState) bool {
			return m.allows(s, s.Snapshot.Index) == nil // what a snapshot covers may be lost, too
		}), "hard state %v, entries %s", s.Hard, brief(s.Entries))
	})
}

// A full disk shows when a segment begins, before anything is written to the log.
// What was acknowledged is there when there is room again.
func TestFullDiskLosesNothing(t *testing.T) {
	d := faultdisk.New(1)
	l := mustOpen(t, d)
	d.SetCapacity(3*minSegmentSize + 100)
	var saved uint64
	var err error
	for {
		b := raft.Batch{Hard: raft.HardState{Term: 1}, Entries: entries(saved+1, 1, strings.Repeat("x", 200))}
		if err = l.Save(b); err != nil {
			break
		}
		saved++
	}
	require.ErrorIs(t, err, faultdisk.ErrFull)
	require.ErrorIs(t, l.Save(raft.Batch{}), ErrFailed)
	require.LessOrEqual(t, d.Used(), int64(3*minSegmentSize), "what could not be used is given back")
	w, err := l.CreateSnapshot(raft.SnapshotInfo{Index: 1, Term: 1})
	if err == nil {
		_, err = w.Write(make([]byte, 2*blockSize))
		require.NoError(t, w.Abort())
	}
	require.ErrorIs(t, err, faultdisk.ErrFull)
	_ = l.Close()

	// As long as it is full the log opens, if it need not grow.
	l = mustOpen(t, d)
	require.Len(t, mustLoad(t, l).Entries, int(saved))
	require.NoError(t, l.Close())
	d.SetCapacity(0)
	l = mustOpen(t, d)
	require.Len(t, mustLoad(t, l).Entries, int(saved))
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: entries(saved+1, 1, strings.Repeat("x", 200))}))
	require.Len(t, mustLoad(t, reopen(t, d, l)).Entries, int(saved)+1)
}

func TestMissingAndMisplacedSegmentsAreRefused(t *testing.T) {
	d, l := written(t)
	require.NoError(t, l.Close())
	read := func(number uint64) []byte {
		b, err := d.ReadFile(inDir(segmentName(number)))
		require.NoError(t, err)
		return b
	}
	for name, c := range map[string]struct {
		change func(*faultdisk.Disk)
		file   uint64
		reason string
	}{
		"missing":          {func(d *faultdisk.Disk) { require.NoError(t, d.Remove(inDir(segmentName(2)))) }, 2, "missing"},
		"of another place": {func(d *faultdisk.Disk) { d.WriteFile(inDir(segmentName(2)), read(1)) }, 2, "segment 1"},
		"cut":              {func(d *faultdisk.Disk) { d.WriteFile(inDir(segmentName(2)), read(2)[:1000]) }, 2, "the next segment says"},
		"empty":            {func(d *faultdisk.Disk) { d.WriteFile(inDir(segmentName(3)), nil) }, 3, "shorter"},
		"of another log": {func(d *faultdisk.Disk) {
			_, other := written(t)
			require.NoError(t, other.Close())
			b, err := other.fs.(*faultdisk.Disk).ReadFile(inDir(segmentName(3)))
			require.NoError(t, err)
			d.WriteFile(inDir(segmentName(3)), b)
		}, 3, "does not follow"},
		"a snapshot, beside the first segment": {func(d *faultdisk.Disk) {
			restarted := faultdisk.New(1)
			l := mustOpen(t, restarted)
			snapshot(t, l, 100, "")
			require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Restart: 101, Entries: entries(101, 1, "x")}))
			require.NoError(t, l.Close())
			b, err := restarted.ReadFile(inDir(segmentName(1)))
			require.NoError(t, err)
			for _, name := range d.Files() {
				require.NoError(t, d.Remove(name))
			}
			d.WriteFile(inDir(segmentName(1)), b)
		}, 1, "a snapshot is missing: the log begins with entry 101"},
		"of another version": {func(d *faultdisk.Disk) {
			info, _, _ := decodeSegmentInfo(read(1), 1)
			b, _ := info.encode()
			b[8] = 2
			d.WriteFile(inDir(segmentName(1)), withSum(b))
		}, 1, "version 2"},
	} {
		t.Run(name, func(t *testing.T) {
			d := copyOf(t, d)
			c.change(d)
			_, err := open(d, dir, small)
			damage := new(CorruptError)
			require.ErrorAs(t, err, &damage)
			require.Equal(t, inDir(segmentName(c.file)), damage.File)
			require.Contains(t, err.Error(), c.reason)
			require.Contains(t, err.Error(), fmt.Sprint(damage.Offset))
		})
	}
}

// A term saved without its vote would let a node vote twice. Wherever the machine
// crashes, both are there or neither.
func TestTermAndVoteAreSavedInOneWrite(t *testing.T) {
	older, newer := raft.HardState{Term: 1, Vote: "a"}, raft.HardState{Term: 2, Vote: "b"}
	seen := map[raft.HardState]bool{}
	for seed := range uint64(200) {
		d := faultdisk.New(seed)
		l := mustOpen(t, d)
		require.NoError(t, l.Save(raft.Batch{Hard: older}))
		d.CrashIn(1 + int(seed)%2) // in the midst of the write, or of the sync
		require.ErrorIs(t, l.Save(raft.Batch{Hard: newer, Entries: entries(1, 2, "x")}), faultdisk.ErrCrashed)
		d.Crash()
		s := mustLoad(t, mustOpen(t, d))
		require.Contains(t, []raft.HardState{older, newer}, s.Hard)
		require.Equal(t, s.Hard == newer, len(s.Entries) == 1)
		seen[s.Hard] = true
	}
	require.Len(t, seen, 2)
}
