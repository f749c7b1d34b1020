package verify

import (
	"encoding/csv"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// redisTool runs one of Debian's redis-tools against a server.
func redisTool(t *testing.T, s *server, tool, stdin string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	require.NoError(t, err, "install redis-tools")
	host, port, err := net.SplitHostPort(s.clients)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-h", host, "-p", port}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %q: %s", tool, args, out)
	return string(out)
}

// inBothModes runs a test against servers without a leader and with one.
func inBothModes(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Run("ap", func(t *testing.T) { test(t, startCluster(t)) })
	t.Run("cp", func(t *testing.T) { test(t, startStrictCluster(t)) })
}

func TestRedisCLI(t *testing.T) { inBothModes(t, testRedisCLI) }

func testRedisCLI(t *testing.T, c *cluster) {
	cli := func(node string, args ...string) string {
		return strings.TrimSuffix(redisTool(t, c.server(node), "redis-cli", "", args...), "\n")
	}
	require.Equal(t, "PONG", cli("a", "ping"))
	require.Equal(t, "OK", cli("a", "set", "greeting", "hello world"))
	require.Equal(t, "hello world", cli("b", "get", "greeting"))
	require.Equal(t, "OK", cli("b", "set", "short", "lived", "ex", "100"))
	require.Contains(t, []string{"99", "100"}, cli("c", "ttl", "short"))
	require.Equal(t, "2", cli("c", "exists", "greeting", "short", "missing"))
	require.Equal(t, "1", cli("a", "del", "greeting", "missing"))
	require.Empty(t, cli("b", "get", "greeting"))
	require.Empty(t, cli("b", "set", "short", "again", "nx"))
	require.Contains(t, cli("c", "get"), "ERR wrong number of arguments for 'get' command")
	require.Contains(t, cli("c", "lpush", "list", "1"), "ERR unknown command 'lpush'")
	require.Contains(t, cli("c", "info"), "node:c")
	require.Equal(t, "PONG\nPONG\nPONG", cli("a", "-r", "3", "ping"))
	require.Equal(t, "NOPROTO unsupported protocol version", strings.Split(cli("a", "hello", "3"), "\n")[0])

	typed := redisTool(t, c.server("a"), "redis-cli", "set typed 1\nget typed\nget\nget typed\n")
	require.Equal(t, []string{"OK", "1", "ERR wrong number of arguments for 'get' command", "1"}, lines(typed))
}

// redis-cli --pipe sends as fast as it can and counts the replies.
func TestRedisCLIMassInsertion(t *testing.T) { inBothModes(t, testRedisCLIMassInsertion) }

func testRedisCLIMassInsertion(t *testing.T, c *cluster) {
	const n = 3000
	var protocol strings.Builder
	for i := range n {
		value := strings.Repeat("v", i%200)
		fmt.Fprintf(&protocol, "*3\r\n$3\r\nSET\r\n$8\r\nkey %04d\r\n$%d\r\n%s\r\n", i, len(value), value)
	}
	out := redisTool(t, c.server("b"), "redis-cli", protocol.String(), "--pipe")
	require.Contains(t, out, fmt.Sprintf("errors: 0, replies: %d", n))
	for i := 0; i < n; i += 97 {
		got, err := once(c.server("c"), "GET", fmt.Sprintf("key %04d", i))
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("v", i%200), got)
	}
}

func TestRedisBenchmark(t *testing.T) {
	t.Run("ap", func(t *testing.T) { testRedisBenchmark(t, startCluster(t), "ping,set,get", "5000", 4, 500) })
	t.Run("cp", func(t *testing.T) {
		testRedisBenchmark(t, startStrictCluster(t), "ping,set,get,incr,mset", "2000", 6, 100)
	})
}

// testRedisBenchmark runs tests of redis-benchmark with so many commands each,
// which print so many rows; each must reach a rate, in commands a second, that
// shows that nothing hangs.
func testRedisBenchmark(t *testing.T, c *cluster, tests, commands string, results int, least float64) {
	for _, args := range [][]string{
		{"-c", "50"},
		{"-c", "50", "-P", "16"},
		{"-c", "20", "-d", "4096", "-r", "1000"},
	} {
		args = append([]string{"-t", tests, "-n", commands, "--csv"}, args...)
		out := redisTool(t, c.server("a"), "redis-benchmark", "", args...)
		require.NotContains(t, strings.ToLower(out), "error", "%q", args)
		require.NotContains(t, out, "WARNING", "%q", args)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		require.NoError(t, err, "%s", out)
		require.Len(t, rows, 1+results, "%s", out) // a headline, and two kinds of PING
		for _, row := range rows[1:] {
			rate, err := strconv.ParseFloat(row[1], 64)
			require.NoError(t, err)
			require.Greater(t, rate, least, "%v", row)
			t.Logf("%v: %s %s/s", args[5:], row[0], row[1])
		}
	}
}

func TestGoRedis(t *testing.T) { inBothModes(t, testGoRedis) }

