package shared_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ratelimit/shared"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
)

// A wire is a Transport whose calls can be counted, failed or swallowed.
type wire struct {
	transport.Transport
	calls atomic.Int64
	fault atomic.Value // of func(ctx context.Context) error
}

func (w *wire) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	w.calls.Add(1)
	if f, _ := w.fault.Load().(func(context.Context) error); f != nil {
		if err := f(ctx); err != nil {
			return nil, err
		}
	}
	return w.Transport.Call(ctx, to, service, request)
}

func blackHole(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func healthy(context.Context) error { return nil }

// A pair is two nodes, of which "owner" owns all keys and "user" takes tokens.
type pair struct {
	t           testing.TB
	owner, user *shared.Limiter
	wire        *wire
}

// newPair starts the two, in a bubble, and waits until the owner grants.
func newPair(t testing.TB, config shared.Config) *pair {
	t.Helper()
	p := &pair{t: t}
	network := mem.NewNetwork()
	r, err := ring.New(ring.Config{}, ring.Node{Name: "owner"})
	require.NoError(t, err)
	start := func(name string) *shared.Limiter {
		tr, err := network.Join(name)
		require.NoError(t, err)
		w := &wire{Transport: tr}
		config.Transport, config.Ring = w, r
		l, err := shared.Start(config)
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, l.Close())
			require.NoError(t, tr.Close())
		})
		p.wire = w
		return l
	}
	p.owner, p.user = start("owner"), start("user")
	return p
}

func (p *pair) take(l *shared.Limiter, n int) ratelimit.Decision {
	p.t.Helper()
	d, err := l.Take(p.t.Context(), "k", n)
	require.NoError(p.t, err)
	return d
}

// slow is a limit that fills in 10 s, with leases of 1 s.
func slow() shared.Config { return shared.Config{Limit: ratelimit.Per(1, time.Second), Burst: 10} }

func bubble(t *testing.T, config shared.Config, f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, config)
		time.Sleep(2*time.Second + 10*time.Second) // the owner waits, and the bucket fills
		f(t, p)
	})
}

func TestTakeIsAllOrNone(t *testing.T) {
	bubble(t, slow(), func(t *testing.T, p *pair) {
		d := p.take(p.user, 7)
		require.True(t, d.Allowed)
		require.Equal(t, 3, d.Remaining)
		require.Equal(t, ratelimit.Per(1, time.Second), d.Limit)
		require.Equal(t, 10, d.Burst)
		require.Equal(t, "default", d.Policy)
		d = p.take(p.owner, 4)
		require.False(t, d.Allowed)
		require.Equal(t, time.Second, d.RetryAfter)
		require.True(t, p.take(p.owner, 3).Allowed, "3 were left, and a refusal takes none")
		require.False(t, p.take(p.user, 1).Allowed)
		require.True(t, p.take(p.user, 0).Allowed)
		d = p.take(p.user, 11)
		require.False(t, d.Allowed)
		require.Equal(t, ratelimit.Never, d.RetryAfter, "cost above the burst")
		time.Sleep(2 * time.Second)
		require.True(t, p.take(p.user, 2).Allowed)
	})
}

func TestADeniedKeyTakesNoNetwork(t *testing.T) {
	bubble(t, slow(), func(t *testing.T, p *pair) {
		p.take(p.user, 10)
		require.False(t, p.take(p.user, 1).Allowed)
		calls := p.wire.calls.Load()
		for range 1000 {
			d := p.take(p.user, 3)
			require.False(t, d.Allowed)
			require.GreaterOrEqual(t, d.RetryAfter, 3*time.Second)
		}
		require.Equal(t, calls, p.wire.calls.Load())
		time.Sleep(3 * time.Second)
		require.True(t, p.take(p.user, 3).Allowed)
	})
}

func TestABusyKeyRarelyTakesTheNetwork(t *testing.T) {
	config := shared.Config{Limit: ratelimit.Per(10_000, time.Second)}
	bubble(t, config, func(t *testing.T, p *pair) {
		for range 20_000 { // 4 s at half the limit
			require.True(t, p.take(p.user, 1).Allowed)
			time.Sleep(200 * time.Microsecond)
		}
		require.Less(t, p.wire.calls.Load(), int64(100))
	})
}

