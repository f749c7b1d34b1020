package ratelimit_test

import (
	"fmt"
	"math"
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
//
// No limiter lets a part of an event through, so being less than one off is no
// error: at 1000 a second, one is 0.03%.
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
						n, took := flood(op, empty(op, max(lasts/6, 100*time.Millisecond)), goroutines, lasts)
						ideal := float64(perSecond) * took.Seconds()
						over, under := max(0, n-math.Ceil(ideal)), max(0, math.Floor(ideal)-n)
						b.ReportMetric(100*(over+under)/ideal, "%off")
						b.ReportMetric(100*over/ideal, "%over")
					}
				})
			}
		}
	}
}

// empty takes what op has saved up, and returns a moment at which there was
// nothing left. Those that never refuse, because they block or are slower than
// their limit, it leaves after twice a time.
func empty(op func() bool, most time.Duration) (at time.Time) {
	began := time.Now()
	for n := 0; op() && (n%64 > 0 || time.Since(began) < most); n++ {
		continue
	}
	at = time.Now()
	for op() && at.Sub(began) < 2*most { // some come back meanwhile
		at = time.Now()
	}
	return at
}

// flood calls op from many goroutines, for a time that began a moment ago, and
// returns how often it was allowed until the first of them saw that the time was
// over, and when that was. What the others get after that does not count, and
// neither does the time that they take to stop: it is half a millisecond for a
// thousand, in which hardly anybody asks.
func flood(op func() bool, began time.Time, goroutines int, lasts time.Duration) (n float64, took time.Duration) {
	var admitted, over atomic.Int64 // over is 0 until it is
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			mine := int64(0)
			for over.Load() == 0 {
				if op() && over.Load() == 0 {
					mine++
				}
				if now := time.Since(began); now >= lasts {
					over.CompareAndSwap(0, int64(now))
				}
			}
			admitted.Add(mine)
		})
	}
	wg.Wait()
	return float64(admitted.Load()), time.Duration(over.Load())
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
