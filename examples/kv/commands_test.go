package main

import (
	"bufio"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// An exchange is one request of a transcript and its reply.
type exchange struct {
	line  int
	words []string
	reply string
}

// readTranscript reads a file of testdata; redis.txt says how they are written.
func readTranscript(t *testing.T, path string) (all []exchange) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "> "):
			all = append(all, exchange{line: n, words: splitWords(t, text[2:])})
		case strings.HasPrefix(text, "< "):
			reply, err := strconv.Unquote(`"` + text[2:] + `"`)
			require.NoError(t, err, "line %d", n)
			all[len(all)-1].reply = reply + "\r\n"
		}
	}
	require.NoError(t, lines.Err())
	return all
}

func splitWords(t *testing.T, s string) (words []string) {
	t.Helper()
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if s[0] != '"' {
			word, rest, _ := strings.Cut(s, " ")
			words, s = append(words, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(s)
		require.NoError(t, err)
		word, err := strconv.Unquote(quoted)
		require.NoError(t, err)
		words, s = append(words, word), s[len(quoted):]
	}
	return words
}

// say carries out one command for a new client.
func say(t *testing.T, c *commands, words ...string) string {
	t.Helper()
	return sayAs(t.Context(), c, &client{id: 7}, words...)
}

func sayAs(ctx context.Context, c *commands, who *client, words ...string) string {
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(w)
	}
	return string(c.run(ctx, who, args, nil))
}

func newMemoryCommands() *commands {
	s := &memoryStore{items: map[string]item{}}
	return newCommands(s, true, map[string]string{"save": "", "appendonly": "no"}, func(section string) string { return "section " + section })
}

func TestCommandsAnswerAsRedisDoes(t *testing.T) {
	c, who := newMemoryCommands(), &client{id: 7}
	for _, file := range []string{"testdata/redis.txt", "testdata/strict.txt"} {
		for _, e := range readTranscript(t, file) {
			require.Equal(t, e.reply, sayAs(t.Context(), c, who, e.words...), "%s:%d: %q", file, e.line, e.words)
		}
	}
}

// IFEQ is newer than Redis 7.0.
func TestSetIfEqual(t *testing.T) {
	c := newMemoryCommands()
	require.Equal(t, "$-1\r\n", say(t, c, "SET", "k", "2", "IFEQ", ""))
	require.Equal(t, "+OK\r\n", say(t, c, "SET", "k", "1"))
	require.Equal(t, "$-1\r\n", say(t, c, "SET", "k", "2", "IFEQ", "0"))
	require.Equal(t, "+OK\r\n", say(t, c, "SET", "k", "2", "IFEQ", "1"))
	require.Equal(t, "$1\r\n2\r\n", say(t, c, "SET", "k", "3", "IFEQ", "1", "GET"))
	require.Equal(t, "$1\r\n2\r\n", say(t, c, "GET", "k"))
	for _, words := range [][]string{{"IFEQ"}, {"IFEQ", "1", "NX"}, {"XX", "IFEQ", "1"}} {
		require.Equal(t, "-ERR syntax error\r\n", say(t, c, append([]string{"SET", "k", "4"}, words...)...))
	}
}

// A short command cannot ask for a reply without bound.
func TestMGetIsBounded(t *testing.T) {
	c := newMemoryCommands()
	require.Equal(t, "+OK\r\n", say(t, c, "SET", "k", strings.Repeat("v", 50_000)))
	words := slices.Repeat([]string{"k"}, 20)
	require.Len(t, say(t, c, append([]string{"MGET"}, words...)...), len("*20\r\n")+20*(len("$50000\r\n")+50_000+2))
	require.Equal(t, "-ERR the values have 2000000 bytes, one reply has at most 1048576\r\n", say(t, c, append([]string{"MGET"}, append(words, words...)...)...))
}

// Without a strict store there are no commands that it alone answers rightly.
func TestCommandsOfAStrictStoreAreUnknownToOthers(t *testing.T) {
	c := newCommands(&memoryStore{items: map[string]item{}}, false, nil, nil)
	for _, name := range slices.Sorted(maps.Keys(c.strictTable())) {
		require.Contains(t, say(t, c, name, "a", "b"), "-ERR unknown command '"+name+"'")
	}
	require.Equal(t, "-ERR syntax error\r\n", say(t, c, "SET", "k", "1", "IFEQ", "0"))
}

func TestCommandsOfTheServer(t *testing.T) {
	c := newMemoryCommands()
	require.Equal(t, ":7\r\n", say(t, c, "CLIENT", "ID"))
	require.Equal(t, "$0\r\n\r\n", say(t, c, "CLIENT", "GETNAME"))
	require.Equal(t, "$12\r\nsection cpus\r\n", say(t, c, "INFO", "CPUs"))
	require.Equal(t, "*4\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$4\r\nsave\r\n$0\r\n\r\n", say(t, c, "CONFIG", "GET", "*"))
	require.Equal(t, "*2\r\n$4\r\nsave\r\n$0\r\n\r\n", say(t, c, "CONFIG", "GET", "sav?", "save", "[", "nosuch"))
	require.Regexp(t, `^:[0-9]+\r\n$`, say(t, c, "COMMAND", "COUNT"))

	who := &client{id: 9}
	reply := sayAs(t.Context(), c, who, "HELLO", "2", "SETNAME", "worker")
	require.Contains(t, reply, "$5\r\nproto\r\n:2\r\n")
	require.Contains(t, reply, "$2\r\nid\r\n:9\r\n")
	require.Equal(t, "worker", who.name)

	require.Equal(t, "+OK\r\n", sayAs(t.Context(), c, who, "QUIT"))
	require.True(t, who.quit)
}

