package ratelimit_test

import (
	"cmp"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// start is where the tests that tell the time begin: long before any limiter is made.
var start = time.Unix(1_000_000, 0)

// after returns the time d after start.
func after(d time.Duration) time.Time { return start.Add(d) }

func newLimiter(t testing.TB, limit ratelimit.Limit, burst int) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(limit, burst)
	require.NoError(t, err)
	return l
}

func newKeyed(t testing.TB, c ratelimit.KeyedConfig) *ratelimit.Keyed[string] {
	t.Helper()
	k, err := ratelimit.NewKeyed[string](c)
	require.NoError(t, err)
	return k
}

// An event is what a limiter let happen.
type event struct {
	at time.Duration
	n  int
}

// requireWithin checks the promise of a token bucket on what happened: between
// any two events, both included, no more than burst + limit * time. A nanosecond
// is allowed for times being whole ones.
func requireWithin(t testing.TB, events []event, limit ratelimit.Limit, burst int) {
	t.Helper()
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	// The promise holds between all pairs if the bucket that is filled and emptied
	// by the events in order never lacks more than burst.
	rate := big.NewRat(int64(limit.Events), int64(limit.Period))
	lacking, last := new(big.Rat), events[0].at
	most := new(big.Rat).Add(big.NewRat(int64(burst), 1), rate)
	for i, e := range events {
		back := new(big.Rat).Mul(rate, big.NewRat(int64(e.at-last), 1))
		if lacking.Sub(lacking, back); lacking.Sign() < 0 {
			lacking.SetInt64(0)
		}
		lacking.Add(lacking, big.NewRat(int64(e.n), 1))
		last = e.at
		if lacking.Cmp(most) > 0 {
			f, _ := lacking.Float64()
			t.Fatalf("%v with burst %d: event %d of %d, %d tokens at %v, makes it %.3f more than the limit since", limit, burst, i, len(events), e.n, e.at, f)
		}
	}
}

// most returns how many events a full bucket may let happen in d.
func most(limit ratelimit.Limit, burst int, d time.Duration) int64 {
	n := new(big.Int).Mul(big.NewInt(int64(limit.Events)), big.NewInt(int64(d)))
	return int64(burst) + n.Div(n, big.NewInt(int64(limit.Period))).Int64()
}
