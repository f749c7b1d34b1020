package raft

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A filter never takes a number twice, and takes every new one that is not far
// behind.
func TestReplayFilter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var f replayFilter
	seen := map[uint64]bool{}
	highest := uint64(0)
	for range 200_000 {
		seq := highest + 1 + rnd.Uint64N(3) - min(highest, rnd.Uint64N(100))
		if rnd.IntN(1000) == 0 {
			seq += rnd.Uint64N(3 * replaySpan)
		}
		if rnd.IntN(100) == 0 {
			seq -= min(seq-1, rnd.Uint64N(3*replaySpan))
		}
		want := !seen[seq] && seq+replaySpan > highest
		if got := f.fresh("a", 1, seq); got != want {
			t.Fatalf("%d, with %d the highest and seen %v: got %v, want %v", seq, highest, seen[seq], got, want)
		}
		seen[seq] = true
		highest = max(highest, seq)
	}
	require.True(t, f.fresh("a", 2, 1), "another life")
	require.True(t, f.fresh("b", 1, 1), "another node")
	for life := range uint64(10 * maxWindows) {
		f.fresh("c", life, 1)
	}
	require.LessOrEqual(t, len(f.windows), maxWindows)
}

// A sender that is heard from is remembered, however many others come and go: what
// it sent before would pass for new.
func TestReplayFilterRemembersWhoIsThere(t *testing.T) {
	var f replayFilter
	for life := range uint64(10 * maxWindows) {
		require.True(t, f.fresh("a", 1, life+1))
		require.True(t, f.fresh("b", life, 1))
		require.False(t, f.fresh("a", 1, max(life, 1)))
	}
}
