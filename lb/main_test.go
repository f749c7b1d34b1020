package lb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/lb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backends returns n backends of weight 1, b0 to bn-1.
func backends(n int) []lb.Backend {
	all := make([]lb.Backend, n)
	for i := range all {
		all[i].Name = fmt.Sprintf("b%d", i)
	}
	return all
}

func newBalancer(t testing.TB, c lb.Config, bs ...lb.Backend) *lb.Balancer {
	t.Helper()
	b, err := lb.New(c, bs...)
	require.NoError(t, err)
	return b
}

// pick returns a pick that must be there.
func pick(t testing.TB, b *lb.Balancer, r lb.Request) lb.Pick {
	t.Helper()
	p, err := b.Pick(r)
	require.NoError(t, err)
	return p
}

// spread makes n calls that succeed at once and returns how many went where.
func spread(t testing.TB, b *lb.Balancer, n int) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range n {
		p := pick(t, b, lb.Request{})
		counts[p.Backend().Name]++
		p.Done(nil)
	}
	return counts
}

// policies are all of them.
func policies() []lb.Policy {
	return []lb.Policy{
		lb.RoundRobin{},
		lb.Weighted{},
		lb.Random{},
		lb.LeastConnections{},
		lb.PowerOfTwo{},
		lb.LatencyAware{},
		lb.ConsistentHash{},
		lb.Maglev{},
	}
}

// A clock stands still until it is moved on.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Unix(1e9, 0)} }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

// status returns how one backend stands.
func status(t testing.TB, b *lb.Balancer, name string) lb.Status {
	t.Helper()
	for s := range b.Backends() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no backend %q", name)
	return lb.Status{}
}
