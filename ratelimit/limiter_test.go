package ratelimit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

func TestLimiterIsATokenBucket(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(10, time.Second), 3)
	for _, step := range []struct {
		at    time.Duration
		n     int
		allow bool
	}{
		{0, 1, true},
		{0, 2, true},
		{0, 1, false}, // the burst, and no more
		{99 * ms, 1, false},
		{100 * ms, 1, true},
		{100 * ms, 1, false}, // one comes back every 100 ms
		{299 * ms, 2, false},
		{300 * ms, 2, true},
		{time.Hour, 3, true},
		{time.Hour, 1, false}, // a rest saves up the burst, and no more
		{time.Hour + 50*ms, 0, true},
		{time.Hour + 50*ms, 1, false}, // nothing costs nothing
		{time.Hour + 100*ms, 1, true},
	} {
		require.Equal(t, step.allow, l.AllowN(after(step.at), step.n), "%d tokens at %v", step.n, step.at)
	}
}

func TestDecideTellsTheState(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(10, time.Second), 3)
	limit := ratelimit.Per(10, time.Second)
	at := func(d time.Duration, n int) ratelimit.Decision { return l.Decide(after(d), n) }
	require.Equal(t, ratelimit.Decision{Allowed: true, Remaining: 3, Limit: limit, Burst: 3}, at(0, 0))
	require.Equal(t, ratelimit.Decision{Allowed: true, Remaining: 1, Limit: limit, Burst: 3}, at(0, 2))
	require.Equal(t, ratelimit.Decision{Remaining: 1, RetryAfter: 200 * ms, Limit: limit, Burst: 3}, at(0, 3))
	require.Equal(t, ratelimit.Decision{Remaining: 1, RetryAfter: 199 * ms, Limit: limit, Burst: 3}, at(1*ms, 3))
	require.Equal(t, ratelimit.Decision{Remaining: 1, RetryAfter: ratelimit.Never, Limit: limit, Burst: 3}, at(1*ms, 4))
	require.Equal(t, ratelimit.Decision{Allowed: true, Remaining: 0, Limit: limit, Burst: 3}, at(200*ms, 3))
}

func TestAllowReadsTheMonotonicClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Per(1, time.Second), 1)
		require.True(t, l.Allow())
		require.False(t, l.Allow())
		time.Sleep(time.Second - 1)
		require.False(t, l.Allow())
		time.Sleep(time.Nanosecond)
		require.True(t, l.Allow())
		require.False(t, l.AllowN(time.Now().Round(0), 1), "a time without a monotonic reading is the same time")
	})
}

func TestTrapCostAboveBurst(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(10, time.Second), 3)
	for _, n := range []int{4, 1 << 20, math.MaxInt32, math.MaxInt} {
		require.False(t, l.AllowN(start, n), "%d", n)
		require.False(t, l.ReserveN(start, n).OK(), "%d", n)
		require.Equal(t, ratelimit.Never, l.ReserveN(start, n).Delay())
		require.ErrorIs(t, l.WaitN(t.Context(), n), ratelimit.ErrOverBurst, "%d", n)
	}
	for _, n := range []int{0, -1, math.MinInt} {
		require.True(t, l.AllowN(start, n), "%d takes nothing", n)
		require.NoError(t, l.WaitN(t.Context(), n))
	}
	require.True(t, l.AllowN(start, 3), "what cannot be had has cost nothing, and what is negative gave nothing")
	require.False(t, l.AllowN(start, 1))
}

func TestTrapTimeStampsOutOfOrderAdmitEverything(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	limit, burst := ratelimit.Per(1000, time.Second), 5
	l := newLimiter(t, limit, burst)
	var events []event
	for i := range 20_000 {
		at := time.Duration(i)*100*time.Microsecond - time.Duration(random.Int64N(int64(20*ms)))
		if n := 1 + random.IntN(3); l.AllowN(after(at), n) {
			events = append(events, event{at, n})
		}
	}
	require.Greater(t, len(events), 500)
	requireWithin(t, events, limit, burst)
}

func TestTrapWallClockJumpsBack(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(10, time.Second), 5)
	require.True(t, l.AllowN(after(time.Hour), 5))
	for back := range 100 {
		require.False(t, l.AllowN(after(time.Hour-time.Duration(back)*time.Minute), 1), "%d minutes back", back)
	}
	require.False(t, l.AllowN(time.Time{}, 1), "thousands of years back")
	require.True(t, l.AllowN(after(time.Hour+100*ms), 1), "and when it is right again, nothing is lost")
}

// Any time will do: the limiter's own clock is not what such callers use.
func TestTimesFarFromTheLimitersOwn(t *testing.T) {
	for _, base := range []time.Time{{}, time.Unix(0, 0), time.Unix(1<<40, 0), time.Now().Add(-100 * 24 * time.Hour), time.Now().Add(200 * 365 * 24 * time.Hour)} {
		for _, limit := range []ratelimit.Limit{ratelimit.Per(1, time.Second), ratelimit.Per(999_999_937, time.Second), ratelimit.Per(3, time.Hour)} {
			l := newLimiter(t, limit, 2)
			require.True(t, l.AllowN(base, 2), "%v at %v", limit, base)
			require.False(t, l.AllowN(base, 1), "%v at %v", limit, base)
			if base.Year() > 1900 && base.Year() < 2100 {
				require.True(t, l.AllowN(base.Add(limit.Period), 1), "%v at %v", limit, base)
			}
		}
	}
}