func TestUnusedLeasesAreGivenBack(t *testing.T) {
	config := shared.Config{Limit: ratelimit.Per(10, time.Second), Burst: 100}
	bubble(t, config, func(t *testing.T, p *pair) {
		for range 40 { // such that a batch is worth while
			p.take(p.user, 1)
			time.Sleep(10 * time.Millisecond)
		}
		require.Positive(t, p.user.Stats().Requests)
		time.Sleep(20 * time.Second)
		require.Positive(t, p.user.Stats().Returned)
		require.True(t, p.take(p.owner, 100).Allowed, "all are there again")
	})
}

func TestIdleKeysAreForgotten(t *testing.T) {
	config := shared.Config{MaxKeys: 100}
	bubble(t, config, func(t *testing.T, p *pair) {
		for i := range 100 {
			_, err := p.user.Take(t.Context(), fmt.Sprint(i), 1)
			require.NoError(t, err)
		}
		_, err := p.user.Take(t.Context(), "one more", 1)
		require.ErrorIs(t, err, shared.ErrFull)
		require.Equal(t, 100, p.user.Stats().Keys)
		require.LessOrEqual(t, p.owner.Stats().Owned, 100)
		time.Sleep(10 * time.Second)
		require.Zero(t, p.user.Stats().Keys)
		for i := range 100 {
			_, err := p.user.Take(t.Context(), fmt.Sprint("new", i), 1)
			require.NoError(t, err)
		}
	})
}

func TestAnOwnerWithoutRoomSaysSo(t *testing.T) {
	config := slow()
	config.MaxKeys, config.FailClosed = 2, true
	bubble(t, config, func(t *testing.T, p *pair) {
		for _, key := range []string{"1", "2"} {
			d, err := p.owner.Take(t.Context(), key, 10)
			require.NoError(t, err)
			require.True(t, d.Allowed)
		}
		_, err := p.user.Take(t.Context(), "3", 1)
		require.ErrorIs(t, err, shared.ErrFull)
		require.ErrorContains(t, err, "owner")
	})
}

// One stopped owner delays nobody for long: only those who ask it first.
func TestABlackHoleDelaysOnlyTheFirst(t *testing.T) {
	config := slow()
	config.FailClosed = true
	bubble(t, config, func(t *testing.T, p *pair) {
		p.wire.fault.Store(blackHole)
		began := time.Now()
		_, err := p.user.Take(t.Context(), "k", 1)
		require.ErrorIs(t, err, shared.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "owner")
		require.Equal(t, 100*time.Millisecond, time.Since(began))
		began = time.Now()
		for range 100 {
			_, err = p.user.Take(t.Context(), "k", 1)
			require.ErrorIs(t, err, shared.ErrUnavailable)
		}
		for i := range 1000 { // other keys, until the owner counts as silent
			_, err = p.user.Take(t.Context(), fmt.Sprint(i), 1)
			require.ErrorIs(t, err, shared.ErrUnavailable)
		}
		require.Less(t, time.Since(began), time.Second)

		p.wire.fault.Store(healthy)
		for range 3 { // these see to it that it is asked again
			_, _ = p.user.Take(t.Context(), "k", 1)
			time.Sleep(200 * time.Millisecond)
		}
		require.True(t, p.take(p.user, 1).Allowed, "it is tried again, and answers")
	})
}

// Trap: more new keys at a moment than requests may be under way are refused for an
// owner that is well.
func TestAFloodOfNewKeysWaitsForItsTurn(t *testing.T) {
	config := slow()
	config.FailClosed = true
	bubble(t, config, func(t *testing.T, p *pair) {
		var under, most atomic.Int64
		p.wire.fault.Store(func(context.Context) error {
			most.Store(max(most.Load(), under.Add(1)))
			time.Sleep(5 * time.Millisecond) // the way
			under.Add(-1)
			return nil
		})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				d, err := p.user.Take(t.Context(), fmt.Sprint(i), 1)
				assert.NoError(t, err)
				assert.True(t, d.Allowed)
			})
		}
		wg.Wait()
		require.Equal(t, 20*time.Millisecond, time.Since(began))
		require.LessOrEqual(t, most.Load(), int64(256))

		// Who cannot be served in time is told so, and the owner does not pay for it.
		p.wire.fault.Store(func(ctx context.Context) error {
			time.Sleep(99 * time.Millisecond)
			return nil
		})
		var busy atomic.Int64
		for i := range 1000 {
			wg.Go(func() {
				if _, err := p.user.Take(t.Context(), fmt.Sprint("late", i), 1); err != nil {
					assert.ErrorIs(t, err, shared.ErrUnavailable)
					busy.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1000-2*256, busy.Load())
		p.wire.fault.Store(healthy)
		time.Sleep(time.Second)
		require.True(t, p.take(p.user, 1).Allowed)
	})
}

