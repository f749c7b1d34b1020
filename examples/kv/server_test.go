package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startMemoryServer serves a map on loopback.
func startMemoryServer(t *testing.T, config serverConfig) (*server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newServer(config)
	s.start(l, newMemoryCommands())
	t.Cleanup(s.close)
	return s, l.Addr().String()
}

// A wire is a client that sends bytes as they are.
type wire struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func connect(t *testing.T, address string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return &wire{conn, t, bufio.NewReader(conn)}
}

func (w *wire) send(s string) {
	w.t.Helper()
	_, err := io.WriteString(w, s)
	require.NoError(w.t, err)
}

func (w *wire) line() string {
	w.t.Helper()
	s, err := w.r.ReadString('\n')
	require.NoError(w.t, err)
	return strings.TrimSuffix(s, "\r\n")
}

func (w *wire) ended() {
	w.t.Helper()
	rest, err := io.ReadAll(w.r)
	require.NoError(w.t, err)
	require.Empty(w.t, rest)
}

func TestServerAnswersPipelinesInOrder(t *testing.T) {
	_, address := startMemoryServer(t, defaultServer())
	w := connect(t, address)
	const n = 500
	go func() {
		for i := range n {
			fmt.Fprintf(w, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n%04d\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", i)
		}
	}()
	for i := range n {
		require.Equal(t, "+OK", w.line())
		require.Equal(t, "$4", w.line())
		require.Equal(t, fmt.Sprintf("%04d", i), w.line())
	}
}

// A client may send its command byte by byte; each byte in a segment of its own.
func TestServerReadsCommandsCutAnywhere(t *testing.T) {
	_, address := startMemoryServer(t, defaultServer())
	w := connect(t, address)
	for _, b := range []byte("*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\nPING\r\n") {
		_, err := w.Write([]byte{b})
		require.NoError(t, err)
	}
	require.Equal(t, "$3", w.line())
	require.Equal(t, "a", w.line())
	require.Empty(t, w.line())
	require.Equal(t, "+PONG", w.line())
}

func TestServerSurvivesMalformedInput(t *testing.T) {
	_, address := startMemoryServer(t, defaultServer())
	for _, c := range []struct{ input, want string }{
		{"*1\r\n$9223372036854775807\r\n", "-ERR Protocol error: invalid bulk length"},
		{"*9223372036854775807\r\n", "-ERR Protocol error: invalid multibulk length"},
		{"*1\r\n!4\r\nPING\r\n", "-ERR Protocol error: expected '$', got '!'"},
		{"ECHO \"a\r\n", "-ERR Protocol error: unbalanced quotes in request"},
		{strings.Repeat("x", 20<<10), "-ERR Protocol error: too big inline request"},
		{"*2\r\n$4\r\nECHO\r\n$300000\r\n" + strings.Repeat("x", 300_000) + "\r\n", "-ERR Protocol error: invalid bulk length"},
	} {
		w := connect(t, address)
		w.send("PING\r\n" + c.input)
		require.Equal(t, "+PONG", w.line(), "%.40q", c.input)
		require.Equal(t, c.want, w.line(), "%.40q", c.input)
		w.ended()
	}
	w := connect(t, address)
	w.send("PING\r\n")
	require.Equal(t, "+PONG", w.line())
}

// A value that is a little too large is an error of the command, not of the
// protocol.
func TestServerKeepsTheConnectionOfATooLargeValue(t *testing.T) {
	_, address := startMemoryServer(t, defaultServer())
	w := connect(t, address)
	value := strings.Repeat("x", maxValue+1)
	w.send(fmt.Sprintf("*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\nPING\r\n", len(value), value))
	require.Equal(t, fmt.Sprintf("$%d", len(value)), w.line())
	require.Equal(t, value, w.line())
	require.Equal(t, "+PONG", w.line())
}

func TestServerStopsAtQuit(t *testing.T) {
	_, address := startMemoryServer(t, defaultServer())
	w := connect(t, address)
	w.send("SET k 1\r\nQUIT\r\nSET k 2\r\n")
	require.Equal(t, "+OK", w.line())
	require.Equal(t, "+OK", w.line())
	w.ended()

	w = connect(t, address)
	w.send("GET k\r\n")
	require.Equal(t, "$1", w.line())
	require.Equal(t, "1", w.line())
}

func TestServerBoundsClients(t *testing.T) {
	config := defaultServer()
	config.clients = 2
	s, address := startMemoryServer(t, config)
	first, second := connect(t, address), connect(t, address)
	for _, w := range []*wire{first, second} {
		w.send("PING\r\n")
		require.Equal(t, "+PONG", w.line())
	}
	third := connect(t, address)
	require.Equal(t, "-ERR max number of clients reached", third.line())
	third.ended()
	require.EqualValues(t, 1, s.refused.Load())

	first.send("QUIT\r\n")
	require.Equal(t, "+OK", first.line())
	first.ended()
	require.Eventually(t, func() bool { return s.clients.Load() == 1 }, 5*time.Second, time.Millisecond)
	fourth := connect(t, address)
	fourth.send("PING\r\n")
	require.Equal(t, "+PONG", fourth.line())
}

func TestServerDropsIdleClients(t *testing.T) {
	config := defaultServer()
	config.idle = 20 * time.Millisecond
	_, address := startMemoryServer(t, config)
	connect(t, address).ended()

	half := connect(t, address) // also one in the middle of a command
	half.send("*2\r\n$4\r\nEC")
	half.ended()
}

// A client that asks for much and reads nothing costs a bounded amount, is
// dropped, and delays nobody.
func TestServerDropsClientsThatDoNotRead(t *testing.T) {
	config := defaultServer()
	config.write = 100 * time.Millisecond
	s, address := startMemoryServer(t, config)
	other := connect(t, address)
	other.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$50000\r\n" + strings.Repeat("x", 50_000) + "\r\n")
	require.Equal(t, "+OK", other.line())

	greedy := connect(t, address)
	greedy.send(strings.Repeat("GET k\r\n", 2000)) // 100 MB of replies
	for s.clients.Load() > 1 {
		other.send("PING\r\n")
		require.Equal(t, "+PONG", other.line())
	}
}

func TestServerCloseEndsClients(t *testing.T) {
	s, address := startMemoryServer(t, defaultServer())
	w := connect(t, address)
	w.send("PING\r\n")
	require.Equal(t, "+PONG", w.line())
	s.close()
	_, err := w.r.ReadByte()
	require.Error(t, err)
	_, err = net.Dial("tcp", address)
	require.Error(t, err)
}
