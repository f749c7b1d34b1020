package mem_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
)

func pair(tb testing.TB) (a, b *mem.Transport) {
	tb.Helper()
	network := mem.NewNetwork()
	return join(tb, network, "a"), join(tb, network, "b")
}

// BenchmarkSend counts a message when it has been handled.
func BenchmarkSend(b *testing.B) {
	body := make([]byte, 16)
	send := func(b *testing.B, from *mem.Transport) (accepted bool) {
		switch err := from.Send("b", "s", body); {
		case err == nil:
			return true
		case !errors.Is(err, transport.ErrOverflow):
			b.Error(err)
		}
		runtime.Gosched()
		return false
	}
	b.Run("serial", func(b *testing.B) {
		from, to := pair(b)
		var handled atomic.Int64
		to.Receive("s", func(string, []byte) { handled.Add(1) })
		b.ReportAllocs()
		var sent int64
		for b.Loop() {
			for !send(b, from) {
			}
			sent++
		}
		for handled.Load() < sent {
			runtime.Gosched()
		}
	})
	b.Run("floor", func(b *testing.B) { // a copy of the body through a channel
		bodies, done := make(chan []byte, mem.MaxMessages), make(chan struct{})
		var handled atomic.Int64
		go func() {
			defer close(done)
			for range bodies {
				handled.Add(1)
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			bodies <- bytes.Clone(body)
		}
		close(bodies)
		<-done
	})
	b.Run("parallel", func(b *testing.B) {
		from, to := pair(b)
		var handled atomic.Int64
		to.Receive("s", func(string, []byte) { handled.Add(1) })
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				for !send(b, from) {
				}
			}
		})
		for handled.Load() < int64(b.N) {
			runtime.Gosched()
		}
	})
}

func BenchmarkCall(b *testing.B) {
	request := make([]byte, 16)
	from, to := pair(b)
	to.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil })
	call := func(b *testing.B, ctx context.Context) {
		if _, err := from.Call(ctx, "b", "s", request); err != nil {
			b.Error(err)
		}
	}
	b.Run("floor", func(b *testing.B) { // a goroutine and a channel, which every call costs
		answered := make(chan struct{})
		answer := func() { answered <- struct{}{} }
		b.ReportAllocs()
		for b.Loop() {
			go answer()
			<-answered
		}
	})
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			call(b, context.Background())
		}
	})
	b.Run("cancellable", func(b *testing.B) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		b.ReportAllocs()
		for b.Loop() {
			call(b, ctx)
		}
	})
	b.Run("64callers", func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call(b, context.Background())
			}
		})
	})
}
