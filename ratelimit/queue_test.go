package ratelimit_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

func TestLeakySpacesEventsAndBoundsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l, err := ratelimit.NewLeaky(ratelimit.Per(10, time.Second), ratelimit.LeakyConfig{Queue: 3})
		require.NoError(t, err)
		time.Sleep(time.Hour) // a rest saves up nothing
		began = began.Add(time.Hour)
		at := make(chan time.Duration, 10)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range 4 {
			go func() {
				c := t.Context()
				if i == 2 {
					c = ctx
				}
				if l.Wait(c) == nil {
					at <- time.Since(began)
				}
			}()
			synctest.Wait()
		}
		require.Equal(t, 3, l.Waiting(), "the first has left")
		require.ErrorIs(t, l.Wait(t.Context()), ratelimit.ErrFull)
		require.Equal(t, time.Duration(0), time.Since(began), "at once")
		cancel()
		synctest.Wait()
		require.Equal(t, 2, l.Waiting())
		require.NoError(t, l.Wait(t.Context()), "the place of who gave up is free")
		require.Equal(t, 300*ms, time.Since(began))
		for _, want := range []time.Duration{0, 100 * ms, 200 * ms} {
			require.Equal(t, want, <-at)
		}
		require.NoError(t, l.SetLimit(ratelimit.Per(1, time.Second)))
		require.NoError(t, l.Wait(t.Context()))
		require.Equal(t, 1300*ms, time.Since(began))
	})
}

func TestLeakyConfigBounds(t *testing.T) {
	_, err := ratelimit.NewLeaky(ratelimit.Per(1, time.Second), ratelimit.LeakyConfig{Queue: -1})
	require.ErrorContains(t, err, "ratelimit: LeakyConfig.Queue is -1: must be from 1 to 1000000")
	_, err = ratelimit.NewLeaky(ratelimit.Per(0, time.Second), ratelimit.LeakyConfig{})
	require.ErrorContains(t, err, "Limit.Events is 0")
	l, err := ratelimit.NewLeaky(ratelimit.Per(1, time.Second), ratelimit.LeakyConfig{})
	require.NoError(t, err)
	require.ErrorContains(t, l.SetLimit(ratelimit.Limit{}), "Limit.Period")
}

func newWindow(t testing.TB, limit ratelimit.Limit, slots int) *ratelimit.Window {
	t.Helper()
	w, err := ratelimit.NewWindow(limit, ratelimit.WindowConfig{Slots: slots})
	require.NoError(t, err)
	return w
}

func TestWindowSlides(t *testing.T) {
	w := newWindow(t, ratelimit.Per(10, time.Minute), 6)
	require.True(t, w.AllowN(start, 4))
	require.True(t, w.AllowN(after(50*time.Second), 6), "all of a minute may come at once")
	require.False(t, w.AllowN(after(59*time.Second), 1))
	d := w.Decide(after(59*time.Second), 5)
	require.Equal(t, ratelimit.Per(10, time.Minute), d.Limit)
	require.Equal(t, 10, d.Burst)
	require.False(t, w.AllowN(after(59*time.Second+d.RetryAfter-1), 5))
	require.True(t, w.AllowN(after(59*time.Second+d.RetryAfter), 5), "four of the first slot, and one of the second")
	require.Equal(t, ratelimit.Never, w.Decide(after(time.Hour), 11).RetryAfter)
	require.True(t, w.AllowN(after(time.Hour), 10))
	require.True(t, w.AllowN(after(time.Hour), 0))
	require.True(t, w.AllowN(after(time.Hour), -5))
	require.False(t, w.AllowN(after(time.Hour), 1), "a negative number gave nothing")
}

func TestWindowTrapTimeStampsOutOfOrder(t *testing.T) {
	w := newWindow(t, ratelimit.Per(10, time.Minute), 6)
	require.True(t, w.AllowN(after(time.Hour), 10))
	for back := range 200 {
		require.False(t, w.AllowN(after(time.Hour-time.Duration(back)*time.Minute), 1))
	}
	require.False(t, w.AllowN(time.Time{}, 1))
	require.True(t, w.AllowN(after(time.Hour+2*time.Minute), 10))
}

func TestWindowOnItsOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(t, ratelimit.Per(2, time.Second), 0)
		require.True(t, w.Allow())
		require.True(t, w.Allow())
		require.False(t, w.Allow())
		time.Sleep(1100 * ms)
		require.True(t, w.Allow())
	})
}

func TestWindowConfigBounds(t *testing.T) {
	type config struct {
		limit ratelimit.Limit
		slots int
	}
	bad := map[string]config{
		"Limit.Events is 0":                {ratelimit.Per(0, time.Second), 0},
		"WindowConfig.Slots is -1":         {ratelimit.Per(1, time.Second), -1},
		"WindowConfig.Slots is 1001":       {ratelimit.Per(1, time.Second), 1001},
		"WindowConfig.Slots is 5: must be": {ratelimit.Per(1, 4), 5},
	}
	if math.MaxInt > math.MaxUint32 {
		bad[fmt.Sprint("Limit.Events is ", math.MaxInt)] = config{ratelimit.Per(math.MaxInt, time.Hour*24*365), 0}
	}
	for want, c := range bad {
		_, err := ratelimit.NewWindow(c.limit, ratelimit.WindowConfig{Slots: c.slots})
		require.ErrorContains(t, err, "ratelimit: "+want)
	}
	require.True(t, newWindow(t, ratelimit.Per(1, 1), 0).AllowN(start, 1), "a nanosecond's window has one slot")
}
