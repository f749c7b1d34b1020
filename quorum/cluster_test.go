package quorum_test

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A cluster is some stores on one in-process network.
type cluster struct {
	t          testing.TB
	network    *mem.Network
	ring       *ring.Ring
	config     quorum.Config // of every node, but for what is its own
	stores     map[string]*quorum.Store
	storages   map[string]quorum.Storage
	transports map[string]transport.Transport
	// wrap, if set, stands between a store and the network.
	wrap func(transport.Transport) transport.Transport
}

func newCluster(t testing.TB, config quorum.Config, names ...string) *cluster {
	t.Helper()
	c := &cluster{
		t: t, network: mem.NewNetwork(), config: config,
		stores: map[string]*quorum.Store{}, storages: map[string]quorum.Storage{}, transports: map[string]transport.Transport{},
	}
	nodes := make([]ring.Node, len(names))
	for i, name := range names {
		nodes[i] = ring.Node{Name: name}
	}
	var err error
	c.ring, err = ring.New(ring.Config{}, nodes...)
	require.NoError(t, err)
	return c
}

// startAll starts the named nodes and waits until they are ready.
func (c *cluster) startAll(names ...string) *cluster {
	c.t.Helper()
	for _, name := range names {
		c.start(name)
	}
	for _, name := range names {
		require.NoError(c.t, c.stores[name].Ready(c.t.Context()))
	}
	return c
}

// start starts a node, with the data it had, if it was not lost.
func (c *cluster) start(name string) *quorum.Store {
	c.t.Helper()
	var err error
	c.transports[name], err = c.network.Join(name)
	require.NoError(c.t, err)
	if c.storages[name] == nil {
		c.storages[name] = quorum.NewMemory()
	}
	config := c.config
	config.Transport, config.Ring = c.transports[name], c.ring
	if c.wrap != nil {
		config.Transport = c.wrap(config.Transport)
	}
	config.Storage = cmp.Or(config.Storage, c.storages[name])
	c.stores[name], err = quorum.Start(config)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { c.stop(name) })
	return c.stores[name]
}

// stop ends a node; its data stays.
func (c *cluster) stop(name string) {
	if s := c.stores[name]; s != nil {
		_ = s.Close()
		_ = c.transports[name].Close()
		delete(c.stores, name)
	}
}

// lose ends a node and takes its data away.
func (c *cluster) lose(name string) {
	c.stop(name)
	delete(c.storages, name)
}

func (c *cluster) put(node, key, value string) quorum.Version {
	c.t.Helper()
	v, err := c.stores[node].Put(c.t.Context(), key, []byte(value), quorum.Version{})
	require.NoError(c.t, err, "put %s=%s at %s", key, value, node)
	return v
}

func (c *cluster) get(node, key string, read ...quorum.Read) string {
	c.t.Helper()
	v, err := c.stores[node].Get(c.t.Context(), key, read...)
	require.NoError(c.t, err, "get %s at %s", key, node)
	value, ok := v.Newest()
	if !ok {
		return "(none)"
	}
	return string(value)
}

// eventually polls a condition until the test's time is over.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		}
	}
}

func key(i int) string { return fmt.Sprintf("key-%d", i) }
