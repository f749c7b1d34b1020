package quorum

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testClock(node string) clock {
	n := uint64(0)
	return newClock(node, 10*time.Second, func() uint64 { n++; return n })
}

func TestVersionsAreTotallyOrdered(t *testing.T) {
	ascending := []Version{
		{},
		{Time: 1, Node: "a"},
		{Time: 1, Node: "a", Run: 2},
		{Time: 1, Node: "b"},
		{Time: 1, Logical: 1, Node: "a"},
		{Time: 2},
		{Time: maxTime, Logical: math.MaxUint32, Node: "z", Run: math.MaxUint32},
	}
	for i, v := range ascending {
		for j, w := range ascending {
			require.Equal(t, compareInts(i, j), v.Compare(w), "%v and %v", v, w)
		}
	}
	require.True(t, slices.IsSortedFunc(ascending, Version.Compare))
}

func compareInts(i, j int) int { return min(max(i-j, -1), 1) }

func TestVersionsGrowWhateverTheClockDoes(t *testing.T) {
	const hour = int64(time.Hour)
	now := int64(1e18)
	c := testClock("a")
	last := c.next(now, Version{})
	require.Equal(t, now, last.Time)
	for _, step := range []int64{0, 0, 1, -1, -int64(time.Second), 5, 0} {
		now += step
		v := c.next(now, Version{})
		require.Positive(t, v.Compare(last), "clock moved by %d", step)
		last = v
	}
	floor := Version{Time: now + hour, Logical: 7, Node: "b"}
	v := c.next(now, floor)
	require.Positive(t, v.Compare(floor))
	require.Positive(t, c.next(now, floor).Compare(floor))
	require.Equal(t, floor.Time, v.Time, "no further ahead than it has to be")
	require.Less(t, c.next(now, Version{}).Time, now+hour, "other keys are not drawn along")
}

func TestNoTwoVersionsOfANodeAreEqual(t *testing.T) {
	now := int64(1e18)
	c := testClock("a")
	floor := Version{Time: now + int64(time.Hour), Node: "b"}
	seen := map[Version]bool{}
	for range 3 {
		// The same floor and the same time again and again, also after the clock
		// was set back over times that were used before.
		for _, at := range []int64{now, now + int64(time.Hour), now - int64(time.Hour)} {
			for _, f := range []Version{floor, {}} {
				v := c.next(at, f)
				require.False(t, seen[v], "%v", v)
				seen[v] = true
			}
		}
	}
}

func TestTheLogicalPartOverflowsIntoTime(t *testing.T) {
	c := testClock("a")
	floor := Version{Time: 5, Logical: math.MaxUint32, Node: "b"}
	v := c.next(3, floor)
	require.Equal(t, Version{Time: 6, Node: "a", Run: 1}, v)
	require.Positive(t, v.Compare(floor))
}

func TestAClockBefore1970OrAfter2116IsTakenToItsBound(t *testing.T) {
	c := testClock("a")
	v := c.next(-1e18, Version{})
	require.False(t, v.IsZero())
	require.GreaterOrEqual(t, v.Time, int64(0))
	require.Equal(t, int64(maxTime), c.next(math.MaxInt64, Version{}).Time)
}

func TestAVersionFarInTheFutureIsRefused(t *testing.T) {
	now := int64(1e18)
	bound := time.Minute
	at := func(d time.Duration) Version { return Version{Time: now + int64(d), Node: "b"} }
	require.NoError(t, checkSkew(now, at(bound), bound))
	require.NoError(t, checkSkew(now, Version{}, bound))
	err := checkSkew(now, at(bound+1), bound)
	var skew *SkewError
	require.ErrorAs(t, err, &skew)
	require.ErrorIs(t, err, ErrSkew)
	require.Equal(t, bound+1, skew.Ahead)
	require.ErrorContains(t, err, "1m0")
	require.Error(t, checkSkew(-1e18, Version{Time: maxTime}, bound), "no overflow")
}

func TestVersionEncoding(t *testing.T) {
	for _, v := range []Version{
		{},
		{Time: 1700000000000000000, Logical: 3, Node: "node-1", Run: 77},
		{Time: maxTime, Logical: math.MaxUint32, Node: strings.Repeat("n", maxName), Run: math.MaxUint32},
	} {
		b, err := v.AppendBinary([]byte("x"))
		require.NoError(t, err)
		require.Equal(t, byte('x'), b[0])
		require.LessOrEqual(t, len(b)-1, 22+len(v.Node))
		var w Version
		require.NoError(t, w.UnmarshalBinary(b[1:]))
		require.Equal(t, v, w)
		require.ErrorIs(t, w.UnmarshalBinary(b[1:len(b)-1]), ErrCorrupt)
		require.ErrorIs(t, w.UnmarshalBinary(append(b[1:], 0)), ErrCorrupt)
		require.Equal(t, v, w, "an error changes nothing")
	}
	_, err := Version{Node: strings.Repeat("n", maxName+1)}.AppendBinary(nil)
	require.ErrorIs(t, err, ErrInvalid)
	_, err = Version{Time: -1}.AppendBinary(nil)
	require.ErrorIs(t, err, ErrInvalid)

	// Frozen: versions are kept by programs.
	b, _ := Version{Time: 300, Logical: 2, Node: "ab", Run: 1}.AppendBinary(nil)
	require.Equal(t, []byte{1, 0xac, 2, 2, 1, 2, 'a', 'b'}, b)
}
