package raft

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The pace finds out how many pieces a link carries before they wait for each
// other: here each takes 20 ms, and the link lets one through every so often.
func TestPaceFollowsTheLink(t *testing.T) {
	const heartbeat = 100 * time.Millisecond
	for _, test := range []struct {
		every     time.Duration
		low, high int
	}{
		{0, maxWindow, maxWindow},
		{time.Millisecond, 25, maxWindow}, // 64 of them take 64 ms
		{10 * time.Millisecond, 3, 9},     // 20 ms, and half a heartbeat of waiting
		{time.Second, 1, 1},
	} {
		a := newPace(0)
		number, lowest, highest := 0, maxWindow, 0
		for round := range 200 {
			size := a.size
			next := number + size + 1
			for i := range size {
				number++
				p := &piece{number: number, alone: i == 0 && size == 1}
				a.came(p, 20*time.Millisecond+time.Duration(i+1)*test.every, heartbeat, next)
			}
			require.LessOrEqual(t, a.size, maxWindow)
			if round >= 20 {
				lowest, highest = min(lowest, size), max(highest, size)
			}
		}
		require.GreaterOrEqual(t, lowest, test.low, "%v", test.every)
		require.LessOrEqual(t, highest, test.high, "%v", test.every)
	}
}

// What is lost together counts once, and one piece is always on its way.
func TestPaceHalvesOnceARound(t *testing.T) {
	a := newPace(0)
	a.size = 64
	for number := range 64 {
		a.shrink(number+1, 65)
	}
	require.Equal(t, 32, a.size)
	for round := range 10 {
		a.shrink(65+round, 66+round)
	}
	require.Equal(t, 1, a.size)
	require.Equal(t, time.Second, a.patience(0, 100*time.Millisecond, time.Second), "nothing came yet")
	require.Equal(t, 2*time.Second, a.patience(5, 100*time.Millisecond, time.Second), "however often it was lost")
	a.came(&piece{number: 100}, 10*time.Millisecond, 100*time.Millisecond, 101)
	require.Equal(t, 240*time.Millisecond, a.patience(0, 100*time.Millisecond, time.Second))
}

// All groups of a host together have no more than a number of pieces in memory: who
// asks for more is told to come again.
func TestPiecesOfAHostAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{NewMemoryStorage(), make(chan struct{}), make(chan struct{})}
		n := startAlone(t, Config{Storage: v}, "a")
		n.host.pieces.served.Store(hostPieces)
		_, err := n.answer(t.Context(), "b", &request{op: opSnapshot, index: 1, term: 1}) // would wait in vault
		require.ErrorIs(t, err, ErrOverloaded)
		require.Equal(t, int64(hostPieces), n.host.pieces.served.Load())

		n.host.pieces.served.Add(-1)
		close(v.open)
		_, err = n.answer(t.Context(), "b", &request{op: opSnapshot, index: 1, term: 1})
		require.ErrorIs(t, err, ErrNoSnapshot)
		require.Equal(t, int64(hostPieces-1), n.host.pieces.served.Load())
	})
}

// A fetch that was told so goes on a little later, and beyond the bound it has one
// piece on its way; in the end nothing is counted any more.
func TestFetchBeyondTheBoundOfItsHost(t *testing.T) {
	f := &fetch{node: &Node{host: new(Host), config: Config{Heartbeat: time.Second, Election: 10 * time.Second}}, pace: newPace(0)}
	f.size, f.stride, f.next, f.foot.state = 100_000, 1000, 0, here
	f.node.host.pieces.fetched.Store(hostPieces)
	require.Zero(t, f.flying())
	p := f.nextWanted()
	require.NotNil(t, p)
	require.True(t, f.mayAsk(0))
	require.False(t, f.mayAsk(1))
	f.node.host.pieces.fetched.Store(0)
	require.True(t, f.mayAsk(1))
	require.False(t, f.mayAsk(f.pace.size))
}

// readPiece refuses what no node of this version sends.
func FuzzPiece(f *testing.F) {
	f.Add([]byte{100, 0, 'x'})
	f.Add([]byte{13, 3, 'a', 'b', 'c', 'd'})
	f.Fuzz(func(t *testing.T, response []byte) {
		size, membership, data, err := readPiece(response)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, size, uint64(snapshotHead+snapshotFoot))
		require.NotEmpty(t, data)
		require.LessOrEqual(t, len(data), pieceBytes)
		require.LessOrEqual(t, len(membership)+len(data), len(response))
	})
}
