package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startStrict starts nodes with a leader, on disk.
func startStrict(t *testing.T, names ...string) *cluster {
	t.Helper()
	return startNodes(t, &replicaConfig{heartbeat: 50 * time.Millisecond, election: 250 * time.Millisecond, snapshot: 200}, names)
}

// leader waits until the nodes that are up follow one of them.
func (c *cluster) leader(t *testing.T) string {
	t.Helper()
	leader := ""
	require.Eventually(t, func() bool {
		followed := map[string]int{}
		for _, n := range c.nodes {
			leader = n.data.(*replica).node.Status().Leader
			followed[leader]++
		}
		return c.nodes[leader] != nil && followed[leader] == len(c.nodes)
	}, 10*time.Second, time.Millisecond)
	return leader
}

func (c *cluster) restart(t *testing.T, name string) {
	t.Helper()
	n := c.start(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, n.data.awaitReady(ctx))
}

// Whichever node is asked, it answers as one Redis does.
func TestStrictClusterAnswersAsRedisDoes(t *testing.T) {
	playTranscript(t, startStrict(t, "a"), "testdata/own.txt")
	for _, file := range []string{"testdata/redis.txt", "testdata/strict.txt"} {
		playTranscript(t, startStrict(t, "a", "b", "c"), file)
	}
}

// While leader after leader is lost and comes back from its disk, clients of nodes
// that stay up are told of every INCR, and every one of them is done once.
func TestIncrIsDoneOnceWhileLeadersAreLost(t *testing.T) {
	c := startStrict(t, "a", "b", "c", "d", "e")
	steady := c.names[:2]
	ctx, cancel := context.WithCancel(t.Context())
	var told sync.Map
	var acknowledged atomic.Int64
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			commands := c.nodes[steady[i%2]].server.commands
			for ctx.Err() == nil {
				reply := sayAs(context.Background(), commands, &client{}, "INCR", "n")
				n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(reply, ":")))
				if _, twice := told.LoadOrStore(n, true); twice || err != nil {
					t.Errorf("%q, told twice: %v", reply, twice)
				}
				acknowledged.Add(1)
			}
		})
	}
	progress := func() {
		enough := acknowledged.Load() + 100
		require.Eventually(t, func() bool { return acknowledged.Load() >= enough }, 10*time.Second, time.Millisecond)
	}
	for _, name := range c.names[2:] {
		progress()
		if leader := c.leader(t); leader != name {
			require.NoError(t, c.nodes[leader].data.(*replica).node.TransferLeadership(t.Context(), name))
		}
		progress()
		c.kill(name)
		progress()
		c.restart(t, name)
	}
	cancel()
	clients.Wait()
	for _, name := range c.names {
		want := fmt.Sprint(acknowledged.Load())
		require.Equal(t, fmt.Sprintf("$%d\r\n%s\r\n", len(want), want), c.say(t.Context(), name, "GET", "n"))
	}
}

// MSET is seen whole or not at all, on every node.
func TestMSetIsSeenWhole(t *testing.T) {
	c := startStrict(t, "a", "b", "c")
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "MSET", "x", "0", "y", "0", "z", "0"))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, name := range c.names {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				value := fmt.Sprint(name, i)
				if reply := c.say(t.Context(), name, "MSET", "x", value, "y", value, "z", value); reply != "+OK\r\n" {
					t.Errorf("%q", reply)
				}
			}
		})
	}
	for i := range 300 {
		reply := strings.Split(c.say(t.Context(), c.names[i%3], "MGET", "x", "y", "z"), "\r\n")
		require.Len(t, reply, 8)
		require.Equal(t, reply[2], reply[4])
		require.Equal(t, reply[2], reply[6])
	}
	cancel()
	wg.Wait()
}

