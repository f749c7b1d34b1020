package breaker_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
)

// slowly returns a call that takes d.
func slowly(d time.Duration) func(context.Context) (int, error) {
	return func(context.Context) (int, error) {
		time.Sleep(d)
		return 1, nil
	}
}

func TestZeroConfigOpensAfterFiveFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		do(t, b, 4, fail)
		require.NoError(t, do(t, b, 1, succeed), "a success in between")
		do(t, b, 4, fail)
		require.Equal(t, breaker.Closed, b.State())
		require.Equal(t, 4, b.Stats().Consecutive)
		do(t, b, 1, fail)
		require.Equal(t, breaker.Open, b.State())
		require.ErrorIs(t, do(t, b, 1, succeed), breaker.ErrOpen)

		time.Sleep(4*time.Second - time.Millisecond) // 5 s, less a fifth of jitter at the most
		require.Equal(t, breaker.Open, b.State())
		time.Sleep(time.Second + time.Millisecond)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.NoError(t, do(t, b, 1, succeed))
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestFailureRateNeedsTheMinimumOfCalls(t *testing.T) {
	for name, c := range map[string]breaker.Config{
		"calls": {WindowCalls: 20, MinimumCalls: 10, FailureRate: 0.3},
		"time":  {WindowTime: time.Minute, MinimumCalls: 10, FailureRate: 0.3},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, c)
			do(t, b, 3, fail)
			do(t, b, 6, succeed)
			require.Equal(t, breaker.Closed, b.State(), "%s: 3 of 9 failed, but it takes 10", name)
			do(t, b, 1, succeed)
			require.Equal(t, breaker.Open, b.State(), "%s: 3 of 10 is the rate, whatever the last one was", name)
		})
	}
}

func TestRatesAreReachedExactly(t *testing.T) {
	for _, rate := range []float64{0.1, 0.2, 0.3, 0.6, 0.7, 1} {
		b := newBreaker(t, breaker.Config{WindowCalls: 30, MinimumCalls: 30, FailureRate: rate})
		failures := int(math.Round(rate * 30))
		do(t, b, 30-failures, succeed)
		do(t, b, failures-1, fail)
		require.Equal(t, breaker.Closed, b.State(), rate)
		do(t, b, 1, fail)
		require.Equal(t, breaker.Open, b.State(), rate)
	}
}

func TestCountWindowForgetsTheOldest(t *testing.T) {
	b := newBreaker(t, breaker.Config{WindowCalls: 10, MinimumCalls: 10, FailureRate: 0.5})
	do(t, b, 4, fail)
	do(t, b, 10, succeed)
	require.Equal(t, breaker.Stats{WindowCalls: 10, Failures: 4, Generation: 1}, b.Stats())
	do(t, b, 4, fail)
	require.Equal(t, breaker.Closed, b.State())
	do(t, b, 1, fail)
	require.Equal(t, breaker.Open, b.State())
}

func TestTimeWindowForgetsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{WindowTime: 10 * time.Second, MinimumCalls: 4, FailureRate: 0.5})
		do(t, b, 3, fail)
		time.Sleep(9 * time.Second)
		require.Equal(t, 3, b.Stats().WindowFailures)
		time.Sleep(time.Second)
		require.Equal(t, 0, b.Stats().WindowFailures)
		do(t, b, 3, fail)
		require.Equal(t, breaker.Closed, b.State())
		time.Sleep(time.Hour)
		do(t, b, 3, fail)
		require.Equal(t, breaker.Closed, b.State(), "after a long silence")
		do(t, b, 1, fail)
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestSlowCallsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{WindowCalls: 10, MinimumCalls: 10, SlowAfter: time.Second, SlowRate: 0.4})
		do(t, b, 6, slowly(time.Second)) // not longer than that
		do(t, b, 3, slowly(time.Second+time.Nanosecond))
		require.Equal(t, breaker.Closed, b.State())
		do(t, b, 1, slowly(time.Minute))
		require.Equal(t, breaker.Open, b.State())
		require.EqualValues(t, 4, b.Stats().Slow)
	})
}

func TestConsecutiveWorksBesideAWindow(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 3, WindowCalls: 100, MinimumCalls: 100})
	do(t, b, 2, fail)
	do(t, b, 1, succeed)
	do(t, b, 2, fail)
	require.Equal(t, breaker.Closed, b.State())
	do(t, b, 1, fail)
	require.Equal(t, breaker.Open, b.State())
}

