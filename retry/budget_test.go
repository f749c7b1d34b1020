package retry_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

// spend takes retries until there are none, and returns how many there were.
func spend(b *retry.Budget, now time.Time) (n int) {
	for b.AllowN(now, 1) {
		n++
	}
	return n
}

func TestBudgetEarnsTheRatioUpToBurst(t *testing.T) {
	for _, c := range []struct {
		ratio        float64
		burst, calls int
		want         int
	}{
		{0.1, 10, 9, 0},
		{0.1, 10, 10, 1},
		{0.1, 10, 99, 9},
		{0.1, 10, 1000, 10},
		{0.2, 100, 100, 20},
		{1.0 / 3, 100, 3, 1},
		{0.7, 100, 10, 7},
		{3, 100, 5, 15},
	} {
		b := newBudget(t, retry.BudgetConfig{Ratio: c.ratio, Burst: c.burst, DisableFloor: true})
		for range c.calls {
			b.Deposit()
		}
		require.Equal(t, c.want, spend(b, time.Now()), "%+v", c)
		require.Equal(t, uint64(c.want), b.Stats().Allowed)
		require.Equal(t, uint64(1), b.Stats().Denied)
		require.InDelta(t, 0, b.Stats().Balance, 1)
	}
}

func TestBudgetFloorHoldsWithoutCalls(t *testing.T) {
	begin := time.Now()
	for _, c := range []struct {
		floor float64
		wants []int // at 0, 1, 2 and 10 s
	}{
		{0, []int{1, 1, 1, 1}}, // the default, 1 a second
		{5, []int{5, 5, 5, 5}},
		{2.5, []int{2, 2, 2, 2}},
		{0.25, []int{1, 0, 0, 1}},
		{1e4, []int{1e4, 1e4, 1e4, 1e4}},
	} {
		b := newBudget(t, retry.BudgetConfig{Floor: c.floor})
		for i, at := range []time.Duration{time.Millisecond, 1001 * ms, 2002 * ms, 10 * time.Second} {
			require.InDelta(t, c.wants[i], spend(b, begin.Add(at)), 0.5, "floor %v at %v", c.floor, at)
		}
	}
}

func TestBudgetIsTheLargerOfRatioAndFloorNotTheSum(t *testing.T) {
	b := newBudget(t, retry.BudgetConfig{Ratio: 0.1, Floor: 10, Burst: 10})
	begin := time.Now()
	retries := 0
	for i := range 100_000 { // 1,000 calls a second for 100 s, all of which want a retry
		now := begin.Add(time.Duration(i) * ms)
		b.Deposit()
		if b.AllowN(now, 1) {
			retries++
		}
	}
	require.InDelta(t, 10_000, retries, 30, "the ratio pays for 100 a second, the floor for 10")
}

func TestBudgetTakesAllOrNothing(t *testing.T) {
	b := newBudget(t, retry.BudgetConfig{Ratio: 1, Burst: 5, DisableFloor: true})
	now := time.Now()
	for range 4 {
		b.Deposit()
	}
	require.False(t, b.AllowN(now, 5))
	require.False(t, b.AllowN(now, math.MaxInt))
	require.True(t, b.AllowN(now, 0))
	require.True(t, b.AllowN(now, -1))
	require.True(t, b.AllowN(now, 4))
	require.False(t, b.AllowN(now, 1))
	require.False(t, newBudget(t, retry.BudgetConfig{Floor: 3}).AllowN(now, 4))
	require.True(t, newBudget(t, retry.BudgetConfig{Floor: 3}).AllowN(now, 3))
}

func TestBudgetTimeGoingBackGivesNothingBack(t *testing.T) {
	b := newBudget(t, retry.BudgetConfig{Floor: 10})
	now := time.Now().Add(time.Hour)
	require.Equal(t, 10, spend(b, now))
	require.Zero(t, spend(b, now.Add(-time.Minute)))
	require.Zero(t, spend(b, now.Add(-2*time.Hour)))
	require.Equal(t, 10, spend(b, now.Add(time.Second)))
}

// The model keeps two plain numbers; the budget must agree with it call by call.
func TestBudgetModel(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		ratio, burst, floor := 1/float64(1+random.IntN(16)), 1+random.IntN(20), 1+random.IntN(50)
		ratio = float64(int(ratio*64)) / 64 // exact in binary, like the model's sums
		ratio = max(ratio, 1.0/64)
		b := newBudget(t, retry.BudgetConfig{Ratio: ratio, Burst: burst, Floor: float64(floor)})
		begin := time.Now()
		interval := (time.Second + time.Duration(floor) - 1) / time.Duration(floor)
		earned, saved, last := 0.0, time.Duration(floor)*interval, time.Duration(0)
		now := time.Second // the budget was made a little before begin
		for i := range 500 {
			now += time.Duration(random.Int64N(int64(interval)))
			if random.IntN(2) == 0 {
				b.Deposit()
				earned = min(earned+ratio, float64(burst))
				continue
			}
			saved = min(saved+now-last, time.Duration(floor)*interval)
			last = now
			n := 1 + random.IntN(3)
			cost := time.Duration(min(n, floor)) * interval
			byRatio, byFloor := earned >= float64(n), saved >= cost && n <= floor
			if byRatio {
				earned -= float64(n)
			}
			if byRatio || byFloor {
				saved = max(saved-cost, 0)
			}
			require.Equal(t, byRatio || byFloor, b.AllowN(begin.Add(now), n), "seed %d, step %d", seed, i)
		}
	}
}

