package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

// A reply is what one call of a scripted service does.
type reply struct {
	takes time.Duration
	value string
	err   error
	deaf  bool // does not hear that its context ends
}

// A service answers the calls in the order of the script.
type service struct {
	script []reply

	mu       sync.Mutex
	begun    []time.Duration // when each call began
	contexts []context.Context
	begin    time.Time
}

func serve(script ...reply) *service { return &service{script: script, begin: time.Now()} }

func (s *service) call(ctx context.Context) (string, error) {
	s.mu.Lock()
	now := s.script[len(s.begun)]
	s.begun = append(s.begun, since(s.begin))
	s.contexts = append(s.contexts, ctx)
	s.mu.Unlock()
	done := ctx.Done()
	if now.deaf {
		done = nil
	}
	select {
	case <-time.After(now.takes):
		return now.value, now.err
	case <-done:
		return now.value, context.Cause(ctx)
	}
}

func TestFastCallIsNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(reply{takes: 99 * ms, value: "a"})
		value, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, s.call)
		require.NoError(t, err)
		require.Equal(t, "a", value)
		require.Equal(t, 99*ms, since(s.begin))
		require.Len(t, s.begun, 1)
	})
}

func TestHedgeAnswersFirstAndTheLoserIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(reply{takes: time.Hour, value: "a"}, reply{takes: 30 * ms, value: "b"})
		value, err := retry.Hedge(t.Context(), retry.HedgePolicy{After: 20 * ms}, s.call)
		require.NoError(t, err)
		require.Equal(t, "b", value)
		require.Equal(t, 50*ms, since(s.begin))
		require.Equal(t, []time.Duration{0, 20 * ms}, s.begun)
		require.Error(t, s.contexts[0].Err())
		require.ErrorContains(t, context.Cause(s.contexts[0]), "another call was faster")
		require.Error(t, s.contexts[1].Err(), "the context of the winner lives on")
	})
}

func TestHedgesBeginOneDelayApartUpToAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := reply{takes: time.Second, err: errDown}
		s := serve(slow, slow, slow, slow)
		_, err := retry.Hedge(t.Context(), retry.HedgePolicy{After: 20 * ms, Attempts: 4}, s.call)
		require.Equal(t, []time.Duration{0, 20 * ms, 40 * ms, 60 * ms}, s.begun)
		require.Equal(t, 1060*ms, since(s.begin))
		require.ErrorIs(t, err, errDown)
		require.ErrorIs(t, err, retry.ErrAttempts)
		require.Equal(t, 4, exhausted(t, err).Attempts)
	})
}

func TestFailedCallIsFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(reply{takes: 5 * ms, err: errDown}, reply{takes: 5 * ms, value: "b"})
		value, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, s.call)
		require.NoError(t, err)
		require.Equal(t, "b", value)
		require.Equal(t, 10*ms, since(s.begin))
	})
}

func TestFailureOfAHedgeDoesNotEndTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(reply{takes: 300 * ms, value: "a"}, reply{takes: ms, err: errDown})
		value, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, s.call)
		require.NoError(t, err)
		require.Equal(t, "a", value)
		require.Equal(t, 300*ms, since(s.begin))
	})
}

func TestPermanentFailureEndsTheRace(t *testing.T) {
	refuse := func(error) bool { return false }
	for name, c := range map[string]struct {
		policy retry.HedgePolicy
		err    error
	}{
		"permanent":     {retry.HedgePolicy{}, retry.Permanent(errDown)},
		"not retryable": {retry.HedgePolicy{Retryable: refuse}, errDown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(reply{takes: time.Hour}, reply{takes: ms, value: "why", err: c.err})
				value, err := retry.Hedge(t.Context(), c.policy, s.call)
				require.True(t, err == errDown, "got %#v", err) // identity is the point
				require.Equal(t, "why", value)
				require.Equal(t, 101*ms, since(s.begin))
			})
		})
	}
}

func TestPushBackDelaysTheNextHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(reply{takes: 10 * ms, err: retry.After(errDown, time.Second)}, reply{value: "b"})
		_, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, s.call)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, 1010 * ms}, s.begun)

		// A plain failure of another call does not override it.
		s = serve(reply{takes: 200 * ms, err: errDown}, reply{takes: ms, err: retry.After(errDown, time.Second)}, reply{value: "c"})
		_, err = retry.Hedge(t.Context(), retry.HedgePolicy{Attempts: 3}, s.call)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, 100 * ms, 1101 * ms}, s.begun)
	})
}

func TestPushBackThatIsTooLongEndsTheRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(reply{takes: 10 * ms, err: retry.After(errDown, time.Hour)})
		_, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, s.call)
		require.ErrorIs(t, err, retry.ErrAfter)
		require.Equal(t, 10*ms, since(s.begin))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s = serve(reply{takes: 10 * ms, err: retry.After(errDown, time.Minute)})
		_, err = retry.Hedge(ctx, retry.HedgePolicy{}, s.call)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errDown)
		require.Equal(t, 10*ms, since(s.begin))
	})
}

func TestHedgeStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		s := serve(reply{takes: ms, err: errDown}, reply{takes: 2 * time.Second, deaf: true})
		_, err := retry.Hedge(ctx, retry.HedgePolicy{}, s.call)
		require.Equal(t, time.Second, since(s.begin), "waited for a call that does not listen")
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errDown)
		time.Sleep(2 * time.Second) // until it has returned

		s = serve()
		_, err = retry.Hedge(ctx, retry.HedgePolicy{}, s.call)
		require.ErrorIs(t, err, cause)
		require.Empty(t, s.begun)
	})
}

// Trap: retries and hedges without a shared budget amplify an outage.
func TestHedgesTakeFromTheBudgetOfTheRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, retry.BudgetConfig{DisableFloor: true})
		slow := reply{takes: time.Second, value: "slow"}
		for range 9 {
			value, err := retry.Hedge(t.Context(), retry.HedgePolicy{Budget: b}, serve(slow).call)
			require.NoError(t, err)
			require.Equal(t, "slow", value)
		}
		s := serve(slow, reply{value: "hedge"}) // the tenth call has earned one
		value, err := retry.Hedge(t.Context(), retry.HedgePolicy{Budget: b}, s.call)
		require.NoError(t, err)
		require.Equal(t, "hedge", value)

		_, err = retry.Hedge(t.Context(), retry.HedgePolicy{Budget: b, DisableDeposit: true}, serve(reply{err: errDown}).call)
		require.ErrorIs(t, err, retry.ErrBudget)
		require.ErrorIs(t, err, errDown)
		require.InDelta(t, 0, b.Stats().Balance, 1e-6)
		require.Equal(t, uint64(1), b.Stats().Allowed)
	})
}

func TestOnHedgeIsToldOfEachFurtherCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		s := serve(reply{takes: 300 * ms, value: "a"}, reply{takes: 150 * ms, err: retry.After(errDown, 0)}, reply{takes: time.Hour}, reply{takes: time.Hour})
		p := retry.HedgePolicy{Attempts: 4, OnHedge: func(_ context.Context, attempt int, failure error) {
			told = append(told, fmt.Sprint(since(s.begin), " ", attempt, " ", failure))
		}}
		_, err := retry.Hedge(t.Context(), p, s.call)
		require.NoError(t, err)
		require.Equal(t, []string{"100ms 2 <nil>", "200ms 3 <nil>", "250ms 4 service is down"}, told)
	})
}

// Trap: the value of a losing hedge is not released.
func TestLosersAreDiscardedAndTheWinnerIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var discarded []any
		p := retry.HedgePolicy{Attempts: 4, Discard: func(v any) {
			mu.Lock()
			defer mu.Unlock()
			discarded = append(discarded, v)
		}}
		s := serve(
			reply{takes: time.Hour, value: "deaf", deaf: true},
			reply{takes: ms, value: "failed", err: errDown},
			reply{takes: time.Minute, value: "cancelled"},
			reply{takes: 10 * ms, value: "winner"},
		)
		value, err := retry.Hedge(t.Context(), p, s.call)
		require.NoError(t, err)
		require.Equal(t, "winner", value)
		synctest.Wait()
		mu.Lock()
		require.ElementsMatch(t, []any{"failed", "cancelled"}, discarded)
		mu.Unlock()
		time.Sleep(2 * time.Hour)
		mu.Lock()
		require.ElementsMatch(t, []any{"failed", "cancelled", "deaf"}, discarded)
		mu.Unlock()
	})
}

type closer struct{ closed atomic.Int32 }

func (c *closer) Close() error { c.closed.Add(1); return nil }
func (c *closer) Read([]byte) (int, error) {
	if c.closed.Load() > 0 {
		return 0, errors.New("closed")
	}
	return 0, io.EOF
}