// The first request after the wait of a new owner is decided by it, not refused
// once more.
func TestAnOwnerAnswersItselfAtOnce(t *testing.T) {
	config := shared.Config{FailClosed: true}
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, config)
		_, err := p.owner.Take(t.Context(), "k", 1)
		require.ErrorIs(t, err, shared.ErrUnavailable)
		require.ErrorContains(t, err, "leases")
		time.Sleep(1125*time.Millisecond + 10*time.Millisecond)
		require.True(t, p.take(p.owner, 1).Allowed)
	})
}

func TestALeaseIsGoodWhileTheOwnerIsAway(t *testing.T) {
	config := shared.Config{Limit: ratelimit.Per(1000, time.Second), FailClosed: true, Lease: 10 * time.Second, Timeout: time.Second}
	bubble(t, config, func(t *testing.T, p *pair) {
		for range 100 {
			p.take(p.user, 1)
			time.Sleep(time.Millisecond)
		}
		p.wire.fault.Store(blackHole)
		began := time.Now()
		for range 50 {
			require.True(t, p.take(p.user, 1).Allowed)
		}
		require.Zero(t, time.Since(began))
		time.Sleep(11 * time.Second)
		_, err := p.user.Take(t.Context(), "k", 1)
		require.ErrorIs(t, err, shared.ErrUnavailable, "and not for longer")
	})
}

// The owner cannot know when its answer arrives, so the lease counts from when the
// request was sent.
func TestALeaseCountsFromTheRequest(t *testing.T) {
	bubble(t, shared.Config{Limit: ratelimit.Per(1000, time.Second), FailClosed: true}, func(t *testing.T, p *pair) {
		p.wire.fault.Store(func(context.Context) error { time.Sleep(80 * time.Millisecond); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		sent := time.Now()
		_, err := p.user.Take(ctx, "k", 20) // who gives up, and leaves the tokens to others
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(90 * time.Millisecond)
		p.wire.fault.Store(blackHole)
		for time.Since(sent) < 900*time.Millisecond {
			require.True(t, p.take(p.user, 1).Allowed, "after %v", time.Since(sent))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Until(sent.Add(time.Second - 1)))
		require.True(t, p.take(p.user, 1).Allowed)
		time.Sleep(time.Nanosecond)
		_, err = p.user.Take(t.Context(), "k", 1)
		require.ErrorIs(t, err, shared.ErrUnavailable)
	})
}

func TestANodeAloneDecidesByItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := ring.New(ring.Config{}, nodes(abcde)...)
		require.NoError(t, err)
		tr, err := mem.NewNetwork().Join("a") // and nobody else
		require.NoError(t, err)
		l, err := shared.Start(shared.Config{Transport: tr, Ring: r, Limit: ratelimit.Per(10, time.Minute), Burst: 50})
		require.NoError(t, err)
		defer func() { require.NoError(t, errors.Join(l.Close(), tr.Close())) }()
		time.Sleep(10 * time.Minute)
		key := "0"
		for i := 0; ; i++ {
			if owner, _ := r.Owner(key); owner != "a" {
				break
			}
			key = fmt.Sprint(i)
		}
		allowed := 0
		for range 1000 {
			d, err := l.Take(t.Context(), key, 1)
			require.NoError(t, err)
			if d.Allowed {
				allowed++
			}
		}
		require.Equal(t, 10, allowed, "a fifth of the burst")
		d, err := l.Take(t.Context(), key, 1)
		require.NoError(t, err)
		require.Equal(t, 30*time.Second, d.RetryAfter, "a fifth of the limit")
		time.Sleep(20 * time.Second)
		d, err = l.Take(t.Context(), key, 1)
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, d.RetryAfter, "an idle key is not forgiven")
		require.EqualValues(t, 10, l.Stats().Alone)
	})
}

func TestACallerThatGivesUpTakesNothing(t *testing.T) {
	bubble(t, slow(), func(t *testing.T, p *pair) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the user has left")
		p.wire.fault.Store(func(ctx context.Context) error {
			time.Sleep(50 * time.Millisecond)
			return nil
		})
		time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
		_, err := p.user.Take(ctx, "k", 10)
		require.ErrorIs(t, err, cause)
		_, err = p.user.Take(ctx, "k", 10)
		require.ErrorIs(t, err, context.Canceled, "at once")
		time.Sleep(time.Second)
		require.True(t, p.take(p.user, 10).Allowed)
	})
}

