package main

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// serve runs f in virtual time with a service without a limit.
func serve(t *testing.T, acts []act, f func(t *testing.T, s *service)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newService(acts, guards{}, newRecord(length(acts)))
		require.NoError(t, err)
		f(t, s)
	})
}

func ask(s *service, n uint64) *request { return (&client{service: s, number: n}).newRequest(1) }

// 20 workers at 20 ms, always busy, are 1,000 calls a second.
func TestServiceDoesWhatItCan(t *testing.T) {
	serve(t, []act{{seconds: 60}}, func(t *testing.T, s *service) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var done atomic.Int64
		var wg sync.WaitGroup
		for i := range uint64(100) {
			r := ask(s, i)
			wg.Go(func() {
				for ctx.Err() == nil {
					if _, err := s.call(ctx, r); err == nil {
						done.Add(1)
					}
				}
			})
		}
		wg.Wait()
		require.InEpsilon(t, 20*capacity, done.Load(), 0.03)
	})
}

func TestServiceWorksForThoseWhoHaveGone(t *testing.T) {
	serve(t, []act{{seconds: 60}}, func(t *testing.T, s *service) {
		for range workers {
			_, err := s.enqueue(time.Second)
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		began := time.Now()
		_, err := s.call(ctx, ask(s, 1))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, timeout, time.Since(began))
		done, err := s.enqueue(time.Millisecond)
		require.NoError(t, err)
		require.Equal(t, time.Second+time.Millisecond, done.Sub(began), "the next worker free")
	})
}

func TestServiceRefusesWhatWouldWaitTooLong(t *testing.T) {
	serve(t, []act{{seconds: 60}}, func(t *testing.T, s *service) {
		for range workers {
			_, err := s.enqueue(backlog + time.Second)
			require.NoError(t, err)
		}
		_, err := s.enqueue(time.Millisecond)
		require.ErrorIs(t, err, errBusy)
		require.Equal(t, 1, s.count.total(shed, span{0, 1}))
		time.Sleep(time.Second)
		_, err = s.enqueue(time.Millisecond)
		require.NoError(t, err)
	})
}

func TestOutageEmptiesTheLine(t *testing.T) {
	acts := []act{{seconds: 1}, {seconds: 1, down: true}, {seconds: 10}}
	serve(t, acts, func(t *testing.T, s *service) {
		for range workers {
			_, err := s.enqueue(backlog)
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		_, err := s.call(t.Context(), ask(s, 1))
		require.ErrorIs(t, err, errDown)
		time.Sleep(time.Second)
		done, err := s.enqueue(time.Millisecond)
		require.NoError(t, err)
		require.Equal(t, time.Millisecond, time.Until(done))
	})
}

func TestServiceFailsAsOftenAsTheScriptSays(t *testing.T) {
	serve(t, []act{{seconds: 600, failing: 0.2}}, func(t *testing.T, s *service) {
		failed, r := 0, ask(s, 1)
		for range 5000 {
			if _, err := s.call(t.Context(), r); err != nil {
				require.ErrorIs(t, err, errFailed)
				failed++
			}
		}
		require.InDelta(t, 0.2, float64(failed)/5000, 0.02)
	})
}
