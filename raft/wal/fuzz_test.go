package wal

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/faultdisk"
)

// fuzzOpen opens a directory with one file of this content. Whatever that is, there
// is an error that can be told, or a log that works.
func fuzzOpen(t *testing.T, name string, content []byte, others ...string) (*Log, raft.State) {
	d := faultdisk.New(1)
	if len(others) > 0 {
		l := mustOpen(t, d)
		fill(t, l, 1, 2)
		require.NoError(t, l.Close())
	}
	d.WriteFile(inDir(name), content)
	l, err := open(d, dir, small)
	if err != nil {
		damage := new(CorruptError)
		require.True(t, errors.As(err, &damage), "%v", err)
		require.LessOrEqual(t, damage.Offset, int64(len(content)))
		return nil, raft.State{}
	}
	s := mustLoad(t, l)
	for i, e := range s.Entries {
		require.Equal(t, s.Entries[0].Index+uint64(i), e.Index)
	}
	return l, s
}

// FuzzSegment opens a segment: what can be read of it can be written again.
func FuzzSegment(f *testing.F) {
	d := faultdisk.New(1)
	l := mustOpen(f, d)
	fill(f, l, 1, 2)
	require.NoError(f, l.Close())
	first, err := d.ReadFile(inDir(segmentName(1)))
	require.NoError(f, err)
	f.Add(first)
	f.Add(first[:segmentHead])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) >= segmentHead { // what the checksum of the head keeps out must do no harm either
			content = withSum(slices.Clone(content))
		}
		l, before := fuzzOpen(t, segmentName(1), content)
		if l == nil {
			return
		}
		require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 9, Vote: "z"}, Entries: entries(l.next, 9, "more")}))
		l = reopen(t, l.fs.(*faultdisk.Disk), l)
		after := mustLoad(t, l)
		require.Equal(t, raft.HardState{Term: 9, Vote: "z"}, after.Hard)
		require.Len(t, after.Entries, len(before.Entries)+1)
	})
}

// FuzzRecord reads the payload of a record: what can be read has one meaning, and
// takes no more memory than in proportion.
func FuzzRecord(f *testing.F) {
	for _, b := range []raft.Batch{
		{},
		{Hard: raft.HardState{Term: 1, Vote: "a", Commit: 3}, Restart: 7},
		{Hard: raft.HardState{Term: 300, Vote: strings.Repeat("v", 255), Commit: 1 << 40}, Entries: entries(1, 300, "", "a", "bc")},
	} {
		p, err := appendBatch(nil, &b, 1)
		require.NoError(f, err)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		p := payload{b: content}
		b, ok := p.batch()
		if !ok {
			return
		}
		require.LessOrEqual(t, len(b.Entries)*minEntry, len(content))
		again, err := appendBatch(nil, &b, 1<<64-1)
		require.NoError(t, err)
		q := payload{b: again}
		c, ok := q.batch()
		require.True(t, ok)
		require.Equal(t, b, c)
	})
}

// FuzzSnapshot opens a snapshot's file beside a log.
func FuzzSnapshot(f *testing.F) {
	d := faultdisk.New(1)
	l := mustOpen(f, d)
	for _, content := range []string{"", "state", strings.Repeat("x", 2*blockSize+1)} {
		snapshot(f, l, 1, content)
		b, err := d.ReadFile(inDir(snapshotFile{1, 1}.name()))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, s := fuzzOpen(t, snapshotFile{1, 1}.name(), b, "log")
		if l == nil {
			return
		}
		if len(l.Report().Damaged) > 0 {
			require.Zero(t, s.Snapshot.Index)
			return
		}
		require.LessOrEqual(t, len(content(t, l)), len(b))
		_, err := appendInfo(nil, s.Snapshot)
		require.NoError(t, err)
	})
}
