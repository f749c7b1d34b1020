package vclock_test

import (
	"testing"
	"time"

	"github.com/parley-go/parley/vclock"
)

const eight = "n1=1,n2=2,n3=3,n4=4,n5=5,n6=6,n7=7,n8="

func BenchmarkCompare(b *testing.B) {
	c, d := clock(b, eight+"8"), clock(b, eight+"9")
	b.ReportAllocs()
	for b.Loop() {
		if c.Compare(d) != vclock.Before {
			b.Fatal("wrong")
		}
	}
}

// Clocks that have met share their names.
func BenchmarkCompareShared(b *testing.B) {
	c := clock(b, eight+"8")
	d := c
	d.Tick("n8")
	for b.Loop() {
		if c.Compare(d) != vclock.Before {
			b.Fatal("wrong")
		}
	}
}

func BenchmarkTick(b *testing.B) {
	c := clock(b, eight+"8")
	b.ReportAllocs()
	for b.Loop() {
		c.Tick("n5")
	}
}

func BenchmarkMergeConcurrent(b *testing.B) {
	c, d := clock(b, eight+"9"), clock(b, "n1=9,"+eight[5:]+"8")
	b.ReportAllocs()
	for b.Loop() {
		e := c
		e.Merge(d)
	}
}

func BenchmarkAppendBinary(b *testing.B) {
	c := clock(b, eight+"8")
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.AppendBinary(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSiblingsPut(b *testing.B) {
	var s vclock.Siblings[int]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, context := s.Get()
		s.Put("a", context, i)
	}
}

func BenchmarkHybridNow(b *testing.B) {
	h := vclock.NewHybrid(vclock.HybridConfig{})
	b.ReportAllocs()
	for b.Loop() {
		h.Now()
	}
}

// The part of Hybrid.Now that is the machine's.
func BenchmarkTimeNow(b *testing.B) {
	for b.Loop() {
		_ = time.Now().UnixMicro()
	}
}

func BenchmarkHybridNowParallel(b *testing.B) {
	h := vclock.NewHybrid(vclock.HybridConfig{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Now()
		}
	})
}

func BenchmarkHybridObserve(b *testing.B) {
	h := vclock.NewHybrid(vclock.HybridConfig{})
	remote := h.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Observe(remote); err != nil {
			b.Fatal(err)
		}
	}
}
