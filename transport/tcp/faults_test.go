package tcp_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/tcp"
)

func echo(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil }

// inBothModes runs a test with and without TLS.
func inBothModes(t *testing.T, test func(t *testing.T, c *cluster)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { test(t, newCluster(t, m)) })
	}
}

// inBothOrders runs a test for both answers to the question which of two nodes
// decides about their connections: it is the one with the greater name.
func inBothOrders(t *testing.T, test func(t *testing.T, here, there string)) {
	t.Run("decides", func(t *testing.T) { test(t, "z", "a") })
	t.Run("obeys", func(t *testing.T) { test(t, "a", "z") })
}

func TestHalfOpenPeerIsNoticedInTime(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		const keepAlive = 400 * time.Millisecond
		a := c.join("a", tcp.Config{KeepAlive: keepAlive})
		b := c.join("b", tcp.Config{KeepAlive: keepAlive})
		p := newProxy(t, b.Addr().String())
		c.at("b", p.addr())
		entered, ended := make(chan struct{}), make(chan error, 1)
		b.Serve("hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			close(entered)
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, nil
		})
		result := make(chan error, 1)
		go func() {
			_, err := a.Call(t.Context(), "b", "hang", nil)
			result <- err
		}()
		<-entered
		p.freeze()
		start := time.Now()
		require.ErrorIs(t, <-result, transport.ErrUnreachable)
		require.Less(t, time.Since(start), keepAlive+time.Second)
		require.ErrorIs(t, <-ended, transport.ErrUnreachable, "the handler learns it, too")
	})
}

// A quiet connection is no dead one.
func TestQuietConnectionIsKept(t *testing.T) {
	c := newCluster(t, modes[0])
	a := c.join("a", tcp.Config{KeepAlive: 100 * time.Millisecond})
	b := c.join("b", tcp.Config{KeepAlive: time.Hour}) // pings as often as a needs it
	b.Serve("echo", echo)
	_, err := a.Call(t.Context(), "b", "echo", nil)
	require.NoError(t, err)
	start := time.Now()
	eventually(t, "three keep-alive times have passed", func() bool { return time.Since(start) > 300*time.Millisecond })
	require.Equal(t, uint64(1), peerStats(a, "b").Connects)
	require.True(t, peerStats(a, "b").Up)
	require.NotZero(t, peerStats(a, "b").RTT)
}

func TestBlackHoleDelaysNobody(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		hole, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
		require.NoError(t, err)
		defer hole.Close()
		c.at("hole", hole.Addr().String())
		a := c.join("a", tcp.Config{HandshakeTimeout: 200 * time.Millisecond, MinBackoff: time.Hour, MaxBackoff: time.Hour})
		b := c.join("b", tcp.Config{MinBackoff: time.Millisecond})
		b.Serve("echo", echo)
		a.Serve("echo", echo)
		eventually(t, "a and b are connected", func() bool {
			_, err := b.Call(t.Context(), "a", "echo", nil)
			return err == nil
		})
		result := make(chan error, 1)
		go func() {
			_, err := a.Call(t.Context(), "hole", "s", nil)
			result <- err
		}()
		require.NoError(t, a.Send("hole", "s", []byte("waits for the connection")))
		for range 100 {
			_, err := a.Call(t.Context(), "b", "echo", nil)
			require.NoError(t, err)
		}
		require.ErrorIs(t, <-result, transport.ErrUnreachable)
		// While it backs off, failure is at once.
		require.ErrorIs(t, a.Send("hole", "s", nil), transport.ErrUnreachable)
		_, err = a.Call(t.Context(), "hole", "s", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable)
		require.Equal(t, uint64(1), peerStats(a, "hole").Dropped)
		require.Equal(t, uint64(1), peerStats(a, "hole").DialFailures)
	})
}

