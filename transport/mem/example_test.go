package mem_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
)

func ExampleNetwork() {
	network := mem.NewNetwork()
	a, err := network.Join("a")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = network.Join("a")
	fmt.Println(err)

	fmt.Println(a.Close())
	again, err := network.Join("a") // the name is free now
	fmt.Println(err)
	fmt.Println(again.Close())
	// Output:
	// mem: the network has a node "a" already
	// <nil>
	// <nil>
	// <nil>
}

func ExampleTransport() {
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

	stop := b.Serve("upper", func(_ context.Context, _ string, request []byte) ([]byte, error) {
		for i, c := range request {
			if 'a' <= c && c <= 'z' {
				request[i] = c - 'a' + 'A'
			}
		}
		return request, nil
	})
	response, err := a.Call(context.Background(), "b", "upper", []byte("hello"))
	fmt.Printf("%s, %v\n", response, err)
	stop()
	_, err = a.Call(context.Background(), "b", "upper", []byte("hello"))
	fmt.Println(errors.Is(err, transport.ErrNoService))
	// Output:
	// HELLO, <nil>
	// true
}