// A limiter runs for years, and counts in parts of a nanosecond all the time.
func TestYearsOfUse(t *testing.T) {
	for _, limit := range []ratelimit.Limit{ratelimit.Per(1, time.Second), ratelimit.Per(777_777, time.Second), ratelimit.Per(1_000_003, time.Second), ratelimit.Per(7, 24*time.Hour)} {
		l := newLimiter(t, limit, 4)
		one := limit.Period / time.Duration(limit.Events)
		for at := time.Duration(0); at < 50*365*24*time.Hour; at = at*2 + 7*time.Minute {
			require.True(t, l.AllowN(after(at), 4), "%v after %v", limit, at)
			require.False(t, l.AllowN(after(at), 1), "%v after %v", limit, at)
			require.False(t, l.AllowN(after(at+one-one/500), 1), "%v after %v", limit, at)
			require.True(t, l.AllowN(after(at+one+one/500+1), 1), "%v after %v", limit, at)
			at += 4 * one
		}
	}
}

func TestTrapLimitAboveABillionASecondIsZero(t *testing.T) {
	for _, limit := range []ratelimit.Limit{
		ratelimit.Per(1e9, time.Second), ratelimit.Per(1_500_000_007, time.Second),
		ratelimit.Per(1e7, ms), ratelimit.Per(1e9, ms),
	} {
		each := float64(limit.Events) * float64(ms) / float64(limit.Period) // millisecond
		l := newLimiter(t, limit, int(each))
		require.True(t, l.AllowN(start, int(each)))
		got := 0 // what comes back in the next millisecond
		for at := time.Duration(0); at <= ms; at += 100 {
			for n := int(each / 10_000); n > 0; n /= 2 {
				for l.AllowN(after(at), n) {
					got += n
				}
			}
		}
		require.LessOrEqual(t, float64(got), each, "%v", limit)
		require.GreaterOrEqual(t, float64(got), 0.999*each, "%v", limit)
	}
}

func TestTrapPanicsAtZero(t *testing.T) {
	tooMuch := "" // for the largest integer; where that has 32 bits, it is not too much
	if math.MaxInt > math.MaxInt32 {
		tooMuch = fmt.Sprint("burst is ", math.MaxInt)
	}
	for _, test := range []struct {
		limit ratelimit.Limit
		burst int
		want  string
	}{
		{ratelimit.Limit{}, 1, "Limit.Period is 0s: must be from 1ns to 8760h"},
		{ratelimit.Per(0, time.Second), 1, "Limit.Events is 0: must be from 1"},
		{ratelimit.Per(-1, time.Second), 1, "Limit.Events is -1"},
		{ratelimit.Per(math.MinInt, time.Second), 1, fmt.Sprint("Limit.Events is ", math.MinInt)},
		{ratelimit.Per(1, 0), 1, "Limit.Period is 0s"},
		{ratelimit.Per(1, -time.Second), 1, "Limit.Period is -1s"},
		{ratelimit.Per(1, math.MaxInt64), 1, "Limit.Period is 2562047h47m16.854775807s"},
		{ratelimit.Per(1e9+1, ms), 1, "Limit.Events is 1000000001: must be from 1 to 1000 for each nanosecond of Period"},
		{ratelimit.Per(math.MaxInt, 365*24*time.Hour), 1, ""},
		{ratelimit.Per(1, time.Second), 0, "burst is 0: must be from 1 to 2^31-1"},
		{ratelimit.Per(1, time.Second), -1, "burst is -1"},
		{ratelimit.Per(1e9, time.Second), math.MaxInt32, ""},
		{ratelimit.Per(1e9, time.Second), math.MaxInt, tooMuch},
		{ratelimit.Per(1, time.Hour), 8760, ""},
		{ratelimit.Per(1, time.Hour), 8761, "burst is 8761: must be as many as the limit allows in 8760h"},
	} {
		l, err := ratelimit.New(test.limit, test.burst)
		changed := newLimiter(t, ratelimit.Per(7, time.Second), 7)
		changedErr := changed.SetLimit(test.limit, test.burst)
		if test.want == "" {
			require.NoError(t, err)
			require.NoError(t, changedErr)
			require.True(t, l.AllowN(start, test.burst))
			continue
		}
		require.ErrorContains(t, err, "ratelimit: "+test.want)
		require.Nil(t, l)
		require.ErrorContains(t, changedErr, test.want)
		limit, burst := changed.Limit()
		require.Equal(t, ratelimit.Per(7, time.Second), limit)
		require.Equal(t, 7, burst)
	}
	require.Equal(t, "100 per 1s", ratelimit.Per(100, time.Second).String())
}