func TestResultOfAnEarlierStateNeitherClosesNorOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{Consecutive: 1, OpenFor: time.Second, Probes: 2, DisableJitter: true})
		fromClosed := make([]breaker.Permit, 4)
		for i := range fromClosed {
			fromClosed[i] = acquire(t, b)
		}
		do(t, b, 1, fail)
		fromClosed[0].Report(breaker.Failure) // while open: does not open it anew, nor for longer
		require.Equal(t, time.Second, b.Stats().RetryAfter)

		time.Sleep(time.Second)
		probe := acquire(t, b)
		fromClosed[1].Report(breaker.Success) // while half-open: does not count as a probe
		fromClosed[2].Report(breaker.Failure)
		require.Equal(t, breaker.HalfOpen, b.State())
		second := acquire(t, b)
		_, err := b.Acquire(t.Context())
		require.ErrorIs(t, err, breaker.ErrOpen, "late results mint no probes")

		probe.Report(breaker.Success)
		second.Report(breaker.Success)
		require.Equal(t, breaker.Closed, b.State())
		fromClosed[3].Report(breaker.Failure) // closed again, but another time
		require.Equal(t, breaker.Closed, b.State())
		require.EqualValues(t, 4, b.Stats().Late)
		require.EqualValues(t, 1, b.Stats().Opened)
	})
}

func TestLateProbeOfAnEarlierHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: time.Second, MaxOpenFor: time.Second, ProbeFor: time.Second})
		time.Sleep(time.Second)
		late := acquire(t, b)
		time.Sleep(2 * time.Second) // its half-open time, and the open time after that
		now := acquire(t, b)
		late.Report(breaker.Success)
		require.Equal(t, breaker.HalfOpen, b.State())
		now.Report(breaker.Failure)
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestProbeThatNeverReturnsDoesNotKeepItHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: time.Second, ProbeFor: 10 * time.Second})
		time.Sleep(time.Second)
		acquire(t, b) // never given back
		require.ErrorIs(t, do(t, b, 1, succeed), breaker.ErrOpen)
		time.Sleep(10 * time.Second)
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, 2*time.Second, b.Stats().RetryAfter, "twice as long as before")
		time.Sleep(2 * time.Second)
		require.NoError(t, do(t, b, 1, succeed), "another probe")
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestHalfOpenWithoutVerdictEndedWhenItWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: time.Second, ProbeFor: 10 * time.Second})
		time.Sleep(time.Second)
		acquire(t, b) // never given back
		time.Sleep(time.Hour)
		require.NoError(t, do(t, b, 1, succeed), "nobody called for an hour: that is no reason to reject now")
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestLookingAtTheStateDoesNotStartTheProbeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: time.Second, ProbeFor: time.Second})
		for range 100 {
			time.Sleep(time.Second)
			require.Equal(t, breaker.HalfOpen, b.State())
		}
		require.EqualValues(t, 1, b.Stats().Opened)
	})
}

func TestAllProbesIgnoredStillEndsHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{
			OpenFor: time.Second, ProbeFor: 10 * time.Second,
			Classify: func(_ any, err error) breaker.Outcome {
				if errors.Is(err, errService) {
					return breaker.Failure
				}
				return breaker.Ignored
			},
		})
		time.Sleep(time.Second)
		for range 10 {
			require.NoError(t, do(t, b, 1, succeed), "an ignored probe makes room for the next")
			time.Sleep(time.Second)
		}
		require.Equal(t, breaker.Open, b.State(), "no verdict in time")
	})
}

