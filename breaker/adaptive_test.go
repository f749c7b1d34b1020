package breaker_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
)

// fixed returns an Adaptive whose limit stays n.
func fixed(t testing.TB, n int, c breaker.AdaptiveConfig) *breaker.Adaptive {
	c.Min, c.Max, c.Initial = n, n, n
	return newAdaptive(t, c)
}

func TestAdaptiveWaitsShortlyAndThenSheds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fixed(t, 1, breaker.AdaptiveConfig{WaitFor: 100 * time.Millisecond, WaitTarget: 5 * time.Millisecond})
		running := begin(t, a)
		wait := func() time.Duration {
			began := time.Now()
			_, err := a.Acquire(t.Context())
			require.ErrorIs(t, err, breaker.ErrShed)
			return time.Since(began)
		}
		require.Equal(t, 100*time.Millisecond, wait(), "a burst may wait")

		first := begin(t, a)
		time.Sleep(60 * time.Millisecond)
		second := begin(t, a) // the queue has not been empty since
		time.Sleep(40 * time.Millisecond)
		synctest.Wait()
		require.ErrorIs(t, first.err, breaker.ErrShed)
		require.Equal(t, 5*time.Millisecond, wait(), "a queue that never empties is overload")
		time.Sleep(55 * time.Millisecond)
		synctest.Wait()
		require.ErrorIs(t, second.err, breaker.ErrShed)
		require.Equal(t, 100*time.Millisecond, wait(), "once it was empty, it is a burst again")

		running.release()
		require.Equal(t, breaker.AdaptiveStats{Limit: 1, Waited: 5, Shed: 5}, a.Stats())
	})
}

func TestAdaptiveWaitIsBoundedByTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fixed(t, 1, breaker.AdaptiveConfig{})
		begin(t, a)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := a.Acquire(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, breaker.AdaptiveStats{Limit: 1, InUse: 1, Waited: 1, GaveUp: 1}, a.Stats())
	})
}

func TestCallerWithFewestCallsIsServedNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fixed(t, 4, breaker.AdaptiveConfig{Shares: map[string]float64{"double": 2}})
		flood, light, double := a.For("flood"), a.For("light"), a.For("double")
		running := []*pending{begin(t, flood), begin(t, flood), begin(t, flood), begin(t, flood)}
		var greedy []*pending
		for range 5 {
			greedy = append(greedy, begin(t, flood))
		}
		one, two, heavy := begin(t, light), begin(t, light), []*pending{begin(t, double), begin(t, double)}
		require.Equal(t, 3, a.Stats().Callers)

		running[0].release() // flood 3, light 0, double 0: light came before double
		require.True(t, one.admitted())
		running[1].release() // flood 2, light 1, double 0
		require.True(t, heavy[0].admitted())
		running[2].release() // flood 1, light 1, double 1 of 2
		require.True(t, heavy[1].admitted())
		running[3].release() // flood 0
		require.True(t, greedy[0].admitted())
		one.release() // flood 1, light 0
		require.True(t, two.admitted())
		require.False(t, greedy[1].done)
	})
}

func TestFloodMakesRoomInAFullQueueForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fixed(t, 1, breaker.AdaptiveConfig{Waiting: 3})
		flood, light := a.For("flood"), a.For("light")
		begin(t, flood)
		waiting := []*pending{begin(t, flood), begin(t, flood), begin(t, flood)}
		require.ErrorIs(t, begin(t, flood).err, breaker.ErrFull)
		other := begin(t, light)
		require.False(t, other.done)
		require.ErrorIs(t, waiting[2].err, breaker.ErrShed, "the newest of the flood")
		require.ErrorIs(t, begin(t, light).err, breaker.ErrFull, "2 and 1 wait: one more of these would be no fairer")
		require.ErrorIs(t, begin(t, flood).err, breaker.ErrFull)
	})
}

func TestNothingIsKeptOfCallersThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := fixed(t, 2, breaker.AdaptiveConfig{Waiting: 2})
		for i := range 1000 {
			require.NoError(t, do(t, a.For(fmt.Sprint(i)), 1, succeed))
		}
		begin(t, a)
		begin(t, a)
		for i := range 10 {
			begin(t, a.For(fmt.Sprint(i)))
		}
		require.Equal(t, 2, a.Stats().Callers)
		time.Sleep(time.Second)
		require.Zero(t, a.Stats().Callers)
	})
}

func TestCancelledAdaptiveWaiterDoesNotKeepTheSlotItWasJustHanded(t *testing.T) {
	a := fixed(t, 1, breaker.AdaptiveConfig{WaitFor: time.Minute})
	for range 2000 {
		held := acquire(t, a)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if p, err := a.For("x").Acquire(ctx); err == nil {
				p.Report(breaker.Success)
			}
		})
		for a.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		wg.Go(cancel)
		wg.Go(func() { held.Report(breaker.Success) })
		wg.Wait()
		s := a.Stats()
		require.Equal(t, [3]int{}, [3]int{s.InUse, s.Waiting, s.Callers})
	}
}

// The queue of an Adaptive, as one would explain it: everybody in one list.
type fairModel struct {
	limit, bound     int
	running, waiting []*fairCall
	served           []string // who was admitted, in order
}

// lastServed returns when a caller was last admitted; 0 for one that has no call.
func (m *fairModel) lastServed(caller string) (at int) {
	if count(m.running, caller) == 0 && count(m.waiting, caller) == 0 {
		return 0
	}
	for i, c := range m.served {
		if c == caller {
			at = i + 1
		}
	}
	return at
}

// forget makes a caller without calls a stranger.
func (m *fairModel) forget(caller string) {
	if count(m.running, caller) == 0 && count(m.waiting, caller) == 0 {
		for i, c := range m.served {
			if c == caller {
				m.served[i] = ""
			}
		}
	}
}

type fairCall struct {
	caller string
	*pending
	fate string
}

func count(calls []*fairCall, caller string) (n int) {
	for _, c := range calls {
		if c.caller == caller {
			n++
		}
	}
	return n
}

func (m *fairModel) serve() {
	for len(m.running) < m.limit && len(m.waiting) > 0 {
		next := slices.MinFunc(m.waiting, func(x, y *fairCall) int { // the first of the least, in order of arrival
			return cmp.Or(count(m.running, x.caller)-count(m.running, y.caller), m.lastServed(x.caller)-m.lastServed(y.caller))
		})
		next.fate = "runs"
		m.served = append(m.served, next.caller)
		m.running = append(m.running, next)
		m.waiting = without(m.waiting, next)
	}
}

func (m *fairModel) arrive(c *fairCall) {
	c.fate = "waits"
	if len(m.waiting) >= m.bound {
		longest := 0
		for _, w := range m.waiting {
			longest = max(longest, count(m.waiting, w.caller))
		}
		if longest <= count(m.waiting, c.caller)+1 {
			c.fate = "full"
			return
		}
		for _, w := range slices.Backward(m.waiting) {
			if count(m.waiting, w.caller) == longest {
				w.fate = "shed"
				m.waiting = without(m.waiting, w)
				m.forget(w.caller)
				break
			}
		}
	}
	m.waiting = append(m.waiting, c)
	m.serve()
}

func without(calls []*fairCall, c *fairCall) []*fairCall {
	return slices.DeleteFunc(slices.Clone(calls), func(other *fairCall) bool { return other == c })
}

func TestAdaptiveQueueAgreesWithModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runFairModel(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func runFairModel(t *testing.T, r *rand.Rand) {
	m := &fairModel{limit: 1 + r.IntN(5), bound: 1 + r.IntN(8)}
	a := fixed(t, m.limit, breaker.AdaptiveConfig{Waiting: m.bound})
	var all []*fairCall
	for step := range 150 {
		switch x := r.IntN(10); {
		case x < 5:
			c := &fairCall{caller: []string{"a", "a", "a", "b", "c"}[r.IntN(5)]}
			c.pending = begin(t, a.For(c.caller))
			m.arrive(c)
			all = append(all, c)
		case x < 8 && len(m.running) > 0:
			c := m.running[r.IntN(len(m.running))]
			c.release()
			m.running = without(m.running, c)
			m.forget(c.caller)
			m.serve()
		case len(m.waiting) > 0:
			c := m.waiting[r.IntN(len(m.waiting))]
			c.cancel()
			c.fate = "gave up"
			m.waiting = without(m.waiting, c)
			m.forget(c.caller)
		}
		synctest.Wait()
		for i, c := range all {
			if got := c.actual(); got != c.fate {
				t.Fatalf("step %d, call %d of %s: got %q, want %q", step, i, c.caller, got, c.fate)
			}
		}
		s := a.Stats()
		require.Equal(t, [2]int{len(m.running), len(m.waiting)}, [2]int{s.InUse, s.Waiting})
	}
	for _, c := range all {
		c.cancel()
	}
}

// A call that began under an earlier limit shows what that one did.
func TestOnlyCallsThatBeganInTheWindowCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdaptive(t, breaker.AdaptiveConfig{Window: 100 * time.Millisecond, Samples: 1})
		early := acquire(t, a)
		do(t, a, 1, slowly(150*time.Millisecond)) // ends the first window
		require.Equal(t, 150*time.Millisecond, a.Stats().Latency)
		time.Sleep(time.Second)
		early.Report(breaker.Success)
		do(t, a, 1, slowly(time.Millisecond)) // ends the second
		require.Equal(t, time.Millisecond, a.Stats().Latency)
	})
}

func TestAdaptiveConfigIsChecked(t *testing.T) {
	for field, c := range map[string]breaker.AdaptiveConfig{
		"Min is -1":                  {Min: -1},
		"Max is 1":                   {Min: 2, Max: 1},
		"Initial is 5":               {Max: 4, Initial: 5},
		"Window is 1ns":              {Window: 1},
		"Samples is -1":              {Samples: -1},
		"Waiting is 10001":           {Waiting: 10_001},
		"Waiting is 1":               {Waiting: 1, DisableWaiting: true},
		"WaitFor is 1h0m0s":          {WaitFor: time.Hour},
		"WaitTarget is 1s":           {WaitTarget: time.Second},
		"Shares[x] is NaN":           {Shares: map[string]float64{"x": math.NaN()}},
		"Algorithm.Tolerance is 0.5": {Algorithm: breaker.Gradient{Tolerance: 0.5}},
		"Algorithm.Remeasure is 1ns": {Algorithm: breaker.Gradient{Remeasure: 1}},
		"Algorithm.Backoff is 1":     {Algorithm: breaker.AIMD{Backoff: 1}},
		"Algorithm.Timeout is -1ns":  {Algorithm: breaker.AIMD{Timeout: -1}},
	} {
		_, err := breaker.NewAdaptive(c)
		require.ErrorContains(t, err, "AdaptiveConfig."+field+": must be ")
	}
	for _, c := range []breaker.AdaptiveConfig{{Min: 5000}, {Max: 3}, {WaitFor: time.Millisecond}} {
		newAdaptive(t, c)
	}
}

// A service handles some calls at a time, and lets the others queue up inside.
type service struct {
	slots chan struct{}
	mu    sync.Mutex
	rand  *rand.Rand
	mean  time.Duration
}

func newService(capacity int, mean time.Duration) *service {
	return &service{slots: make(chan struct{}, capacity), rand: rand.New(rand.NewPCG(1, 2)), mean: mean}
}

func (s *service) call(context.Context) (int, error) {
	s.mu.Lock()
	d := time.Duration(s.rand.ExpFloat64() * float64(s.mean))
	slots := s.slots
	s.mu.Unlock()
	slots <- struct{}{}
	time.Sleep(d)
	<-slots
	return 0, nil
}

func (s *service) change(capacity int, mean time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots, s.mean = make(chan struct{}, capacity), mean
}

