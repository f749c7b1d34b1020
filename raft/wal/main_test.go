package wal

import (
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/faultdisk"
)

var (
	seedFlag  = flag.Uint64("wal.seed", 1, "the first `seed` of the randomised tests")
	seedsFlag = flag.Int("wal.seeds", 0, "the `number` of seeds (default: what the test says)")
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		os.Exit(writer(dir)) // the process that TestKilledProcessLosesNothing kills
	}
	goleak.VerifyTestMain(m)
}

// seeds runs f under n seeds, or those of the flags, and says how to run one that
// fails again.
func seeds(t *testing.T, n int, f func(t *testing.T, seed uint64, r *rand.Rand)) {
	if *seedsFlag > 0 {
		n = *seedsFlag
	}
	for i := range n {
		seed := *seedFlag + uint64(i)
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d failed; run it again:\n\tgo test ./raft/wal -count=1 -run '^%s$' -wal.seed=%d -wal.seeds=1", seed, t.Name(), seed)
				}
			}()
			f(t, seed, rand.New(draw.NewStream(seed, t.Name())))
		}()
		if t.Failed() {
			return
		}
	}
}

const dir = "d"

var small = Config{SegmentSize: minSegmentSize}

func mustOpen(t testing.TB, d *faultdisk.Disk) *Log {
	t.Helper()
	l, err := open(d, dir, small)
	require.NoError(t, err)
	return l
}

func mustLoad(t testing.TB, l *Log) raft.State {
	t.Helper()
	s, err := l.Load()
	require.NoError(t, err)
	return s
}

// reopen closes a log and opens it again.
func reopen(t testing.TB, d *faultdisk.Disk, l *Log) *Log {
	t.Helper()
	require.NoError(t, l.Close())
	return mustOpen(t, d)
}

// entries returns entries from an index on, of one term, with this data.
func entries(first, term uint64, data ...string) (list []raft.Entry) {
	for i, s := range data {
		list = append(list, raft.Entry{Index: first + uint64(i), Term: term, Data: []byte(s)})
	}
	return list
}

// fill saves batches of one entry each until the log has so many segments, and
// returns the last index.
func fill(t testing.TB, l *Log, from uint64, segments int) uint64 {
	t.Helper()
	for len(l.segments) < segments {
		require.NoError(t, l.Save(raft.Batch{
			Hard:    raft.HardState{Term: 1, Vote: "a", Commit: from - 1},
			Entries: entries(from, 1, strings.Repeat("x", 300)),
		}))
		from++
	}
	return from - 1
}

func snapshot(t testing.TB, l *Log, index uint64, content string) {
	t.Helper()
	w, err := l.CreateSnapshot(raft.SnapshotInfo{Index: index, Term: 1, Membership: raft.Membership{Voters: []string{"a"}}})
	require.NoError(t, err)
	_, err = w.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Commit())
}

func content(t testing.TB, l *Log) string {
	t.Helper()
	r, err := l.OpenSnapshot()
	require.NoError(t, err)
	defer r.Close()
	b := make([]byte, r.Size())
	require.NoError(t, readAll(r, b))
	return string(b)
}

func readAll(r raft.SnapshotReader, b []byte) error {
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return fmt.Errorf("%d of %d bytes: %w", n, len(b), err)
	}
	return nil
}

func inDir(name string) string { return filepath.Join(dir, name) }

// withSum returns the head of a segment with its checksum made right.
func withSum(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[segmentHead-4:], crc32.Checksum(b[:segmentHead-4], castagnoli))
	return b
}
