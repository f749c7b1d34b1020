package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecordCountsByTenths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecord(2 * time.Second)
		r.add(asked)
		time.Sleep(99 * time.Millisecond)
		r.add(asked)
		r.add(retried)
		time.Sleep(time.Millisecond)
		r.add(asked)
		time.Sleep(1899 * time.Millisecond)
		r.add(sent)
		time.Sleep(time.Millisecond)
		r.add(sent) // after the end

		require.Equal(t, 3, r.total(asked, span{0, 2}))
		require.Equal(t, 0, r.total(asked, span{1, 2}))
		require.Equal(t, 2, r.peak(asked, span{0, 1}))
		require.Equal(t, 1, r.total(sent, span{1, 2}))
		require.InDelta(t, 4.0/3, r.amplification(span{0, 1}), 1e-9)
		require.Zero(t, r.amplification(span{1, 2}), "nothing asked, nothing amplified")
	})
}

func TestRecoveredLooksForTheLastBadSecond(t *testing.T) {
	fill := func(percent ...int) *record {
		r := newRecord(time.Duration(len(percent)) * time.Second)
		for second, n := range percent {
			r.slots[second*tenths][asked], r.slots[second*tenths][answered] = 100, n
		}
		return r
	}
	for _, c := range []struct {
		percent []int
		want    int
	}{
		{[]int{0, 100, 100, 100, 100}, 0},
		{[]int{0, 94, 100, 100, 100}, 1},
		{[]int{0, 95, 0, 95, 95}, 2},
		{[]int{0, 100, 100, 100, 0}, 4},
	} {
		require.Equal(t, c.want, recovered(fill(c.percent...), span{1, 5}), "%v", c.percent)
	}
}

func TestScriptIsPlayedInOrder(t *testing.T) {
	acts := []act{{name: "a", seconds: 2}, {name: "b", seconds: 1}}
	for moment, want := range map[time.Duration]string{
		0: "a", 1999 * time.Millisecond: "a", 2 * time.Second: "b", 2999 * time.Millisecond: "b", time.Hour: "b",
	} {
		require.Equal(t, want, at(acts, moment).name, "%v", moment)
	}
	require.Equal(t, span{2, 3}, during(acts, "b"))
	require.Equal(t, span{}, during(acts, "c"))
	require.Equal(t, 3*time.Second, length(acts))
	for _, name := range []string{outage, recovery, overload} {
		require.NotZero(t, during(script, name), "the verdict is about %s", name)
	}
}
