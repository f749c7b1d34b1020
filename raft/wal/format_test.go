package wal

import (
	"bytes"
	"encoding/binary"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
)

var golden = flag.Bool("wal.golden", false, "write testdata/golden anew; a change of format strands what users have on disk")

const goldenDir = "testdata/golden"

// goldenState is what the directory in testdata holds.
var goldenState = raft.State{
	Hard: raft.HardState{Term: 300, Vote: "node-b", Commit: 41},
	Snapshot: raft.SnapshotInfo{Index: 40, Term: 3, Membership: raft.Membership{
		Voters: []string{"node-a", "node-b"}, Learners: []string{"node-c"}, Outgoing: []string{"node-a"},
	}},
	Entries: []raft.Entry{
		{Index: 41, Term: 3, Kind: raft.EntryNoop, Data: []byte{}},
		{Index: 42, Term: 300, Kind: raft.EntrySession, Data: []byte(strings.Repeat("golden ", 400))},
		{Index: 43, Term: 300, Kind: raft.EntryMembership, Data: []byte{0, 1, 2}},
	},
}

func writeGolden(t *testing.T) {
	require.NoError(t, os.RemoveAll(goldenDir))
	l, err := Open(goldenDir, small)
	require.NoError(t, err)
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 3}, Entries: entries(1, 3, "dropped", strings.Repeat("x", 2000))}))
	w, err := l.CreateSnapshot(goldenState.Snapshot)
	require.NoError(t, err)
	_, err = w.Write(goldenContent())
	require.NoError(t, err)
	require.NoError(t, w.Commit())
	require.NoError(t, l.Save(raft.Batch{Hard: raft.HardState{Term: 3, Commit: 40}, Restart: 41, Entries: goldenState.Entries[:1]}))
	require.NoError(t, l.Save(raft.Batch{Hard: goldenState.Hard, Entries: goldenState.Entries[1:]}))
	require.NoError(t, l.Close())
	require.NoError(t, os.Remove(filepath.Join(goldenDir, lockName)))
}

func goldenContent() []byte {
	b := make([]byte, 20_000)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

// What was written by the first version is read by every later one.
func TestGoldenDirectoryIsRead(t *testing.T) {
	if *golden {
		writeGolden(t)
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(goldenDir)))
	l, err := Open(dir, small)
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, goldenState, mustLoad(t, l))
	require.Equal(t, string(goldenContent()), content(t, l))
}

// The page on the format in doc.go, followed by hand.
func TestFormatIsAsDocumented(t *testing.T) {
	crc := func(parts ...any) uint32 {
		sum := uint32(0)
		for _, p := range parts {
			b, err := binary.Append(nil, binary.LittleEndian, p)
			require.NoError(t, err)
			sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b)
		}
		return sum
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	var prev uint32
	var end, records int
	var last []byte // payload
	for number, name := range []string{"0000000000000001.wal", "0000000000000002.wal"} {
		b, err := os.ReadFile(filepath.Join(goldenDir, name))
		require.NoError(t, err)
		require.Equal(t, "parleyWL\x01\x00\x00\x00\x00\x00\x00\x00", string(b[:16]))
		require.EqualValues(t, number+1, u64(b[16:]))
		require.EqualValues(t, end, u64(b[24:]))
		require.Equal(t, prev, u32(b[32:]))
		require.Equal(t, crc(b[:508]), u32(b[508:]))
		salt := u64(b[40:])
		prev, end = u32(b[508:]), 512
		for end+20 <= len(b) && u32(b[end+4:]) == prev && crc(salt, uint64(end), b[end+4:end+20]) == u32(b[end:]) {
			n := int(u32(b[end+12:]))
			last = b[end+20 : end+20+n]
			require.Equal(t, crc(last), u32(b[end+8:]))
			require.LessOrEqual(t, int(u32(b[end+16:])), end)
			if records == 2 {
				require.True(t, bytes.HasPrefix(last, []byte("\xac\x02\x29\x06node-b\x00\x02\x2a\x03\xac\x02\xf0\x15golden ")))
				require.True(t, bytes.HasSuffix(last, []byte("golden \x02\xac\x02\x03\x00\x01\x02")))
			}
			prev = u32(b[end:])
			end = (end + 20 + n + 7) / 8 * 8
			records++
		}
	}
	require.Equal(t, 4, records) // three batches, and that of Close
	require.Equal(t, "\xac\x02\x29\x06node-b\x00\x00", string(last))

	b, err := os.ReadFile(filepath.Join(goldenDir, "0000000000000028-0000000000000003.snap"))
	require.NoError(t, err)
	require.Equal(t, "parleySN\x01\x00\x00\x00", string(b[:12]))
	n := int(u32(b[12:]))
	require.Equal(t, "\x28\x03\x02\x06node-a\x06node-b\x01\x06node-c\x01\x06node-a", string(b[16:16+n]))
	h := u32(b[16+n:])
	require.Equal(t, crc(b[:16+n]), h)
	blocks := b[20+n:]
	want := goldenContent()
	require.Equal(t, want[:16384], blocks[:16384])
	require.Equal(t, crc(h, uint64(0), want[:16384]), u32(blocks[16384:]))
	require.Equal(t, want[16384:], blocks[16388:20_004])
	require.Equal(t, crc(h, uint64(1), want[16384:]), u32(blocks[20_004:]))
	require.EqualValues(t, 20_000, u64(blocks[20_008:]))
	require.Equal(t, crc(h, uint64(2), uint64(20_000)), u32(blocks[20_016:]))
	require.Len(t, blocks, 20_020)
}
