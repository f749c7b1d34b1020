package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ratelimit/redis"
)

// connect returns a client and a store with a name of the test's own.
func connect(t testing.TB, config redis.Config) (*goredis.Client, *redis.Store) {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: address, PoolSize: 20})
	t.Cleanup(func() { _ = client.Close() })
	if config.Name == "" {
		config.Name = t.Name()
	}
	keys, err := client.Keys(t.Context(), "ratelimit:"+config.Name+":*").Result()
	require.NoError(t, err)
	if len(keys) > 0 { // of an earlier run, with -count
		require.NoError(t, client.Del(t.Context(), keys...).Err())
	}
	store, err := redis.New(client, config)
	require.NoError(t, err)
	return client, store
}

func take(t testing.TB, s *redis.Store, n int) ratelimit.Decision {
	t.Helper()
	d, err := s.Take(t.Context(), "k", n)
	require.NoError(t, err)
	return d
}

func TestTakeIsAllOrNone(t *testing.T) {
	limit := ratelimit.Per(1, time.Hour)
	_, s := connect(t, redis.Config{Limit: limit, Burst: 10})
	require.Equal(t, ratelimit.Decision{Allowed: true, Remaining: 3, Limit: limit, Burst: 10, Policy: t.Name()}, take(t, s, 7))
	d := take(t, s, 5)
	require.False(t, d.Allowed)
	require.Equal(t, 3, d.Remaining)
	require.InDelta(t, 2*time.Hour, d.RetryAfter, float64(10*time.Second))
	require.True(t, take(t, s, 3).Allowed)
	require.False(t, take(t, s, 1).Allowed)
	require.True(t, take(t, s, 0).Allowed)
	require.True(t, take(t, s, -5).Allowed)
	require.False(t, take(t, s, 1).Allowed, "a negative cost gives nothing back")
	d = take(t, s, 11)
	require.False(t, d.Allowed)
	require.Equal(t, ratelimit.Never, d.RetryAfter, "cost above the burst")
	other, err := s.Take(t.Context(), "another key", 10)
	require.NoError(t, err)
	require.True(t, other.Allowed)
}

// Many goroutines with clients of their own get what one bucket gives, no more and
// hardly less.
func TestManyClientsShareOneBucket(t *testing.T) {
	config := redis.Config{Limit: ratelimit.Per(100, time.Second), Burst: 10, Name: t.Name()}
	client, _ := connect(t, config)
	serverTime := func() time.Time {
		now, err := client.Time(t.Context()).Result()
		require.NoError(t, err)
		return now
	}
	var allowed atomic.Int64
	began := serverTime()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		own := goredis.NewClient(&goredis.Options{Addr: address})
		defer func() { _ = own.Close() }()
		s, err := redis.New(own, config)
		require.NoError(t, err)
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if d, err := s.Take(t.Context(), "k", 1); err != nil {
						t.Error(err)
						return
					} else if d.Allowed {
						allowed.Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	most := 10 + 100*serverTime().Sub(began).Seconds()
	require.LessOrEqual(t, float64(allowed.Load()), most)
	require.Greater(t, float64(allowed.Load()), 0.8*most)
}

// Every state is there until the bucket is full, so expiry forgives nothing; then it
// goes.
func TestExpiryNeverForgives(t *testing.T) {
	client, s := connect(t, redis.Config{Limit: ratelimit.Per(10, time.Second), Burst: 1000})
	take(t, s, 400)
	left, err := client.PTTL(t.Context(), "ratelimit:"+t.Name()+":k").Result()
	require.NoError(t, err)
	require.Greater(t, left, 39*time.Second)
	require.LessOrEqual(t, left, 40*time.Second+2*time.Millisecond)

	_, fast := connect(t, redis.Config{Limit: ratelimit.Per(1000, time.Second), Burst: 1, Name: t.Name() + "2"})
	require.True(t, take(t, fast, 1).Allowed)
	require.Eventually(t, func() bool { return client.Exists(t.Context(), "ratelimit:"+t.Name()+"2:k").Val() == 0 }, 10*time.Second, time.Millisecond)
}

// A clock that is set back gives nothing for the step and does not stop the bucket.
func TestTheClockOfTheServerIsSetBack(t *testing.T) {
	client, s := connect(t, redis.Config{Limit: ratelimit.Per(1000, time.Second), Burst: 100_000})
	future := time.Now().Add(time.Hour).UnixMicro()
	// 1,000 a second is 1 unit a microsecond and 1,000 a token.
	require.NoError(t, client.Set(t.Context(), "ratelimit:"+t.Name()+":k", fmt.Sprintf("5000 1000 %d", future), 0).Err())
	d := take(t, s, 6)
	require.False(t, d.Allowed)
	require.Equal(t, 5, d.Remaining)
	require.Equal(t, time.Millisecond, d.RetryAfter)
	require.True(t, take(t, s, 5).Allowed)
	require.Eventually(t, func() bool { return take(t, s, 5).Allowed }, 10*time.Second, time.Millisecond)
}

// Trap: an empty bucket from the future is refused, a refusal writes nothing, and so
// it stays empty until the clock is there again.
func TestAnEmptyBucketFromTheFutureFills(t *testing.T) {
	client, s := connect(t, redis.Config{Limit: ratelimit.Per(1000, time.Second), Burst: 5})
	key := "ratelimit:" + t.Name() + ":k"
	future := time.Now().Add(time.Hour).UnixMicro()
	require.NoError(t, client.Set(t.Context(), key, fmt.Sprintf("0 1000 %d", future), time.Hour).Err())
	d := take(t, s, 1)
	require.False(t, d.Allowed)
	require.Equal(t, time.Millisecond, d.RetryAfter)
	require.Eventually(t, func() bool { return take(t, s, 1).Allowed }, 10*time.Second, time.Millisecond)

	// A look is enough, too, and gives nothing; nor does the state stay for longer
	// than it says anything.
	require.NoError(t, client.Set(t.Context(), key, fmt.Sprintf("0 1000 %d", future), time.Hour).Err())
	require.Zero(t, take(t, s, 0).Remaining)
	require.Eventually(t, func() bool { return client.Exists(t.Context(), key).Val() == 0 }, 10*time.Second, time.Millisecond)
}

func TestAChangedLimitKeepsWhatIsLacking(t *testing.T) {
	_, before := connect(t, redis.Config{Limit: ratelimit.Per(3, time.Hour), Burst: 10})
	take(t, before, 8)
	client := goredis.NewClient(&goredis.Options{Addr: address})
	defer func() { _ = client.Close() }()
	after, err := redis.New(client, redis.Config{Limit: ratelimit.Per(7, time.Hour), Burst: 50, Name: t.Name()})
	require.NoError(t, err)
	require.False(t, take(t, after, 3).Allowed)
	require.True(t, take(t, after, 2).Allowed)
}

func TestTheServerForgetsTheScript(t *testing.T) {
	client, s := connect(t, redis.Config{})
	require.True(t, take(t, s, 1).Allowed)
	require.NoError(t, client.ScriptFlush(t.Context()).Err())
	require.True(t, take(t, s, 1).Allowed)
}

func TestErrorsAreErrors(t *testing.T) {
	client, s := connect(t, redis.Config{})
	require.NoError(t, client.Set(t.Context(), "ratelimit:"+t.Name()+":k", "something else", 0).Err())
	_, err := s.Take(t.Context(), "k", 1)
	require.ErrorContains(t, err, "not a bucket")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Take(ctx, "k", 1)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Take(ctx, "k", 1<<31-1)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, client.Close())
	_, err = s.Take(t.Context(), "k", 1)
	require.ErrorIs(t, err, goredis.ErrClosed)
}