func TestCloseGivesBackAndEndsWaiting(t *testing.T) {
	bubble(t, slow(), func(t *testing.T, p *pair) {
		p.wire.fault.Store(blackHole)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := p.user.Take(context.Background(), "k", 1)
				if !errors.Is(err, shared.ErrClosed) && !errors.Is(err, shared.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		require.NoError(t, p.user.Close())
		wg.Wait()
		require.NoError(t, p.user.Close())
		_, err := p.user.Take(t.Context(), "k", 1)
		require.ErrorIs(t, err, shared.ErrClosed)
		require.True(t, p.take(p.owner, 1).Allowed)
		require.NoError(t, p.owner.Close())
		for n := range 2 {
			_, err = p.owner.Take(t.Context(), "k", n)
			require.ErrorIs(t, err, shared.ErrClosed)
		}
	})
}

func TestManyGoroutinesShareAnExchange(t *testing.T) {
	config := shared.Config{Limit: ratelimit.Per(1, time.Second), Burst: 500}
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, config)
		time.Sleep(600 * time.Second)
		var allowed atomic.Int64
		var wg sync.WaitGroup
		for i := range 1000 {
			l := p.user
			if i%2 == 0 {
				l = p.owner
			}
			wg.Go(func() {
				if d, err := l.Take(t.Context(), "k", 1); err == nil && d.Allowed {
					allowed.Add(1)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, allowed.Load(), int64(500))
		require.GreaterOrEqual(t, allowed.Load(), int64(490))
		require.Less(t, p.wire.calls.Load(), int64(20))
	})
}

func TestConfigIsChecked(t *testing.T) {
	tr, err := mem.NewNetwork().Join("a")
	require.NoError(t, err)
	defer func() { _ = tr.Close() }()
	r, err := ring.New(ring.Config{}, ring.Node{Name: "a"})
	require.NoError(t, err)
	for field, c := range map[string]shared.Config{
		"Transport":     {Ring: r},
		"Ring":          {Transport: tr},
		"Limit.Events":  {Transport: tr, Ring: r, Limit: ratelimit.Per(0, time.Second)},
		"Limit.Period":  {Transport: tr, Ring: r, Limit: ratelimit.Per(1, -1)},
		"burst is -1":   {Transport: tr, Ring: r, Burst: -1},
		"Name":          {Transport: tr, Ring: r, Name: strings.Repeat("n", 65)},
		"Lease is 1ns":  {Transport: tr, Ring: r, Lease: 1},
		"Lease is 1h":   {Transport: tr, Ring: r, Lease: time.Hour},
		"Timeout is 2s": {Transport: tr, Ring: r, Timeout: 2 * time.Second},
		"Timeout is -1": {Transport: tr, Ring: r, Timeout: -1},
		"MaxKeys":       {Transport: tr, Ring: r, MaxKeys: -1},
	} {
		_, err := shared.Start(c)
		require.ErrorIs(t, err, shared.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
}

func TestAKeyTooLongIsRefused(t *testing.T) {
	bubble(t, slow(), func(t *testing.T, p *pair) {
		_, err := p.user.Take(t.Context(), strings.Repeat("k", shared.MaxKey+1), 1)
		require.ErrorIs(t, err, shared.ErrInvalid)
		d, err := p.user.Take(t.Context(), strings.Repeat("k", shared.MaxKey), 1)
		require.NoError(t, err)
		require.True(t, d.Allowed)
		d, err = p.user.Take(t.Context(), "", 1)
		require.NoError(t, err)
		require.True(t, d.Allowed, "the empty key is one, too")
	})
}

// local returns a limiter that owns its keys, with tokens for a long test.
func local(t testing.TB) *shared.Limiter {
	tr, err := mem.NewNetwork().Join("a")
	require.NoError(t, err)
	r, err := ring.New(ring.Config{}, ring.Node{Name: "a"})
	require.NoError(t, err)
	l, err := shared.Start(shared.Config{
		Transport: tr, Ring: r, Limit: ratelimit.Per(1_000_000_000, time.Second), Lease: 10 * time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(l.Close(), tr.Close())) })
	for s := l.Stats(); s.Allowed == s.Alone; s = l.Stats() { // until it owns them
		_, err := l.Take(t.Context(), "user:42", 1)
		require.NoError(t, err)
	}
	return l
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	l := local(t)
	ctx := t.Context()
	for name, n := range map[string]int{"allowed": 1, "over the burst": 1<<31 - 1} {
		if got := testing.AllocsPerRun(2000, func() { _, _ = l.Take(ctx, "user:42", n) }); got >= 1 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}