func TestPanicAndGoexitInAProbeDoNotLeakIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: time.Second, MaxOpenFor: time.Second})
		time.Sleep(time.Second)
		require.Panics(t, func() { do(t, b, 1, func(context.Context) (int, error) { panic("boom") }) })
		require.Equal(t, breaker.Open, b.State(), "it is a failed probe")
		time.Sleep(time.Second)
		go do(t, b, 1, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		synctest.Wait()
		require.Equal(t, breaker.Open, b.State())
		time.Sleep(time.Second)
		require.NoError(t, do(t, b, 1, succeed), "there is room for another")
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestProbesAreCappedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: time.Second, Probes: 3})
		time.Sleep(time.Second)
		var admitted atomic.Int32
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				_, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) {
					admitted.Add(1)
					time.Sleep(time.Millisecond)
					return 0, nil
				})
				if err != nil && !errors.Is(err, breaker.ErrOpen) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		require.EqualValues(t, 3, admitted.Load())
		wg.Wait()
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestProbesAreJudgedByTheRatesOfTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{
			WindowCalls: 10, FailureRate: 0.5, SlowAfter: time.Second, SlowRate: 0.5,
			Probes: 4, OpenFor: time.Minute, MaxOpenFor: time.Minute, DisableJitter: true,
		})
		halfOpen := func() {
			do(t, b, 10, fail)
			require.Equal(t, breaker.Open, b.State())
			time.Sleep(time.Minute)
		}
		halfOpen()
		do(t, b, 1, fail)
		do(t, b, 2, succeed)
		require.Equal(t, breaker.HalfOpen, b.State())
		do(t, b, 1, succeed)
		require.Equal(t, breaker.Closed, b.State(), "1 of 4 failed")

		halfOpen()
		do(t, b, 1, fail)
		do(t, b, 1, fail)
		require.Equal(t, breaker.Open, b.State(), "2 of 4 have failed: the others need not be waited for")

		time.Sleep(time.Minute)
		do(t, b, 2, slowly(2*time.Second))
		require.Equal(t, breaker.Open, b.State(), "2 of 4 were slow")
	})
}

func TestOpenTimeDoublesUpToTheBoundAndStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: time.Second, MaxOpenFor: 5 * time.Second})
		for _, want := range []time.Duration{1, 2, 4, 5, 5} {
			require.Equal(t, want*time.Second, b.Stats().RetryAfter)
			time.Sleep(want*time.Second - 1)
			require.Error(t, do(t, b, 1, succeed))
			time.Sleep(time.Nanosecond)
			require.ErrorIs(t, do(t, b, 1, fail), errService)
		}
		time.Sleep(5 * time.Second)
		require.NoError(t, do(t, b, 1, succeed))
		do(t, b, 5, fail)
		require.Equal(t, time.Second, b.Stats().RetryAfter, "after it was closed, from the beginning")
	})
}

func TestOpenTimeNeverOverflowsNorPassesTheCapHoweverOftenItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 24 * time.Hour
		b := newBreaker(t, breaker.Config{Consecutive: 1, OpenFor: 7 * time.Millisecond, MaxOpenFor: most, Jitter: 1, Seed: 3})
		for range 200 { // 2^200 ms
			do(t, b, 1, fail)
			d := b.Stats().RetryAfter
			require.GreaterOrEqual(t, d, time.Duration(0))
			require.LessOrEqual(t, d, most)
			time.Sleep(d)
		}
	})
}

func TestJitterKeepsItsBoundsAndMean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, d, jitter = 5_000, 10 * time.Second, 0.4
		b := newBreaker(t, breaker.Config{Consecutive: 1, OpenFor: d, MaxOpenFor: d, Jitter: jitter, Seed: 1})
		var sum, below float64
		for range n {
			do(t, b, 1, fail)
			got := b.Stats().RetryAfter
			require.LessOrEqual(t, got, d)
			require.GreaterOrEqual(t, got, time.Duration((1-jitter)*float64(d)))
			sum += got.Seconds()
			if got.Seconds() < 7 {
				below++
			}
			time.Sleep(got)
		}
		require.InDelta(t, 8, sum/n, 0.05, "even between 6 and 10 s")
		require.InDelta(t, 0.25, below/n, 0.02, "a quarter of it is below 7 s")
	})
}

func TestSeedMakesJitterReproducible(t *testing.T) {
	draw := func(seed uint64) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Config{Consecutive: 1, Seed: seed})
			do(t, b, 1, fail)
			d = b.Stats().RetryAfter
		})
		return d
	}
	require.Equal(t, draw(7), draw(7))
	require.NotEqual(t, draw(7), draw(8))
	require.NotEqual(t, draw(0), draw(0), "without a seed each breaker draws for itself")
}

func TestRejectionSaysUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{Name: "profiles", OpenFor: time.Minute})
		err := do(t, b, 1, succeed)
		var rejected *breaker.OpenError
		require.ErrorAs(t, err, &rejected)
		require.ErrorIs(t, err, breaker.ErrRejected)
		require.NotErrorIs(t, err, breaker.ErrFull)
		require.Equal(t, "profiles", rejected.Name)
		require.Equal(t, breaker.Open, rejected.State)
		require.Equal(t, time.Now().Add(time.Minute), rejected.Until)
		require.Equal(t, "breaker: profiles: open until 2000-01-01T00:01:00Z", err.Error())
		time.Sleep(20 * time.Second)
		require.Equal(t, 40*time.Second, rejected.RetryAfter())
		time.Sleep(time.Hour)
		require.Zero(t, rejected.RetryAfter())

		acquire(t, b)
		err = do(t, b, 1, succeed)
		require.ErrorAs(t, err, &rejected)
		require.Equal(t, breaker.HalfOpen, rejected.State)
		require.Equal(t, "breaker: profiles: half-open", err.Error())
		require.Zero(t, rejected.RetryAfter())
	})
}

func TestForceOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{Mode: breaker.ForceOpen})
		require.ErrorIs(t, do(t, b, 1, succeed), breaker.ErrOpen)
		time.Sleep(1000 * time.Hour)
		require.ErrorIs(t, do(t, b, 1, succeed), breaker.ErrOpen, "until it is changed")
		require.Zero(t, b.Stats().RetryAfter)
		require.NoError(t, b.SetMode(breaker.Automatic))
		require.NoError(t, do(t, b, 1, succeed))
		require.NoError(t, b.SetMode(breaker.ForceOpen))
		require.Equal(t, breaker.Open, b.State())
		require.Equal(t, breaker.ForceOpen, b.Mode())
	})
}

func TestForceClosed(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	require.NoError(t, b.SetMode(breaker.ForceClosed))
	require.ErrorIs(t, do(t, b, 100, fail), errService)
	require.Equal(t, breaker.Closed, b.State())
	require.EqualValues(t, 100, b.Stats().Failures)
	require.NoError(t, b.SetMode(breaker.Automatic))
	do(t, b, 4, fail)
	require.Equal(t, breaker.Closed, b.State(), "what went before is forgotten")
}

func TestMetricsOnlyDecidesAndLetsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{Mode: breaker.MetricsOnly, OpenFor: time.Second})
		require.NoError(t, do(t, b, 10, succeed), "open, and lets through")
		require.EqualValues(t, 10, b.Stats().Rejected)
		require.Equal(t, breaker.Open, b.State(), "what an open breaker would not have seen does not count")
		time.Sleep(time.Second)
		probe := acquire(t, b)
		require.NoError(t, do(t, b, 10, succeed), "over the number of probes, and lets through")
		require.Equal(t, breaker.HalfOpen, b.State())
		probe.Report(breaker.Success)
		require.Equal(t, breaker.Closed, b.State())
		require.Zero(t, b.Stats().Late)
	})
}

func TestSetModeRefusesNonsense(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	require.ErrorContains(t, b.SetMode(9), "Mode(9)")
	require.Equal(t, breaker.Automatic, b.Mode())
}

func TestSetModeResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, breaker.Config{OpenFor: time.Hour})
		require.NoError(t, b.SetMode(breaker.Automatic))
		require.NoError(t, do(t, b, 1, succeed))
	})
}

func TestConfigIsCheckedFieldByField(t *testing.T) {
	window := func(c breaker.Config) breaker.Config { c.WindowCalls = 20; return c }
	for field, c := range map[string]breaker.Config{
		"Consecutive":  {Consecutive: -1},
		"WindowCalls":  {WindowCalls: 100_001},
		"WindowTime":   {WindowTime: time.Millisecond},
		"WindowTime ":  {WindowTime: time.Second, WindowCalls: 1},
		"MinimumCalls": window(breaker.Config{MinimumCalls: 21}),
		"FailureRate":  window(breaker.Config{FailureRate: math.NaN()}),
		"FailureRate ": {FailureRate: 0.5},
		"SlowAfter":    window(breaker.Config{SlowAfter: -1}),
		"SlowAfter ":   {SlowAfter: time.Second},
		"SlowRate":     window(breaker.Config{SlowRate: 0.5}),
		"SlowRate ":    window(breaker.Config{SlowAfter: 1, SlowRate: 1.1}),
		"OpenFor":      {OpenFor: -time.Second},
		"OpenFor ":     {OpenFor: 1000 * time.Hour},
		"MaxOpenFor":   {OpenFor: time.Minute, MaxOpenFor: time.Second},
		"Jitter":       {Jitter: 1.5},
		"Jitter ":      {Jitter: math.Inf(-1)},
		"Jitter  ":     {Jitter: 0.1, DisableJitter: true},
		"Probes":       {Probes: -1},
		"ProbeFor":     {ProbeFor: time.Nanosecond},
		"Mode":         {Mode: 4},
	} {
		_, err := breaker.New(c)
		require.ErrorContains(t, err, "Config."+strings.TrimSpace(field)+" is ", field)
	}
	_, err := breaker.New(breaker.Config{Probes: -1, OpenFor: -1})
	require.ErrorContains(t, err, "Config.Probes is -1: must be from 1 to 10000")
	require.ErrorContains(t, err, "Config.OpenFor is -1ns", "all that is wrong, at once")
}