// Trap: retries and hedges without a shared budget amplify an outage. A thousand
// goroutines share one; what it lets pass is never more than it earned.
func TestSharedBudgetIsNeverOverdrawn(t *testing.T) {
	const workers, calls, ratio, burst = 1000, 60, 0.25, 50
	b := newBudget(t, retry.BudgetConfig{Ratio: ratio, Burst: burst, DisableFloor: true})
	p := retry.Policy{Attempts: 3, Backoff: atOnce, Budget: b}
	var made atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range calls {
				_, err := retry.Do(t.Context(), p, func(context.Context) (int, error) {
					made.Add(1)
					return 0, errDown
				})
				if err == nil {
					t.Error("an outage gave a success")
				}
			}
		})
	}
	wg.Wait()
	retries := made.Load() - workers*calls
	require.LessOrEqual(t, retries, int64(workers*calls*ratio))
	require.GreaterOrEqual(t, retries, int64(workers*calls*ratio)-burst, "earned and neither used nor saved")
	require.Equal(t, uint64(retries), b.Stats().Allowed)
}

// No update is lost between goroutines that do nothing else.
func TestBudgetUnderContentionLosesNothing(t *testing.T) {
	const workers, rounds, burst = 8, 100_000, 1_000_000
	b := newBudget(t, retry.BudgetConfig{Ratio: 0.25, Burst: burst, DisableFloor: true})
	now := time.Now()
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			n := int64(0)
			for range rounds {
				b.Deposit()
				if b.AllowN(now, 1) {
					n++
				}
			}
			allowed.Add(n)
		})
	}
	wg.Wait()
	require.InDelta(t, workers*rounds/4, float64(allowed.Load())+b.Stats().Balance, 1e-3)
	require.Equal(t, uint64(allowed.Load()), b.Stats().Allowed)
	require.Equal(t, uint64(workers*rounds-allowed.Load()), b.Stats().Denied)
}

func TestBudgetBoundsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, retry.BudgetConfig{})
		p := retry.Policy{Attempts: 5, Backoff: atOnce, Budget: b}
		f, calls := always(errDown)
		budgeted := 0
		for range 2000 { // 100 a second for 20 s
			_, err := retry.Do(t.Context(), p, f)
			if e := exhausted(t, err); e.Cause == retry.ErrBudget { // it is the cause itself
				budgeted++
			}
			time.Sleep(10 * ms)
		}
		require.LessOrEqual(t, *calls, 2000+200+21)
		require.Greater(t, *calls, 2000+150)
		require.Greater(t, budgeted, 1000)
	})
}

// A retry that another rule forbids takes nothing from the budget.
func TestBudgetIsAskedLast(t *testing.T) {
	b := newBudget(t, retry.BudgetConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, p := range []retry.Policy{
		{Attempts: 1, Budget: b},
		{Backoff: retry.Constant(time.Hour), Budget: b},
		{Backoff: retry.Constant(time.Hour), Elapsed: time.Minute, Budget: b},
		{Retryable: func(error) bool { return false }, Budget: b},
	} {
		f, _ := always(errDown)
		_, err := retry.Do(ctx, p, f)
		require.ErrorIs(t, err, errDown)
	}
	require.Zero(t, b.Stats().Allowed+b.Stats().Denied)
}

func TestInvalidBudgetNamesFieldAndValue(t *testing.T) {
	for want, c := range map[string]retry.BudgetConfig{
		"BudgetConfig.Ratio is -1":      {Ratio: -1},
		"BudgetConfig.Ratio is 11":      {Ratio: 11},
		"BudgetConfig.Burst is -1":      {Burst: -1},
		"BudgetConfig.Burst is 1000001": {Burst: 1_000_001},
		"BudgetConfig.Floor is -0.5":    {Floor: -0.5},
		"BudgetConfig.Floor is 2e+06":   {Floor: 2e6},
	} {
		b, err := retry.NewBudget(c)
		require.ErrorIs(t, err, retry.ErrInvalid)
		require.ErrorContains(t, err, want)
		require.Nil(t, b)
	}
}

func TestBudgetDoesNotAllocate(t *testing.T) {
	b := newBudget(t, retry.BudgetConfig{})
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b.Deposit()
		b.Allow()
	}))
}