func TestIncomingConnectionEndsBackoff(t *testing.T) {
	inBothOrders(t, func(t *testing.T, here, there string) {
		c := newCluster(t, modes[0])
		a := c.join(here, tcp.Config{MinBackoff: time.Hour, MaxBackoff: time.Hour})
		a.Serve("echo", echo)
		_, err := a.Call(t.Context(), there, "echo", nil) // does not resolve
		require.ErrorIs(t, err, transport.ErrUnreachable)
		b := c.join(there, tcp.Config{})
		b.Serve("echo", echo)
		_, err = a.Call(t.Context(), there, "echo", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable, "it backs off for an hour")
		_, err = b.Call(t.Context(), here, "echo", nil)
		require.NoError(t, err)
		eventually(t, "the connection is used both ways", func() bool {
			_, err = a.Call(t.Context(), there, "echo", nil)
			return err == nil
		})
	})
}

// Nodes that call each other at the same moment end up with one connection, and
// nothing is lost on the way.
func TestBothSidesDialAtOnce(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		const rounds, messages = 20, 10
		for round := range rounds {
			names := []string{fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)}
			nodes := []*tcp.Transport{c.join(names[0], tcp.Config{}), c.join(names[1], tcp.Config{})}
			var received [2]atomic.Int64
			for i, node := range nodes {
				node.Receive("count", func(string, []byte) { received[i].Add(1) })
				node.Serve("echo", echo)
			}
			start := make(chan struct{})
			var group sync.WaitGroup
			for i, node := range nodes {
				other := names[1-i]
				group.Go(func() {
					<-start
					for range messages {
						if err := node.Send(other, "count", nil); err != nil {
							t.Errorf("round %d: Send: %v", round, err)
						}
					}
				})
				group.Go(func() {
					<-start
					if _, err := node.Call(t.Context(), other, "echo", nil); err != nil {
						t.Errorf("round %d: Call: %v", round, err)
					}
				})
			}
			close(start)
			group.Wait()
			for i := range nodes {
				eventually(t, "all messages arrived", func() bool { return received[i].Load() == messages })
				require.Equal(t, uint64(1), peerStats(nodes[i], names[1-i]).Connects, "connections flap")
			}
			for _, node := range nodes {
				require.NoError(t, node.Close())
			}
		}
	})
}

// A node that was restarted is welcome at once, though the connection of its
// former life looks as if it lived.
func TestRestartedPeerReplacesItsOldConnection(t *testing.T) {
	inBothOrders(t, func(t *testing.T, here, there string) {
		c := newCluster(t, modes[1])
		a := c.join(here, tcp.Config{KeepAlive: time.Hour})
		a.Serve("echo", echo)
		old := c.join(there, tcp.Config{KeepAlive: time.Hour})
		p := newProxy(t, a.Addr().String())
		c.at(here, p.addr())
		_, err := old.Call(t.Context(), here, "echo", nil)
		require.NoError(t, err)
		p.freeze()

		c.at(here, a.Addr().String())
		restarted := c.join(there, tcp.Config{})
		restarted.Serve("echo", echo)
		_, err = restarted.Call(t.Context(), here, "echo", nil)
		require.NoError(t, err)
		_, err = a.Call(t.Context(), there, "echo", nil)
		require.NoError(t, err)
		require.Equal(t, uint64(2), peerStats(a, there).Connects)
	})
}

// One side has lost the connection and the other does not know: a new one takes
// its place.
func TestConnectionLostOnOneSideIsReplaced(t *testing.T) {
	inBothOrders(t, func(t *testing.T, here, there string) {
		c := newCluster(t, modes[0])
		a := c.join(here, tcp.Config{KeepAlive: 50 * time.Millisecond})
		b := c.join(there, tcp.Config{KeepAlive: time.Hour})
		for _, node := range []*tcp.Transport{a, b} {
			node.Serve("echo", echo)
		}
		p := newProxy(t, b.Addr().String())
		c.at(there, p.addr())
		_, err := a.Call(t.Context(), there, "echo", nil)
		require.NoError(t, err)
		p.freeze()
		eventually(t, "this side has noticed", func() bool { return !peerStats(a, there).Up })
		require.True(t, peerStats(b, here).Up)
		c.at(there, b.Addr().String())
		eventually(t, "there is a new connection", func() bool {
			_, err := a.Call(t.Context(), there, "echo", nil)
			return err == nil
		})
		_, err = b.Call(t.Context(), here, "echo", nil)
		require.NoError(t, err)
	})
}

