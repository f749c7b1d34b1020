package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
)

// serveGreetings is written against the interface: it works in one process, over
// TCP and in simulation alike.
func serveGreetings(t transport.Transport) (stop func()) {
	return t.Serve("greet", func(_ context.Context, from string, request []byte) ([]byte, error) {
		if len(request) == 0 {
			return nil, errors.New("nobody to greet")
		}
		return fmt.Appendf(nil, "hello %s, says %s to %s", request, t.Local(), from), nil
	})
}

func Example() {
	network := mem.NewNetwork()
	a, err := network.Join("a")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	b, err := network.Join("b")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	serveGreetings(b)

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	response, err := a.Call(ctx, "b", "greet", []byte("world"))
	fmt.Printf("%s, %v\n", response, err)

	_, err = a.Call(ctx, "b", "greet", nil)
	fmt.Println(err)
	_, err = a.Call(ctx, "c", "greet", nil)
	fmt.Println(errors.Is(err, transport.ErrUnreachable))
	// Output:
	// hello world, says b to a, <nil>
	// transport: greet on b: nobody to greet
	// true
}

// One-way messages of one sender arrive in order; nobody says whether they did.
func ExampleTransport() {
	network := mem.NewNetwork()
	join := func(name string) transport.Transport {
		node, err := network.Join(name)
		if err != nil {
			panic(err)
		}
		return node
	}
	a, b := join("a"), join("b")
	defer a.Close()
	defer b.Close()

	heard := make(chan string, 3)
	stop := b.Receive("news", func(from string, body []byte) {
		heard <- fmt.Sprintf("%s from %s", body, from) // body is gone after this call: what is kept is a copy
	})
	defer stop()
	for _, news := range []string{"one", "two", "three"} {
		if err := a.Send("b", "news", []byte(news)); err != nil {
			fmt.Println(err)
		}
	}
	for range 3 {
		fmt.Println(<-heard)
	}
	// Output:
	// one from a
	// two from a
	// three from a
}

// The error of a handler arrives as text, with the node and service it is from.
func ExampleRemoteError() {
	var err error = &transport.RemoteError{Node: "b", Service: "get", Message: "disk full"}
	if remote := new(transport.RemoteError); errors.As(err, &remote) {
		fmt.Printf("%s failed: %s\n", remote.Node, remote.Message)
	}
	// Output: b failed: disk full
}

// What is never written to again can be passed on without a copy.
func ExampleSharer() {
	network := mem.NewNetwork()
	join := func(name string) transport.Sharer {
		node, err := network.Join(name)
		if err != nil {
			panic(err)
		}
		sharer, ok := transport.SharerOf(node)
		if !ok {
			panic("nodes of one process share")
		}
		return sharer
	}
	a, b := join("a"), join("b")
	defer a.Close()
	defer b.Close()
	kept := make(chan []byte)
	b.ReceiveShared("log", func(_ string, body []byte, shared bool) {
		if !shared {
			body = bytes.Clone(body)
		}
		kept <- body
	})
	entry := []byte("x = 1")
	if err := a.SendShared("b", "log", entry); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(&(<-kept)[0] == &entry[0])
	// Output:
	// true
}
