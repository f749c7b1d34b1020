package tcp

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
)

// A rawPeer is a peer played by hand, for what no honest node would do. It has
// the smaller name, so that the node accepts or refuses it with its hello.
type rawPeer struct {
	t     *testing.T
	conn  net.Conn
	hello *hello
}

func listenPlain(t *testing.T, name string, config Config) *Transport {
	t.Helper()
	config.Plaintext = true
	node, err := Listen(name, "127.0.0.1:0", config)
	require.NoError(t, err)
	t.Cleanup(func() { node.Close() })
	return node
}

func connectRaw(t *testing.T, node *Transport, h hello) *rawPeer {
	t.Helper()
	conn, err := net.Dial("tcp", node.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = conn.Write(appendHello(nil, &h))
	require.NoError(t, err)
	p := &rawPeer{t: t, conn: conn}
	p.hello, err = readHello(conn)
	require.NoError(t, err)
	return p
}

func honestHello() hello {
	return hello{
		name: "a", target: "node", incarnation: 1, sequence: 1,
		maxMessage: transport.DefaultMaxMessage, maxCalls: 1 << 16, keepAlive: time.Hour,
	}
}

func (p *rawPeer) write(b []byte) {
	p.t.Helper()
	_, err := p.conn.Write(b)
	require.NoError(p.t, err)
}

// frames reads frames until f returns false.
func (p *rawPeer) frames(f func(frame) bool) {
	p.t.Helper()
	buf := make([]byte, 0, 2*maxFrame)
	for {
		payload, size, err := cut(buf, true)
		require.NoError(p.t, err)
		if size > 0 {
			var got frame
			require.NoError(p.t, parse(payload, &got))
			if !f(got) {
				return
			}
			buf = append(buf[:0], buf[size:]...)
			continue
		}
		n, err := p.conn.Read(buf[len(buf):cap(buf)])
		require.NoError(p.t, err)
		buf = buf[:len(buf)+n]
	}
}

// dropped waits until the node has closed the connection.
func (p *rawPeer) dropped() {
	p.t.Helper()
	require.NoError(p.t, p.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		if _, err := p.conn.Read(make([]byte, 4096)); err != nil {
			var timeout net.Error
			require.False(p.t, errors.As(err, &timeout) && timeout.Timeout(), "the connection was kept")
			return
		}
	}
}

func poll(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 20_000 {
		if holds() {
			return
		}
		<-tick.C
	}
	t.Fatalf("timed out waiting until %s", what)
}

func TestPeerThatBreaksTheProtocolIsDropped(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"length of 4 GiB":         {0xff, 0xff, 0xff, 0xff, 1, 2, 3},
		"length of nothing":       {0, 0, 0, 0},
		"unknown kind":            seal(append(begin(nil), 99), 0, true),
		"confirm":                 appendConfirm(nil, true),
		"wrong checksum":          append(appendMessage(nil, "s", nil, true)[:11], 1, 2, 3, 4),
		"call number over limits": appendRequest(nil, 1<<slotBits|4096, 0, "s", nil, true),
		"fragment of fragments":   appendFragments(nil, 1, header{byte(kindFragment)}, make([]byte, 100), true),
		"total of 4 GiB": seal(append(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(
			append(begin(nil), byte(kindFragment)), 1,
		), 1<<32-1), 0, 0, 0, 0, 1), 0, true),
	} {
		t.Run(name, func(t *testing.T) {
			node := listenPlain(t, "node", Config{})
			p := connectRaw(t, node, honestHello())
			require.Empty(t, p.hello.refused)
			p.write(bytes)
			p.dropped()
			poll(t, "the peer is down", func() bool { return !node.Stats().Peers[0].Up })
		})
	}
}

func TestOptionalFramesAreSkipped(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	node.Serve("echo", func(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil })
	p := connectRaw(t, node, honestHello())
	p.write(seal(append(begin(nil), byte(kindOptional), 1, 2, 3), 0, true))
	p.write(appendRequest(nil, 1<<slotBits, 0, "echo", []byte("x"), true))
	p.frames(func(f frame) bool {
		require.Equal(t, kindResponse, f.kind)
		require.Equal(t, "x", string(f.body))
		return false
	})
}

