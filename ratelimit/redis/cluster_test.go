package redis_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ratelimit/redis"
)

// startCluster starts two servers that share the slots, and returns their
// addresses.
func startCluster(t *testing.T) (addresses []string) {
	t.Helper()
	var clients []*goredis.Client
	for _, slots := range [][2]int{{0, 8191}, {8192, 16383}} {
		address, stop, err := startServer("--cluster-enabled", "yes")
		require.NoError(t, err)
		t.Cleanup(stop)
		client := goredis.NewClient(&goredis.Options{Addr: address})
		t.Cleanup(func() { _ = client.Close() })
		require.NoError(t, client.ClusterAddSlotsRange(t.Context(), slots[0], slots[1]).Err())
		addresses, clients = append(addresses, address), append(clients, client)
	}
	host, port, err := net.SplitHostPort(addresses[1])
	require.NoError(t, err)
	require.NoError(t, clients[0].ClusterMeet(t.Context(), host, port).Err())
	for _, client := range clients {
		require.Eventually(t, func() bool {
			info := client.ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		}, 20*time.Second, 10*time.Millisecond)
	}
	return addresses
}

// A client that is wrong about where the keys are is sent on, to a server that has
// not seen the script yet, and no decision is made twice.
func TestAClusterSendsOn(t *testing.T) {
	addresses := startCluster(t)
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]goredis.ClusterSlot, error) {
			return []goredis.ClusterSlot{{Start: 0, End: 16383, Nodes: []goredis.ClusterNode{{Addr: addresses[0]}}}}, nil
		},
	})
	defer func() { _ = client.Close() }()
	s, err := redis.New(client, redis.Config{Limit: ratelimit.Per(1, time.Hour), Burst: 3})
	require.NoError(t, err)
	for i := range 40 {
		for left := range 3 {
			d, err := s.Take(t.Context(), fmt.Sprint("key ", i), 1)
			require.NoError(t, err)
			require.True(t, d.Allowed)
			require.Equal(t, 2-left, d.Remaining)
		}
		d, err := s.Take(t.Context(), fmt.Sprint("key ", i), 1)
		require.NoError(t, err)
		require.False(t, d.Allowed)
	}
	for _, address := range addresses {
		server := goredis.NewClient(&goredis.Options{Addr: address})
		require.Positive(t, server.DBSize(t.Context()).Val(), "both have keys")
		require.NoError(t, server.Close())
	}
}
