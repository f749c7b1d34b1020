package ratelimit_test

import (
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

// A model is a token bucket as the textbooks draw it: a number of tokens, in
// exact fractions, and the time that it is from.
type model struct {
	limit  ratelimit.Limit
	burst  int
	tokens *big.Rat
	at     time.Duration
}

func newModel(limit ratelimit.Limit, burst int) *model {
	return &model{limit, burst, big.NewRat(int64(burst), 1), 0}
}

func (m *model) fill(now time.Duration) {
	came := big.NewRat(int64(m.limit.Events), int64(m.limit.Period))
	came.Mul(came, big.NewRat(int64(now-m.at), 1))
	m.at = now
	if m.tokens.Add(m.tokens, came); m.tokens.Cmp(big.NewRat(int64(m.burst), 1)) > 0 {
		m.tokens.SetInt64(int64(m.burst))
	}
}

func (m *model) allow(now time.Duration, n int) bool {
	m.fill(now)
	if m.tokens.Cmp(big.NewRat(int64(n), 1)) < 0 {
		return false
	}
	m.tokens.Sub(m.tokens, big.NewRat(int64(n), 1))
	return true
}

func (m *model) set(now time.Duration, limit ratelimit.Limit, burst int) {
	m.fill(now)
	m.tokens.Add(m.tokens, big.NewRat(int64(burst-m.burst), 1))
	m.limit, m.burst = limit, burst
}

// remaining is the number of whole tokens.
func (m *model) remaining() int {
	if m.tokens.Sign() < 0 {
		return 0
	}
	return int(new(big.Int).Quo(m.tokens.Num(), m.tokens.Denom()).Int64())
}

// limits that a meter can count exactly.
var exactLimits = []ratelimit.Limit{
	ratelimit.Per(1, time.Second), ratelimit.Per(3, time.Second), ratelimit.Per(100, time.Second), ratelimit.Per(7, time.Minute),
	ratelimit.Per(999, time.Second), ratelimit.Per(1e6, time.Second), ratelimit.Per(1e7, time.Second), ratelimit.Per(7, time.Microsecond), ratelimit.Per(11, 13),
}

func TestLimiterAgreesWithModel(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		limit, burst := exactLimits[random.IntN(len(exactLimits))], 1+random.IntN(20)
		l, m := newLimiter(t, limit, burst), newModel(limit, burst)
		one := int64(max(1, limit.Period/time.Duration(limit.Events)))
		var now time.Duration
		for i := range 500 {
			if random.IntN(4) > 0 {
				now += time.Duration(random.Int64N(2 * one))
			}
			if random.IntN(100) == 0 {
				now += time.Duration(one) * time.Duration(random.IntN(100))
			}
			n := 1 + random.IntN(1+random.IntN(burst))
			d := l.Decide(after(now), n)
			require.Equal(t, m.allow(now, n), d.Allowed, "seed %d, step %d: %v with burst %d: %d tokens at %v", seed, i, limit, burst, n, now)
			require.Equal(t, m.remaining(), d.Remaining, "seed %d, step %d: %v with burst %d at %v", seed, i, limit, burst, now)
			if !d.Allowed {
				probe := *m
				probe.tokens = new(big.Rat).Set(m.tokens)
				require.False(t, probe.allow(now+d.RetryAfter-1, n), "seed %d, step %d: a nanosecond before RetryAfter", seed, i)
				require.True(t, probe.allow(now+d.RetryAfter, n), "seed %d, step %d: at RetryAfter", seed, i)
			}
		}
	}
}

func TestLimiterAgreesWithModelWhenTheLimitChanges(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 2))
		limit, burst := ratelimit.Per(1, time.Second), 1+random.IntN(20)
		l, m := newLimiter(t, limit, burst), newModel(limit, burst)
		var now time.Duration
		for i := range 300 {
			now += time.Duration(random.IntN(4)) * 125 * ms // whole tokens at any of the limits now and then
			if random.IntN(10) == 0 {
				limit, burst = ratelimit.Per(1<<random.IntN(4), time.Second), 1+random.IntN(20)
				require.NoError(t, l.SetLimitAt(after(now), limit, burst))
				m.set(now, limit, burst)
			}
			n := 1 + random.IntN(burst)
			require.Equal(t, m.allow(now, n), l.AllowN(after(now), n), "seed %d, step %d: %v with burst %d: %d tokens at %v", seed, i, limit, burst, n, now)
		}
	}
}

// Many limiters of few keys: the flat table, its growing, sweeping and removing
// against a map of models. No key is evicted early, so the agreement is exact.
func TestKeyedAgreesWithModel(t *testing.T) {
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 3))
		limit, burst := ratelimit.Per(10, time.Second), 1+random.IntN(5)
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: limit, Burst: burst, MaxKeys: 500})
		models := map[string]*model{}
		keys := 1 + random.IntN(400)
		var now time.Duration
		for i := range 3000 {
			now += time.Duration(random.Int64N(int64(20 * ms)))
			if random.IntN(200) == 0 {
				now += time.Second // all are full again
			}
			key := strconv.Itoa(random.IntN(keys) + i/1000*keys/2)
			if models[key] == nil {
				models[key] = newModel(limit, burst)
			}
			n := 1 + random.IntN(burst)
			require.Equal(t, models[key].allow(now, n), k.AllowN(after(now), key, n), "seed %d, step %d: key %s, %d tokens at %v", seed, i, key, n, now)
		}
		require.Zero(t, k.Stats().Early)
	}
}

// The window against a list of all events that it let happen: never more than
// the limit in any period, and nothing refused that would be within it even if
// events counted a slot longer.
func TestWindowAgreesWithModel(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 4))
		limit, slots := ratelimit.Per(1+random.IntN(20), time.Second), 1+random.IntN(20)
		w, err := ratelimit.NewWindow(limit, ratelimit.WindowConfig{Slots: slots})
		require.NoError(t, err)
		slot := time.Second/time.Duration(slots) + 1
		var events []event
		within := func(now, period time.Duration) (sum int) {
			for _, e := range events {
				if e.at > now-period && e.at <= now {
					sum += e.n
				}
			}
			return sum
		}
		var now time.Duration
		for i := range 500 {
			now += time.Duration(random.Int64N(int64(2*time.Second) / int64(limit.Events)))
			n := 1 + random.IntN(limit.Events)
			d := w.Decide(after(now), n)
			if d.Allowed {
				events = append(events, event{now, n})
				require.LessOrEqual(t, within(now, time.Second), limit.Events, "seed %d, step %d", seed, i)
				continue
			}
			require.Greater(t, within(now, time.Second+slot)+n, limit.Events, "seed %d, step %d: refused for nothing", seed, i)
			require.LessOrEqual(t, d.RetryAfter, time.Second+slot, "seed %d, step %d", seed, i)
			require.Greater(t, d.RetryAfter, time.Duration(0), "seed %d, step %d", seed, i)
		}
	}
}