func TestHellosThatAreRefused(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	for want, change := range map[string]func(*hello){
		`this is "node", not "other"`:   func(h *hello) { h.target = "other" },
		`"node" is my own name`:         func(h *hello) { h.name = "node" },
		"invalid name":                  func(h *hello) { h.name = "" },
		"a limit is missing":            func(h *hello) { h.maxCalls = 0 },
		"malformed hello: a limit is m": func(h *hello) { h.keepAlive = -1 },
	} {
		h := honestHello()
		change(&h)
		p := connectRaw(t, node, h)
		require.Contains(t, p.hello.refused, want)
		p.dropped()
	}
	poll(t, "all are counted", func() bool { return node.Stats().Refused == 5 })
}

// A connection of the same life of the peer is replaced by a later one, and never
// by an earlier one that comes late.
func TestLateHelloDoesNotReplaceALaterConnection(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	h := honestHello()
	h.sequence = 5
	later := connectRaw(t, node, h)
	h.sequence = 4
	require.Contains(t, connectRaw(t, node, h).hello.refused, "another connection was chosen")
	h.sequence = 6
	require.Empty(t, connectRaw(t, node, h).hello.refused)
	later.dropped()
	h.incarnation, h.sequence = 2, 1 // restarted
	require.Empty(t, connectRaw(t, node, h).hello.refused)
}

// A peer that stops reading costs the sender a queue and nothing else: Send does
// not block, others are served, and in the end it is noticed.
func TestPeerThatStopsReading(t *testing.T) {
	node := listenPlain(t, "node", Config{StallTimeout: time.Second, MaxMessage: 1 << 20, MaxQueue: 4 << 20})
	other := listenPlain(t, "other", Config{Resolve: func(string) (string, error) { return node.Addr().String(), nil }})
	node.Serve("echo", func(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil })
	stopped := connectRaw(t, node, honestHello())
	poll(t, "the peer is up", func() bool { return node.current("a") != nil })
	body := make([]byte, 10_000)
	var err error
	for range 100_000 {
		if err = node.Send("a", "s", body); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, transport.ErrOverflow)
	_, err = node.Call(t.Context(), "a", "s", body)
	require.ErrorIs(t, err, transport.ErrOverflow)
	for range 100 {
		_, err := other.Call(t.Context(), "node", "echo", nil)
		require.NoError(t, err)
	}
	for event := range node.Events(t.Context()) {
		if event.Peer == "a" && !event.Up {
			require.ErrorContains(t, event.Cause, "nothing could be written")
			break
		}
	}
	stopped.dropped()
}

// Responses that nobody reads are not piled up: the handlers' places stay taken.
func TestPeerThatDoesNotReadItsResponses(t *testing.T) {
	const calls, size = 64, 1 << 20
	node := listenPlain(t, "node", Config{MaxMessage: size, MaxQueue: 2 << 20, MaxCalls: calls})
	var running atomic.Int64
	node.Serve("big", func(context.Context, string, []byte) ([]byte, error) {
		running.Add(1)
		return make([]byte, size), nil
	})
	h := honestHello()
	h.maxMessage = size
	p := connectRaw(t, node, h)
	for slot := range uint64(calls) {
		p.write(appendRequest(nil, 1<<slotBits|slot, 0, "big", nil, true))
	}
	poll(t, "all handlers have run", func() bool { return running.Load() == calls })
	require.LessOrEqual(t, node.Stats().Peers[0].Queued, 3<<20)
	done := 0
	p.frames(func(f frame) bool { // and it goes on when the peer does
		if f.kind == kindFragment && int(f.offset)+len(f.body) == int(f.total) {
			done++
		}
		return done < calls
	})
}

