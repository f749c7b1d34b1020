package shared_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ratelimit/shared"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport/mem"
)

// Three servers allow each user five requests an hour, whichever server they ask.
func ExampleLimiter() {
	network := mem.NewNetwork()
	members, err := ring.New(ring.Config{}, ring.Node{Name: "a"}, ring.Node{Name: "b"}, ring.Node{Name: "c"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var servers []*shared.Limiter
	for _, name := range []string{"a", "b", "c"} {
		node, err := network.Join(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer node.Close()
		limiter, err := shared.Start(shared.Config{
			Transport: node, Ring: members,
			Limit: ratelimit.Per(5, time.Hour), Burst: 5,
			Lease:      10 * time.Millisecond, // short, for the example does not want to wait
			FailClosed: true,
			Forgive:    true,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer limiter.Close()
		servers = append(servers, limiter)
	}

	allowed := 0
	for i := 0; i < 9; {
		decision, err := servers[i%3].Take(context.Background(), "user:42", 1)
		if err != nil {
			continue // shared.ErrUnavailable: the servers have only just started
		}
		if decision.Allowed {
			allowed++
		}
		i++
	}
	fmt.Println(allowed, "of 9 allowed")
	// Output: 5 of 9 allowed
}

// A Limiter stands behind the middleware of package ratelimit as it is.
func ExampleStart() {
	node, err := mem.NewNetwork().Join("a")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	members, _ := ring.New(ring.Config{}, ring.Node{Name: "a"})
	limiter, err := shared.Start(shared.Config{Transport: node, Ring: members, Forgive: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer limiter.Close()

	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	handler := ratelimit.Middleware(limiter, ratelimit.ByClientIP, hello)
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(response.Code, response.Header().Get("RateLimit-Policy"))
	// Output: 200 "default";q=100;w=1
}

func ExampleStats() {
	node, err := mem.NewNetwork().Join("a")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	members, _ := ring.New(ring.Config{}, ring.Node{Name: "a"})
	_, err = shared.Start(shared.Config{Transport: node, Ring: members, Lease: time.Hour})
	fmt.Println(err)

	limiter, _ := shared.Start(shared.Config{Transport: node, Ring: members, Forgive: true})
	defer limiter.Close()
	_, _ = limiter.Take(context.Background(), "user:42", 1)
	stats := limiter.Stats()
	fmt.Println(stats.Keys, "key in use;", stats.Alone, "allowed by the share of this node, which has only just started")
	// Output:
	// shared: invalid: Config.Lease is 1h0m0s: must be from 10ms to 10m
	// 1 key in use; 1 allowed by the share of this node, which has only just started
}
