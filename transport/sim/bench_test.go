package sim

import (
	"context"
	"sync"
	"testing"
	"time"
)

// world runs f in a world from within a benchmark. A bubble needs a *testing.T,
// which only the testing package can make, and its clock is of no use to measure
// by, so that an operation has to be a whole run: one, whatever -cpu and -count
// say, which RunTests heeds as well.
func world(b *testing.B, f func(w *World)) {
	b.Helper()
	var once sync.Once
	all := func(string, string) (bool, error) { return true, nil }
	test := testing.InternalTest{Name: b.Name(), F: func(t *testing.T) {
		once.Do(func() { Run(t, Config{}, f) })
	}}
	if !testing.RunTests(all, []testing.InternalTest{test}) {
		b.Fatal("the run failed")
	}
}

const inRun = 10_000 // messages, calls or sleeps in a run

func report(b *testing.B, what string) {
	b.ReportMetric(float64(b.N*inRun)/b.Elapsed().Seconds(), what+"/s")
}

// Two nodes send eight messages back and forth. Each is one event, after which
// everything runs out.
func BenchmarkSend(b *testing.B) {
	for b.Loop() {
		world(b, func(w *World) {
			done := make(chan struct{})
			handled := 0
			for _, name := range []string{"a", "b"} {
				node := w.Join(name)
				node.Receive("s", func(from string, body []byte) {
					if handled++; handled == inRun {
						close(done)
					} else if handled < inRun {
						node.Send(from, "s", body)
					}
				})
				for range 4 {
					node.Send("a", "s", []byte("message"))
				}
			}
			<-done
		})
	}
	report(b, "messages")
}

// Calls one after the other: two events each.
func BenchmarkCall(b *testing.B) {
	for b.Loop() {
		world(b, func(w *World) {
			a, other := w.Join("a"), w.Join("b")
			other.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil })
			for range inRun {
				if _, err := a.Call(context.Background(), "b", "s", []byte("request")); err != nil {
					w.T().Error(err)
				}
			}
		})
	}
	report(b, "calls")
}

// A node that only sleeps: what a timer of a node costs.
func BenchmarkSleep(b *testing.B) {
	for b.Loop() {
		world(b, func(*World) {
			for range inRun {
				time.Sleep(time.Microsecond)
			}
		})
	}
	report(b, "sleeps")
}
