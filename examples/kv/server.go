package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/redcon"
)

// A serverConfig bounds what clients may cost. Every field must be set; see
// defaultServer.
type serverConfig struct {
	clients int           // at the same time; one more is told so and dropped
	idle    time.Duration // a client that asks nothing for so long is dropped
	write   time.Duration // a client that takes no reply for so long is dropped
	command time.Duration // how long one command may take
	limits  limits
}

// defaultServer leaves room above the largest value, so that one that is a
// little too large gets an answer that says so and not a broken connection. The
// buffers of one client stay below 4 MiB.
func defaultServer() serverConfig {
	return serverConfig{
		clients: 1000,
		idle:    5 * time.Minute,
		write:   10 * time.Second,
		command: 2 * time.Second,
		limits:  limits{arguments: 1024, argument: 256 << 10, line: 16 << 10, command: 320 << 10},
	}
}

// flushAbove is how many bytes of replies gather before they are sent, where a
// client has sent many commands at once. It bounds what a client that asks and
// does not read can make the server hold.
const flushAbove = 64 << 10

// A server speaks the Redis protocol to clients. One goroutine serves a client,
// in the order of its commands, so a slow one delays nobody else.
type server struct {
	config   serverConfig
	commands *commands // set by start
	listener *listener // set by start

	ctx     context.Context // ends when the server closes: of every command
	cancel  context.CancelFunc
	running sync.WaitGroup // the accepting goroutine and one for each client

	clients  atomic.Int64 // connected
	accepted atomic.Int64 // since the start; also the last client's id
	refused  atomic.Int64 // for want of room
	served   atomic.Int64 // commands
}

func newServer(config serverConfig) *server {
	s := &server{config: config}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// start serves the clients that connect to l until close. It owns l.
func (s *server) start(l net.Listener, c *commands) {
	s.commands, s.listener = c, newListener(l, s.config)
	r := redcon.NewServer(l.Addr().String(), s.handle, s.accept, s.closed)
	r.SetIdleClose(s.config.idle)
	s.running.Go(func() {
		_ = r.Serve(s.listener) // ends when the listener is closed, and closes the clients
	})
}

// close ends the commands under way, drops the clients and waits for both.
func (s *server) close() {
	s.cancel()
	_ = s.listener.Close() // a second close changes nothing
	s.running.Wait()
}

// accept runs on the accepting goroutine.
func (s *server) accept(c redcon.Conn) bool {
	if s.clients.Load() >= int64(s.config.clients) {
		s.refused.Add(1)
		c.WriteError("ERR max number of clients reached")
		return false
	}
	s.clients.Add(1)
	s.running.Add(1)
	c.SetContext(&session{client: client{id: s.accepted.Add(1)}})
	return true
}

func (s *server) closed(redcon.Conn, error) {
	s.clients.Add(-1)
	s.running.Done()
}

// A session is what the server keeps of one client, for its goroutine alone.
type session struct {
	client client
	reply  []byte // the buffer of the last reply, used again
	unsent int    // bytes of replies since the last flush
}

// handle runs one command on its client's goroutine.
func (s *server) handle(c redcon.Conn, cmd redcon.Command) {
	s.served.Add(1)
	of := c.Context().(*session)
	ctx, cancel := context.WithTimeout(s.ctx, s.config.command)
	defer cancel()
	of.reply = s.commands.run(ctx, &of.client, cmd.Args, of.reply[:0])
	c.WriteRaw(of.reply)
	if of.unsent += len(of.reply); !of.flushed(c) || of.client.quit {
		c.ReadPipeline() // drops what came behind
		_ = c.Close()    // sends what there is; the client is going anyway
	}
}

// flushed sends what has gathered, if it is much. After the last command of a
// batch redcon does that itself.
func (of *session) flushed(c redcon.Conn) bool {
	if cap(of.reply) > flushAbove {
		of.reply = nil
	}
	if len(c.PeekPipeline()) == 0 {
		of.unsent = 0
	} else if of.unsent > flushAbove {
		of.unsent = 0
		return redcon.BaseWriter(c).Flush() == nil
	}
	return true
}

// A listener hands redcon guarded connections.
type listener struct {
	net.Listener
	config serverConfig
	closed chan struct{}
	once   sync.Once
}

func newListener(l net.Listener, config serverConfig) *listener {
	return &listener{Listener: l, config: config, closed: make(chan struct{})}
}

// Accept waits a little after an error, for example when the process has no file
// descriptors left: redcon would try again at once, for ever.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			return newGuard(conn, l.config.limits, l.config.write), nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close ends Accept.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
