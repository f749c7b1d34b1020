package breaker_test

import (
	"context"
	"errors"
	"fmt"
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

// A pending call acquires in a goroutine of its own.
type pending struct {
	cancel context.CancelFunc
	permit breaker.Permit
	err    error
	done   bool
}

// begin starts to acquire, and waits until that is through or blocked. It needs a
// bubble.
func begin(t testing.TB, g breaker.Guard) *pending {
	ctx, cancel := context.WithCancel(t.Context())
	p := &pending{cancel: cancel}
	go func() {
		p.permit, p.err = g.Acquire(ctx)
		p.done = true
	}()
	synctest.Wait()
	return p
}

func (p *pending) admitted() bool { return p.done && p.err == nil }

// actual says in a word what has become of the call.
func (p *pending) actual() string {
	switch {
	case !p.done:
		return "waits"
	case p.err == nil:
		return "runs"
	case errors.Is(p.err, breaker.ErrFull):
		return "full"
	case errors.Is(p.err, breaker.ErrShed):
		return "shed"
	}
	return "gave up"
}

func (p *pending) release() {
	p.permit.Report(breaker.Success)
	synctest.Wait()
}

func TestBulkheadServesInTheOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 1, Waiting: 3})
		running := begin(t, b)
		waiting := []*pending{begin(t, b), begin(t, b), begin(t, b)}
		require.ErrorIs(t, begin(t, b).err, breaker.ErrFull)
		require.Equal(t, breaker.BulkheadStats{Limit: 1, InUse: 1, Waiting: 3, Waited: 3, Rejected: 1}, b.Stats())
		for i, next := range waiting {
			for _, later := range waiting[i:] {
				require.False(t, later.done)
			}
			running.release()
			require.True(t, next.admitted())
			running = next
		}
		running.release()
		require.Equal(t, 0, b.Stats().InUse)
	})
}

func TestBulkheadWaitIsBoundedByTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 1})
		acquire(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := b.Acquire(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, breaker.ErrRejected)
		require.Equal(t, time.Second, time.Since(began))
		require.EqualValues(t, 1, b.Stats().GaveUp)
		require.Zero(t, b.Stats().Waiting)
	})
}

// A permit that is handed over in the moment in which the waiter gives up is
// neither lost nor used twice.
func TestCancelledWaiterDoesNotKeepThePermitItWasJustHanded(t *testing.T) {
	b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 1, Waiting: 10})
	for range 2000 {
		held := acquire(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if p, err := b.Acquire(ctx); err == nil {
				p.Report(breaker.Success)
			}
		})
		for b.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		wg.Go(cancel)
		wg.Go(func() { held.Report(breaker.Success) })
		wg.Wait()
		s := b.Stats()
		require.Zero(t, s.InUse)
		require.Zero(t, s.Waiting)
	}
}

func TestBigWaiterAndSmallOnesDoNotStarveEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 4})
		big := b.For(breaker.Class{Weight: 4})
		small := []*pending{begin(t, b), begin(t, b)}
		heavy := begin(t, big)
		after := begin(t, b)
		require.False(t, after.done, "there would be room, but it came after the big one")
		small[0].release()
		require.False(t, heavy.done)
		require.False(t, after.done)
		small[1].release()
		require.True(t, heavy.admitted(), "no stream of small ones can keep the big one out")
		require.False(t, after.done)
		heavy.release()
		require.True(t, after.admitted(), "and the big one holds up those behind it only for its turn")
	})
}

func TestBigWaiterThatGivesUpLetsTheSmallOnesBehindItPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 4})
		begin(t, b)
		heavy := begin(t, b.For(breaker.Class{Weight: 4}))
		after := begin(t, b)
		require.False(t, after.done)
		heavy.cancel()
		synctest.Wait()
		require.ErrorIs(t, heavy.err, context.Canceled)
		require.True(t, after.admitted())
	})
}

func TestCallHeavierThanTheBulkheadIsRejectedAtOnce(t *testing.T) {
	b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 4})
	_, err := b.For(breaker.Class{Weight: 5}).Acquire(t.Context())
	require.ErrorIs(t, err, breaker.ErrFull)
	require.ErrorContains(t, err, "weight 5, with room for 4")
	for range 4 {
		acquire(t, b)
	}
}

