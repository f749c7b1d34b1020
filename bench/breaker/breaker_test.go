// Package breaker_test compares circuit breakers and bulkheads: ours,
// sony/gobreaker, failsafe-go through its executor and called directly,
// x/sync's semaphore and a buffered channel.
package breaker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/parley-go/parley/breaker"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
)

var errService = errors.New("service failed")

// compare runs one operation of each implementation, alone and on all
// processors.
func compare(b *testing.B, condition string, impls map[string]func() error) {
	for _, impl := range []string{"parley", "gobreaker", "failsafe-executor", "failsafe-direct", "x-sync", "channel"} {
		op := impls[impl]
		if op == nil {
			continue
		}
		b.Run(condition+"goroutines=1/impl="+impl, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = op()
			}
		})
		b.Run(condition+"goroutines=cpus/impl="+impl, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_ = op()
				}
			})
		})
	}
}

// breakers returns one operation of each breaker under the same condition: five
// failures in a row, or half of the calls of ten seconds.
func breakers(b *testing.B, window bool, f func() (int, error)) map[string]func() error {
	ctx := b.Context()
	config := breaker.Config{OpenFor: time.Hour}
	settings := gobreaker.Settings{Timeout: time.Hour, ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 5 }}
	builder := circuitbreaker.NewBuilder[int]().WithDelay(time.Hour)
	if window {
		config.WindowTime = 10 * time.Second
		settings.Interval, settings.BucketPeriod = 10*time.Second, time.Second
		settings.ReadyToTrip = func(c gobreaker.Counts) bool { return c.Requests >= 10 && c.TotalFailures*2 >= c.Requests }
		builder = builder.WithFailureRateThreshold(0.5, 10, 10*time.Second)
	} else {
		builder = builder.WithFailureThreshold(5)
	}
	ours, err := breaker.New(config)
	require.NoError(b, err)
	sony := gobreaker.NewCircuitBreaker[int](settings)
	executed, direct := builder.Build(), builder.Build()
	executor := failsafe.With(executed)
	call := func(context.Context) (int, error) { return f() }
	return map[string]func() error{
		"parley": func() error {
			_, err := breaker.Do(ctx, ours, call)
			return err
		},
		"gobreaker": func() error {
			_, err := sony.Execute(f)
			return err
		},
		"failsafe-executor": func() error {
			_, err := executor.Get(f)
			return err
		},
		"failsafe-direct": func() error {
			if !direct.TryAcquirePermit() {
				return circuitbreaker.ErrOpen
			}
			_, err := f()
			if err != nil {
				direct.RecordError(err)
				return err
			}
			direct.RecordSuccess()
			return nil
		},
	}
}

func BenchmarkClosedSuccess(b *testing.B) {
	succeed := func() (int, error) { return 1, nil }
	compare(b, "condition=consecutive/", breakers(b, false, succeed))
	compare(b, "condition=time-window/", breakers(b, true, succeed))
	compare(b, "condition=call-window/", callWindow(b))
}

// callWindow returns one operation of each breaker that has a window of the last
// so many calls.
func callWindow(b *testing.B) map[string]func() error {
	ctx := b.Context()
	ours, err := breaker.New(breaker.Config{WindowCalls: 100})
	require.NoError(b, err)
	direct := circuitbreaker.NewBuilder[int]().WithFailureThresholdRatio(50, 100).Build()
	call := func(context.Context) (int, error) { return 1, nil }
	return map[string]func() error{
		"parley": func() error {
			_, err := breaker.Do(ctx, ours, call)
			return err
		},
		"failsafe-direct": func() error {
			if !direct.TryAcquirePermit() {
				return circuitbreaker.ErrOpen
			}
			_, err := call(ctx)
			direct.RecordSuccess()
			return err
		},
	}
}

func BenchmarkOpenRejected(b *testing.B) {
	impls := breakers(b, false, func() (int, error) { return 0, errService })
	for impl, op := range impls {
		for range 10 {
			_ = op()
		}
		require.NotErrorIs(b, op(), errService, "%s is open", impl)
	}
	compare(b, "", impls)
}
