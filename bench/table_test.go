package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableFromBenchmarkOutput(t *testing.T) {
	results, err := parse(`goos: linux
BenchmarkOwner/nodes=10/impl=peer-2     100  57.0 ns/op   8 B/op  1 allocs/op  1.26 max/mean
BenchmarkOwner/nodes=10/impl=parley-2   100  10.0 ns/op   0 B/op  0 allocs/op  1.05 max/mean
BenchmarkOwner/nodes=10/impl=parley-2   100  30.0 ns/op   0 B/op  0 allocs/op  1.05 max/mean
BenchmarkOwner/nodes=10/impl=parley-2   100  14.0 ns/op   0 B/op  0 allocs/op  1.05 max/mean
BenchmarkCalls/c=64/impl=parley-2       100  2000 ns/op   500000 calls/s
BenchmarkCalls/c=64/impl=peer-2         100  20000 ns/op  50000 calls/s
BenchmarkMoves/nodes=10/impl=parley-2   100  20000 ns/op  1.1 moved/ideal
BenchmarkMoves/nodes=10/impl=peer-2     100  300000 ns/op  0.1 moved/ideal
PASS`)
	require.NoError(t, err)
	var b strings.Builder
	writeTables(&b, results)
	got := b.String()
	require.Contains(t, got, "### Owner\n\n| | unit | parley | peer | lead |\n")
	require.Contains(t, got, "| nodes=10 | ns/op | **14** | 57 | 4.1× |\n")
	require.Contains(t, got, "| nodes=10 | allocs/op | **0** | 1 |  |\n")
	require.Contains(t, got, "| c=64 | calls/s | **500k** | 50k | 10× |\n")
	require.Contains(t, got, "| nodes=10 | moved/ideal | **1.1** | 0.1 |  |\n")
	require.Contains(t, got, "| nodes=10 | ns/op | **20k** | 300k | 15× |\n")
	require.Less(t, strings.Index(got, "ns/op"), strings.Index(got, "max/mean"))
	require.Less(t, strings.Index(got, "max/mean"), strings.Index(got, "allocs/op"))
}

func TestBenchmarkNamesAreChecked(t *testing.T) {
	_, err := parse("BenchmarkOwner/nodes=10-2 100 57 ns/op")
	require.ErrorContains(t, err, "impl=")
}

func TestSectionsOfAPageStayWhatTheyAre(t *testing.T) {
	sections := map[string]string{"ring": "Commit 1.\n\n### Owner\n\n| x |\n", "raft": "Commit 2.\n"}
	require.Equal(t, sections, splitSections(head+"\n## raft\n\nCommit 2.\n\n## ring\n\nCommit 1.\n\n### Owner\n\n| x |\n"))
	require.Empty(t, splitSections(head))
	require.Empty(t, splitSections(""))
}
