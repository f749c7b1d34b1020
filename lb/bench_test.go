package lb_test

import (
	"fmt"
	"testing"

	"github.com/parley-go/parley/lb"
)

// A pick and its Done, by one goroutine and by one a processor.
func BenchmarkPickDone(b *testing.B) {
	for _, policy := range policies() {
		for _, n := range []int{10, 1000} {
			balancer := newBalancer(b, lb.Config{Policy: policy}, backends(n)...)
			b.Run(fmt.Sprintf("policy=%v/backends=%d/goroutines=1", policy, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p, _ := balancer.Pick(lb.Request{Key: "user:42"})
					p.Done(nil)
				}
			})
			b.Run(fmt.Sprintf("policy=%v/backends=%d/goroutines=cpus", policy, n), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						p, _ := balancer.Pick(lb.Request{Key: "user:42"})
						p.Done(nil)
					}
				})
			})
		}
	}
}
