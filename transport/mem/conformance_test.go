package mem_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
	"github.com/parley-go/parley/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// join adds a node for as long as the test runs.
func join(tb testing.TB, network *mem.Network, name string) *mem.Transport {
	tb.Helper()
	node, err := network.Join(name)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, node.Close()) })
	return node
}

func fresh(tb testing.TB) transporttest.Network {
	network := mem.NewNetwork()
	return transporttest.Network{
		MaxCalls: mem.MaxCalls,
		Join:     func(name string) transport.Transport { return join(tb, network, name) },
	}
}

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Network { return fresh(t) })
}

// In a synctest bubble the same cases take no real time, and what is left behind
// is a deadlock.
func TestConformanceInBubble(t *testing.T) {
	for _, c := range transporttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Run(t, fresh(t)) })
		})
	}
}
