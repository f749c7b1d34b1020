package ring_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/parley-go/parley/ring"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// named returns n nodes called node-0, node-1 and so on.
func named(n int) []ring.Node {
	nodes := make([]ring.Node, n)
	for i := range nodes {
		nodes[i].Name = fmt.Sprintf("node-%d", i)
	}
	return nodes
}

func names(n int) []string {
	out := make([]string, n)
	for i, node := range named(n) {
		out[i] = node.Name
	}
	return out
}

func newRing(t testing.TB, nodes ...ring.Node) *ring.Ring {
	t.Helper()
	r, err := ring.New(ring.Config{}, nodes...)
	require.NoError(t, err)
	return r
}

// keys returns n different keys.
func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("user:%d", i)
	}
	return out
}

// hashes returns n hashes, the ends of the ring among them.
func hashes(n int) []uint64 {
	random := rand.New(rand.NewPCG(1, 2))
	out := []uint64{0, 1, 1<<20 - 1, 1 << 20, 1<<63 - 1, 1 << 63, 1<<64 - 1<<20, 1<<64 - 1}
	for len(out) < n {
		out = append(out, random.Uint64())
	}
	return out
}
