package tcp_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/parley-go/parley/transport/tcp"
)

// Two nodes of a cluster whose authority makes their certificates. In a real
// cluster each runs in a process of its own.
func Example() {
	authority, err := tcp.NewAuthority()
	if err != nil {
		log.Fatal(err)
	}
	addresses := map[string]string{}
	listen := func(name string) *tcp.Transport {
		credentials, err := authority.Issue(name)
		if err != nil {
			log.Fatal(err)
		}
		tlsConfig, err := credentials.TLS()
		if err != nil {
			log.Fatal(err)
		}
		node, err := tcp.Listen(name, "127.0.0.1:0", tcp.Config{
			TLS:     tlsConfig,
			Resolve: func(name string) (string, error) { return addresses[name], nil },
		})
		if err != nil {
			log.Fatal(err)
		}
		addresses[name] = node.Addr().String()
		return node
	}
	a, b := listen("node-a"), listen("node-b")
	defer a.Close()
	defer b.Close()

	b.Serve("greet", func(_ context.Context, from string, request []byte) ([]byte, error) {
		return fmt.Appendf(nil, "%s, %s", request, from), nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := a.Call(ctx, "node-b", "greet", []byte("hello"))
	fmt.Println(string(answer), err)
	// Output: hello, node-a <nil>
}

// Without certificates, and with names that are addresses: for a trusted network.
func ExampleListen() {
	a, err := tcp.Listen("a", "127.0.0.1:0", tcp.Config{Plaintext: true})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	fmt.Println(a.Local())

	_, err = tcp.Listen("b", "127.0.0.1:0", tcp.Config{})
	fmt.Println(err)
	// Output:
	// a
	// tcp: Config needs either TLS or Plaintext: true
}

func ExampleConfig() {
	_, err := tcp.Listen("a", "127.0.0.1:0", tcp.Config{
		Plaintext:  true,
		KeepAlive:  2 * time.Second, // notice dead peers sooner
		MaxMessage: 64 << 20,        // carry larger messages
		MaxCalls:   1_000_000,       // out of bounds
	})
	fmt.Println(err)
	// Output: tcp: Config.MaxCalls is 1000000, must be from 1 to 65536
}

func ExampleTransport_Events() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a, b := plainPair()
	defer a.Close()
	for event := range a.Events(ctx) {
		if event.Up {
			fmt.Println(event.Peer, "is up")
			b.Close()
		} else {
			fmt.Println(event.Peer, "is down:", event.Cause)
			cancel()
		}
	}
	// Output:
	// b is up
	// b is down: read: closed by the peer
}

func ExampleTransport_Stats() {
	a, b := plainPair()
	defer a.Close()
	defer b.Close()
	unanswered := func(p tcp.PeerStats) uint64 { return p.RequestsSent - p.ResponsesReceived }
	for _, peer := range a.Stats().Peers {
		fmt.Println(peer.Name, peer.Up, peer.RequestsSent, unanswered(peer))
	}
	// Output: b true 1 0
}

// The authority's key goes to who issues certificates, the credentials of a node
// to the node, for instance as files.
func ExampleAuthority() {
	authority, err := tcp.NewAuthority()
	if err != nil {
		log.Fatal(err)
	}
	certificate, key, err := authority.PEM()
	if err != nil {
		log.Fatal(err)
	}
	again, err := tcp.ParseAuthority(certificate, key)
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := again.Issue("node-1")
	if err != nil {
		log.Fatal(err)
	}
	tlsConfig, err := credentials.TLS()
	fmt.Println(len(tlsConfig.Certificates), err)
	// Output: 1 <nil>
}

func ExampleCredentials() {
	authority, err := tcp.NewAuthority()
	if err != nil {
		log.Fatal(err)
	}
	credentials, err := authority.Issue("node-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.27s\n%.27s\n", credentials.Certificate, credentials.Key)
	// Output:
	// -----BEGIN CERTIFICATE-----
	// -----BEGIN PRIVATE KEY-----
}

// plainPair returns two nodes that have talked.
func plainPair() (a, b *tcp.Transport) {
	address := ""
	config := tcp.Config{Plaintext: true, Resolve: func(string) (string, error) { return address, nil }}
	a, err := tcp.Listen("a", "127.0.0.1:0", config)
	if err != nil {
		log.Fatal(err)
	}
	if b, err = tcp.Listen("b", "127.0.0.1:0", config); err != nil {
		log.Fatal(err)
	}
	address = b.Addr().String()
	b.Serve("echo", echo)
	if _, err := a.Call(context.Background(), "b", "echo", nil); err != nil {
		log.Fatal(err)
	}
	return a, b
}