// A peer that accepts and hangs up is not dialled in a loop.
func TestReconnectStorm(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var accepted atomic.Int64
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			conn.Close()
		}
	})
	defer group.Wait()
	defer listener.Close()
	c := newCluster(t, modes[0])
	c.at("b", listener.Addr().String())
	a := c.join("a", tcp.Config{MinBackoff: 20 * time.Millisecond})
	for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
		_, err := a.Call(t.Context(), "b", "s", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable)
	}
	// The shortest pauses are 10, 20, 40, 80 and 160 ms.
	require.LessOrEqual(t, accepted.Load(), int64(6))
	require.Greater(t, accepted.Load(), int64(1))
}

// Whatever happens to connections, messages of one sender for one service arrive
// in order and at most once.
func TestOrderAcrossReconnects(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		a := c.join("a", tcp.Config{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
		b := c.join("b", tcp.Config{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
		p := newProxy(t, b.Addr().String())
		c.at("b", p.addr())
		var last atomic.Uint64
		var inside atomic.Int32
		b.Receive("numbers", func(_ string, body []byte) {
			if inside.Add(1) != 1 {
				t.Error("two messages of one sender are handled at once")
			}
			n := binary.LittleEndian.Uint64(body)
			if before := last.Load(); n <= before {
				t.Errorf("got message %d after %d", n, before)
			}
			for i, v := range body[8:] {
				if v != byte(n) {
					t.Errorf("message %d is spoilt at %d", n, i)
					break
				}
			}
			last.Store(n)
			inside.Add(-1)
		})
		sizes := []int{0, 100, 1000, 40_000, 100_000, 10}
		cuts := 0
		for n := uint64(1); cuts < 5; n++ {
			body := make([]byte, 8+sizes[n%uint64(len(sizes))])
			binary.LittleEndian.PutUint64(body, n)
			for i := range body[8:] {
				body[8+i] = byte(n)
			}
			if err := a.Send("b", "numbers", body); err != nil && !errors.Is(err, transport.ErrOverflow) {
				require.ErrorIs(t, err, transport.ErrUnreachable)
			}
			if n%500 == 0 {
				eventually(t, "something arrived since the cut", func() bool {
					n++
					binary.LittleEndian.PutUint64(body, n)
					_ = a.Send("b", "numbers", body[:8])
					return last.Load() > n-400
				})
				p.cut()
				cuts++
			}
		}
	})
}

// A changed bit costs the connection, and never reaches a handler.
func TestCorruptionIsNoticed(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		a := c.join("a", tcp.Config{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
		b := c.join("b", tcp.Config{})
		p := newProxy(t, b.Addr().String())
		c.at("b", p.addr())
		b.Serve("check", func(_ context.Context, _ string, request []byte) ([]byte, error) {
			for _, v := range request {
				if v != 7 {
					t.Error("a changed request was handled")
				}
			}
			return nil, nil
		})
		request := make([]byte, 1000)
		for i := range request {
			request[i] = 7
		}
		_, err := a.Call(t.Context(), "b", "check", request)
		require.NoError(t, err)
		p.flip.Store(true)
		_, err = a.Call(t.Context(), "b", "check", request)
		require.ErrorIs(t, err, transport.ErrUnreachable)
		eventually(t, "a new connection serves", func() bool {
			_, err := a.Call(t.Context(), "b", "check", request)
			return err == nil
		})
	})
}

func TestCloseMidDial(t *testing.T) {
	resolving, release := make(chan struct{}), make(chan struct{})
	a, err := tcp.Listen("a", "127.0.0.1:0", tcp.Config{Plaintext: true, Resolve: func(string) (string, error) {
		close(resolving)
		<-release
		return "127.0.0.1:1", nil
	}})
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() {
		_, err := a.Call(t.Context(), "b", "s", nil)
		result <- err
	}()
	<-resolving
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }()
	eventually(t, "Close has begun", func() bool { return errors.Is(a.Send("b", "s", nil), transport.ErrClosed) })
	close(release)
	require.NoError(t, <-closed)
	require.ErrorIs(t, <-result, transport.ErrClosed)
}

func TestCloseMidHandshake(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		hole, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer hole.Close()
		c.at("hole", hole.Addr().String())
		a := c.join("a", tcp.Config{HandshakeTimeout: time.Minute})
		silent, err := net.Dial("tcp", a.Addr().String()) // at its handshake for ever
		require.NoError(t, err)
		defer silent.Close()
		result := make(chan error, 1)
		go func() {
			_, err := a.Call(t.Context(), "hole", "s", nil)
			result <- err
		}()
		dialled, err := hole.Accept()
		require.NoError(t, err)
		defer dialled.Close()
		eventually(t, "the silent one was accepted", func() bool { return a.Stats().Accepted == 1 })
		start := time.Now()
		require.NoError(t, a.Close())
		require.Less(t, time.Since(start), 10*time.Second)
		require.ErrorIs(t, <-result, transport.ErrClosed)
	})
}

