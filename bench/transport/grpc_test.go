package transport_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/parley-go/parley/transport/tcp"
)

// rawCodec carries bytes as they are: what is compared is the transport, not an
// encoding.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (rawCodec) Name() string { return "raw" }

// grpcEcho describes the service by hand, as generated code would.
var grpcEcho = grpc.ServiceDesc{
	ServiceName: "Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var body []byte
			if err := decode(&body); err != nil {
				return nil, err
			}
			return &body, nil
		},
	}},
}

func startGRPC(b testing.TB, secure bool) call {
	serverSide, clientSide := insecure.NewCredentials(), insecure.NewCredentials()
	if secure {
		server, client := mutualTLS(b)
		serverSide, clientSide = credentials.NewTLS(server), credentials.NewTLS(client)
	}
	listener := listen(b)
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.Creds(serverSide))
	server.RegisterService(&grpcEcho, struct{}{})
	go server.Serve(listener)
	client, err := grpc.NewClient("passthrough:///"+listener.Addr().String(),
		grpc.WithTransportCredentials(clientSide),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	require.NoError(b, err)
	b.Cleanup(func() {
		client.Close()
		server.Stop()
	})
	return func(ctx context.Context, body []byte) (answer []byte, err error) {
		return answer, client.Invoke(ctx, "/Echo/Echo", &body, &answer)
	}
}

// oneWayGRPC sends on one long stream, the nearest that gRPC has.
func oneWayGRPC(b testing.TB, receive func()) (send func(body []byte) error) {
	listener := listen(b)
	server := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "Messages",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName:    "Send",
			ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error {
				for {
					var body []byte
					if err := stream.RecvMsg(&body); err != nil {
						return err
					}
					receive()
				}
			},
		}},
	}, struct{}{})
	go server.Serve(listener)
	client, err := grpc.NewClient("passthrough:///"+listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := client.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/Messages/Send")
	require.NoError(b, err)
	b.Cleanup(func() {
		cancel()
		client.Close()
		server.Stop()
	})
	return func(body []byte) error { return stream.SendMsg(&body) }
}

// mutualTLS returns configurations that ask for as much as ours.
func mutualTLS(b testing.TB) (server, client *tls.Config) {
	authority, err := tcp.NewAuthority()
	require.NoError(b, err)
	config := func(name string) *tls.Config {
		c, err := authority.Issue(name)
		require.NoError(b, err)
		config, err := c.TLS()
		require.NoError(b, err)
		return config
	}
	server, client = config("server"), config("client")
	server.ClientAuth = tls.RequireAndVerifyClientCert
	client.ServerName = "server"
	return server, client
}

func listen(b testing.TB) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(fmt.Errorf("no loopback: %w", err))
	}
	return listener
}