func TestClosersAndResponseBodiesOfLosersAreClosedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made [2]closer
		var n atomic.Int32
		closed, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, func(context.Context) (*closer, error) {
			i := n.Add(1) - 1
			time.Sleep(time.Second) // deaf: both answer
			return &made[i], nil
		})
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Same(t, &made[0], closed)
		require.Zero(t, made[0].closed.Load())
		require.Equal(t, int32(1), made[1].closed.Load())

		var bodies [2]closer
		n.Store(0)
		var winner context.Context
		resp, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, func(ctx context.Context) (*http.Response, error) {
			i := n.Add(1) - 1
			if i == 0 {
				winner = ctx
			}
			time.Sleep(time.Second)
			return &http.Response{Body: &bodies[i]}, nil
		})
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Equal(t, int32(1), bodies[1].closed.Load())
		require.NoError(t, winner.Err(), "the body cannot be read any more")
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Error(t, winner.Err(), "the context lives on")
		require.Equal(t, int32(1), bodies[0].closed.Load())
	})
}

// Trap: the nil that comes with an error is closed, and panics.
func TestNilResultsAreNotDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, func(context.Context) (*closer, error) { return nil, errDown })
		require.ErrorIs(t, err, errDown)
		p := retry.HedgePolicy{Discard: func(any) { t.Error("discarded a zero value") }}
		_, err = retry.Hedge(t.Context(), p, func(context.Context) (*closer, error) { return nil, errDown })
		require.ErrorIs(t, err, errDown)
		fail := func(context.Context) (*http.Response, error) { return nil, errDown }
		resp, err := retry.Hedge(t.Context(), retry.HedgePolicy{}, fail)
		require.ErrorIs(t, err, errDown)
		require.Nil(t, resp)
		_, err = retry.Hedge(t.Context(), retry.HedgePolicy{}, func(context.Context) (io.Closer, error) { return nil, errDown })
		require.ErrorIs(t, err, errDown)
	})
}

func TestPanicOfAHedgedCallReachesTheCallerWithItsStack(t *testing.T) {
	defer func() {
		err, ok := recover().(error)
		require.True(t, ok)
		require.ErrorIs(t, err, errDown)
		require.Contains(t, err.Error(), "explodeHere")
	}()
	_, _ = retry.Hedge(t.Context(), retry.HedgePolicy{}, explodeHere)
	t.Error("Hedge returned")
}

func explodeHere(context.Context) (int, error) { panic(errDown) }

// Trap: the panic of a call that nobody waits for any more takes the process down,
// or vanishes.
func TestPanicOfALoserIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, "mine")
		told := make(chan string, 2)
		p := retry.HedgePolicy{After: 20 * ms, OnPanic: func(ctx context.Context, value any, stack []byte) {
			told <- fmt.Sprint(ctx.Value(key{}), " ", value, " ", strings.Contains(string(stack), "explodeHere"))
		}}
		began := time.Now()
		call := func(ctx context.Context) (int, error) {
			if since(began) > 0 {
				return 7, nil // the hedge
			}
			<-ctx.Done()
			return explodeHere(ctx)
		}
		value, err := retry.Hedge(ctx, p, call)
		require.NoError(t, err)
		require.Equal(t, 7, value)
		require.Equal(t, "mine service is down true", <-told)

		// The result stands even if the panic comes before Hedge has looked.
		release := []chan struct{}{make(chan struct{}), make(chan struct{}), nil}
		var calls atomic.Int32
		p.Attempts = 3
		p.OnHedge = func(_ context.Context, attempt int, _ error) {
			for i := range 2 * (attempt - 2) { // before the third: both of the others end
				close(release[i])
				synctest.Wait()
			}
		}
		value, err = retry.Hedge(ctx, p, func(ctx context.Context) (int, error) {
			n := calls.Add(1)
			select {
			case <-release[n-1]:
			case <-ctx.Done():
			}
			if n == 2 {
				return explodeHere(ctx)
			}
			return int(n), nil
		})
		require.NoError(t, err)
		require.Equal(t, 1, value)
		require.Equal(t, "mine service is down true", <-told)
	})
}

func TestPanicOfALoserIsLoggedByDefault(t *testing.T) {
	lines := make(chan string, 1)
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(lineWriter(lines), nil)))
	value, err := retry.Hedge(t.Context(), retry.HedgePolicy{After: 1, Attempts: 2}, func() func(context.Context) (int, error) {
		var calls atomic.Int32
		return func(ctx context.Context) (int, error) {
			if calls.Add(1) == 2 {
				return 7, nil
			}
			<-ctx.Done()
			return explodeHere(ctx)
		}
	}())
	require.NoError(t, err)
	require.Equal(t, 7, value)
	line := <-lines
	require.Contains(t, line, "level=ERROR")
	require.Contains(t, line, errDown.Error())
	require.Contains(t, line, "explodeHere")
}