// More requests than were allowed are answered, not queued.
func TestRequestsOfAPeerAreBounded(t *testing.T) {
	const limit = 8
	node := listenPlain(t, "node", Config{MaxCalls: limit, MaxMessage: 1 << 20, MaxQueue: 2 << 20})
	var entered atomic.Int64
	hang := func() (release func()) {
		end := make(chan struct{})
		release = sync.OnceFunc(func() { close(end) })
		t.Cleanup(release)
		entered.Store(0)
		node.Serve("hang", func(context.Context, string, []byte) ([]byte, error) {
			entered.Add(1)
			<-end
			return nil, nil
		})
		return release
	}
	release := hang()
	p := connectRaw(t, node, honestHello())
	overflows := func(n int) {
		for n > 0 {
			p.frames(func(f frame) bool {
				require.Equal(t, kindResponse, f.kind)
				require.Equal(t, statusOverflow, f.status)
				n--
				return n > 0
			})
		}
	}
	round := func(n uint64) {
		for slot := range uint64(limit) {
			p.write(appendRequest(nil, n<<slotBits|slot, 0, "hang", nil, true))
		}
	}
	// A caller may think that a call is over when we do not: twice the limit runs.
	for n := range int64(2) {
		round(uint64(n + 1))
		poll(t, "all of a round run", func() bool { return entered.Load() == (n+1)*limit })
	}
	for n := range uint64(8) {
		round(n + 3)
	}
	overflows(8 * limit)
	require.Equal(t, int64(2*limit), entered.Load())
	release()

	// The bytes of requests are bounded, too.
	hang()
	other := honestHello()
	other.name = "b"
	p = connectRaw(t, node, other)
	for slot := range uint64(4) {
		h := appendRequestHeader(nil, 1<<slotBits|slot, 0, "hang")
		p.write(appendFragments(nil, uint32(slot), h, make([]byte, 1<<20), true))
	}
	overflows(2)
	require.LessOrEqual(t, entered.Load(), int64(2))
}

func TestCancelEndsTheHandlersContext(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	entered, ended := make(chan struct{}), make(chan error, 1)
	node.Serve("hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, nil
	})
	p := connectRaw(t, node, honestHello())
	p.write(appendRequest(nil, 1<<slotBits, 0, "hang", nil, true))
	<-entered                                               // one that still waits for a worker would not be handled at all
	p.write(appendWord(nil, kindCancel, 2<<slotBits, true)) // of another call
	p.write(appendWord(nil, kindCancel, 1<<slotBits, true))
	require.ErrorIs(t, <-ended, context.Canceled)
}

// The writer takes what is small between the frames of what is large.
func TestLargeMessageBesideHeartbeat(t *testing.T) {
	node := listenPlain(t, "node", Config{MaxMessage: 16 << 20})
	h := honestHello()
	h.maxMessage = 16 << 20
	near, far := net.Pipe() // holds nothing back in buffers of its own
	defer far.Close()
	peer, err := node.peer("a")
	require.NoError(t, err)
	c := newConn(peer, &link{raw: near}, &h, nil)
	defer c.end(errGone)
	require.NoError(t, c.send("bulk", make([]byte, 16<<20)))
	node.running.Go(c.write)
	p := &rawPeer{t: t, conn: far}
	fragments, since, taken := 0, 0, 0
	p.frames(func(f frame) bool {
		if f.kind == kindMessage {
			require.Equal(t, "heartbeat", string(f.name))
			require.LessOrEqual(t, since, 3)
			return taken < 16<<20
		}
		fragments++
		since++
		taken += len(f.body)
		if fragments%100 == 1 {
			since = 0
			require.NoError(t, c.send("heartbeat", nil))
		}
		return taken < 16<<20
	})
	require.Greater(t, fragments, 300)
}

// Calls cost two allocations, messages none; both sides counted.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	server := listenPlain(t, "server", Config{})
	client := listenPlain(t, "client", Config{Resolve: func(string) (string, error) { return server.Addr().String(), nil }})
	server.Serve("echo", func(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil })
	received := make(chan struct{}, 1)
	server.Receive("s", func(string, []byte) { received <- struct{}{} })
	body := make([]byte, 64)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	call := func() {
		if _, err := client.Call(ctx, "server", "echo", body); err != nil {
			t.Error(err)
		}
	}
	call()
	require.LessOrEqual(t, testing.AllocsPerRun(2000, call), 2.0)
	send := func() {
		if err := client.Send("server", "s", body); err != nil {
			t.Error(err)
		}
		<-received
	}
	send()
	require.Zero(t, testing.AllocsPerRun(2000, send))
}

// current returns the connection with a peer.
func (t *Transport) current(name string) *conn {
	if p := (*t.peers.Load())[name]; p != nil {
		return p.current.Load()
	}
	return nil
}
