package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport/mem"
)

// A cluster is some nodes in this process; each key is on three of them, or with
// strict on all.
type cluster struct {
	network *mem.Network
	names   []string
	strict  *replicaConfig // without the folder; nil: with quorums
	dirs    string
	nodes   map[string]*node
	leave   map[string]func()
}

func startCluster(t *testing.T, names ...string) *cluster {
	t.Helper()
	return startNodes(t, nil, names)
}

func startNodes(t *testing.T, strict *replicaConfig, names []string) *cluster {
	t.Helper()
	c := &cluster{network: mem.NewNetwork(), names: names, strict: strict, dirs: t.TempDir(), nodes: map[string]*node{}, leave: map[string]func(){}}
	t.Cleanup(func() {
		for name := range c.nodes {
			c.kill(name)
		}
	})
	for _, name := range c.names {
		c.start(t, name)
	}
	for _, n := range c.nodes {
		require.NoError(t, n.data.awaitReady(t.Context()))
	}
	return c
}

func (c *cluster) start(t *testing.T, name string) *node {
	t.Helper()
	transport, err := c.network.Join(name)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	config := nodeConfig{nodes: c.names, replicas: 3, server: defaultServer(), log: slog.New(slog.DiscardHandler)}
	if c.strict != nil {
		strict := *c.strict
		strict.dir = filepath.Join(c.dirs, name)
		config.strict = &strict
	}
	n, err := startNode(transport, l, config)
	require.NoError(t, err)
	c.nodes[name] = n
	c.leave[name] = func() {
		require.NoError(t, transport.Close()) // first: to the others it is gone at once
		if r, ok := n.data.(*replica); ok {
			r.election = 0 // nor has it time to hand over
		}
		require.NoError(t, n.close())
	}
	return n
}

func (c *cluster) kill(name string) {
	c.leave[name]()
	delete(c.nodes, name)
	delete(c.leave, name)
}

// say sends one command to a node, past its server.
func (c *cluster) say(ctx context.Context, node string, words ...string) string {
	return sayAs(ctx, c.nodes[node].server.commands, &client{id: 7}, words...)
}

// The cluster answers as one server does, whichever node is asked.
func TestClusterAnswersAsRedisDoes(t *testing.T) {
	for _, names := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d", "e", "f", "g"}} {
		t.Run(fmt.Sprint(len(names), " nodes"), func(t *testing.T) { testTranscripts(t, names) })
	}
}

func testTranscripts(t *testing.T, names []string) {
	for _, file := range []string{"testdata/redis.txt", "testdata/own.txt"} {
		playTranscript(t, startCluster(t, names...), file)
	}
}

// playTranscript has one client ask all nodes in turn.
func playTranscript(t *testing.T, c *cluster, file string) {
	t.Helper()
	who := &client{id: 7}
	for i, e := range readTranscript(t, file) {
		node := c.nodes[c.names[i%len(c.names)]]
		require.Equal(t, e.reply, sayAs(t.Context(), node.server.commands, who, e.words...), "%s:%d: %q", file, e.line, e.words)
	}
}

func TestValuesAndKeysAreBounded(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	value := strings.Repeat("v", maxValue)
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", "k", value))
	require.Equal(t, fmt.Sprintf("$%d\r\n%s\r\n", maxValue, value), c.say(t.Context(), "b", "GET", "k"))
	tooLarge := fmt.Sprintf("-ERR a value has at most %d bytes, this one has %d\r\n", maxValue, maxValue+1)
	require.Equal(t, tooLarge, c.say(t.Context(), "a", "SET", "k", value+"v"))
	require.Equal(t, tooLarge, c.say(t.Context(), "a", "SET", "k", value+"v", "XX"))

	key := strings.Repeat("k", maxKey)
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", key, value, "NX"))
	require.Contains(t, c.say(t.Context(), "b", "SET", key+"k", "1"), "-ERR a key has 1 to ")
	require.Contains(t, c.say(t.Context(), "b", "GET", key+"k"), "-ERR a key has 1 to ")
}

