package main

import (
	"io"
	"net"
	"time"
)

// A guard is a client's connection that lets only whole, well-formed commands
// of bounded size through to redcon. redcon 1.6.2 itself trusts the lengths that
// a client names: "*1\r\n$9223372036854775807\r\n" ends the process with a
// panic, "*9223372036854775807\r\n" keeps a core busy for ever, and a command
// that comes byte by byte is parsed anew, one stack frame deeper, at each byte.
//
// Read and Write belong to one goroutine at a time, as redcon uses them.
type guard struct {
	net.Conn
	scanner      scanner
	writeTimeout time.Duration // a client that takes nothing for so long is dropped

	buf    []byte // what came in and was not handed on yet
	whole  int    // the first bytes of buf that are whole commands
	handed int    // of these, how many were handed on
	failed error  // what ends this connection, once what is whole is handed on
}

const (
	firstBuffer = 4 << 10
	keepBuffer  = 64 << 10 // an empty buffer above this is released

	// After an error reply, so much of what the client still sends is read and
	// dropped, for so long: closing at once would reset the connection and take
	// the reply with it.
	lingerBytes = 1 << 20
	lingerTime  = time.Second
)

func newGuard(conn net.Conn, l limits, writeTimeout time.Duration) *guard {
	return &guard{Conn: conn, scanner: scanner{limits: l}, writeTimeout: writeTimeout}
}

// Read returns bytes of whole commands only. What breaks the protocol is
// answered here, after everything before it has been carried out: redcon reads
// again only when it has answered what it had.
func (g *guard) Read(p []byte) (int, error) {
	for g.handed == g.whole {
		if g.failed != nil {
			g.refuse()
			return 0, g.failed
		}
		if err := g.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.buf[g.handed:g.whole])
	g.handed += n
	return n, nil
}

// fill reads once from the network.
func (g *guard) fill() error {
	g.makeRoom()
	n, err := g.Conn.Read(g.buf[len(g.buf):cap(g.buf)])
	g.buf = g.buf[:len(g.buf)+n]
	if n > 0 {
		g.whole, g.failed = g.scanner.scan(g.buf)
		return nil // what err says, the next read will say again
	}
	return err
}

// makeRoom drops what was handed on and sees to free space behind the rest. The
// scanner's limits bound the rest, and so the buffer.
func (g *guard) makeRoom() {
	g.scanner.shift(g.whole)
	rest := g.buf[g.whole:]
	g.whole, g.handed = 0, 0
	switch {
	case len(rest) == 0 && cap(g.buf) > keepBuffer, cap(g.buf) == 0:
		g.buf = make([]byte, 0, firstBuffer)
	case len(rest) == cap(g.buf):
		g.buf = append(make([]byte, 0, 2*cap(g.buf)), rest...)
	default:
		g.buf = g.buf[:copy(g.buf, rest)]
	}
}

// refuse tells the client what it did wrong and waits a moment for it to stop
// talking. The caller closes the connection.
func (g *guard) refuse() {
	if _, err := io.WriteString(g, "-ERR "+g.failed.Error()+"\r\n"); err != nil {
		return
	}
	half, ok := g.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || g.Conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, g.Conn, lingerBytes) // what ends it does not matter
}

// Write writes all of p or fails within the time-out.
func (g *guard) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := g.Conn.SetWriteDeadline(time.Now().Add(g.writeTimeout)); err != nil {
		return 0, err
	}
	return g.Conn.Write(p)
}