func TestSlowHandshakesAreDroppedAndBounded(t *testing.T) {
	c := newCluster(t, modes[1])
	a := c.join("a", tcp.Config{MaxHandshakes: 4, HandshakeTimeout: 300 * time.Millisecond})
	a.Serve("echo", echo)
	b := c.join("b", tcp.Config{MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
	var ended sync.WaitGroup
	start := time.Now()
	var atOnce atomic.Int64
	for range 10 {
		conn, err := net.Dial("tcp", a.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		ended.Go(func() {
			_, _ = conn.Read(make([]byte, 1)) // says nothing, and hears nothing
			if time.Since(start) < 300*time.Millisecond {
				atOnce.Add(1)
			}
		})
	}
	ended.Wait()
	require.Less(t, time.Since(start), 10*time.Second)
	require.GreaterOrEqual(t, atOnce.Load(), int64(6), "more handshakes than allowed")
	eventually(t, "an honest peer gets in", func() bool {
		_, err := b.Call(t.Context(), "a", "echo", nil)
		return err == nil
	})
}

func TestPeersAreBounded(t *testing.T) {
	c := newCluster(t, modes[0])
	a := c.join("a", tcp.Config{MaxPeers: 2, MinBackoff: time.Hour, MaxBackoff: time.Hour})
	for _, name := range []string{"b", "c", "d"} {
		c.join(name, tcp.Config{}).Serve("echo", echo)
	}
	for _, name := range []string{"b", "c"} {
		_, err := a.Call(t.Context(), name, "echo", nil)
		require.NoError(t, err)
	}
	_, err := a.Call(t.Context(), "d", "echo", nil)
	require.ErrorIs(t, err, transport.ErrOverflow)

	// Peers without a connection make room.
	b := c.join("x", tcp.Config{MaxPeers: 2, MinBackoff: time.Hour, MaxBackoff: time.Hour})
	for i := range 10 {
		_, err := b.Call(t.Context(), fmt.Sprintf("nobody-%d", i), "echo", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable)
	}
	require.LessOrEqual(t, len(b.Stats().Peers), 2)
	_, err = b.Call(t.Context(), "d", "echo", nil)
	require.NoError(t, err)
}

// What was accepted before Close is written, if the peer takes it.
func TestCloseWritesWhatWasAccepted(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		a, b := c.join("a", tcp.Config{}), c.join("b", tcp.Config{})
		last := make(chan string, 1)
		b.Receive("bye", func(from string, _ []byte) { last <- from })
		b.Serve("echo", echo)
		_, err := a.Call(t.Context(), "b", "echo", nil)
		require.NoError(t, err)
		require.NoError(t, a.Send("b", "bye", nil))
		require.NoError(t, a.Close())
		require.Equal(t, "a", <-last)
	})
}

func peerStats(node *tcp.Transport, name string) tcp.PeerStats {
	for _, p := range node.Stats().Peers {
		if p.Name == name {
			return p
		}
	}
	return tcp.PeerStats{}
}
