package wal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
)

// writerEnv names the directory that a process which is to be killed writes to.
const writerEnv = "WAL_TEST_WRITER"

// writer saves one entry after the other, and says so when it is saved.
func writer(dir string) int {
	l, err := Open(dir, Config{SegmentSize: 64 << 10})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := l.Load()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	next := uint64(1)
	if n := len(s.Entries); n > 0 {
		next = s.Entries[n-1].Index + 1
	}
	for ; ; next++ {
		err := l.Save(raft.Batch{
			Hard:    raft.HardState{Term: next, Vote: fmt.Sprint("node ", next), Commit: next - 1},
			Entries: entries(next, next, strings.Repeat(fmt.Sprint(next, " "), 1+int(next%100))),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(next)
	}
}

// A process is killed while it saves, time and again: what it said is saved is there.
func TestKilledProcessLosesNothing(t *testing.T) {
	dir := t.TempDir()
	acknowledged := uint64(0)
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		said := bufio.NewScanner(out)
		for n := 0; n < 30*(round+1) && said.Scan(); n++ {
			acknowledged, err = strconv.ParseUint(said.Text(), 10, 64)
			require.NoError(t, err)
			if n == 0 {
				_, err := Open(dir, Config{})
				require.ErrorIs(t, err, ErrLocked)
				_, err = Verify(dir)
				require.ErrorIs(t, err, ErrLocked)
			}
		}
		require.NoError(t, cmd.Process.Kill())
		for said.Scan() { // what it said before it died
			if n, err := strconv.ParseUint(said.Text(), 10, 64); err == nil && n == acknowledged+1 {
				acknowledged = n
			}
		}
		require.Error(t, cmd.Wait(), "killed")

		report, err := Verify(dir)
		require.NoError(t, err)
		require.GreaterOrEqual(t, report.Last, acknowledged)
		l, err := Open(dir, Config{})
		require.NoError(t, err)
		s := mustLoad(t, l)
		for i, e := range s.Entries {
			want := uint64(i + 1)
			require.Equal(t, entries(want, want, strings.Repeat(fmt.Sprint(want, " "), 1+int(want%100))), []raft.Entry{e})
		}
		last := uint64(len(s.Entries))
		require.GreaterOrEqual(t, last, acknowledged)
		require.Equal(t, raft.HardState{Term: last, Vote: fmt.Sprint("node ", last), Commit: last - 1}, s.Hard)
		require.NoError(t, l.Close())
	}
	require.GreaterOrEqual(t, acknowledged, uint64(30*(1+2+3+4+5+6)))
}