type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) { w <- string(p); return len(p), nil }

// Trap: a call that failed because the context ended is followed by another, which
// takes from the budget and fails, too.
func TestNoCallBeginsAfterTheContextHasEnded(t *testing.T) {
	for range 100 { // the context and what it made fail come in either order
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), ms)
			defer cancel()
			var calls atomic.Int32
			_, err := retry.Hedge(ctx, retry.HedgePolicy{Attempts: 5}, func(ctx context.Context) (int, error) {
				calls.Add(1)
				<-ctx.Done()
				return 0, ctx.Err()
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, int32(1), calls.Load())
		})
	}
}

func TestGoexitOfAHedgedCallEndsTheCaller(t *testing.T) {
	var returned atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = retry.Hedge(t.Context(), retry.HedgePolicy{}, func(context.Context) (int, error) {
			runtime.Goexit()
			return 0, nil
		})
		returned.Store(true)
	})
	wg.Wait()
	require.False(t, returned.Load())
}

func TestHedgeDelayFollowsTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLatency(t, retry.LatencyConfig{Percentile: 0.9, Window: 100})
		p := retry.HedgePolicy{After: time.Second, Latency: l}
		for i := range 116 { // the delay is computed at the 116th
			_, err := retry.Hedge(t.Context(), p, serve(reply{takes: time.Duration(i%100+1) * ms}, reply{takes: time.Hour}).call)
			require.NoError(t, err)
		}
		s := serve(reply{takes: time.Hour}, reply{takes: time.Hour}, reply{value: "x"})
		p.Attempts = 3
		_, err := retry.Hedge(t.Context(), p, s.call)
		require.NoError(t, err)
		require.GreaterOrEqual(t, s.begun[1], 90*ms)
		require.LessOrEqual(t, s.begun[1], 96*ms)
		require.Equal(t, 2*s.begun[1], s.begun[2])
	})
}

// Trap: hedges that win make every call look fast, the delay falls, and in the
// end every call is hedged. A tenth of the calls hangs; about a tenth must be
// hedged, for ever.
func TestHedgesThatWinDoNotDragTheDelayDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLatency(t, retry.LatencyConfig{Percentile: 0.95, Window: 200})
		hedged := 0
		for i := range 3000 {
			takes := 20*ms + time.Duration(i%37)*ms
			if i%10 == 3 {
				takes = 3 * time.Second
			}
			s := serve(reply{takes: takes}, reply{takes: 20 * ms})
			_, err := retry.Hedge(t.Context(), retry.HedgePolicy{After: 100 * ms, Latency: l}, s.call)
			require.NoError(t, err)
			if i >= 1000 {
				hedged += len(s.begun) - 1
			}
		}
		require.InDelta(t, 200, hedged, 60)
		late, _ := l.Late()
		require.Greater(t, late, 56*ms)
	})
}

func TestFailuresAndFastHedgesAreNotObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLatency(t, retry.LatencyConfig{Window: 20})
		for range 40 {
			s := serve(reply{takes: ms, err: errDown}, reply{takes: ms, value: "b"})
			_, err := retry.Hedge(t.Context(), retry.HedgePolicy{Latency: l}, s.call)
			require.NoError(t, err)
		}
		_, ok := l.Late()
		require.False(t, ok)
	})
}

func TestInvalidHedgePolicyNamesFieldAndValue(t *testing.T) {
	for want, p := range map[string]retry.HedgePolicy{
		"HedgePolicy.After is -1s":    {After: -time.Second},
		"HedgePolicy.Attempts is -1":  {Attempts: -1},
		"HedgePolicy.Attempts is 17,": {Attempts: 17},
	} {
		_, err := retry.Hedge(t.Context(), p, serve().call)
		require.ErrorIs(t, err, retry.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}

func TestThousandHedgesAtATime(t *testing.T) {
	b := newBudget(t, retry.BudgetConfig{Ratio: 1, Burst: 1e6})
	l := newLatency(t, retry.LatencyConfig{})
	p := retry.HedgePolicy{After: 1, Attempts: 3, Budget: b, Latency: l}
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			body, err := retry.Hedge(t.Context(), p, func(context.Context) (io.ReadCloser, error) {
				runtime.Gosched()
				return io.NopCloser(strings.NewReader("x")), nil
			})
			if err != nil || body == nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
