package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// compare runs one operation of each implementation, alone and on all
// processors.
func compare(b *testing.B, impls map[string]func() bool) {
	for _, goroutines := range []string{"1", "cpus"} {
		for _, impl := range names {
			op := impls[impl]
			if op == nil {
				continue
			}
			b.Run("goroutines="+goroutines+"/impl="+impl, func(b *testing.B) {
				b.ReportAllocs()
				if goroutines == "1" {
					for b.Loop() {
						op()
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						op()
					}
				})
			})
		}
	}
}

// BenchmarkClock is the floor: the monotonic clock, which all of them read.
func BenchmarkClock(b *testing.B) {
	began := time.Now()
	b.Run("goroutines=1/impl=time.Since", func(b *testing.B) {
		for b.Loop() {
			_ = time.Since(began)
		}
	})
	b.Run("goroutines=cpus/impl=time.Since", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = time.Since(began)
			}
		})
	})
}

// BenchmarkAllowed is one key at a limit that is never reached.
func BenchmarkAllowed(b *testing.B) {
	compare(b, oneKey(b, 1e9, 1e9, time.Second))
}

// BenchmarkDenied is one key at a limit that has been reached.
func BenchmarkDenied(b *testing.B) {
	impls := oneKey(b, 1, 1, time.Hour)
	delete(impls, "uber") // it would wait
	for _, op := range impls {
		op()
	}
	compare(b, impls)
}

// BenchmarkAccuracy is what three seconds of asking as fast as possible let
// through: %off is how far that is from limit * time, above or below, and %over
// how far above. Those that save up tokens save a tenth of a second's worth, so
// that an operating system that gives the processors to others for a moment does
// not count as their error, and begin without any. Uber's and failsafe's save
// none, as is their way: on a busy machine, some of their error is its.
func BenchmarkAccuracy(b *testing.B) {
	lasts := 3 * time.Second
	if testing.Short() {
		lasts = 20 * time.Millisecond
	}
	for _, perSecond := range []int{1000, 100_000, 10_000_000} {
		burst := perSecond / 10
		for _, goroutines := range []int{2, 1000} {
			for _, impl := range names {
				b.Run(fmt.Sprintf("limit=%d/goroutines=%d/impl=%s", perSecond, goroutines, impl), func(b *testing.B) {
					for b.Loop() {
						op := oneKey(b, perSecond, burst, time.Second)[impl]
						for n := 0; n < 2*burst && op(); n++ { // some come back meanwhile
							continue
						}
						n, took := flood(op, goroutines, lasts)
						off := 100 * (n/(float64(perSecond)*took.Seconds()) - 1)
						b.ReportMetric(max(off, -off), "%off")
						b.ReportMetric(max(off, 0), "%over")
					}
				})
			}
		}
	}
}

// flood calls op from many goroutines for a time, and returns how often it was
// allowed.
func flood(op func() bool, goroutines int, lasts time.Duration) (n float64, took time.Duration) {
	var admitted atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range goroutines {
		wg.Go(func() {
			mine := int64(0)
			for time.Since(began) < lasts {
				if op() {
					mine++
				}
			}
			admitted.Add(mine)
		})
	}
	wg.Wait()
	return float64(admitted.Load()), time.Since(began)
}

// BenchmarkMillionKeys takes a token of a random one of a million known keys.
// B/key is what a key costs beside its own bytes, which all share.
func BenchmarkMillionKeys(b *testing.B) {
	count := 1_000_000
	if testing.Short() {
		count = 10_000
	}
	keys := make([]string, count)
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%08d", i)
	}
	impls := manyKeys(b, 1000, 1000, time.Hour, count)
	for _, impl := range names {
		make := impls[impl]
		if make == nil {
			continue
		}
		before := heap()
		op := make()
		for _, key := range keys {
			op(key)
		}
		each := (heap() - before) / float64(count)
		run := func(name string, f func(*testing.B)) {
			b.Run("goroutines="+name+"/impl="+impl, func(b *testing.B) {
				b.ReportAllocs()
				f(b)
				b.ReportMetric(each, "B/key")
			})
		}
		run("1", func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			for b.Loop() {
				op(keys[random.IntN(count)])
			}
		})
		run("cpus", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				random := rand.New(rand.NewPCG(1, rand.Uint64()))
				for pb.Next() {
					op(keys[random.IntN(count)])
				}
			})
		})
		runtime.KeepAlive(op)
	}
}

// BenchmarkNewKeys takes the first token of a key that has not been seen, while
// as many are limited as are kept: each call evicts one. The peers that keep all
// for ever, and those that forgive what they evict, are not comparable.
func BenchmarkNewKeys(b *testing.B) {
	op := manyKeys(b, 1, 1, time.Hour, 50_000)["parley"]()
	b.Run("kept=100000/impl=parley", func(b *testing.B) {
		var space [32]byte
		for i := 0; b.Loop(); i++ {
			op(string(fmt.Appendf(space[:0], "user:%08d", i)))
		}
	})
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