// Whatever the store says, the client gets one line that is an error, and never
// half a reply before it.
func TestCommandsFailAsTheStoreDoes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{replyError("NOQUORUM read not acknowledged: 1 of 3 replicas answered, 2 must"), "-NOQUORUM read not acknowledged: 1 of 3 replicas answered, 2 must\r\n"},
		{errors.New("broken\r\nin two"), "-ERR broken  in two\r\n"},
	} {
		for _, words := range [][]string{
			{"GET", "a"},
			{"SET", "a", "1"},
			{"SET", "a", "1", "NX"},
			{"SET", "a", "1", "GET"},
			{"DEL", "a"},
			{"EXISTS", "a"},
			{"TTL", "a"},
			{"PTTL", "a"},
			{"MGET", "a"},
			{"MSET", "a", "1"},
			{"GETSET", "a", "1"},
			{"GETDEL", "a"},
			{"INCR", "a"},
			{"DECRBY", "a", "1"},
			{"APPEND", "a", "1"},
			{"EXPIRE", "a", "1"},
			{"PERSIST", "a"},
		} {
			table := newCommands(&memoryStore{err: c.err}, true, nil, nil)
			require.Equal(t, c.want, say(t, table, words...), "%q", words)
		}
	}
}

func TestErrorsSayBackOnlySoMuch(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, words := range [][]string{
		{long}, {"nosuch", long, long, long}, {"CLIENT", long}, {"HELLO", "2", long}, {"CLIENT", "SETINFO", long, "1"}, {"SET", "a", "1", long},
	} {
		reply := say(t, newMemoryCommands(), words...)
		require.Regexp(t, `^-ERR [^\r\n]*\r\n$`, reply)
		require.Less(t, len(reply), 500)
	}
}

func TestExpiryGoesByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemoryCommands()
		say(t, c, "SET", "k", "1", "PX", "1500")
		require.Equal(t, ":1500\r\n", say(t, c, "PTTL", "k"))
		time.Sleep(1499 * time.Millisecond)
		require.Equal(t, "$1\r\n1\r\n", say(t, c, "GET", "k"))
		require.Equal(t, ":1\r\n", say(t, c, "PTTL", "k"))
		require.Equal(t, "$-1\r\n", say(t, c, "SET", "k", "2", "NX"))
		time.Sleep(time.Millisecond)
		require.Equal(t, "$-1\r\n", say(t, c, "GET", "k"))
		require.Equal(t, ":0\r\n", say(t, c, "EXISTS", "k"))
		require.Equal(t, ":0\r\n", say(t, c, "DEL", "k"))
		require.Equal(t, "$-1\r\n", say(t, c, "SET", "k", "2", "XX"))
		require.Equal(t, "$-1\r\n", say(t, c, "SET", "k", "2", "NX", "GET"))
		require.Equal(t, "$1\r\n2\r\n", say(t, c, "GET", "k"))
		require.Equal(t, ":-1\r\n", say(t, c, "TTL", "k"), "KEEPTTL and GET see nothing of an expired item")
	})
}

// However odd the words, there is exactly one reply, and it is well-formed.
func FuzzCommands(f *testing.F) {
	f.Add("SET a 1 EX 10 NX GET", byte(' '))
	f.Add("CLIENT|SETNAME|x", byte('|'))
	f.Add("CONFIG GET [", byte(' '))
	f.Add("HELLO 2 SETNAME a", byte(' '))
	f.Add("", byte(' '))
	f.Add("MSET a 1 b", byte(' '))
	f.Add("DECRBY a -9223372036854775808", byte(' '))
	f.Fuzz(func(t *testing.T, text string, separator byte) {
		reply := say(t, newMemoryCommands(), strings.Split(text, string(rune(separator)))...)
		rest, err := skipReply(reply)
		require.NoError(t, err, "%q", reply)
		require.Empty(t, rest, "%q", reply)
	})
}

// skipReply reads one RESP2 reply as its specification describes it.
func skipReply(s string) (rest string, err error) {
	head, rest, ok := strings.Cut(s, "\r\n")
	if !ok || head == "" {
		return "", errors.New("no line")
	}
	n, err := strconv.Atoi(head[1:])
	switch head[0] {
	case '+', '-':
		return rest, nil
	case ':':
		return rest, err
	case '$':
		if err != nil || n < -1 || n >= 0 && (len(rest) < n+2 || rest[n:n+2] != "\r\n") {
			return "", errors.New("bad bulk string")
		}
		if n < 0 {
			return rest, nil
		}
		return rest[n+2:], nil
	case '*':
		if err != nil || n < 0 {
			return "", errors.New("bad array")
		}
		for range n {
			if rest, err = skipReply(rest); err != nil {
				return "", err
			}
		}
		return rest, nil
	}
	return "", errors.New("bad type")
}
