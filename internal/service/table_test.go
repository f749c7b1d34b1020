package service

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A reply records an outcome and how often it came.
type reply struct {
	response []byte
	err      error
	times    int
}

func (r *reply) Reply(response []byte, err error) {
	r.response, r.err = response, err
	r.times++
}

func answered(t *testing.T, table *Table, name string) reply {
	t.Helper()
	var r reply
	table.Answer(t.Context(), name, "peer", []byte("request"), &r)
	require.Equal(t, 1, r.times, "replies")
	return r
}

func echo(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil }

func TestDeliverRunsTheHandler(t *testing.T) {
	var table Table
	require.False(t, table.Deliver("s", "peer", nil), "an empty table")
	var got []string
	table.Receive("s", func(from string, body []byte) { got = append(got, from+" "+string(body)) })
	require.True(t, table.Deliver("s", "peer", []byte("one")))
	require.True(t, table.DeliverTo([]byte("s"), "peer", []byte("two")))
	require.False(t, table.Deliver("other", "peer", nil))
	require.False(t, table.DeliverTo([]byte("other"), "peer", nil))
	require.Equal(t, []string{"peer one", "peer two"}, got)
}

// What is shared is kept by who asked for that, and copied for all others.
func TestDeliverShared(t *testing.T) {
	var table Table
	require.False(t, table.DeliverShared("s", "peer", nil, true), "an empty table")
	body := []byte("body")
	table.Receive("s", func(_ string, body []byte) { clear(body) })
	require.True(t, table.DeliverShared("s", "peer", body, true))
	require.Equal(t, "body", string(body))
	var kept []byte
	var told bool
	table.ReceiveShared("s", func(_ string, body []byte, shared bool) { kept, told = body, shared })
	require.True(t, table.DeliverShared("s", "peer", body, true))
	require.True(t, told)
	require.Same(t, &body[0], &kept[0])
	require.True(t, table.Deliver("s", "peer", body))
	require.False(t, told)
}

func TestAnswerGivesTheOutcome(t *testing.T) {
	var table Table
	r := answered(t, &table, "s")
	require.Equal(t, transport.ErrNoService, r.err)

	boom := errors.New("boom")
	table.Serve("s", func(ctx context.Context, from string, request []byte) ([]byte, error) {
		require.NoError(t, ctx.Err())
		return append([]byte(from+" "), request...), boom
	})
	r = answered(t, &table, "s")
	require.Equal(t, boom, r.err)
	require.Equal(t, "peer request", string(r.response))

	r = reply{}
	table.AnswerTo(t.Context(), []byte("s"), "peer", nil, &r)
	require.Equal(t, reply{[]byte("peer "), boom, 1}, r)
}

// TestHandlersOwnNoService is the handler that passes on what a call of its own
// met: its caller must not take it for the lack of the handler's service.
func TestHandlersOwnNoService(t *testing.T) {
	var table Table
	own := fmt.Errorf("%w: other on node b", transport.ErrNoService)
	for _, err := range []error{own, transport.ErrNoService} {
		table.Serve("s", func(context.Context, string, []byte) ([]byte, error) { return nil, err })
		r := answered(t, &table, "s")
		require.NotErrorIs(t, r.err, transport.ErrNoService)
		require.EqualError(t, r.err, err.Error())
	}
}

func TestHandlerExits(t *testing.T) {
	var table Table
	stop := table.Serve("s", func(context.Context, string, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil })
	var r reply
	var wg sync.WaitGroup
	wg.Go(func() { table.Answer(t.Context(), "s", "peer", nil, &r) })
	wg.Wait()
	require.Equal(t, reply{nil, ErrExited, 1}, r)
	stop() // the handler counts as done

	stop = table.Receive("s", func(string, []byte) { runtime.Goexit() })
	wg.Go(func() { table.Deliver("s", "peer", nil) })
	wg.Wait()
	stop()
}

func TestHandlerPanics(t *testing.T) {
	var table Table
	stop := table.Serve("s", func(context.Context, string, []byte) ([]byte, error) { panic("boom") })
	var r reply
	require.PanicsWithValue(t, "boom", func() { table.Answer(t.Context(), "s", "peer", nil, &r) })
	require.Equal(t, reply{nil, ErrExited, 1}, r)
	stop()
}

