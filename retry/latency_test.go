package retry_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

func newLatency(t testing.TB, c retry.LatencyConfig) *retry.Latency {
	t.Helper()
	l, err := retry.NewLatency(c)
	require.NoError(t, err)
	return l
}

// The slow model sorts the latest calls.
func TestLatencyIsThePercentileOfTheLatestCalls(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, percentile := range []float64{0.05, 0.5, 0.9, 0.95, 0.99, 0.999} {
		l := newLatency(t, retry.LatencyConfig{Percentile: percentile, Window: 640, Min: 1})
		var all []time.Duration
		for i := range 2000 {
			d := time.Duration(math.Exp(random.Float64()*20)) + time.Duration(i)*time.Microsecond
			l.Observe(d)
			all = append(all, d)
			if len(all)%32 != 20 || len(all) < 20 { // computed at call 20 and then every 32nd
				continue
			}
			kept := slices.Sorted(slices.Values(all[max(len(all)-640, 0):]))
			want := kept[int(math.Ceil(float64(len(kept))*percentile))-1]
			got, ok := l.Late()
			require.True(t, ok)
			require.GreaterOrEqual(t, got, want, "p%v after %d calls", percentile, len(all))
			require.LessOrEqual(t, float64(got), float64(want)*(1+1.0/16), "p%v after %d calls", percentile, len(all))
		}
	}
}

func TestLatencyNeedsTwentyCallsAndKeepsItsBounds(t *testing.T) {
	l := newLatency(t, retry.LatencyConfig{Min: 10 * ms, Max: 50 * ms, Window: 20})
	for range 19 {
		l.Observe(time.Hour)
		_, ok := l.Late()
		require.False(t, ok)
	}
	l.Observe(time.Hour)
	late, ok := l.Late()
	require.True(t, ok)
	require.Equal(t, 50*ms, late)
	for range 60 {
		l.Observe(-time.Hour)
	}
	late, _ = l.Late()
	require.Equal(t, 10*ms, late)
}

func TestLatencyOfEveryDurationIsRoundedUpByAtMostASixteenth(t *testing.T) {
	var list []time.Duration
	for shift := range 63 {
		list = append(list, 1<<shift-1, 1<<shift, 1<<shift+1)
	}
	for _, d := range append(list, math.MaxInt64, math.MaxInt64-1) {
		l := newLatency(t, retry.LatencyConfig{Window: 20, Min: 1})
		for range 20 {
			l.Observe(d)
		}
		got, _ := l.Late()
		require.GreaterOrEqual(t, got, d)
		require.LessOrEqual(t, float64(got), max(float64(d)*(1+1.0/16), 1))
	}
}

func TestLatencyIsSafeForConcurrentUse(t *testing.T) {
	l := newLatency(t, retry.LatencyConfig{})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for i := range 100 {
				l.Observe(time.Duration(i) * ms)
				l.Late()
			}
		})
	}
	wg.Wait()
	late, ok := l.Late()
	require.True(t, ok)
	require.LessOrEqual(t, late, 106*ms)
	require.Zero(t, testing.AllocsPerRun(100, func() { l.Observe(time.Second) }))
}

func TestInvalidLatencyNamesFieldAndValue(t *testing.T) {
	for want, c := range map[string]retry.LatencyConfig{
		"LatencyConfig.Percentile is 1,":  {Percentile: 1},
		"LatencyConfig.Percentile is -1":  {Percentile: -1},
		"LatencyConfig.Percentile is NaN": {Percentile: math.NaN()},
		"LatencyConfig.Window is 19":      {Window: 19},
		"LatencyConfig.Window is 1000001": {Window: 1_000_001},
		"LatencyConfig.Min is -1s":        {Min: -time.Second},
		"LatencyConfig.Max is -1s":        {Max: -time.Second},
		"LatencyConfig.Max is 1s":         {Min: time.Minute, Max: time.Second},
	} {
		_, err := retry.NewLatency(c)
		require.ErrorIs(t, err, retry.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}