func TestSetLimitKeepsWhatIsLacking(t *testing.T) {
	slow, quick := ratelimit.Per(1, time.Second), ratelimit.Per(100, time.Second)
	t.Run("an emptied bucket stays empty and fills at the new rate", func(t *testing.T) {
		l := newLimiter(t, slow, 10)
		require.True(t, l.AllowN(start, 10))
		require.NoError(t, l.SetLimitAt(start, quick, 10))
		require.False(t, l.AllowN(after(9*ms), 1))
		require.True(t, l.AllowN(after(10*ms), 1), "ten old seconds are not to be waited for")
		require.NoError(t, l.SetLimitAt(after(10*ms), slow, 10))
		require.False(t, l.AllowN(after(1009*ms), 1))
		require.True(t, l.AllowN(after(1010*ms), 1))
	})
	t.Run("a full bucket is full", func(t *testing.T) {
		l := newLimiter(t, slow, 10)
		require.NoError(t, l.SetLimitAt(start, quick, 20))
		require.True(t, l.AllowN(start, 20))
	})
	t.Run("a smaller burst counts what was taken", func(t *testing.T) {
		l := newLimiter(t, slow, 10)
		require.True(t, l.AllowN(start, 8))
		require.NoError(t, l.SetLimitAt(start, slow, 5))
		require.False(t, l.AllowN(after(4*time.Second-1), 1))
		require.True(t, l.AllowN(after(4*time.Second), 1))
	})
	t.Run("changing to and fro mints nothing", func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		l := newLimiter(t, slow, 10)
		require.True(t, l.AllowN(start, 10))
		for range 1000 {
			require.NoError(t, l.SetLimitAt(start, ratelimit.Per(1+random.IntN(1e6), time.Duration(1+random.Int64N(1e12))+time.Second), 10))
			require.False(t, l.AllowN(start, 1))
		}
	})
	t.Run("a far lower limit forgives nothing", func(t *testing.T) {
		l := newLimiter(t, ratelimit.Per(1e9, ms), math.MaxInt32)
		require.True(t, l.AllowN(start, math.MaxInt32))
		require.NoError(t, l.SetLimitAt(start, ratelimit.Per(1, 365*24*time.Hour), 1))
		require.False(t, l.AllowN(after(365*24*time.Hour), 1))
	})
}

// A thousand goroutines in real time: never over, whatever the scheduler does.
func TestTrapAThousandGoroutinesAdmitMore(t *testing.T) {
	for _, limit := range []ratelimit.Limit{ratelimit.Per(1000, time.Second), ratelimit.Per(100_000, time.Second), ratelimit.Per(3_333_333, time.Second)} {
		const burst = 10
		began := time.Now()
		l := newLimiter(t, limit, burst)
		var admitted atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				for range 200 {
					if l.Allow() {
						admitted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, admitted.Load(), most(limit, burst, time.Since(began)), "%v", limit)
		require.GreaterOrEqual(t, admitted.Load(), int64(burst))
	}
}

// The limit changes while a thousand goroutines take, reserve and cancel.
func TestSetLimitUnderLoad(t *testing.T) {
	began := time.Now()
	limit := ratelimit.Per(1_000_000, time.Second) // the highest of those that are set
	l := newLimiter(t, limit, 100)
	var admitted atomic.Int64
	var takers, changer sync.WaitGroup
	done := make(chan struct{})
	changer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				if err := l.SetLimit(ratelimit.Per(1_000_000-i%7*123_457, time.Second), 100-i%3); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 1000 {
		takers.Go(func() {
			for j := range 100 {
				if i%10 == 0 {
					l.Reserve().Cancel()
				} else if n := 1 + j%3; l.AllowN(time.Now(), n) {
					admitted.Add(int64(n))
				}
			}
		})
	}
	takers.Wait()
	close(done)
	changer.Wait()
	require.LessOrEqual(t, admitted.Load(), most(limit, 100, time.Since(began)))
}

func TestNoAllocations(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(1000, time.Second), 1000)
	k := newKeyed(t, ratelimit.KeyedConfig{})
	require.True(t, k.Allow("k"))
	w, err := ratelimit.NewWindow(ratelimit.Per(10, time.Second), ratelimit.WindowConfig{})
	require.NoError(t, err)
	other, level := newLimiter(t, ratelimit.Per(1, time.Hour), 1), k.Level("k")
	for name, f := range map[string]func(){
		"Allow":        func() { l.Allow() },
		"AllowN":       func() { l.AllowN(start, 3) },
		"Decide":       func() { l.Decide(start, 3) },
		"Wait":         func() { _ = l.WaitN(t.Context(), 0) },
		"Keyed.Allow":  func() { k.Allow("k") },
		"Keyed.Decide": func() { k.Decide(start, "k", 1) },
		"Window.Allow": func() { w.Allow() },
		"AllowAll":     func() { ratelimit.AllowAll(start, 1, l, level, other) },
	} {
		require.Zero(t, testing.AllocsPerRun(1000, f), name)
	}
}
