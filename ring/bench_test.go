package ring_test

import (
	"fmt"
	"testing"

	"github.com/parley-go/parley/ring"
)

func BenchmarkOwner(b *testing.B) {
	all := keys(1 << 14)
	for _, n := range []int{10, 100, 1000, 10_000} {
		r := newRing(b, named(n)...)
		b.Run(fmt.Sprintf("nodes=%d/serial", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Owner(all[i&(len(all)-1)])
			}
		})
		b.Run(fmt.Sprintf("nodes=%d/parallel", n), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					r.Owner(all[i&(len(all)-1)])
				}
			})
		})
	}
}

func BenchmarkOwners(b *testing.B) {
	all := keys(1 << 14)
	for _, zones := range []int{1, 3} {
		nodes := named(1000)
		for i := range nodes {
			nodes[i].Zone = fmt.Sprint(i % zones)
		}
		r := newRing(b, nodes...)
		b.Run(fmt.Sprintf("nodes=1000/zones=%d", zones), func(b *testing.B) {
			b.ReportAllocs()
			var buf [3]string
			for i := 0; b.Loop(); i++ {
				r.Owners(buf[:0], all[i&(len(all)-1)], 3)
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		nodes := named(n)
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			for b.Loop() {
				newRing(b, nodes...)
			}
		})
	}
}

func BenchmarkAddAndRemove(b *testing.B) {
	r := newRing(b, named(1000)...)
	b.Run("nodes=1000", func(b *testing.B) {
		for b.Loop() {
			if err := r.Add(ring.Node{Name: "joiner"}); err != nil {
				b.Fatal(err)
			}
			r.Remove("joiner")
		}
	})
}

func BenchmarkDiff(b *testing.B) {
	before, after := newRing(b, named(1000)...), newRing(b, named(1001)...)
	for b.Loop() {
		for range ring.Diff(before, after) {
		}
	}
}

func BenchmarkPartitioner(b *testing.B) {
	all := keys(1 << 14)
	for name, scheme := range schemes() {
		p := scheme(names(100))
		b.Run("nodes=100/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.Owner(all[i&(len(all)-1)])
			}
		})
	}
}

func BenchmarkBounded(b *testing.B) {
	all := keys(1 << 14)
	bounded := ring.NewBounded(newRing(b, named(100)...), 1.25)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, release, err := bounded.Acquire(all[i&(len(all)-1)])
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}

func BenchmarkSpread(b *testing.B) {
	s, err := ring.NewSpread(newRing(b, named(100)...), ring.SpreadConfig{})
	if err != nil {
		b.Fatal(err)
	}
	all := keys(1 << 14)
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.One(all[i&(len(all)-1)])
		}
	})
	b.Run("hot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.One("star")
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				s.One(all[i&(len(all)-1)])
			}
		})
	})
}

func BenchmarkPlanOwner(b *testing.B) {
	p, err := ring.NewPlan(newRing(b, named(100)...), newRing(b, named(101)...), ring.PlanConfig{})
	if err != nil {
		b.Fatal(err)
	}
	all := keys(1 << 14)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Owner(all[i&(len(all)-1)])
	}
}
