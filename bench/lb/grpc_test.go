package lb_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	orca "github.com/cncf/xds/go/xds/data/orca/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer"
	_ "google.golang.org/grpc/balancer/leastrequest"
	_ "google.golang.org/grpc/balancer/weightedroundrobin"
	"google.golang.org/grpc/connectivity"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// A fakeConn stands in for the grpc.ClientConn around a balancer: its connections
// are ready as soon as they are asked for. Like the real one, it calls the balancer
// from one goroutine.
type fakeConn struct {
	balancer.ClientConn // what is not asked for
	calls               chan func()
	mu                  sync.Mutex
	state               balancer.State
}

func (c *fakeConn) NewSubConn(_ []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	return &fakeSubConn{conn: c, listener: opts.StateListener}, nil
}
func (c *fakeConn) ResolveNow(resolver.ResolveNowOptions)                {}
func (c *fakeConn) Target() string                                       { return "bench" }
func (c *fakeConn) MetricsRecorder() estats.MetricsRecorder              { return noMetrics{} }
func (c *fakeConn) UpdateAddresses(balancer.SubConn, []resolver.Address) {}
func (c *fakeConn) RemoveSubConn(balancer.SubConn)                       {}
func (c *fakeConn) UpdateState(s balancer.State)                         { c.mu.Lock(); c.state = s; c.mu.Unlock() }

func (c *fakeConn) ready() (p balancer.Picker, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Picker, c.state.ConnectivityState == connectivity.Ready
}

type noMetrics struct{ estats.MetricsRecorder }

func (noMetrics) RecordInt64Count(*estats.Int64CountHandle, int64, ...string)             {}
func (noMetrics) RecordFloat64Count(*estats.Float64CountHandle, float64, ...string)       {}
func (noMetrics) RecordInt64Histo(*estats.Int64HistoHandle, int64, ...string)             {}
func (noMetrics) RecordFloat64Histo(*estats.Float64HistoHandle, float64, ...string)       {}
func (noMetrics) RecordInt64Gauge(*estats.Int64GaugeHandle, int64, ...string)             {}
func (noMetrics) RecordInt64UpDownCount(*estats.Int64UpDownCountHandle, int64, ...string) {}

type fakeSubConn struct {
	balancer.SubConn
	conn     *fakeConn
	listener func(balancer.SubConnState)
}

func (s *fakeSubConn) Connect() {
	s.conn.calls <- func() {
		s.listener(balancer.SubConnState{ConnectivityState: connectivity.Connecting})
		s.listener(balancer.SubConnState{ConnectivityState: connectivity.Ready})
	}
}
func (s *fakeSubConn) UpdateAddresses([]resolver.Address) {}
func (s *fakeSubConn) Shutdown()                          {}
func (s *fakeSubConn) RegisterHealthListener(f func(balancer.SubConnState)) {
	s.conn.calls <- func() { f(balancer.SubConnState{ConnectivityState: connectivity.Ready}) }
}

// grpcPicker returns the picker of one of grpc's balancers over n backends that
// are all ready, as its users' calls go through it.
func grpcPicker(b *testing.B, name, config string, n int) balancer.Picker {
	builder := balancer.Get(name)
	require.NotNil(b, builder, name)
	var parsed serviceconfig.LoadBalancingConfig
	if parser, ok := builder.(balancer.ConfigParser); ok {
		var err error
		parsed, err = parser.ParseConfig(json.RawMessage(config))
		require.NoError(b, err)
	}
	conn := &fakeConn{calls: make(chan func(), 8*n)} // no balancer makes more calls for a connection
	var wait sync.WaitGroup
	wait.Go(func() {
		for call := range conn.calls {
			call()
		}
	})
	grpcBalancer := builder.Build(conn, balancer.BuildOptions{})
	b.Cleanup(func() {
		conn.calls <- grpcBalancer.Close
		close(conn.calls)
		wait.Wait()
	})
	var state resolver.State
	for i := range n {
		address := resolver.Address{Addr: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256)}
		state.Addresses = append(state.Addresses, address)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{address}})
	}
	updated := make(chan error)
	conn.calls <- func() {
		updated <- grpcBalancer.UpdateClientConnState(balancer.ClientConnState{ResolverState: state, BalancerConfig: parsed})
	}
	require.NoError(b, <-updated)
	// Ready is when the first connection is: wait until all of them are.
	var picker balancer.Picker
	require.Eventually(b, func() bool {
		p, ok := conn.ready()
		picker = p
		return ok && reaches(p, n)
	}, time.Minute, 10*time.Millisecond)
	return picker
}

// reaches reports whether a picker gives out nearly all of n connections.
func reaches(p balancer.Picker, n int) bool {
	seen := map[balancer.SubConn]bool{}
	for range 10 * n {
		result, err := p.Pick(balancer.PickInfo{})
		if err != nil {
			return false
		}
		if result.Done != nil {
			result.Done(balancer.DoneInfo{})
		}
		seen[result.SubConn] = true
	}
	return len(seen) > n*99/100
}

// grpcCall makes a pick and its Done.
func grpcCall(p balancer.Picker) func() {
	return func() {
		result, _ := p.Pick(balancer.PickInfo{})
		if result.Done != nil {
			result.Done(balancer.DoneInfo{})
		}
	}
}

// grpcWeighted returns a picker of weighted_round_robin whose backends have
// reported loads of 1 to 5, so that it has weights to go by.
func grpcWeighted(b *testing.B, n int) func() {
	p := grpcPicker(b, "weighted_round_robin", `{"blackoutPeriod":"0s","weightUpdatePeriod":"0.1s"}`, n)
	loads := map[balancer.SubConn]*orca.OrcaLoadReport{}
	for began := time.Now(); time.Since(began) < 300*time.Millisecond; {
		result, err := p.Pick(balancer.PickInfo{})
		require.NoError(b, err)
		if loads[result.SubConn] == nil {
			loads[result.SubConn] = &orca.OrcaLoadReport{RpsFractional: 100, ApplicationUtilization: 0.1 * float64(1+len(loads)%5)}
		}
		result.Done(balancer.DoneInfo{ServerLoad: loads[result.SubConn]})
	}
	return grpcCall(p)
}
