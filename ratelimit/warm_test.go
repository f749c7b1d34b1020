package ratelimit_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newWarm(t testing.TB, limit ratelimit.Limit, burst int, c ratelimit.WarmConfig) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.NewWarm(limit, burst, c)
	require.NoError(t, err)
	return l
}

// admit asks for one token every step from from to to and returns how many came.
func admit(l *ratelimit.Limiter, from, to, step time.Duration) (n int) {
	for at := from; at < to; at += step {
		if l.AllowN(after(at), 1) {
			n++
		}
	}
	return n
}

func TestWarmUpRisesEvenly(t *testing.T) {
	l := newWarm(t, ratelimit.Per(1000, time.Second), 10, ratelimit.WarmConfig{Period: 10 * time.Second, From: 0.2, Idle: time.Minute})
	rest := time.Hour // the warm-up begins with the first event, not with the limiter
	require.True(t, l.AllowN(after(rest), 2), "a fifth of the burst")
	require.False(t, l.AllowN(after(rest), 1))
	for second := range 15 {
		from := rest + time.Duration(second)*time.Second
		// The rate grows from 200 to 1000 in ten seconds: its mean over this one.
		want := min(1000, 200+80*float64(second)+40)
		require.InDelta(t, want, admit(l, from, from+time.Second, 500*time.Microsecond), 2, "second %d", second)
	}
	require.InDelta(t, 1000, admit(l, rest+15*time.Second, rest+16*time.Second, 500*time.Microsecond), 1, "and stays")
}

func TestWarmUpBeginsAnewAfterARest(t *testing.T) {
	config := ratelimit.WarmConfig{Period: time.Second, From: 0.1, Idle: 5 * time.Second}
	l := newWarm(t, ratelimit.Per(1000, time.Second), 10, config)
	admit(l, 0, 2*time.Second, ms/2)
	require.InDelta(t, 1010, admit(l, 6*time.Second, 7*time.Second, ms/2), 3, "four seconds are no rest")
	require.InDelta(t, 550, admit(l, 13*time.Second, 14*time.Second, ms/2), 3, "six seconds are")
	require.InDelta(t, 550, admit(l, 1e6*time.Hour, 1e6*time.Hour+time.Second, ms/2), 3, "a century is, too")

	require.NoError(t, l.SetLimitAt(after(1e6*time.Hour+time.Second), ratelimit.Per(2000, time.Second), 10))
	at := 1e6*time.Hour + time.Second
	require.InDelta(t, 1100, admit(l, at, at+time.Second, ms/4), 3, "and a new limit is new ground")
}

func TestWarmUpWithoutRestStaysWarmForDays(t *testing.T) {
	l := newWarm(t, ratelimit.Per(1_000_003, time.Second), 10, ratelimit.WarmConfig{Period: ms, Idle: 15 * time.Minute})
	for at := time.Duration(0); at < 24*time.Hour; at += 14 * time.Minute {
		n := admit(l, at, at+ms, 100)
		if at == 0 {
			require.InDelta(t, 667+3, n, 3)
		} else {
			require.InDelta(t, 1000+10, n, 3, "after %v", at)
		}
	}
}

func TestWarmWaitsAndReservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWarm(t, ratelimit.Per(100, time.Second), 1, ratelimit.WarmConfig{Period: 10 * time.Second, From: 0.1})
		began := time.Now()
		require.NoError(t, l.Wait(t.Context()))
		d := l.Decide(time.Now(), 1)
		require.False(t, d.Allowed)
		require.InDelta(t, float64(100*ms), float64(d.RetryAfter), float64(5*ms), "a tenth of the limit, and rising")
		require.Equal(t, d.RetryAfter, l.Reserve().Delay())
		var events []event
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range 20 {
			wg.Go(func() {
				for time.Since(began) < 10*time.Second {
					assert.NoError(t, l.Wait(t.Context()))
					mu.Lock()
					events = append(events, event{time.Since(began), 1})
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.InDelta(t, 550+20, len(events), 3, "the mean of 10 and 100 a second, and the last round")
		requireWithin(t, events, ratelimit.Per(100, time.Second), 1)
	})
}

func TestWarmConfigBounds(t *testing.T) {
	for want, c := range map[string]ratelimit.WarmConfig{
		"WarmConfig.Period is 1h0m0s: must be from 1ms to 15m": {Period: time.Hour},
		"WarmConfig.Period is -1ns":                            {Period: -1},
		"WarmConfig.From is -1":                                {From: -1},
		"WarmConfig.From is 1.5: must be from 0.01 to 1":       {From: 1.5},
		"WarmConfig.Idle is 1ns: must be from 1ms to 15m":      {Idle: 1},
	} {
		_, err := ratelimit.NewWarm(ratelimit.Per(1, time.Second), 1, c)
		require.ErrorContains(t, err, "ratelimit: "+want)
	}
	_, err := ratelimit.NewWarm(ratelimit.Limit{}, 1, ratelimit.WarmConfig{})
	require.ErrorContains(t, err, "Limit.Period")
}