func TestConfigDefaultsFollowWhatIsSet(t *testing.T) {
	for _, c := range []breaker.Config{
		{OpenFor: 24 * time.Hour},
		{OpenFor: 10 * time.Hour},
		{WindowCalls: 1},
		{WindowCalls: 3},
		{WindowTime: 24 * time.Hour},
		{WindowCalls: 100_000},
		{Jitter: 1},
		{MaxOpenFor: 5 * time.Second},
	} {
		newBreaker(t, c)
	}
}

func TestTextOfStatesAndModes(t *testing.T) {
	text, err := json.Marshal([]any{
		breaker.Closed, breaker.Open, breaker.HalfOpen,
		breaker.Automatic, breaker.ForceOpen, breaker.ForceClosed, breaker.MetricsOnly,
	})
	require.NoError(t, err)
	require.Equal(t, `["closed","open","half-open","automatic","force-open","force-closed","metrics-only"]`, string(text))
	require.Equal(t, "State(9) Mode(9) Outcome(9)", strings.Join([]string{breaker.State(9).String(), breaker.Mode(9).String(), breaker.Outcome(9).String()}, " "))
}

// A thousand goroutines call through a service that goes down and comes back.
// Whatever the schedule, what is counted adds up, nobody is lost, and the states
// follow each other as they must.
func TestThousandGoroutines(t *testing.T) {
	for name, c := range map[string]breaker.Config{
		"consecutive": {Consecutive: 3},
		"calls":       {WindowCalls: 50, MinimumCalls: 5, SlowAfter: time.Minute},
		"time":        {WindowTime: 50 * time.Millisecond, MinimumCalls: 5},
	} {
		c.OpenFor, c.MaxOpenFor, c.Probes, c.CountSuccesses = time.Millisecond, time.Millisecond, 4, true
		b := newBreaker(t, c)
		changes := collect(t, b.Changes)
		var rejected, ran, down atomic.Int64
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				for j := range 100 {
					_, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) {
						ran.Add(1)
						if i == 0 {
							down.Store(int64(j / 20 % 2))
						}
						if down.Load() == 1 {
							return 0, errService
						}
						return 0, nil
					})
					if errors.Is(err, breaker.ErrOpen) {
						rejected.Add(1)
					}
				}
			})
		}
		wg.Wait()
		s := b.Stats()
		require.EqualValues(t, rejected.Load(), s.Rejected, name)
		require.EqualValues(t, ran.Load(), s.Successes+s.Failures+s.Ignored, name)
		require.EqualValues(t, 100_000, ran.Load()+rejected.Load(), name)
		requireLawful(t, changes())
	}
}

func TestSimultaneousFailuresOpenItOnce(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1, OpenFor: time.Hour})
	for round := range uint64(3000) {
		var wg sync.WaitGroup
		ready := make(chan struct{})
		for range 4 {
			p := acquire(t, b)
			wg.Go(func() {
				<-ready
				p.Report(breaker.Failure)
			})
		}
		close(ready)
		wg.Wait()
		require.Equal(t, round+1, b.Stats().Opened)
		require.NoError(t, b.SetMode(breaker.Automatic))
	}
}

// requireLawful checks that changes follow from each other.
func requireLawful(t *testing.T, changes []breaker.Change) {
	t.Helper()
	follow := map[breaker.State][]breaker.State{
		breaker.Closed: {breaker.Open}, breaker.Open: {breaker.HalfOpen}, breaker.HalfOpen: {breaker.Open, breaker.Closed},
	}
	for i, c := range changes {
		require.Contains(t, follow[c.From], c.To, "%+v", c)
		if i > 0 && c.Missed == 0 {
			require.Equal(t, changes[i-1].To, c.From)
			require.Equal(t, changes[i-1].Generation+1, c.Generation)
		}
	}
}
