package ratelimit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

// The bucket comes back to where a reservation left it, by the refund of another
// and by an event since. It is not the latest then, and what came back while the
// bucket would have been full without it is not its to give.
func TestTrapCancelledReservationLooksLikeTheLatest(t *testing.T) {
	l := newLimiter(t, ratelimit.Per(1, time.Second), 20)
	require.True(t, l.AllowN(start, 10))
	b, c := l.ReserveN(start, 5), l.ReserveN(start, 5)
	b.CancelAt(start)
	at := after(12 * time.Second) // the first ten are back
	require.True(t, l.AllowN(at, 5))
	c.CancelAt(at)
	require.False(t, l.AllowN(at, 16), "five of twenty were taken at this very moment")
	require.LessOrEqual(t, l.Decide(at, 0).Remaining, 15)
}

// As TestReserveAndCancelKeepTheLimit, but with rests, in which the bucket fills:
// only then is there anything that could be given back twice.
func TestTrapRefundsWithRestsKeepTheLimit(t *testing.T) {
	limit := ratelimit.Per(1, time.Second)
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 9))
		burst := 4 + random.IntN(6)
		l := newLimiter(t, limit, burst)
		type held struct {
			r *ratelimit.Reservation
			event
		}
		var now time.Duration
		var out []held
		for range 100 {
			if random.IntN(4) == 0 {
				now += time.Duration(random.IntN(burst)) * time.Second
			}
			if random.IntN(3) == 0 && len(out) > 0 {
				i := max(0, len(out)-1-random.IntN(6))
				out[i].r.CancelAt(after(now))
				out = append(out[:i], out[i+1:]...)
				continue
			}
			n := 1 + random.IntN(burst/2)
			if r := l.ReserveN(after(now), n); r.DelayFrom(after(now)) > 0 {
				r.CancelAt(after(now))
			} else {
				out = append(out, held{r, event{now, n}})
			}
		}
		events := make([]event, 0, len(out))
		for _, h := range out {
			events = append(events, h.event)
		}
		if len(events) > 0 {
			requireWithin(t, events, limit, burst)
		}
	}
}

// A look at a time far ahead, which takes nothing, forgives nothing at the times
// before it: neither of a limiter nor, at the cost of another key, of a key.
func TestTrapTimeStampsOutOfOrderFarApart(t *testing.T) {
	for _, limit := range []ratelimit.Limit{ratelimit.Per(1_000_003, time.Second), ratelimit.Per(777_777, time.Second)} {
		for _, far := range []time.Duration{time.Hour, 60 * 24 * time.Hour} {
			l := newLimiter(t, limit, 10)
			require.True(t, l.AllowN(start, 10))
			l.Decide(after(far), 0)
			require.False(t, l.AllowN(start, 1), "%v, %v ahead", limit, far)
			require.True(t, l.AllowN(after(far), 10))

			k := newKeyed(t, ratelimit.KeyedConfig{Limit: limit, Burst: 10, MaxKeys: 10})
			require.True(t, k.AllowN(start, "a", 10))
			require.True(t, k.AllowN(after(far), "b", 1))
			require.False(t, k.AllowN(start, "a", 1), "%v, %v ahead", limit, far)
			require.True(t, k.AllowN(after(far), "a", 10))
		}
	}
}

// An integer of a structured field has 15 digits at most, r of RateLimit, too.
func TestMiddlewareRemainingFitsTheField(t *testing.T) {
	d := ratelimit.Decision{Allowed: true, Remaining: math.MaxInt, Limit: ratelimit.Per(1e9, time.Millisecond), Burst: math.MaxInt}
	w := get(ratelimit.MiddlewareFunc(func(*http.Request) (ratelimit.Decision, error) { return d, nil }, ok), "")
	require.Contains(t, w.Header().Get("RateLimit"), fmt.Sprintf(";r=%d;", min(int64(math.MaxInt), 999_999_999_999_999)))
}

// Whose turn has come holds no place in the queue, even if it has not yet run.
func TestLeakyQueueCountsOnlyWhoStillWaits(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			l, err := ratelimit.NewLeaky(ratelimit.Per(10, time.Second), ratelimit.LeakyConfig{Queue: 1})
			require.NoError(t, err)
			require.NoError(t, l.Wait(t.Context()))
			results := make(chan error, 2)
			go func() {
				time.Sleep(100 * ms) // exactly until the other's turn
				results <- l.Wait(t.Context())
			}()
			synctest.Wait()
			go func() { results <- l.Wait(t.Context()) }()
			require.NoError(t, <-results)
			require.NoError(t, <-results)
		})
	}
}

// Who looks, or asks for nothing or too much, does not warm up what is cold.
func TestWarmUpDoesNotBeginWithALook(t *testing.T) {
	l := newWarm(t, ratelimit.Per(100, time.Second), 30, ratelimit.WarmConfig{})
	for at := time.Duration(0); at <= 30*time.Minute; at += 3 * time.Second {
		require.Equal(t, 10, l.Decide(after(at), 0).Remaining, "a third, at %v", at)
		require.False(t, l.AllowN(after(at), 31))
	}
	require.True(t, l.AllowN(after(30*time.Minute), 10))
	require.False(t, l.AllowN(after(30*time.Minute), 1))
}
