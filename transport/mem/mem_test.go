package mem_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
)

func TestJoinChecksName(t *testing.T) {
	network := mem.NewNetwork()
	for _, name := range []string{"", strings.Repeat("x", transport.MaxName+1)} {
		_, err := network.Join(name)
		require.ErrorIs(t, err, transport.ErrInvalidName)
	}
	a := join(t, network, "a")
	_, err := network.Join("a")
	require.ErrorContains(t, err, `"a"`)
	require.NoError(t, a.Close())
	join(t, network, "a")
	require.NoError(t, a.Close(), "a second Close of the former node")
	_, err = network.Join("a")
	require.Error(t, err, "a second Close of the former node took the new one off the network")
}

func TestNetworksAreApart(t *testing.T) {
	a := join(t, mem.NewNetwork(), "a")
	join(t, mem.NewNetwork(), "b")
	require.ErrorIs(t, a.Send("b", "s", nil), transport.ErrUnreachable)
}

// TestQueueIsBoundedByMessages and the next count what a receiver that blocks
// lets wait: the one that it handles, the batch behind it, and half the bound.
func TestQueueIsBoundedByMessages(t *testing.T) {
	n := fill(t, []byte("x"))
	require.LessOrEqual(t, n, mem.MaxMessages)
	require.GreaterOrEqual(t, n, mem.MaxMessages/2)
}

func TestQueueIsBoundedByBytes(t *testing.T) {
	const size = 1 << 20
	n := fill(t, make([]byte, size))
	require.LessOrEqual(t, n, mem.MaxBytes/size)
	require.GreaterOrEqual(t, n, mem.MaxBytes/size/2)
}

// fill returns how many messages are accepted for a receiver that blocks.
func fill(t *testing.T, body []byte) (accepted int) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		release := make(chan struct{})
		var handled int
		b.Receive("s", func(string, []byte) {
			<-release
			handled++
		})
		for a.Send("b", "s", body) == nil {
			accepted++
			if accepted == 1 {
				synctest.Wait() // it has reached the handler
			}
		}
		require.ErrorIs(t, a.Send("b", "s", body), transport.ErrOverflow)
		close(release)
		synctest.Wait()
		require.Equal(t, accepted, handled)
		require.NoError(t, a.Send("b", "s", body), "the queue is empty again")
	})
	return accepted
}

// TestAcceptedIsHandledAfterSenderCloses sends and closes at once, and again
// under the same name: nothing is lost, in order, one at a time.
func TestAcceptedIsHandledAfterSenderCloses(t *testing.T) {
	const lives, messages = 5, 100
	network := mem.NewNetwork()
	b := join(t, network, "b")
	var next, busy atomic.Int32
	done := make(chan struct{})
	b.Receive("s", func(_ string, body []byte) {
		if busy.Add(1) > 1 {
			t.Error("two messages are handled at the same time")
		}
		defer busy.Add(-1)
		runtime.Gosched()
		if n := int32(binary.BigEndian.Uint32(body)); n != next.Load() {
			t.Errorf("got message %d, want %d", n, next.Load())
		}
		if next.Add(1) == lives*messages {
			close(done)
		}
	})
	for life := range uint32(lives) {
		a := join(t, network, "a")
		for n := range uint32(messages) {
			require.NoError(t, a.Send("b", "s", binary.BigEndian.AppendUint32(nil, life*messages+n)))
		}
		require.NoError(t, a.Close())
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%d of %d messages were handled", next.Load(), lives*messages)
	}
}

func TestSendersThatAreGoneAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := mem.NewNetwork()
		b := join(t, network, "b")
		b.Receive("s", func(string, []byte) {})
		b.Serve("s", func(context.Context, string, []byte) ([]byte, error) { return nil, nil })
		for i := range 100 {
			a := join(t, network, strings.Repeat("a", i+1))
			require.NoError(t, a.Send("b", "s", nil))
			if i%2 == 0 {
				_, err := a.Call(t.Context(), "b", "s", nil)
				require.NoError(t, err)
				synctest.Wait()
			}
			require.NoError(t, a.Close())
		}
		synctest.Wait()
		require.Zero(t, b.Known())
	})
}

// TestIdleNodesKeepFewGoroutines has every node of a network talk to every other,
// all at once.
func TestIdleNodesKeepFewGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := mem.NewNetwork()
		var nodes []*mem.Transport
		var handled atomic.Int32
		for i := range 30 {
			node := join(t, network, strings.Repeat("n", i+1))
			node.Receive("s", func(string, []byte) { handled.Add(1) })
			nodes = append(nodes, node)
		}
		for _, from := range nodes {
			for _, to := range nodes {
				require.NoError(t, from.Send(to.Local(), "s", nil))
			}
		}
		synctest.Wait()
		require.EqualValues(t, 900, handled.Load())
		for _, node := range nodes {
			require.LessOrEqual(t, node.Idle(), mem.MaxIdle)
			require.NoError(t, node.Close())
			require.Zero(t, node.Idle())
		}
	})
}

// TestRequestContext derives from a handler's context, which must end those with
// it, with the caller's reason, at no cost of a goroutine.
func TestRequestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		ended := make(chan error, 1)
		type key struct{}
		b.Serve("s", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			before := runtime.NumGoroutine()
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			if n := runtime.NumGoroutine(); n > before {
				t.Errorf("%d goroutines before, %d after WithCancel", before, n)
			}
			if ctx.Value(key{}) != nil {
				t.Errorf("a value of the caller's context came along")
			}
			<-child.Done()
			ended <- child.Err()
			return nil, nil
		})
		timeout, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Second)
		defer cancel()
		_, err := a.Call(timeout, "b", "s", nil)
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, context.DeadlineExceeded, <-ended)

		cancelled, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = a.Call(cancelled, "b", "s", nil)
		require.Equal(t, context.Canceled, err)
		require.Equal(t, context.Canceled, <-ended)
	})
}

// TestRequestContextAfterTheCall keeps the context of a handler that has answered.
func TestRequestContextAfterTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		kept := make(chan context.Context, 1)
		b.Serve("s", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			kept <- ctx
			return nil, ctx.Err()
		})
		_, err := a.Call(t.Context(), "b", "s", nil)
		require.NoError(t, err)
		ctx := <-kept
		synctest.Wait()
		require.Equal(t, context.Canceled, ctx.Err())
		<-ctx.Done()
	})
}
