package tcp_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport/tcp"
)

func TestEventsTellOfPeersUpAndDown(t *testing.T) {
	c := newCluster(t, modes[0])
	a := c.join("a", tcp.Config{})
	b := c.join("b", tcp.Config{})
	b.Serve("echo", echo)
	_, err := a.Call(t.Context(), "b", "echo", nil)
	require.NoError(t, err)
	var seen []tcp.Event
	for e := range a.Events(t.Context()) {
		seen = append(seen, e)
		if len(seen) == 1 {
			// A reader may use the transport, and close nodes.
			_, err := a.Call(t.Context(), "b", "echo", nil)
			require.NoError(t, err)
			require.NoError(t, b.Close())
			continue
		}
		break
	}
	require.Equal(t, "b", seen[0].Peer)
	require.True(t, seen[0].Up, "it begins with who is up")
	require.Equal(t, "b", seen[1].Peer)
	require.False(t, seen[1].Up)
	require.ErrorContains(t, seen[1].Cause, "closed by the peer")
	require.False(t, seen[1].Time.Before(seen[0].Time))
}

// A reader that stands still neither blocks anyone nor grows: it gets the latest
// of each peer.
func TestSlowEventReaderGetsTheLatest(t *testing.T) {
	c := newCluster(t, modes[0])
	a := c.join("a", tcp.Config{MinBackoff: 1e6, MaxBackoff: 1e6})
	b := c.join("b", tcp.Config{})
	b.Serve("echo", echo)
	p := newProxy(t, b.Addr().String())
	c.at("b", p.addr())
	connect := func() {
		eventually(t, "there is a connection", func() bool {
			_, err := a.Call(t.Context(), "b", "echo", nil)
			return err == nil
		})
	}
	connect()
	var seen []tcp.Event
	for e := range a.Events(t.Context()) {
		seen = append(seen, e)
		if len(seen) == 2 {
			break
		}
		for range 10 {
			p.cut()
			eventually(t, "the loss is noticed", func() bool { return !peerStats(a, "b").Up })
			connect()
		}
	}
	require.True(t, seen[1].Up, "the latest of b")
}

func TestEventsEnd(t *testing.T) {
	c := newCluster(t, modes[0])
	a := c.join("a", tcp.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() {
		for range a.Events(ctx) {
		}
		done <- struct{}{}
	}()
	cancel()
	<-done
	go func() {
		for range a.Events(t.Context()) {
		}
		done <- struct{}{}
	}()
	require.NoError(t, a.Close())
	<-done
	for range a.Events(t.Context()) {
		t.Error("an event of a closed node without peers")
	}
}

func TestStatsCount(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		a, b := c.join("a", tcp.Config{}), c.join("b", tcp.Config{})
		b.Serve("echo", echo)
		b.Receive("s", func(string, []byte) {})
		for range 3 {
			require.NoError(t, a.Send("b", "s", []byte("four")))
		}
		require.NoError(t, a.Send("b", "nobody", []byte("four")))
		_, err := a.Call(t.Context(), "b", "echo", make([]byte, 100_000))
		require.NoError(t, err)
		eventually(t, "all is counted", func() bool { return peerStats(b, "a").MessagesReceived == 4 })
		eventually(t, "nothing waits", func() bool { return peerStats(a, "b").Queued == 0 })
		here, there := peerStats(a, "b"), peerStats(b, "a")
		require.Equal(t, uint64(4), here.MessagesSent)
		require.Equal(t, uint64(1), here.RequestsSent)
		require.Equal(t, uint64(1), here.ResponsesReceived)
		require.Equal(t, uint64(3*5+10+100_004), here.BytesSent)
		require.Equal(t, uint64(100_000), here.BytesReceived)
		require.Equal(t, uint64(1), there.RequestsReceived)
		require.Equal(t, uint64(1), there.ResponsesSent)
		require.Equal(t, here.BytesSent, there.BytesReceived)
		require.Equal(t, uint64(1), there.Dropped, "a message without a handler")
		require.Equal(t, uint64(1), b.Stats().Accepted)
		require.Zero(t, b.Stats().Refused)
		require.True(t, here.Up)
		require.Zero(t, here.CallsInFlight)
	})
}
