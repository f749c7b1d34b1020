package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/redcon"
)

// A caller is a client of a server, as far as the demo needs one. It is for one
// goroutine. After an error that is not a serverError it is of no more use.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

const (
	callTimeout = 5 * time.Second // for one command
	maxReply    = 1 << 20         // bytes of one string
)

// A serverError is an error reply.
type serverError string

func (e serverError) Error() string { return string(e) }

func dial(ctx context.Context, address string) (*caller, error) {
	d := net.Dialer{Timeout: callTimeout}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &caller{conn: conn, in: bufio.NewReader(conn)}, nil
}

func (c *caller) close() { _ = c.conn.Close() }

// do sends a command and returns the reply as text; found is false for null.
func (c *caller) do(ctx context.Context, words ...string) (reply string, found bool, err error) {
	if err := ctx.Err(); err != nil {
		return "", false, context.Cause(ctx)
	}
	if err := c.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return "", false, err
	}
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	c.out = redcon.AppendArray(c.out[:0], len(words))
	for _, w := range words {
		c.out = redcon.AppendBulkString(c.out, w)
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return "", false, err
	}
	return readReply(c.in)
}

// readReply reads a line, a number, an error or a string. Commands whose reply is
// an array are not among those that the demo sends.
func readReply(in *bufio.Reader) (reply string, found bool, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", false, err
	}
	line, ended := strings.CutSuffix(line, "\r\n")
	if !ended || line == "" {
		return "", false, errors.New("the reply is no line")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+', ':':
		return rest, true, nil
	case '-':
		return "", false, serverError(rest)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < -1 || n > maxReply {
			return "", false, fmt.Errorf("the reply has a string of length %q", rest)
		}
		if n < 0 {
			return "", false, nil
		}
		b := make([]byte, n+len("\r\n"))
		if _, err := io.ReadFull(in, b); err != nil {
			return "", false, err
		}
		return string(b[:n]), true, nil
	default:
		return "", false, fmt.Errorf("the reply begins with %q", kind)
	}
}

// fetch asks one question on a connection of its own.
func fetch(ctx context.Context, address string, words ...string) (reply string, found bool, err error) {
	c, err := dial(ctx, address)
	if err != nil {
		return "", false, err
	}
	defer c.close()
	return c.do(ctx, words...)
}