// TestReplyComesBeforeTheEnd closes a table while a reply is handed over: the
// handler runs until that is done.
func TestReplyComesBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		table.Serve("s", echo)
		release := make(chan struct{})
		var closed atomic.Bool
		go table.Answer(t.Context(), "s", "peer", nil, replier(func([]byte, error) { <-release }))
		synctest.Wait()
		go func() {
			table.Close()
			closed.Store(true)
		}()
		synctest.Wait()
		require.False(t, closed.Load())
		close(release)
		synctest.Wait()
		require.True(t, closed.Load())
	})
}

type replier func(response []byte, err error)

func (f replier) Reply(response []byte, err error) { f(response, err) }

func TestLaterRegistrationTakesPlace(t *testing.T) {
	var table Table
	var got []int
	first := table.Receive("s", func(string, []byte) { got = append(got, 1) })
	table.Deliver("s", "peer", nil)
	second := table.Receive("s", func(string, []byte) { got = append(got, 2) })
	table.Deliver("s", "peer", nil)
	first()
	require.True(t, table.Deliver("s", "peer", nil), "stop of the first registration removed the second")
	second()
	require.False(t, table.Deliver("s", "peer", nil))
	second()
	require.Equal(t, []int{1, 2, 2}, got)
}

// TestReplacedInTheLookUp has look-ups race registrations: there is a handler at
// all times, so each must find one.
func TestReplacedInTheLookUp(t *testing.T) {
	var table Table
	handler := func(string, []byte) {}
	table.Receive("s", handler)
	var wg sync.WaitGroup
	var delivering atomic.Int32
	for range 2 {
		delivering.Add(1)
		wg.Go(func() {
			defer delivering.Add(-1)
			for range 200_000 {
				if !table.Deliver("s", "peer", nil) {
					t.Error("no handler found")
					return
				}
			}
		})
	}
	for delivering.Load() > 0 {
		table.Receive("s", handler)
	}
	wg.Wait()
}

// TestStopFromInsideHandler stops at every depth of the stack, for the search for
// the handler goes through it piece by piece.
func TestStopFromInsideHandler(t *testing.T) {
	var table Table
	for depth := range 200 {
		var stop func()
		stop = table.Receive("s", func(string, []byte) { deep(depth, func() { stop() }) })
		require.True(t, table.Deliver("s", "peer", nil)) // or hangs
		require.False(t, table.Deliver("s", "peer", nil))
	}
	require.False(t, insideHandler())
	deep(200, func() { require.False(t, insideHandler()) })
}

//go:noinline
func deep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	inlined(func() { deep(n-1, f) })
}

func inlined(f func()) { f() }

func TestStopWaitsForRunningHandlers(t *testing.T) {
	for _, stopFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var table Table
			release := make(chan struct{})
			stop := table.Receive("s", func(string, []byte) { <-release })
			for range 3 {
				go table.Deliver("s", "peer", nil)
			}
			synctest.Wait()
			if !stopFirst {
				table.Receive("s", func(string, []byte) {})
			}
			var stopped atomic.Bool
			go func() {
				stop()
				stopped.Store(true)
			}()
			for range 3 {
				synctest.Wait()
				require.False(t, stopped.Load())
				release <- struct{}{}
			}
			synctest.Wait()
			require.True(t, stopped.Load())
			require.Equal(t, !stopFirst, table.Deliver("s", "peer", nil))
		})
	}
}

func TestCloseWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		release := make(chan struct{})
		hold := func(context.Context, string, []byte) ([]byte, error) { <-release; return nil, nil }
		table.Serve("replaced", hold)
		stop := table.Serve("stopped", hold)
		table.Serve("served", hold)
		table.Receive("received", func(string, []byte) { <-release })
		for _, name := range []string{"replaced", "stopped", "served"} {
			go table.Answer(t.Context(), name, "peer", nil, &reply{})
		}
		go table.Deliver("received", "peer", nil)
		synctest.Wait()
		table.Serve("replaced", echo)
		go stop()

		var closed atomic.Int32
		for range 2 {
			go func() {
				require.True(t, table.Close())
				closed.Add(1)
			}()
		}
		for range 4 {
			synctest.Wait()
			require.Zero(t, closed.Load())
			release <- struct{}{}
		}
		synctest.Wait()
		require.EqualValues(t, 2, closed.Load())
		require.True(t, table.Close(), "a third Close")
	})
}

func TestCloseFromInsideHandler(t *testing.T) {
	var table Table
	table.Serve("s", func(context.Context, string, []byte) ([]byte, error) {
		require.False(t, table.Close())
		return nil, nil
	})
	answered(t, &table, "s")
	require.True(t, table.Close())
}

