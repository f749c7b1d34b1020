// Package transport_test compares transport/tcp with its peers: echo over a real
// loopback connection, client and server in one process, deadlines on.
package transport_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A call sends one request to an echo server and returns its answer.
type call func(ctx context.Context, body []byte) ([]byte, error)

// An impl is one way to make calls. start starts its server and a client with
// one connection, both for the duration of b.
type impl struct {
	name  string
	start func(b testing.TB, secure bool) call
	// tls says that start knows how to be secure.
	tls bool
}

var impls = []impl{
	{"parley", startParley, true},
	{"grpc", startGRPC, true},
	{"netrpc", startNetRPC, false},
	{"drpc", startDRPC, false},
	{"connect", startConnect, false},
}

// sampled is how many calls go to one that is timed: the clock itself would be
// a fair part of the fast ones.
const sampled = 8

// BenchmarkCall is a table of concurrency and size.
func BenchmarkCall(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 64 << 10} {
		for _, callers := range []int{1, 64, 1024} {
			for _, i := range impls {
				b.Run(fmt.Sprintf("size=%d/callers=%d/impl=%s", size, callers, i.name), func(b *testing.B) {
					echoes(b, i.start(b, false), size, callers)
				})
			}
		}
	}
}

// BenchmarkMutualTLS is the row of certificates on both sides.
func BenchmarkMutualTLS(b *testing.B) {
	for _, size := range []int{16, 1 << 10} {
		for _, i := range impls {
			if i.tls {
				b.Run(fmt.Sprintf("size=%d/callers=64/impl=%s", size, i.name), func(b *testing.B) {
					echoes(b, i.start(b, true), size, 64)
				})
			}
		}
	}
}

// BenchmarkSmallBesideBulk times small calls while large ones keep the same
// connection busy in both directions.
func BenchmarkSmallBesideBulk(b *testing.B) {
	const bulkCallers, bulkSize = 2, 1 << 20
	for _, i := range impls {
		b.Run("size=16/bulk=1MiB/impl="+i.name, func(b *testing.B) {
			do := i.start(b, false)
			body := bytes.Repeat([]byte{7}, 16)
			bulk := bytes.Repeat([]byte{8}, bulkSize)
			warm(b, do, bulk)
			ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
			var group sync.WaitGroup
			var moved atomic.Int64
			for range bulkCallers {
				group.Go(func() {
					for ctx.Err() == nil {
						answer, err := do(ctx, bulk)
						if err != nil && ctx.Err() == nil {
							b.Errorf("bulk: %v", err)
							return
						}
						moved.Add(int64(len(answer)))
					}
				})
			}
			var samples []time.Duration
			start := time.Now()
			for b.Loop() {
				began := time.Now()
				if _, err := do(ctx, body); err != nil {
					b.Fatal(err)
				}
				samples = append(samples, time.Since(began))
			}
			b.ReportMetric(float64(moved.Load())/1e6/time.Since(start).Seconds(), "bulk-MB/s")
			cancel()
			group.Wait()
			report(b, samples)
		})
	}
}

// BenchmarkOneWay sends messages that nobody answers, and waits until the last
// has been handled.
func BenchmarkOneWay(b *testing.B) {
	for _, i := range []struct {
		name  string
		start func(b testing.TB, receive func()) (send func(body []byte) error)
	}{
		{"parley", oneWayParley},
		{"grpc-stream", oneWayGRPC},
	} {
		b.Run("size=16/impl="+i.name, func(b *testing.B) {
			var received atomic.Int64
			done := make(chan struct{}, 1)
			target := int64(b.N)
			send := i.start(b, func() {
				if received.Add(1) == target {
					done <- struct{}{}
				}
			})
			body := make([]byte, 16)
			b.ReportAllocs()
			b.ResetTimer()
			start, cpu := time.Now(), cpuTime()
			for range b.N {
				if err := send(body); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "messages/s")
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
		})
	}
}

// echoes makes b.N calls from a number of goroutines and reports the rate and
// the latencies.
func echoes(b *testing.B, do call, size, callers int) {
	body := bytes.Repeat([]byte{7}, size)
	warm(b, do, body)
	var left atomic.Int64
	left.Store(int64(b.N))
	samples := make([][]time.Duration, callers)
	var group sync.WaitGroup
	var failure sync.Once
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	b.ReportAllocs()
	b.ResetTimer()
	start, cpu := time.Now(), cpuTime()
	for i := range callers {
		group.Go(func() {
			for n := i; left.Add(-1) >= 0; n++ {
				timed := n%sampled == 0
				var began time.Time
				if timed {
					began = time.Now()
				}
				answer, err := do(ctx, body)
				if err != nil || len(answer) != size {
					failure.Do(func() { b.Errorf("got %d bytes and error %v, want %d bytes", len(answer), err, size) })
					return
				}
				if timed {
					samples[i] = append(samples[i], time.Since(began))
				}
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "calls/s")
	report(b, slices.Concat(samples...))
}

// warm makes the connection, and the buffers at both ends of it.
func warm(b *testing.B, do call, body []byte) {
	for range 100 {
		answer, err := do(b.Context(), body)
		if err != nil || !bytes.Equal(answer, body) {
			b.Fatalf("got %d bytes and error %v, want an echo of %d bytes", len(answer), err, len(body))
		}
	}
	runtime.GC()
}

func report(b *testing.B, samples []time.Duration) {
	if len(samples) == 0 {
		return
	}
	slices.Sort(samples)
	at := func(q float64) float64 {
		return float64(samples[int(q*float64(len(samples)-1))].Nanoseconds()) / 1e3
	}
	b.ReportMetric(at(0.50), "p50-us")
	b.ReportMetric(at(0.99), "p99-us")
}

// cpuTime is what this process has used of all cores, client and server alike:
// other processes disturb it less than the clock on the wall.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
