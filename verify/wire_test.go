package verify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// callTimeout is how long a client waits for an answer: longer than the servers
// take to say that they have none.
const callTimeout = 2 * time.Second

// A wire is a client without any cleverness: one connection, one command at a
// time, and every failure is shown. It is for one goroutine.
type wire struct {
	net.Conn
	in *bufio.Reader
}

// A replyError is an error reply of a server.
type replyError string

func (e replyError) Error() string { return string(e) }

var (
	errNull   = errors.New("null")                          // the reply to GET where there is nothing
	errUnsent = errors.New("the command has not been sent") // there was no connection
)

func dial(address string) (*wire, error) {
	conn, err := net.DialTimeout("tcp", address, callTimeout)
	if err != nil {
		return nil, err
	}
	return &wire{conn, bufio.NewReader(conn)}, nil
}

func mustDial(t *testing.T, address string) *wire {
	t.Helper()
	w, err := dial(address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// do sends a command and returns its reply. After an error that is neither a
// replyError nor errNull the wire is of no more use.
func (w *wire) do(words ...string) (string, error) {
	request := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, word := range words {
		request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(word), word)
	}
	if err := w.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return "", err
	}
	if _, err := w.Write(request); err != nil {
		return "", err
	}
	return w.reply()
}

// reply reads one reply that is not an array.
func (w *wire) reply() (string, error) {
	line, err := w.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("the reply is an empty line")
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", replyError(line[1:])
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < -1 || n > 1<<20 {
			return "", fmt.Errorf("the reply is %q", line)
		}
		if n < 0 {
			return "", errNull
		}
		b := make([]byte, n+2)
		_, err = io.ReadFull(w.in, b)
		return string(b[:n]), err
	}
	return "", fmt.Errorf("the reply is %q", line)
}

// A caller has a wire to each server that it talks to, and makes it anew when it
// is broken. It is for one goroutine.
type caller struct {
	servers []*server
	wires   map[*server]*wire
	failing map[*server]bool // whose last answer was none, or that it could not
}

func newCaller(servers ...*server) *caller {
	return &caller{servers: servers, wires: map[*server]*wire{}, failing: map[*server]bool{}}
}

// pick draws a server. One that failed is rarely tried: it may cost all of
// callTimeout.
func (c *caller) pick(random *rand.Rand) *server {
	for {
		if s := c.servers[random.IntN(len(c.servers))]; !c.failing[s] || random.IntN(100) == 0 {
			return s
		}
	}
}

func (c *caller) do(s *server, words ...string) (string, error) {
	text, err := c.try(s, words...)
	c.failing[s] = err != nil && !errors.Is(err, errNull)
	return text, err
}

func (c *caller) try(s *server, words ...string) (string, error) {
	w := c.wires[s]
	if w == nil {
		var err error
		if w, err = dial(s.clients); err != nil {
			return "", fmt.Errorf("%w: %w", errUnsent, err)
		}
		c.wires[s] = w
	}
	text, err := w.do(words...)
	if _, said := errors.AsType[replyError](err); err != nil && !said && !errors.Is(err, errNull) {
		delete(c.wires, s)
		_ = w.Close()
	}
	return text, err
}

func (c *caller) close() {
	for _, w := range c.wires {
		_ = w.Close()
	}
}

// once sends one command to one server, on a connection of its own.
func once(s *server, words ...string) (string, error) {
	c := newCaller()
	defer c.close()
	return c.do(s, words...)
}