// load offers so many calls a second, evenly, and reports how many were served
// and how long those took on average.
func load(t *testing.T, g breaker.Guard, s *service, perSecond int, d time.Duration) (served float64, latency time.Duration) {
	var n, sum atomic.Int64
	var wg sync.WaitGroup
	for range int(d.Seconds() * float64(perSecond)) {
		wg.Go(func() {
			began := time.Now()
			_, err := breaker.Do(t.Context(), g, s.call)
			switch {
			case err == nil:
				n.Add(1)
				sum.Add(int64(time.Since(began)))
			case !errors.Is(err, breaker.ErrRejected):
				t.Error(err)
			}
		})
		time.Sleep(time.Second / time.Duration(perSecond))
	}
	wg.Wait()
	return float64(n.Load()) / d.Seconds(), time.Duration(sum.Load() / max(1, n.Load()))
}

// Capacity 10 at 20 ms is 500 a second.
func TestGradientFindsTheCapacityUnderThreefoldOverload(t *testing.T) {
	for _, initial := range []int{1, 20, 300} {
		synctest.Test(t, func(t *testing.T) {
			a := newAdaptive(t, breaker.AdaptiveConfig{Initial: initial, Algorithm: breaker.Gradient{Remeasure: 10 * time.Second}})
			s := newService(10, 20*time.Millisecond)
			load(t, a, s, 1500, 4*time.Second)
			served, latency := load(t, a, s, 1500, 12*time.Second) // across a measurement
			t.Logf("initial %d: limit %d, %.0f/s, latency %v", initial, a.Stats().Limit, served, latency)
			require.InDelta(t, 20, a.Stats().Limit, 12)
			require.Greater(t, served, 450.0, "nine tenths of the capacity")
			require.Less(t, latency, 100*time.Millisecond, "without the limit the queue is endless")
		})
	}
}

// Trap: the limiter's own measuring sheds calls of a service that has room for all
// of them. 600 a second, at random moments, keep 12 of 20 places busy.
func TestGradientShedsNothingAtACalmStart(t *testing.T) {
	var shed uint64
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			a := newAdaptive(t, breaker.AdaptiveConfig{})
			s := newService(20, 20*time.Millisecond)
			random := rand.New(rand.NewPCG(seed, 1))
			began := time.Now()
			var wg sync.WaitGroup
			for time.Since(began) < 2*time.Second {
				wg.Go(func() { _, _ = breaker.Do(t.Context(), a, s.call) })
				time.Sleep(time.Duration(random.ExpFloat64() * float64(time.Second) / 600))
			}
			wg.Wait()
			stats := a.Stats()
			shed += stats.Shed + stats.Rejected
		})
	}
	require.Less(t, shed, uint64(60), "of 24,000: a quarter of a percent")
}

func TestGradientFollowsACapacityThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdaptive(t, breaker.AdaptiveConfig{})
		s := newService(40, 20*time.Millisecond)
		load(t, a, s, 3000, 10*time.Second)
		large := a.Stats().Limit
		s.change(5, 20*time.Millisecond)
		load(t, a, s, 1000, 10*time.Second)
		small := a.Stats().Limit
		s.change(40, 20*time.Millisecond)
		served, _ := load(t, a, s, 3000, 8*time.Second) // to before the next measurement
		t.Logf("limits %d, %d, %d, then %.0f/s", large, small, a.Stats().Limit, served)
		require.InDelta(t, 60, large, 30)
		require.InDelta(t, 10, small, 8)
		require.Greater(t, a.Stats().Limit, 30, "it does not stay small when the trouble is over")
		require.Greater(t, served, 0.8*2000)
	})
}

func TestGradientAcceptsAServiceThatHasBecomeSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdaptive(t, breaker.AdaptiveConfig{})
		s := newService(20, 10*time.Millisecond)
		load(t, a, s, 4000, 5*time.Second)
		s.change(20, 50*time.Millisecond) // a deployment: 400/s from now on, with no queue
		load(t, a, s, 1000, 40*time.Second)
		served, _ := load(t, a, s, 1000, 5*time.Second)
		t.Logf("limit %d, %.0f/s", a.Stats().Limit, served)
		require.Greater(t, served, 0.85*400)
	})
}