func TestClosedTableStaysClosed(t *testing.T) {
	var table Table
	stop := table.Receive("s", func(string, []byte) {})
	table.Close()
	stop()
	require.False(t, table.Deliver("s", "peer", nil))
	table.Receive("s", func(string, []byte) { t.Error("a handler registered after Close ran") })()
	table.Receive("s", func(string, []byte) { t.Error("a handler registered after Close ran") })
	require.False(t, table.Deliver("s", "peer", nil))
	stop = table.Serve("s", echo)
	require.Equal(t, transport.ErrNoService, answered(t, &table, "s").err)
	stop()
	table.Close()
}

// TestPastIsForgotten replaces and stops handlers for as long as a service lives:
// only those that run are remembered.
func TestPastIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		release := make(chan struct{})
		stop := table.Receive("s", func(string, []byte) { <-release })
		go table.Deliver("s", "peer", nil)
		synctest.Wait()
		for range 100 {
			table.Receive("s", func(string, []byte) {})
			table.Receive("other", func(string, []byte) {})()
		}
		for range 100 { // as from inside of the handler, without waiting
			table.receivers.change(func(map[string]*entry[receiver]) *gate { return table.receivers.past[0] })
		}
		require.Len(t, table.receivers.past, 1)
		close(release)
		stop()
		table.Receive("s", func(string, []byte) {})()
		require.Empty(t, table.receivers.past)
	})
}

// TestCloseBesideStop closes while handlers stop each other, which prunes what
// Close waits for.
func TestCloseBesideStop(t *testing.T) {
	for range 100 {
		var table Table
		var wg sync.WaitGroup
		started := make(chan struct{}, 8)
		for i := range 8 {
			name := fmt.Sprint(i)
			var stop func()
			stop = table.Serve(name, func(context.Context, string, []byte) ([]byte, error) {
				started <- struct{}{}
				stop()
				return nil, nil
			})
			wg.Go(func() { table.Answer(t.Context(), name, "peer", nil, &reply{}) })
		}
		<-started
		for range 2 {
			wg.Go(func() { table.Close() })
		}
		wg.Wait()
	}
}

// TestTableUnderLoad does everything at once, for the race detector. No handler
// may run after its stop, or after Close, has returned.
func TestTableUnderLoad(t *testing.T) {
	var table Table
	var closed, done atomic.Bool
	var wg sync.WaitGroup
	for i := range 3 {
		name := fmt.Sprint("s", i)
		wg.Go(func() {
			for !done.Load() {
				var stopped atomic.Bool
				check := func() {
					if stopped.Load() || closed.Load() {
						t.Error("a handler began after its end")
					}
				}
				stopReceive := table.Receive(name, func(string, []byte) { check() })
				stopServe := table.Serve(name, func(context.Context, string, []byte) ([]byte, error) { check(); return nil, nil })
				runtime.Gosched()
				stopReceive()
				stopServe()
				stopped.Store(true)
				runtime.Gosched()
			}
		})
		wg.Go(func() {
			for !done.Load() {
				table.Deliver(name, "peer", nil)
				table.Answer(t.Context(), name, "peer", nil, &reply{})
				runtime.Gosched()
			}
		})
	}
	for range 300 {
		runtime.Gosched()
		table.Deliver("s0", "peer", nil)
	}
	table.Close()
	closed.Store(true)
	for range 300 {
		runtime.Gosched()
		table.Deliver("s0", "peer", nil)
	}
	done.Store(true)
	wg.Wait()
}

func TestLookUpsDoNotAllocate(t *testing.T) {
	var table Table
	table.Receive("s", func(string, []byte) {})
	table.Serve("s", echo)
	name, request, ctx := []byte("s"), []byte("x"), t.Context()
	var r reply
	for what, f := range map[string]func(){
		"Deliver":   func() { table.Deliver("s", "peer", request) },
		"DeliverTo": func() { table.DeliverTo(name, "peer", request) },
		"Answer":    func() { table.Answer(ctx, "s", "peer", request, &r) },
		"AnswerTo":  func() { table.AnswerTo(ctx, name, "peer", request, &r) },
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), what)
	}
}

func BenchmarkDeliver(b *testing.B) {
	var table Table
	table.Receive("s", func(string, []byte) {})
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			table.Deliver("s", "peer", nil)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				table.Deliver("s", "peer", nil)
			}
		})
	})
}

func BenchmarkAnswer(b *testing.B) {
	var table Table
	table.Serve("s", echo)
	var r reply
	b.ReportAllocs()
	for b.Loop() {
		table.Answer(b.Context(), "s", "peer", nil, &r)
	}
}
