package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
)

// A request that breaks the protocol does not save the handler whose place a
// request before it, of the same read, has taken.
func TestHandlerIsCancelledWhenTheProtocolIsBroken(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	entered, release := make(chan struct{}), make(chan struct{})
	ended := make(chan bool, 1)
	node.Serve("hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(entered)
		select {
		case <-ctx.Done():
			ended <- true
		case <-release:
			ended <- false
		}
		return nil, nil
	})
	p := connectRaw(t, node, honestHello())
	p.write(appendRequest(nil, 1<<slotBits, 0, "hang", nil, true))
	<-entered
	two := appendRequest(nil, 2<<slotBits, 0, "hang", nil, true)
	p.write(appendRequest(two, 1<<slotBits|4096, 0, "hang", nil, true))
	p.dropped()
	timer := time.AfterFunc(5*time.Second, func() { close(release) })
	defer timer.Stop()
	require.True(t, <-ended, "the handler's context outlives its connection")
}

// Nothing is taken on between the look at what must be cancelled and the end: its
// context would never end.
func TestConnectionThatEndsTakesNothingOn(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	entered := make(chan struct{}, 2)
	node.Serve("hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return nil, nil
	})
	peer, err := node.peer("a")
	require.NoError(t, err)
	near, far := net.Pipe()
	defer far.Close()
	h := honestHello()
	c := newConn(peer, &link{raw: near}, &h, nil)
	running := c.newRequest(&frame{id: 1 << slotBits, name: []byte("hang")}, &input{}, nil)
	ctx := running.ctx
	require.NoError(t, c.accept([]*request{running}))
	<-entered
	done := make(chan struct{})
	func() {
		ctx.mu.Lock() // stops close in its middle
		defer ctx.mu.Unlock()
		go func() {
			defer close(done)
			c.in.close(errGone)
		}()
		poll(t, "nothing more is taken on", func() bool {
			c.in.mu.Lock()
			defer c.in.mu.Unlock()
			return c.in.closed
		})
	}()
	<-done
}

// What one peer has running here is bounded, however often it comes back.
func TestRequestsOfAPeerAreBoundedAcrossConnections(t *testing.T) {
	const limit, connections = 8, 10
	node := listenPlain(t, "node", Config{MaxCalls: limit})
	var entered atomic.Int64
	end := make(chan struct{})
	node.Serve("slow", func(context.Context, string, []byte) ([]byte, error) {
		entered.Add(1)
		<-end
		return nil, nil
	})
	t.Cleanup(func() { close(end) })
	h := honestHello()
	for round := range connections {
		h.incarnation++
		p := connectRaw(t, node, h)
		for slot := range uint64(limit) {
			p.write(appendRequest(nil, 1<<slotBits|slot, 0, "slow", nil, true))
		}
		poll(t, "every request runs or is refused", func() bool {
			return entered.Load()+int64(node.Stats().Peers[0].Overflows) == int64(limit*(round+1))
		})
	}
	require.Equal(t, int64(2*limit), entered.Load())
}

// A peer that comes back again and again while its handler blocks does not leave a
// reader behind each time.
func TestReadersOfAPeerAreBounded(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	entered, release := make(chan struct{}), make(chan struct{})
	node.Receive("s", func(string, []byte) { close(entered); <-release })
	defer close(release)
	h := honestHello()
	connectRaw(t, node, h).write(appendMessage(nil, "s", nil, true))
	<-entered
	before := runtime.NumGoroutine()
	for range 200 {
		h.sequence++
		connectRaw(t, node, h).conn.Close()
	}
	poll(t, "few are left", func() bool { return runtime.NumGoroutine()-before <= 2*maxReaders })
}

// Messages that were accepted while a connection was being made are sent on it.
func TestAcceptedWhileDiallingIsSent(t *testing.T) {
	var got atomic.Int64
	server := listenPlain(t, "server", Config{})
	server.Receive("s", func(string, []byte) { got.Add(1) })
	resolve := make(chan struct{})
	client := listenPlain(t, "client", Config{MaxMessage: 1 << 10, MaxQueue: 65 << 10, Resolve: func(string) (string, error) {
		<-resolve
		return server.Addr().String(), nil
	}})
	accepted := int64(0)
	for client.Send("server", "s", nil) == nil {
		accepted++
	}
	close(resolve)
	poll(t, "all have arrived", func() bool { return got.Load() == accepted })
}

// The text of a handler's error is cut to what the caller takes.
func TestLongErrorOfAHandlerIsNoLargeResponse(t *testing.T) {
	server := listenPlain(t, "server", Config{})
	client := listenPlain(t, "client", Config{MaxMessage: 1 << 10, Resolve: func(string) (string, error) { return server.Addr().String(), nil }})
	server.Serve("fail", func(context.Context, string, []byte) ([]byte, error) {
		return nil, errors.New(strings.Repeat("x", 2000))
	})
	_, err := client.Call(t.Context(), "server", "fail", nil)
	var remote *transport.RemoteError
	require.ErrorAs(t, err, &remote)
	require.Equal(t, strings.Repeat("x", 1<<10), remote.Message)
}

// A confirm that comes late, after a later connection has come and gone, makes no
// connection: what follows it was sent before what has arrived.
func TestLateConfirmDoesNotReorder(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	heard := make(chan string, 2)
	node.Receive("s", func(_ string, body []byte) { heard <- string(body) })
	h := honestHello()
	h.name, h.sequence = "z", 5
	early := connectRaw(t, node, h)
	h.sequence = 6
	late := connectRaw(t, node, h)
	late.write(appendMessage(appendConfirm(nil, true), "s", []byte("second"), true))
	require.Equal(t, "second", <-heard)
	late.conn.Close()
	poll(t, "the later connection is gone", func() bool { return node.current("z") == nil })
	early.write(appendMessage(appendConfirm(nil, true), "s", []byte("first"), true))
	early.dropped()
	require.Empty(t, heard)
}

// A peer whose handler runs is not forgotten: the next connection has to wait for
// it.
func TestPeerIsNotForgottenWhileItsHandlerRuns(t *testing.T) {
	node := listenPlain(t, "node", Config{MaxPeers: 1})
	entered, release := make(chan struct{}), make(chan struct{})
	node.Receive("s", func(string, []byte) { close(entered); <-release })
	p := connectRaw(t, node, honestHello())
	p.write(appendMessage(nil, "s", nil, true))
	<-entered
	node.current("a").fail(errGone)
	_, err := node.peer("b")
	close(release)
	require.ErrorIs(t, err, transport.ErrOverflow)
	poll(t, "there is room for another", func() bool { _, err := node.peer("b"); return err == nil })
}

// A call that Close overtakes hears of that, not of a limit.
func TestCallThatCloseOvertakes(t *testing.T) {
	node := listenPlain(t, "node", Config{})
	peer, err := node.peer("a")
	require.NoError(t, err)
	near, far := net.Pipe()
	defer far.Close()
	h := honestHello()
	c := newConn(peer, &link{raw: near}, &h, nil)
	c.endCalls()
	_, err = c.call(t.Context(), "s", nil)
	require.ErrorIs(t, err, transport.ErrClosed)
}

func TestRotationNeedsBothSides(t *testing.T) {
	_, err := newSecurity(&tls.Config{
		Certificates:   []tls.Certificate{{}},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil },
	})
	require.ErrorContains(t, err, "GetClientCertificate")
}
