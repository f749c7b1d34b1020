package transport_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/tcp"
)

func startParley(b testing.TB, secure bool) call {
	client, _ := parleyPair(b, secure)
	return func(ctx context.Context, body []byte) ([]byte, error) {
		return client.Call(ctx, "server", "echo", body)
	}
}

// parleyPair starts two nodes; the server echoes.
func parleyPair(b testing.TB, secure bool) (client, server *tcp.Transport) {
	address := ""
	resolve := func(string) (string, error) { return address, nil }
	authority, err := tcp.NewAuthority()
	require.NoError(b, err)
	listen := func(name string) *tcp.Transport {
		config := tcp.Config{Plaintext: !secure, Resolve: resolve, MaxQueue: 128 << 20}
		if secure {
			credentials, err := authority.Issue(name)
			require.NoError(b, err)
			config.TLS, err = credentials.TLS()
			require.NoError(b, err)
		}
		node, err := tcp.Listen(name, "127.0.0.1:0", config)
		require.NoError(b, err)
		b.Cleanup(func() { node.Close() })
		return node
	}
	server = listen("server")
	server.Serve("echo", func(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil })
	address = server.Addr().String()
	return listen("client"), server
}

func oneWayParley(b testing.TB, receive func()) (send func(body []byte) error) {
	client, server := parleyPair(b, false)
	_, err := client.Call(context.Background(), "server", "echo", nil)
	require.NoError(b, err)
	server.Receive("messages", func(string, []byte) { receive() })
	return func(body []byte) error {
		for {
			err := client.Send("server", "messages", body)
			if !errors.Is(err, transport.ErrOverflow) {
				return err
			}
			runtime.Gosched() // the queue is full
		}
	}
}
