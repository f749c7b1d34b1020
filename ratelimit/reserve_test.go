package ratelimit_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

func TestReserveTellsWhen(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(10, time.Second), 2)
	reserve := func(n int, want time.Duration) *ratelimit.Reservation {
		t.Helper()
		r := l.ReserveN(start, n)
		require.True(t, r.OK())
		require.Equal(t, want, r.DelayFrom(start))
		return r
	}
	reserve(1, 0)
	reserve(1, 0)
	r := reserve(2, 200*ms)
	reserve(1, 300*ms)
	require.Equal(t, 50*ms, r.DelayFrom(after(150*ms)))
	require.Zero(t, r.DelayFrom(after(time.Hour)))
	require.False(t, l.AllowN(after(300*ms), 1), "all up to here is reserved")
	require.True(t, l.AllowN(after(400*ms), 1))
}

func TestReserveAndWaitPlanNotForEver(t *testing.T) {
	limit := ratelimit.Per(9_999_991, time.Second)
	l := newLimiter(t, limit, limit.Events)
	seconds := 0
	for n := limit.Events; n > 0; n /= 2 {
		for l.ReserveN(start, n).OK() {
			seconds++
			require.Less(t, seconds, 2000)
		}
	}
	require.Greater(t, seconds, 9*60)
	require.False(t, l.AllowN(after(8*time.Minute), 1))
	require.True(t, l.AllowN(after(time.Hour), limit.Events), "and it recovers")
}

func TestCancelGivesBack(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(10, time.Second), 2)
	require.True(t, l.AllowN(start, 2))
	r := l.ReserveN(start, 1)
	require.Equal(t, 100*ms, r.DelayFrom(start))
	r.CancelAt(start)
	require.Equal(t, 100*ms, l.ReserveN(start, 1).DelayFrom(start), "the latest one is given back whole")

	none := l.ReserveN(start, 3)
	require.False(t, none.OK())
	none.CancelAt(start)
	require.Equal(t, 200*ms, l.ReserveN(start, 1).DelayFrom(start), "what was not reserved gives nothing back")
}

func TestTrapCancelledReservationRefundsTooMuch(t *testing.T) {
	limit := ratelimit.Per(10, time.Second)
	t.Run("twice", func(t *testing.T) {
		l := newLimiter(t, limit, 5)
		require.True(t, l.AllowN(start, 3))
		r := l.ReserveN(start, 1)
		r.CancelAt(start)
		r.CancelAt(start)
		require.True(t, l.AllowN(start, 2))
		require.False(t, l.AllowN(start, 1))
	})
	t.Run("others hold a later turn", func(t *testing.T) {
		l := newLimiter(t, limit, 1)
		require.True(t, l.AllowN(start, 1))
		middle := l.ReserveN(start, 1)
		require.Equal(t, 200*ms, l.ReserveN(start, 1).DelayFrom(start))
		middle.CancelAt(start)
		require.Equal(t, 300*ms, l.ReserveN(start, 1).DelayFrom(start), "at 200 ms one passes already")
	})
	t.Run("it came back by itself and others have used it", func(t *testing.T) {
		l := newLimiter(t, limit, 10)
		first := l.ReserveN(start, 10)
		require.True(t, l.AllowN(after(500*ms), 5), "half of it has come back")
		first.CancelAt(after(600 * ms))
		require.LessOrEqual(t, l.Decide(after(600*ms), 0).Remaining, 6, "without the first, 5 of 10 were taken 100 ms ago")
	})
	t.Run("never more than the burst", func(t *testing.T) {
		l := newLimiter(t, limit, 5)
		r := l.ReserveN(start, 5)
		r.CancelAt(after(time.Hour))
		require.Equal(t, 5, l.Decide(after(time.Hour), 0).Remaining)
		require.True(t, l.AllowN(after(time.Hour), 5))
		require.False(t, l.AllowN(after(time.Hour), 1))
	})
	t.Run("refunds at once are whole, whatever others took", func(t *testing.T) {
		l := newLimiter(t, limit, 10)
		a, b := l.ReserveN(start, 2), l.ReserveN(start, 3)
		require.True(t, l.AllowN(start, 5))
		a.CancelAt(start)
		b.CancelAt(start)
		require.True(t, l.AllowN(start, 5))
		require.False(t, l.AllowN(start, 1))
	})
}

func TestTrapLimitChangedWhileReservationsAreOut(t *testing.T) {
	quick, slow := ratelimit.Per(100, time.Second), ratelimit.Per(1, time.Second)
	t.Run("what was told stays, and what is owed stays owed", func(t *testing.T) {
		l := newLimiter(t, slow, 1)
		require.True(t, l.AllowN(start, 1))
		r := l.ReserveN(start, 1)
		require.NoError(t, l.SetLimitAt(start, quick, 1))
		require.Equal(t, time.Second, r.DelayFrom(start))
		require.False(t, l.AllowN(after(19*ms), 1), "two are lacking, at 10 ms each")
		require.True(t, l.AllowN(after(20*ms), 1))
	})
	t.Run("cancelled after the change, the refund is counted in tokens", func(t *testing.T) {
		for _, limits := range [][2]ratelimit.Limit{{slow, quick}, {quick, slow}} {
			l := newLimiter(t, limits[0], 4)
			require.True(t, l.AllowN(start, 4))
			r := l.ReserveN(start, 2)
			require.NoError(t, l.SetLimitAt(start, limits[1], 4))
			require.NoError(t, l.SetLimitAt(start, limits[0], 4))
			require.NoError(t, l.SetLimitAt(start, limits[1], 4))
			r.CancelAt(start)
			one := limits[1].Period / time.Duration(limits[1].Events)
			require.False(t, l.AllowN(after(one-1), 1))
			require.True(t, l.AllowN(after(one), 1), "%v: both are back", limits)
		}
	})
}

// Whatever is reserved, cancelled and changed: what happens keeps to the limit.
func TestReserveAndCancelKeepTheLimit(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 5))
		limit, burst := exactLimits[random.IntN(len(exactLimits))], 1+random.IntN(8)
		l := newLimiter(t, limit, burst)
		one := int64(max(1, limit.Period/time.Duration(limit.Events)))
		type held struct {
			r *ratelimit.Reservation
			event
		}
		var now time.Duration
		var events []event
		var out []held
		for range 400 {
			now += time.Duration(random.Int64N(one))
			n := 1 + random.IntN(burst)
			switch random.IntN(4) {
			case 0, 1:
				if l.AllowN(after(now), n) {
					events = append(events, event{now, n})
				}
			case 2:
				r := l.ReserveN(after(now), n)
				require.True(t, r.OK())
				out = append(out, held{r, event{now + r.DelayFrom(after(now)), n}})
			case 3:
				if len(out) > 0 {
					i := random.IntN(len(out))
					out[i].r.CancelAt(after(now))
					out = append(out[:i], out[i+1:]...)
				}
			}
		}
		for _, h := range out {
			events = append(events, h.event)
		}
		requireWithin(t, events, limit, burst)
	}
}

func TestReserveOnTheLimitersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Per(1, time.Second), 1)
		require.Zero(t, l.Reserve().Delay())
		r := l.Reserve()
		time.Sleep(400 * ms)
		require.Equal(t, 600*ms, r.Delay())
		r.Cancel()
		require.Equal(t, 600*ms, l.Reserve().Delay())
	})
}