func testGoRedis(t *testing.T, c *cluster) {
	ctx := t.Context()
	// As it comes: it asks for RESP3 first and tells its name and version.
	client := redis.NewClient(&redis.Options{Addr: c.server("a").clients, ClientName: "verify"})
	defer client.Close()
	other := redis.NewClient(&redis.Options{Addr: c.server("b").clients, Protocol: 2})
	defer other.Close()

	require.NoError(t, client.Ping(ctx).Err())
	name, err := client.ClientGetName(ctx).Result()
	require.NoError(t, err)
	require.Equal(t, "verify", name)

	require.NoError(t, client.Set(ctx, "k", "\x00binary\r\n", time.Minute).Err())
	value, err := other.Get(ctx, "k").Result()
	require.NoError(t, err)
	require.Equal(t, "\x00binary\r\n", value)
	left, err := other.PTTL(ctx, "k").Result()
	require.NoError(t, err)
	require.InDelta(t, time.Minute.Seconds(), left.Seconds(), 10)

	set, err := client.SetNX(ctx, "k", "2", 0).Result()
	require.NoError(t, err)
	require.False(t, set)
	set, err = client.SetXX(ctx, "k", "3", redis.KeepTTL).Result()
	require.NoError(t, err)
	require.True(t, set)
	old, err := client.SetArgs(ctx, "k", "4", redis.SetArgs{Get: true}).Result()
	require.NoError(t, err)
	require.Equal(t, "3", old)

	n, err := other.Exists(ctx, "k", "missing").Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	n, err = client.Del(ctx, "k", "missing").Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.ErrorIs(t, other.Get(ctx, "k").Err(), redis.Nil)
	ttl, err := client.TTL(ctx, "k").Result()
	require.NoError(t, err)
	require.EqualValues(t, -2, ttl)

	pipe := client.Pipeline()
	for i := range 100 {
		pipe.Set(ctx, fmt.Sprint("pipe ", i), i, 0)
	}
	wrong := pipe.Do(ctx, "GET")
	last := pipe.Get(ctx, "pipe 99")
	_, err = pipe.Exec(ctx)
	require.ErrorContains(t, err, "wrong number of arguments")
	require.Error(t, wrong.Err())
	require.Equal(t, "99", last.Val(), "an error in the middle does not end the pipeline")

	require.NoError(t, client.Set(ctx, "soon", "gone", 50*time.Millisecond).Err())
	require.Eventually(t, func() bool { return other.Get(ctx, "soon").Err() == redis.Nil }, patience, 5*time.Millisecond)
	set, err = other.SetNX(ctx, "soon", "again", 0).Result()
	require.NoError(t, err)
	require.True(t, set)
}

// What only servers with a leader answer.
func TestGoRedisStrict(t *testing.T) {
	c := startStrictCluster(t)
	ctx := t.Context()
	client := redis.NewClient(&redis.Options{Addr: c.server("a").clients})
	defer client.Close()
	other := redis.NewClient(&redis.Options{Addr: c.server("b").clients})
	defer other.Close()

	require.NoError(t, client.MSet(ctx, "x", "1", "y", "2").Err())
	values, err := other.MGet(ctx, "x", "y", "missing").Result()
	require.NoError(t, err)
	require.Equal(t, []any{"1", "2", nil}, values)
	n, err := other.IncrBy(ctx, "x", 41).Result()
	require.NoError(t, err)
	require.EqualValues(t, 42, n)
	n, err = client.Decr(ctx, "x").Result()
	require.NoError(t, err)
	require.EqualValues(t, 41, n)
	n, err = other.Append(ctx, "y", "345").Result()
	require.NoError(t, err)
	require.EqualValues(t, 4, n)
	old, err := client.Do(ctx, "GETSET", "y", "new").Text()
	require.NoError(t, err)
	require.Equal(t, "2345", old)
	old, err = other.GetDel(ctx, "y").Result()
	require.NoError(t, err)
	require.Equal(t, "new", old)
	require.ErrorIs(t, client.GetDel(ctx, "y").Err(), redis.Nil)
	set, err := client.Expire(ctx, "x", time.Hour).Result()
	require.NoError(t, err)
	require.True(t, set)
	left, err := other.TTL(ctx, "x").Result()
	require.NoError(t, err)
	require.InDelta(t, time.Hour.Seconds(), left.Seconds(), 10)
	set, err = other.Persist(ctx, "x").Result()
	require.NoError(t, err)
	require.True(t, set)
	set, err = client.PExpire(ctx, "x", 20*time.Millisecond).Result()
	require.NoError(t, err)
	require.True(t, set)
	require.Eventually(t, func() bool { return other.Get(ctx, "x").Err() == redis.Nil }, patience, 5*time.Millisecond)
	require.ErrorIs(t, client.Get(ctx, "x").Err(), redis.Nil, "gone for one is gone for all")
	require.NoError(t, client.Do(ctx, "SET", "z", "1").Err())
	require.ErrorIs(t, client.Do(ctx, "SET", "z", "2", "IFEQ", "0").Err(), redis.Nil)
	require.NoError(t, client.Do(ctx, "SET", "z", "2", "IFEQ", "1").Err())
}

func lines(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == '\n' }) }
