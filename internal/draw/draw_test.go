package draw

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The published first outputs of SplitMix64 from state 1234567.
func TestAtIsSplitMix64(t *testing.T) {
	want := []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821}
	for n, w := range want {
		require.Equal(t, w, At(1234567, uint64(n)))
	}
}

func TestKeyTellsNamesApart(t *testing.T) {
	keys := map[uint64][]string{}
	for _, names := range [][]string{{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"b", "a"}, {"ab", "c"}, {"a", "bc"}, {"server1", "1"}, {"server", "11"}} {
		for seed := range uint64(3) {
			k := Key(seed, names...)
			require.NotContains(t, keys, k, "seed %d, %q and %q", seed, names, keys[k])
			keys[k] = names
		}
	}
}

// The keys are part of what a seed means: they may not change between releases
// without a line in the change log.
func TestKeyIsFrozen(t *testing.T) {
	require.Equal(t, uint64(0xe5606068390f0a91), Key(7, "link", "a", "b"))
}

func TestFloatIsEvenlySpread(t *testing.T) {
	const n = 100_000
	var sum, squares float64
	for i := range uint64(n) {
		f := Float(At(42, i))
		require.GreaterOrEqual(t, f, 0.0)
		require.Less(t, f, 1.0)
		sum += f
		squares += f * f
	}
	require.InDelta(t, 0.5, sum/n, 0.005)
	require.InDelta(t, 1.0/12, squares/n-(sum/n)*(sum/n), 0.002)
	require.Less(t, Float(math.MaxUint64), 1.0)
	require.Zero(t, Float(0))
}

func TestStreamReadsInTurn(t *testing.T) {
	s := NewStream(7, "node", "a")
	for n := range uint64(5) {
		require.Equal(t, At(Key(7, "node", "a"), n), s.Uint64())
	}
	var _ rand.Source = s
}

func TestNoAllocations(t *testing.T) {
	s := NewStream(1, "x")
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = Float(At(1, s.Uint64())) }))
}

func BenchmarkAt(b *testing.B) {
	var n, sum uint64
	for b.Loop() {
		sum += At(7, n)
		n++
	}
	_ = sum
}