// All nodes are lost at once and come back from their disks: nothing is missing,
// what has expired stays expired, what has not keeps its time.
func TestStrictClusterComesBackFromDisk(t *testing.T) {
	c := startStrict(t, "a", "b", "c")
	const keys = 250 // more than a snapshot apart
	for i := range keys {
		require.Equal(t, "+OK\r\n", c.say(t.Context(), c.names[i%3], "SET", fmt.Sprint("key ", i), fmt.Sprintf("%03d", i)))
	}
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", "over", "1", "PXAT", "1"))
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", "lasting", "1", "EX", "1000"))
	for range 2 {
		for _, name := range c.names {
			c.kill(name)
		}
		for _, name := range c.names {
			c.start(t, name)
		}
		for i := range keys {
			require.Equal(t, fmt.Sprintf("$3\r\n%03d\r\n", i), c.say(t.Context(), c.names[i%3], "GET", fmt.Sprint("key ", i)))
		}
		require.Equal(t, ":0\r\n", c.say(t.Context(), "b", "EXISTS", "over"))
		require.Regexp(t, `^:(9[0-9][0-9]|1000)\r\n$`, c.say(t.Context(), "c", "TTL", "lasting"))
	}
}

// A node gets as a snapshot what the others have left out of their logs.
func TestNodeThatWasAwayGetsASnapshot(t *testing.T) {
	c := startStrict(t, "a", "b", "c")
	c.kill("c")
	for i := range 300 {
		value := fmt.Sprint(i)
		require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "MSET", fmt.Sprint("key ", i), value, fmt.Sprint("twin ", i), value))
	}
	c.restart(t, "c")
	require.Regexp(t, `\r\nsnapshots_fetched:[1-9]\r\n`, c.say(t.Context(), "c", "INFO", "consensus"))
	for i := range 300 {
		value := fmt.Sprint(i)
		require.Equal(t, fmt.Sprintf("$%d\r\n%s\r\n", len(value), value), c.say(t.Context(), "c", "GET", fmt.Sprint("twin ", i)))
	}
}

// A node alone answers with an error, says whether the write can still happen, and
// acknowledges nothing.
func TestStrictNodeAloneRefuses(t *testing.T) {
	c := startStrict(t, "a", "b", "c")
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", "k", "1"))
	for c.leader(t) == "a" {
		require.NoError(t, c.nodes["a"].data.(*replica).node.TransferLeadership(t.Context(), "b"))
	}
	c.kill("b")
	c.kill("c")
	for _, words := range [][]string{{"GET", "k"}, {"SET", "k", "2"}, {"INCR", "k"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		require.Regexp(t, `^-NOQUORUM (read not answered|write not done|write not acknowledged, it may be done all the same): `, c.say(ctx, "a", words...), "%q", words)
		cancel()
	}
	require.Equal(t, "+PONG\r\n", c.say(t.Context(), "a", "PING"))
	require.Eventually(t, func() bool { return strings.Contains(c.say(t.Context(), "a", "INFO"), "\r\nstate:leaderless\r\n") }, 10*time.Second, time.Millisecond)
}

// A key is gone for all clients once it is gone for one, and no wall clock is
// asked.
func TestStrictExpiry(t *testing.T) {
	c := startStrict(t, "a", "b", "c")
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", "k", "1", "PX", "60"))
	require.Eventually(t, func() bool { return c.say(t.Context(), "b", "GET", "k") == "$-1\r\n" }, 10*time.Second, time.Millisecond)
	for _, name := range c.names {
		require.Equal(t, "$-1\r\n", c.say(t.Context(), name, "GET", "k"))
		require.Equal(t, ":-2\r\n", c.say(t.Context(), name, "PTTL", "k"))
	}
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "c", "SET", "k", "2", "NX"))
}

func TestStrictInfo(t *testing.T) {
	c := startStrict(t, "a", "b", "c")
	leader := c.leader(t)
	require.Eventually(t, func() bool { return strings.Contains(c.say(t.Context(), "b", "INFO"), "\r\nstate:ready\r\n") }, 10*time.Second, time.Millisecond)
	all := c.say(t.Context(), "b", "INFO")
	for _, line := range []string{"node:b", "mode:cp", "nodes:a,b,c", "replicas:3", "replicas_that_must_answer:2", "leader:" + leader} {
		require.Contains(t, all, "\r\n"+line+"\r\n")
	}
}