// The extremes of what New takes are exact: the script's numbers stay whole.
func TestExtremeLimits(t *testing.T) {
	for i, test := range []struct {
		limit ratelimit.Limit
		burst int
	}{
		{ratelimit.Per(1, 365*24*time.Hour), 1},
		{ratelimit.Per(999_983, time.Second), 4_000_000},
		{ratelimit.Per(1_000_000_000, time.Second), 1<<31 - 1},
		{ratelimit.Per(1000, time.Nanosecond), 1<<31 - 1},
		{ratelimit.Per(7, 24*time.Hour), 50},
	} {
		_, s := connect(t, redis.Config{Limit: test.limit, Burst: test.burst, Name: fmt.Sprint("extreme", i)})
		require.Equal(t, test.burst, take(t, s, 0).Remaining, "%v", test.limit)
		d := take(t, s, test.burst)
		require.True(t, d.Allowed, "%v", test.limit)
		require.Zero(t, d.Remaining)
		if test.limit.Period > time.Hour {
			require.False(t, take(t, s, 1).Allowed, "%v", test.limit)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: address})
	defer func() { _ = client.Close() }()
	for text, c := range map[string]redis.Config{
		"Limit.Events":       {Limit: ratelimit.Per(-1, time.Second)},
		"burst is -1":        {Burst: -1},
		"Config.Limit is 7":  {Limit: ratelimit.Per(7, 365*24*time.Hour-1), Burst: 1},
		"Config.Burst is 20": {Limit: ratelimit.Per(999_983, 3*24*time.Hour+1), Burst: 20_000},
	} {
		_, err := redis.New(client, c)
		require.ErrorIs(t, err, redis.ErrInvalid)
		require.ErrorContains(t, err, text)
	}
	_, err := redis.New(nil, redis.Config{})
	require.ErrorIs(t, err, redis.ErrInvalid)
}

func TestADeadServerIsNoDecision(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer func() { _ = client.Close() }()
	s, err := redis.New(client, redis.Config{})
	require.NoError(t, err)
	d, err := s.Take(t.Context(), "k", 1)
	require.Error(t, err)
	require.False(t, d.Allowed)
	require.True(t, strings.HasPrefix(err.Error(), "ratelimit/redis: "))
	require.False(t, errors.Is(err, redis.ErrInvalid))
}

// A server that accepts and never answers holds nobody up for longer than ctx, if
// the client is made so.
func TestABlackHoleHoldsUpNoLongerThanTheContext(t *testing.T) {
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = hole.Close() }()
	client := goredis.NewClient(&goredis.Options{Addr: hole.Addr().String(), ContextTimeoutEnabled: true, ReadTimeout: time.Minute})
	defer func() { _ = client.Close() }()
	s, err := redis.New(client, redis.Config{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	d, err := s.Take(ctx, "k", 1)
	require.Error(t, err)
	require.False(t, d.Allowed)
	require.Less(t, time.Since(began), 30*time.Second)
}

func BenchmarkTake(b *testing.B) {
	_, s := connect(b, redis.Config{Limit: ratelimit.Per(1_000_000_000, time.Second)})
	for b.Loop() {
		_, _ = s.Take(context.Background(), "k", 1)
	}
}