func TestLimitDoesNotMoveWhileNobodyTriesIt(t *testing.T) {
	for name, algorithm := range map[string]breaker.Algorithm{"gradient": breaker.Gradient{}, "AIMD": breaker.AIMD{}} {
		synctest.Test(t, func(t *testing.T) {
			a := newAdaptive(t, breaker.AdaptiveConfig{Initial: 50, Algorithm: algorithm})
			load(t, a, newService(100, 10*time.Millisecond), 100, 60*time.Second) // one at a time
			require.InDelta(t, 50, a.Stats().Limit, 10, name)
		})
	}
}

func TestServiceThatFailsFastDoesNotLookFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdaptive(t, breaker.AdaptiveConfig{Initial: 10})
		s := newService(10, 20*time.Millisecond)
		load(t, a, s, 1000, 10*time.Second)
		before := a.Stats()
		for range 10_000 {
			do(t, a, 1, fail)
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, before.Limit, a.Stats().Limit)
		require.Equal(t, before.Latency, a.Stats().Latency)
	})
}

func TestOverloadErrorsShrinkTheLimit(t *testing.T) {
	late := func(context.Context) (int, error) {
		time.Sleep(10 * time.Millisecond)
		return 0, context.DeadlineExceeded
	}
	for name, algorithm := range map[string]breaker.Algorithm{"gradient": breaker.Gradient{}, "AIMD": breaker.AIMD{}} {
		synctest.Test(t, func(t *testing.T) {
			a := newAdaptive(t, breaker.AdaptiveConfig{Initial: 100, Min: 3, Algorithm: algorithm})
			for range 5000 {
				do(t, a, 1, late)
			}
			require.Equal(t, 3, a.Stats().Limit, "%s: to the minimum, and not below", name)
			require.NotZero(t, a.Stats().Overloads)
		})
	}
}

func TestAIMDStaysUnderItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdaptive(t, breaker.AdaptiveConfig{Algorithm: breaker.AIMD{Timeout: 60 * time.Millisecond}})
		s := newService(10, 20*time.Millisecond)
		load(t, a, s, 1500, 10*time.Second)
		served, _ := load(t, a, s, 1500, 10*time.Second)
		t.Logf("limit %d, %.0f/s, latency %v", a.Stats().Limit, served, a.Stats().Latency)
		require.InDelta(t, 30, a.Stats().Limit, 8, "60 ms at 500/s")
		require.Greater(t, served, 450.0)
	})
}

func TestLightCallerIsServedWhileAnotherFloods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdaptive(t, breaker.AdaptiveConfig{})
		s := newService(10, 20*time.Millisecond)
		load(t, a.For("flood"), s, 1500, 10*time.Second)
		var flood float64
		var wg sync.WaitGroup
		wg.Go(func() { flood, _ = load(t, a.For("flood"), s, 1500, 10*time.Second) })
		light, _ := load(t, a.For("light"), s, 100, 10*time.Second)
		wg.Wait()
		t.Logf("flood %.0f/s of 1500, light %.1f/s of 100", flood, light)
		require.Greater(t, light, 95.0)
	})
}

func TestAdaptiveIsNeverOverrunByAThousandGoroutines(t *testing.T) {
	a := fixed(t, 7, breaker.AdaptiveConfig{Waiting: 50, Window: time.Millisecond, Samples: 1})
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		g := a.For(fmt.Sprint(i % 5))
		wg.Go(func() {
			for range 50 {
				_, err := breaker.Do(t.Context(), g, func(context.Context) (int, error) {
					n := inside.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					runtime.Gosched() // or nobody meets anybody
					inside.Add(-1)
					return 0, nil
				})
				if err != nil && !errors.Is(err, breaker.ErrRejected) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 7, most.Load(), "the limit, which was reached")
	s := a.Stats()
	require.Equal(t, [3]int{}, [3]int{s.InUse, s.Waiting, s.Callers})
}