func TestFullQueueShedsTheNewestOfALowerPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 1, Waiting: 3})
		low, high := b.For(breaker.Class{Priority: breaker.Low}), b.For(breaker.Class{Priority: breaker.High})
		running := begin(t, b)
		low1, low2, normal := begin(t, low), begin(t, low), begin(t, b)
		require.ErrorIs(t, begin(t, low).err, breaker.ErrFull, "nobody below it")
		high1 := begin(t, high)
		require.ErrorIs(t, low2.err, breaker.ErrShed)
		high2 := begin(t, high)
		require.ErrorIs(t, low1.err, breaker.ErrShed)
		high3 := begin(t, high)
		require.ErrorIs(t, normal.err, breaker.ErrShed)
		require.ErrorIs(t, begin(t, high).err, breaker.ErrFull)
		require.EqualValues(t, 3, b.Stats().Shed)
		for _, next := range []*pending{high1, high2, high3} {
			running.release()
			require.True(t, next.admitted())
			running = next
		}
	})
}

func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 2})
		running := []*pending{begin(t, b), begin(t, b)}
		waiting := []*pending{begin(t, b), begin(t, b), begin(t, b)}
		require.NoError(t, b.Resize(4))
		synctest.Wait()
		require.True(t, waiting[0].admitted())
		require.True(t, waiting[1].admitted())
		require.False(t, waiting[2].done)

		require.NoError(t, b.Resize(1))
		require.Equal(t, 4, b.Stats().InUse, "over the limit until they leave")
		for _, p := range []*pending{running[0], running[1], waiting[0]} {
			p.release()
			require.False(t, waiting[2].done)
		}
		waiting[1].release()
		require.True(t, waiting[2].admitted())
		waiting[2].release()
		require.Equal(t, breaker.BulkheadStats{Limit: 1, Waited: 3}, b.Stats())

		for _, n := range []int{0, -1, 1<<30 + 1} {
			require.Error(t, b.Resize(n))
		}
	})
}

func TestResizeBelowAWaitersWeightDoesNotBlockTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 4})
		running := begin(t, b.For(breaker.Class{Weight: 4}))
		heavy, light := begin(t, b.For(breaker.Class{Weight: 3})), begin(t, b)
		require.NoError(t, b.Resize(2))
		synctest.Wait()
		require.ErrorIs(t, heavy.err, breaker.ErrFull)
		require.False(t, light.done)
		running.release()
		require.True(t, light.admitted())
	})
}

func TestBulkheadConfigIsChecked(t *testing.T) {
	for want, c := range map[string]breaker.BulkheadConfig{
		"Concurrent is -1": {Concurrent: -1},
		"Waiting is -1":    {Waiting: -1},
		"Waiting is 5: must be 0 if DisableWaiting is set": {Waiting: 5, DisableWaiting: true},
	} {
		_, err := breaker.NewBulkhead(c)
		require.ErrorContains(t, err, "BulkheadConfig."+want)
	}
}

func TestBulkheadIsNeverOverrunByAThousandGoroutines(t *testing.T) {
	b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 7, Waiting: 100})
	heavy := b.For(breaker.Class{Weight: 3, Priority: breaker.High})
	var inside, most, ran, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			g, weight := breaker.Guard(b), int64(1)
			if i%5 == 0 {
				g, weight = heavy, 3
			}
			for range 50 {
				_, err := breaker.Do(t.Context(), g, func(context.Context) (int, error) {
					n := inside.Add(weight)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					ran.Add(1)
					runtime.Gosched() // or nobody meets anybody
					inside.Add(-weight)
					return 0, nil
				})
				if errors.Is(err, breaker.ErrRejected) {
					refused.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 7, most.Load(), "the limit, which was reached")
	require.EqualValues(t, 50_000, ran.Load()+refused.Load())
	s := b.Stats()
	require.Zero(t, s.InUse)
	require.Zero(t, s.Waiting)
	require.EqualValues(t, refused.Load(), s.Rejected+s.Shed)
	whole := acquire(t, b.For(breaker.Class{Weight: 7})) // every permit is back, wherever it lies
	whole.Report(breaker.Success)
}