// Of many clients at all nodes exactly one is told that it set the key, and it
// is its value that stays.
func TestSetNXHasOneWinner(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	for round := range 50 {
		key := fmt.Sprint("lock ", round)
		var wg sync.WaitGroup
		var winners atomic.Int32
		var winner atomic.Pointer[string]
		for i := range 12 {
			wg.Go(func() {
				value := fmt.Sprintf("%02d", i)
				switch reply := c.say(t.Context(), c.names[i%3], "SET", key, value, "NX"); reply {
				case "+OK\r\n":
					winners.Add(1)
					winner.Store(&value)
				case "$-1\r\n":
				default:
					t.Errorf("client %d: %q", i, reply)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, winners.Load())
		for _, node := range c.names {
			require.Equal(t, "$2\r\n"+*winner.Load()+"\r\n", c.say(t.Context(), node, "GET", key))
		}
	}
}

// SET NX and DEL make a lock: the sections between them never overlap, whichever
// nodes are asked.
func TestSetNXAndDelMakeALock(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	var wg sync.WaitGroup
	var inside, entered atomic.Int32
	for i := range 6 {
		wg.Go(func() {
			for turn := 0; turn < 20; {
				if c.say(t.Context(), c.names[(i+turn)%3], "SET", "lock", fmt.Sprint(i), "NX") != "+OK\r\n" {
					continue
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d inside at once", n)
				}
				turn++
				entered.Add(1)
				inside.Add(-1)
				if reply := c.say(t.Context(), c.names[(i+turn)%3], "DEL", "lock"); reply != ":1\r\n" {
					t.Errorf("unlock: %q", reply)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 120, entered.Load())
}

// Every DEL of one value is told 0 but one.
func TestDelCountsOnce(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	for round := range 30 {
		key := fmt.Sprint("key ", round)
		require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", key, "1"))
		var wg sync.WaitGroup
		var removed atomic.Int32
		for i := range 9 {
			wg.Go(func() {
				if c.say(t.Context(), c.names[i%3], "DEL", key) == ":1\r\n" {
					removed.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, removed.Load())
	}
}

// With one node of three gone, everything works, conditions too.
func TestClusterWorksWithoutOneNode(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	for i := range 30 { // so that every node is the first owner of some
		require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", fmt.Sprint("key ", i), "1"))
	}
	c.kill("c")
	for i := range 30 {
		key := fmt.Sprint("key ", i)
		require.Equal(t, "$1\r\n1\r\n", c.say(t.Context(), "b", "GET", key))
		require.Equal(t, "$-1\r\n", c.say(t.Context(), "a", "SET", key, "2", "NX"))
		require.Equal(t, "$1\r\n1\r\n", c.say(t.Context(), "a", "SET", key, "2", "GET"))
		require.Equal(t, ":1\r\n", c.say(t.Context(), "b", "DEL", key))
		require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", key, "3", "NX"))
		require.Equal(t, "+OK\r\n", c.say(t.Context(), "b", "SET", key, "4"))
	}
}

// A node alone says how many replicas answered, and acknowledges nothing.
func TestUnreachableQuorumIsAnError(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	require.Equal(t, "+OK\r\n", c.say(t.Context(), "a", "SET", "k", "1"))
	c.kill("b")
	c.kill("c")
	for _, words := range [][]string{
		{"GET", "k"}, {"SET", "k", "2"}, {"SET", "k", "2", "NX"}, {"SET", "k", "2", "XX"}, {"DEL", "k"}, {"EXISTS", "k"}, {"TTL", "k"},
	} {
		reply := c.say(t.Context(), "a", words...)
		require.Regexp(t, `^-NOQUORUM .*1 of 3 replicas answered, 2 must; .*b: .*; c: `, reply, "%q", words)
	}
	require.Equal(t, "+PONG\r\n", c.say(t.Context(), "a", "PING"))
}

// What was acknowledged survives the loss of every node's memory in turn, as
// long as each copies its part back before the next one goes.
func TestDataOutlivesEveryNode(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	for i := range 200 {
		require.Equal(t, "+OK\r\n", c.say(t.Context(), c.names[i%3], "SET", fmt.Sprint("key ", i), fmt.Sprintf("%03d", i)))
	}
	for _, name := range c.names {
		c.kill(name)
		n := c.start(t, name)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		require.NoError(t, n.data.awaitReady(ctx))
		cancel()
	}
	for i := range 200 {
		require.Equal(t, fmt.Sprintf("$3\r\n%03d\r\n", i), c.say(t.Context(), c.names[i%3], "GET", fmt.Sprint("key ", i)))
	}
}

func TestInfoTellsWhatHolds(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	all := c.say(t.Context(), "b", "INFO")
	for _, line := range []string{"node:b", "state:ready", "nodes:a,b,c", "replicas:3", "replicas_that_must_answer:2", "maxclients:1000"} {
		require.Contains(t, all, "\r\n"+line+"\r\n")
	}
	require.Regexp(t, `\r\ngoroutines:[1-9][0-9]*\r\n`, all)
	require.Regexp(t, `\r\nmemory_bytes:[1-9][0-9]*\r\n`, all)
	one := c.say(t.Context(), "b", "INFO", "Cluster")
	require.Contains(t, one, "# Cluster")
	require.NotContains(t, one, "# Server")
	require.Equal(t, "$0\r\n\r\n", c.say(t.Context(), "b", "INFO", "nosuch"))
}

// The first owner carries the edit out and falls silent before it answers. The
// next one must not say that the key was there already: this command put it there.
func TestDeciderThatFallsSilent(t *testing.T) {
	c := startCluster(t, "a", "b", "c")
	key := "lock"
	owners := c.nodes["a"].data.(*database).ring.Owners(nil, key, 3)
	first, asked := c.nodes[owners[0]].data.(*database), owners[2]
	stop := first.transport.Serve(editService, func(ctx context.Context, from string, request []byte) ([]byte, error) {
		_, _ = first.serveEdit(ctx, from, request)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.Equal(t, "+OK\r\n", c.say(ctx, asked, "SET", key, "1", "NX"))
	require.Equal(t, "$1\r\n1\r\n", c.say(t.Context(), asked, "GET", key))

	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.Contains(t, c.say(ctx, asked, "SET", key, "2", "GET"), "-UNCERTAIN ")
	require.Equal(t, "$1\r\n2\r\n", c.say(t.Context(), asked, "GET", key))
	stop()
}
