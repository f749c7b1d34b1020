package transport_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/rpc"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcserver"
)

// Echo is the service of net/rpc.
type Echo struct{}

// Do answers with the request.
func (Echo) Do(request []byte, response *[]byte) error {
	*response = request
	return nil
}

// startNetRPC has no deadline that travels: the caller gives up alone.
func startNetRPC(b testing.TB, _ bool) call {
	server := rpc.NewServer()
	require.NoError(b, server.Register(Echo{}))
	listener := listen(b)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(conn)
		}
	}()
	client, err := rpc.Dial("tcp", listener.Addr().String())
	require.NoError(b, err)
	b.Cleanup(func() {
		client.Close()
		listener.Close()
	})
	return func(ctx context.Context, body []byte) (answer []byte, err error) {
		pending := client.Go("Echo.Do", body, &answer, make(chan *rpc.Call, 1))
		select {
		case <-pending.Done:
			return answer, pending.Error
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// rawEncoding is rawCodec for drpc.
type rawEncoding struct{}

func (rawEncoding) Marshal(m drpc.Message) ([]byte, error) { return *m.(*[]byte), nil }

func (rawEncoding) Unmarshal(b []byte, m drpc.Message) error {
	*m.(*[]byte) = append([]byte(nil), b...)
	return nil
}

type drpcEcho struct{}

func (drpcEcho) HandleRPC(stream drpc.Stream, _ string) error {
	var body []byte
	if err := stream.MsgRecv(&body, rawEncoding{}); err != nil {
		return err
	}
	return stream.MsgSend(&body, rawEncoding{})
}

// startDRPC gives each call in flight a connection of its own, as drpc's do one
// call at a time.
func startDRPC(b testing.TB, _ bool) call {
	listener := listen(b)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- drpcserver.New(drpcEcho{}).Serve(ctx, listener) }()
	idle := make(chan *drpcconn.Conn, 1024)
	b.Cleanup(func() {
		for len(idle) > 0 {
			(<-idle).Close()
		}
		cancel()
		<-served
	})
	take := func() (*drpcconn.Conn, error) {
		select {
		case conn := <-idle:
			return conn, nil
		default:
			raw, err := net.Dial("tcp", listener.Addr().String())
			return drpcconn.New(raw), err
		}
	}
	return func(ctx context.Context, body []byte) (answer []byte, err error) {
		conn, err := take()
		if err != nil {
			return nil, err
		}
		err = conn.Invoke(ctx, "echo", rawEncoding{}, &body, &answer)
		idle <- conn
		return answer, err
	}
}

// connectCodec is rawCodec for connect, which keeps what Marshal returns.
type connectCodec struct{ rawCodec }

func (connectCodec) Marshal(v any) ([]byte, error) { return append([]byte(nil), *v.(*[]byte)...), nil }

func (connectCodec) MarshalAppend(to []byte, v any) ([]byte, error) {
	return append(to, *v.(*[]byte)...), nil
}

// startConnect speaks the Connect protocol over HTTP/2 without TLS, so that one
// connection carries all calls.
func startConnect(b testing.TB, _ bool) call {
	echo := func(_ context.Context, r *connect.Request[[]byte]) (*connect.Response[[]byte], error) {
		return connect.NewResponse(r.Msg), nil
	}
	mux := http.NewServeMux()
	mux.Handle("/Echo/Echo", connect.NewUnaryHandler("/Echo/Echo", echo,
		connect.WithCodec(connectCodec{}), connect.WithCompression("gzip", nil, nil)))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: mux, Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 2048}}
	listener := listen(b)
	go server.Serve(listener)
	roundTripper := &http.Transport{Protocols: protocols}
	client := connect.NewClient[[]byte, []byte](&http.Client{Transport: roundTripper},
		fmt.Sprintf("http://%s/Echo/Echo", listener.Addr()),
		connect.WithCodec(connectCodec{}), connect.WithAcceptCompression("gzip", nil, nil))
	b.Cleanup(func() {
		roundTripper.CloseIdleConnections()
		server.Close()
	})
	return func(ctx context.Context, body []byte) ([]byte, error) {
		response, err := client.CallUnary(ctx, connect.NewRequest(&body))
		if err != nil {
			return nil, err
		}
		return *response.Msg, nil
	}
}
