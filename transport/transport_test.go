package transport_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "node-1", "127.0.0.1:7001", "\x00", "\xff", strings.Repeat("x", 255)} {
		require.NoError(t, transport.CheckName("node", name))
	}
	for _, name := range []string{"", strings.Repeat("x", 256), strings.Repeat("x", 1<<20)} {
		err := transport.CheckName("service", name)
		require.ErrorIs(t, err, transport.ErrInvalidName)
		require.ErrorContains(t, err, "service name")
		require.ErrorContains(t, err, fmt.Sprint(len(name)))
		require.Less(t, len(err.Error()), 200, "the name itself may be as long as an attacker likes")
	}
}

func TestContextError(t *testing.T) {
	cause := errors.New("the cause")
	type test struct {
		name string
		make func() (context.Context, context.CancelFunc)
		want []error
		text string
	}
	for _, tt := range []test{
		{
			name: "not ended",
			make: func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) },
		},
		{
			name: "cancelled",
			make: func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				return ctx, cancel
			},
			want: []error{context.Canceled},
			text: "context canceled",
		},
		{
			name: "cancelled with a cause",
			make: func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(t.Context())
				cancel(cause)
				return ctx, func() {}
			},
			want: []error{context.Canceled, cause},
			text: "context canceled: the cause",
		},
		{
			name: "cancelled with a cause that says so itself",
			make: func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(t.Context())
				cancel(fmt.Errorf("shutting down: %w", context.Canceled))
				return ctx, func() {}
			},
			want: []error{context.Canceled},
			text: "shutting down: context canceled",
		},
		{
			name: "out of time",
			make: func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(t.Context(), -time.Second)
			},
			want: []error{context.DeadlineExceeded},
			text: "context deadline exceeded",
		},
		{
			name: "out of time with a cause",
			make: func() (context.Context, context.CancelFunc) {
				return context.WithTimeoutCause(t.Context(), -time.Second, cause)
			},
			want: []error{context.DeadlineExceeded, cause},
			text: "context deadline exceeded: the cause",
		},
		{
			name: "a child of one cancelled with a cause",
			make: func() (context.Context, context.CancelFunc) {
				parent, cancel := context.WithCancelCause(t.Context())
				cancel(cause)
				return context.WithTimeout(parent, time.Hour)
			},
			want: []error{context.Canceled, cause},
			text: "context canceled: the cause",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := tt.make()
			defer cancel()
			err := transport.ContextError(ctx)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			for _, want := range tt.want {
				require.ErrorIs(t, err, want)
			}
			require.EqualError(t, err, tt.text)
		})
	}
}

func TestRemoteError(t *testing.T) {
	err := fmt.Errorf("reading the replica: %w", &transport.RemoteError{Node: "b", Service: "get", Message: "disk full"})
	var remote *transport.RemoteError
	require.ErrorAs(t, err, &remote)
	require.Equal(t, transport.RemoteError{Node: "b", Service: "get", Message: "disk full"}, *remote)
	require.EqualError(t, remote, "transport: get on b: disk full")
}

// TestRemoteErrorIsNoSentinel has the text of a sentinel come from another node:
// it says what happened there, not to this call.
func TestRemoteErrorIsNoSentinel(t *testing.T) {
	for _, sentinel := range []error{
		transport.ErrClosed, transport.ErrUnreachable, transport.ErrOverflow,
		transport.ErrTooLarge, transport.ErrNoService, transport.ErrInvalidName,
	} {
		require.True(t, strings.HasPrefix(sentinel.Error(), "transport: "))
		require.NotErrorIs(t, &transport.RemoteError{Message: sentinel.Error()}, sentinel)
	}
}

// The names are checked on every Send and Call.
func BenchmarkCheckName(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := transport.CheckName("service", "raft/append"); err != nil {
			b.Fatal(err)
		}
	}
}

// A loser embeds what shares, to lose what is sent. What is shared would pass it by.
type loser struct{ *mem.Transport }

func (loser) Send(string, string, []byte) error { return nil }

func TestWhatEmbedsASharerIsNone(t *testing.T) {
	node, err := mem.NewNetwork().Join("a")
	require.NoError(t, err)
	defer node.Close()
	s, ok := transport.SharerOf(node)
	require.True(t, ok)
	require.Equal(t, "a", s.Local())
	for _, wrapped := range []transport.Transport{loser{node}, &loser{node}, struct{ transport.Transport }{node}} {
		_, ok := transport.SharerOf(wrapped)
		require.False(t, ok, "%T", wrapped)
	}
}