// Nobody sleeps on while there is room: waiters are woken by every way in which
// a permit can come back.
func TestNoWakeUpIsLost(t *testing.T) {
	b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: 2, Waiting: 1000})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for range 200 {
				_, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) {
					runtime.Gosched() // or nobody has to wait
					return 0, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait() // hangs if one is lost
	require.Greater(t, b.Stats().Waited, uint64(1000))
}

// A bulkhead as one would explain it: a list of those who run and one of those
// who wait.
type bulkheadModel struct {
	limit, bound int
	running      []*modelWaiter
	waiting      []*modelWaiter
}

type modelWaiter struct {
	weight   int
	priority breaker.Priority
	*pending
	fate string
}

func (m *bulkheadModel) inUse() (n int) {
	for _, w := range m.running {
		n += w.weight
	}
	return n
}

func (m *bulkheadModel) serve() {
	for len(m.waiting) > 0 && m.inUse()+m.waiting[0].weight <= m.limit {
		m.waiting[0].fate = "runs"
		m.running = append(m.running, m.waiting[0])
		m.waiting = m.waiting[1:]
	}
}

func (m *bulkheadModel) arrive(w *modelWaiter) {
	w.fate = "waits"
	if w.weight > m.limit {
		w.fate = "full"
		return
	}
	if len(m.waiting) == 0 && m.inUse()+w.weight <= m.limit {
		w.fate = "runs"
		m.running = append(m.running, w)
		return
	}
	if len(m.waiting) >= m.bound {
		victim := -1
		for i, other := range m.waiting {
			if other.priority < w.priority && (victim < 0 || other.priority <= m.waiting[victim].priority) {
				victim = i
			}
		}
		if victim < 0 {
			w.fate = "full"
			return
		}
		m.waiting[victim].fate = "shed"
		m.waiting = slices.Delete(m.waiting, victim, victim+1)
	}
	m.waiting = append(m.waiting, w)
	m.serve() // the one that was shed may have been the big one at the head
}

func (m *bulkheadModel) resize(limit int) {
	m.limit = limit
	m.waiting = slices.DeleteFunc(m.waiting, func(w *modelWaiter) bool {
		if w.weight > limit {
			w.fate = "full"
		}
		return w.weight > limit
	})
	m.serve()
}

func TestBulkheadAgreesWithModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runBulkheadModel(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func runBulkheadModel(t *testing.T, r *rand.Rand) {
	m := &bulkheadModel{limit: 1 + r.IntN(6), bound: 1 + r.IntN(6)}
	b := newBulkhead(t, breaker.BulkheadConfig{Concurrent: m.limit, Waiting: m.bound})
	var all []*modelWaiter
	for step := range 150 {
		switch x := r.IntN(10); {
		case x < 5:
			w := &modelWaiter{weight: 1 + r.IntN(3), priority: breaker.Priority(r.IntN(3) - 1)}
			w.pending = begin(t, b.For(breaker.Class{Weight: w.weight, Priority: w.priority}))
			m.arrive(w)
			all = append(all, w)
		case x < 8 && len(m.running) > 0:
			i := r.IntN(len(m.running))
			m.running[i].release()
			m.running = slices.Delete(m.running, i, i+1)
			m.serve()
		case x < 9 && len(m.waiting) > 0:
			i := r.IntN(len(m.waiting))
			w := m.waiting[i]
			w.cancel()
			w.fate = "gave up"
			m.waiting = slices.Delete(m.waiting, i, i+1)
			m.serve()
		case r.IntN(4) == 0:
			limit := 1 + r.IntN(6)
			require.NoError(t, b.Resize(limit))
			m.resize(limit)
		}
		synctest.Wait()
		for i, w := range all {
			if got := w.actual(); got != w.fate {
				t.Fatalf("step %d, call %d: got %q, want %q", step, i, got, w.fate)
			}
		}
		s := b.Stats()
		require.Equal(t, [3]int{m.limit, m.inUse(), len(m.waiting)}, [3]int{s.Limit, s.InUse, s.Waiting}, "step %d", step)
	}
	for _, w := range all {
		w.cancel()
	}
}
