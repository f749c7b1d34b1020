package retry_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

const (
	ms     = time.Millisecond
	lowest = uint64(0)
	half   = uint64(1) << 63
	most   = uint64(math.MaxUint64)
)

func TestStepsGrowByTheFactorUpToMax(t *testing.T) {
	for _, c := range []struct {
		backoff retry.Exponential
		want    []time.Duration
	}{
		{retry.Exponential{}, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10 * time.Second, 10 * time.Second}},
		{retry.Exponential{Initial: 10 * ms, Max: 100 * ms, Factor: 3}, []time.Duration{10 * ms, 30 * ms, 90 * ms, 100 * ms}},
		{retry.Exponential{Initial: 10 * ms, Factor: 1}, []time.Duration{10 * ms, 10 * ms, 10 * ms}},
		{retry.Exponential{Max: 20 * ms}, []time.Duration{20 * ms, 20 * ms}},
		{retry.Exponential{Initial: time.Minute}, []time.Duration{time.Minute, time.Minute}},
	} {
		c.backoff.Jitter = retry.NoJitter
		for i, want := range c.want {
			require.Equal(t, want, c.backoff.Delay(i+1, 0, half), "%+v, retry %d", c.backoff, i+1)
		}
	}
}

// The ends and the middle of each range are what the definitions say.
func TestJitterRanges(t *testing.T) {
	e := retry.Exponential{Initial: 100 * ms, Max: time.Second}
	for _, c := range []struct {
		jitter         retry.Jitter
		retry          int
		last           time.Duration
		low, mid, high time.Duration
	}{
		{retry.FullJitter, 1, 0, 0, 50 * ms, 100 * ms},
		{retry.FullJitter, 3, 77 * ms, 0, 200 * ms, 400 * ms},
		{retry.FullJitter, 9, 77 * ms, 0, 500 * ms, time.Second},
		{retry.EqualJitter, 1, 0, 50 * ms, 75 * ms, 100 * ms},
		{retry.EqualJitter, 9, 0, 500 * ms, 750 * ms, time.Second},
		{retry.DecorrelatedJitter, 1, 0, 100 * ms, 200 * ms, 300 * ms},
		{retry.DecorrelatedJitter, 2, 200 * ms, 100 * ms, 350 * ms, 600 * ms},
		{retry.DecorrelatedJitter, 7, 900 * ms, 100 * ms, 550 * ms, time.Second},
		{retry.NoJitter, 2, 0, 200 * ms, 200 * ms, 200 * ms},
	} {
		e.Jitter = c.jitter
		require.Equal(t, c.low, e.Delay(c.retry, c.last, lowest), "%v %d low", c.jitter, c.retry)
		require.InDelta(t, c.mid, e.Delay(c.retry, c.last, half), 1, "%v %d middle", c.jitter, c.retry)
		require.Equal(t, c.high, e.Delay(c.retry, c.last, most), "%v %d high", c.jitter, c.retry)
	}
}

// Jitter is uniform: mean and variance are those of the distribution, and every
// tenth of the range is drawn equally often.
func TestJitterDistributions(t *testing.T) {
	const n = 40_000
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		jitter    retry.Jitter
		low, high time.Duration
	}{
		{retry.FullJitter, 0, 400 * ms},
		{retry.EqualJitter, 200 * ms, 400 * ms},
		{retry.DecorrelatedJitter, 100 * ms, 900 * ms},
	} {
		e := retry.Exponential{Initial: 100 * ms, Max: time.Second, Jitter: c.jitter}
		var sum, squares float64
		var tenths [10]int
		for range n {
			d := e.Delay(3, 300*ms, random.Uint64())
			if d < c.low || d > c.high {
				t.Fatalf("%v drew %v, want %v to %v", c.jitter, d, c.low, c.high)
			}
			x := float64(d-c.low) / float64(c.high-c.low)
			sum += x
			squares += x * x
			tenths[min(int(x*10), 9)]++
		}
		mean := sum / n
		require.InDelta(t, 0.5, mean, 0.008, "%v mean", c.jitter)
		require.InDelta(t, 1.0/12, squares/n-mean*mean, 0.003, "%v variance", c.jitter)
		for i, count := range tenths {
			require.InDelta(t, n/10, count, 400, "%v tenth %d", c.jitter, i) // 6 sigma
		}
	}
}

// A run of decorrelated delays stays within Initial and Max, and does not stick
// to Max.
func TestDecorrelatedDelaysDoNotPileUpAtMax(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	e := retry.Exponential{Initial: 10 * ms, Max: time.Second, Jitter: retry.DecorrelatedJitter}
	var last time.Duration
	nearMax := 0
	for i := range 10_000 {
		d := e.Delay(i+1, last, random.Uint64())
		require.True(t, 10*ms <= d && d <= min(time.Second, 3*max(last, 10*ms)), "after %v came %v", last, d)
		if d > 990*ms {
			nearMax++
		}
		last = d
	}
	require.Less(t, nearMax, 300)
}

// Trap: overflow of 2^n, and of the cap times the jitter: negative delays, or
// delays over the cap.
func TestOverflowOfTheStepAndOfTheCapTimesJitter(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for _, retries := range []int{1, 2, 31, 32, 33, 62, 63, 64, 65, 1000, math.MaxInt32, math.MaxInt} {
		for _, e := range []retry.Exponential{
			{},
			{Initial: 1, Max: forever},
			{Initial: time.Second, Max: forever, Factor: 100},
			{Initial: forever, Max: forever},
			{Initial: forever - 1, Max: forever, Factor: 1.0000001},
		} {
			for j := retry.FullJitter; j <= retry.NoJitter; j++ {
				e.Jitter = j
				top := e.Max
				if top == 0 {
					top = 10 * time.Second
				}
				for _, last := range []time.Duration{0, 1, forever / 3, forever/3 + 1, forever} {
					for _, random := range []uint64{lowest, half, most} {
						d := e.Delay(retries, last, random)
						require.True(t, 0 <= d && d <= top, "%+v retry %d after %v: %v", e, retries, last, d)
					}
				}
			}
		}
	}
}

// What Check refuses cannot do harm to those who never call it.
func TestDelayOfAnUncheckedConfigurationIsStillBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		e := retry.Exponential{
			Initial: time.Duration(random.Uint64()),
			Max:     time.Duration(random.Uint64()),
			Factor:  math.Float64frombits(random.Uint64()),
			Jitter:  retry.Jitter(random.UintN(6)),
		}
		d := e.Delay(int(random.Uint64()), time.Duration(random.Uint64()), random.Uint64())
		require.GreaterOrEqual(t, d, time.Duration(0), "%+v", e)
		if e.Max > 0 {
			require.LessOrEqual(t, d, e.Max, "%+v", e)
		}
	}
}

type reckless struct{}

func (reckless) Delay(int, time.Duration, uint64) time.Duration { return -time.Hour }

func TestNegativeDelayOfAUsersBackoffIsNone(t *testing.T) {
	value, err := retry.Do(t.Context(), retry.Policy{Backoff: reckless{}}, failing(errDown))
	require.NoError(t, err)
	require.Equal(t, 2, value)
}

func TestJitterNames(t *testing.T) {
	for want, j := range map[string]retry.Jitter{
		"full": retry.FullJitter, "equal": retry.EqualJitter, "decorrelated": retry.DecorrelatedJitter,
		"none": retry.NoJitter, "Jitter(7)": 7,
	} {
		require.Equal(t, want, j.String())
	}
}
