// Package lb_test compares load balancers: ours, the balancers of grpc-go, and
// those of kratos and go-zero. What is measured is a pick and its end, as a call
// without any work would make them.
//
// The balancers of grpc-go and go-zero are asked through the pickers that they
// hand to a grpc.ClientConn, built by their own builders over connections that
// are ready; those of kratos through the Selector its users call. Weights are 1 to
// 5 where there are any.
//
// go-zero's balancer lies in an internal package of a client that brings etcd,
// Kubernetes and exporters of traces along, minutes of compilation; it is compared
// with the build tag gozero:
//
//	GOFLAGS=-tags=gozero go -C bench run . lb
package lb_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/go-kratos/kratos/v2/registry"
	"github.com/go-kratos/kratos/v2/selector"
	kratosp2c "github.com/go-kratos/kratos/v2/selector/p2c"
	kratoswrr "github.com/go-kratos/kratos/v2/selector/wrr"
	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

var sizes = []int{10, 1000}

// ours returns a pick and its Done with a policy.
func ours(b *testing.B, policy lb.Policy, n int) func() {
	backends := make([]lb.Backend, n)
	for i := range backends {
		backends[i] = lb.Backend{Name: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Weight: 1 + i%5}
		if policy != lb.Policy(lb.Weighted{}) {
			backends[i].Weight = 1
		}
	}
	balancer, err := lb.New(lb.Config{Policy: policy}, backends...)
	require.NoError(b, err)
	return func() {
		pick, _ := balancer.Pick(lb.Request{})
		pick.Done(nil)
	}
}

func kratos(b *testing.B, s selector.Selector, n int) func() {
	var nodes []selector.Node
	for i := range n {
		address := fmt.Sprintf("10.0.%d.%d:80", i/256, i%256)
		weight := map[string]string{"weight": strconv.Itoa(1 + i%5)}
		nodes = append(nodes, selector.NewNode("http", address, &registry.ServiceInstance{ID: address, Metadata: weight}))
	}
	s.Apply(nodes)
	ctx := context.Background()
	return func() {
		_, done, _ := s.Select(ctx)
		done(ctx, selector.DoneInfo{})
	}
}

// An impl makes one column of a table; nil where there is none.
type impl struct {
	name string
	make func(b *testing.B, n int) func()
}

func run(b *testing.B, impls []impl) {
	for _, n := range sizes {
		for _, i := range impls {
			b.Run(fmt.Sprintf("backends=%d/impl=%s", n, i.name), func(b *testing.B) {
				call := i.make(b, n)
				b.ReportAllocs()
				for b.Loop() {
					call()
				}
			})
		}
	}
}

func BenchmarkRoundRobin(b *testing.B) {
	run(b, []impl{
		{"parley", func(b *testing.B, n int) func() { return ours(b, lb.RoundRobin{}, n) }},
		{"grpc", func(b *testing.B, n int) func() { return grpcCall(grpcPicker(b, "round_robin", "{}", n)) }},
	})
}

func BenchmarkPowerOfTwo(b *testing.B) {
	run(b, []impl{
		{"parley", func(b *testing.B, n int) func() { return ours(b, lb.PowerOfTwo{}, n) }},
		{"grpc", func(b *testing.B, n int) func() {
			return grpcCall(grpcPicker(b, "least_request_experimental", `{"choiceCount":2}`, n))
		}},
	})
}

func BenchmarkWeighted(b *testing.B) {
	run(b, []impl{
		{"parley", func(b *testing.B, n int) func() { return ours(b, lb.Weighted{}, n) }},
		{"grpc", grpcWeighted},
		{"kratos", func(b *testing.B, n int) func() { return kratos(b, kratoswrr.New(), n) }},
	})
}

func BenchmarkLatencyAware(b *testing.B) {
	run(b, append([]impl{
		{"parley", func(b *testing.B, n int) func() { return ours(b, lb.LatencyAware{}, n) }},
		{"kratos", func(b *testing.B, n int) func() { return kratos(b, kratosp2c.New(), n) }},
	}, goZero()...))
}

// What no peer has.
func BenchmarkConsistentHash(b *testing.B) {
	run(b, []impl{{"parley", func(b *testing.B, n int) func() { return ours(b, lb.ConsistentHash{}, n) }}})
}

func BenchmarkMaglev(b *testing.B) {
	run(b, []impl{{"parley", func(b *testing.B, n int) func() { return ours(b, lb.Maglev{}, n) }}})
}
