package tcp_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport/tcp"
)

type mode struct {
	name string
	tls  bool
}

var modes = []mode{{"plain", false}, {"tls", true}}

// A cluster is where the nodes of a test find each other.
type cluster struct {
	t         *testing.T
	authority *tcp.Authority // nil without TLS

	mu        sync.Mutex
	addresses map[string]string
}

func newCluster(t *testing.T, m mode) *cluster {
	t.Helper()
	c := &cluster{t: t, addresses: map[string]string{}}
	if m.tls {
		var err error
		c.authority, err = tcp.NewAuthority()
		require.NoError(t, err)
	}
	return c
}

func (c *cluster) resolve(name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if addr, ok := c.addresses[name]; ok {
		return addr, nil
	}
	return "", fmt.Errorf("no node %q", name)
}

// at makes name resolve to addr.
func (c *cluster) at(name, addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addresses[name] = addr
}

// config completes a configuration for a node of the cluster.
func (c *cluster) config(name string, config tcp.Config) tcp.Config {
	c.t.Helper()
	if config.Resolve == nil {
		config.Resolve = c.resolve
	}
	switch {
	case config.TLS != nil:
	case c.authority == nil:
		config.Plaintext = true
	default:
		credentials, err := c.authority.Issue(name)
		require.NoError(c.t, err)
		config.TLS, err = credentials.TLS()
		require.NoError(c.t, err)
	}
	return config
}

// join starts a node that the others can find, until the end of the test.
func (c *cluster) join(name string, config tcp.Config) *tcp.Transport {
	c.t.Helper()
	node, err := tcp.Listen(name, "127.0.0.1:0", c.config(name, config))
	require.NoError(c.t, err)
	c.t.Cleanup(func() { node.Close() })
	c.at(name, node.Addr().String())
	return node
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
