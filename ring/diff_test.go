package ring_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/parley-go/parley/ring"
	"github.com/stretchr/testify/require"
)

// states returns pairs of rings to compare.
func states(t *testing.T) map[string][2]*ring.Ring {
	t.Helper()
	zoned := named(12)
	for i := range zoned {
		zoned[i].Zone, zoned[i].Weight = fmt.Sprint(i%3), 1+i%2
	}
	coarse, err := ring.New(ring.Config{VirtualNodes: 2}, named(4)...)
	require.NoError(t, err)
	return map[string][2]*ring.Ring{
		"join":       {newRing(t, named(5)...), newRing(t, named(6)...)},
		"leave":      {newRing(t, named(6)...), newRing(t, named(6)[1:]...)},
		"all change": {newRing(t, named(3)...), newRing(t, named(6)[3:]...)},
		"zones":      {newRing(t, zoned[:9]...), newRing(t, zoned[2:]...)},
		"coarser":    {newRing(t, named(4)...), coarse},
		"no change":  {newRing(t, named(4)...), newRing(t, named(4)...)},
		"from none":  {newRing(t), newRing(t, named(2)...)},
		"to none":    {newRing(t, named(2)...), newRing(t)},
		"none":       {newRing(t), newRing(t)},
	}
}

func TestDiffIsWhatLookupsSay(t *testing.T) {
	for name, pair := range states(t) {
		t.Run(name, func(t *testing.T) {
			before, after := pair[0].Snapshot(), pair[1].Snapshot()
			moves := slices.Collect(ring.Diff(before, after))
			probes := hashes(1000)
			for _, m := range moves {
				probes = append(probes, m.Start-1, m.Start, m.End, m.End+1)
			}
			for _, hash := range probes {
				from, _ := before.OwnerOf(hash)
				to, _ := after.OwnerOf(hash)
				i := slices.IndexFunc(moves, func(m ring.Move) bool { return m.Contains(hash) })
				if from == to {
					require.Negative(t, i, "hash %x stays on %s", hash, from)
					continue
				}
				require.GreaterOrEqual(t, i, 0, "hash %x goes from %s to %s", hash, from, to)
				require.Equal(t, from, moves[i].From)
				require.Equal(t, to, moves[i].To)
			}
		})
	}
}

func TestDiffIsInOrderAndWithoutNeighboursAlike(t *testing.T) {
	for name, pair := range states(t) {
		moves := slices.Collect(ring.Diff(pair[0], pair[1]))
		for i, m := range moves {
			require.LessOrEqual(t, m.Start, m.End)
			require.NotEqual(t, m.From, m.To)
			if i == 0 {
				continue
			}
			last := moves[i-1]
			require.Greater(t, m.Start, last.End, name)
			if m.Start == last.End+1 {
				require.NotEqual(t, [2]string{last.From, last.To}, [2]string{m.From, m.To}, name)
			}
		}
	}
}

func TestDiffOwnersIsWhatLookupsSay(t *testing.T) {
	for name, pair := range states(t) {
		for _, n := range []int{0, 1, 2, 3, 20} {
			t.Run(fmt.Sprintf("%s/n=%d", name, n), func(t *testing.T) {
				before, after := pair[0].Snapshot(), pair[1].Snapshot()
				changes := slices.Collect(ring.DiffOwners(before, after, n))
				probes := hashes(100)
				for _, h := range changes[:min(len(changes), 50)] {
					probes = append(probes, h.Start-1, h.Start, h.End, h.End+1)
				}
				for _, hash := range probes {
					from, to := before.OwnersOf(nil, hash, n), after.OwnersOf(nil, hash, n)
					i := slices.IndexFunc(changes, func(h ring.Handover) bool { return h.Contains(hash) })
					if slices.Equal(from, to) {
						require.Negative(t, i, "hash %x stays on %v", hash, from)
						continue
					}
					require.GreaterOrEqual(t, i, 0, "hash %x goes from %v to %v", hash, from, to)
					require.Equal(t, from, slices.Clip(changes[i].Before))
					require.Equal(t, to, slices.Clip(changes[i].After))
				}
			})
		}
	}
}

func TestSpansCoverEveryHashOnce(t *testing.T) {
	for name, pair := range states(t) {
		for n := range 4 {
			s := pair[0].Snapshot()
			var next uint64
			var last []string
			for span, owners := range s.Spans(n) {
				require.Equal(t, next, span.Start, name)
				require.Equal(t, s.OwnersOf([]string{}, span.Start, n), append([]string{}, owners...))
				require.Equal(t, s.OwnersOf([]string{}, span.End, n), append([]string{}, owners...))
				if span.Start > 0 {
					require.NotEqual(t, last, owners, "neighbours with the same owners are one")
				}
				last = slices.Clone(owners)
				next = span.End + 1
			}
			require.Zero(t, next, "the last span ends at %x", uint64(math.MaxUint64))
		}
	}
}

func TestDiffStopsWhenAsked(t *testing.T) {
	before, after := newRing(t, named(5)...), newRing(t, named(6)...)
	for range ring.Diff(before, after) {
		break
	}
	for range ring.DiffOwners(before, after, 2) {
		break
	}
	for range before.Snapshot().Spans(1) {
		break
	}
	for range before.Snapshot().Shares() {
		break
	}
}
