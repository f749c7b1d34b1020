package redis_test

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ratelimit/redis"
)

// All programs that use the same server and name share the limit of each user.
func ExampleStore() {
	client := goredis.NewClient(&goredis.Options{Addr: address})
	defer func() { _ = client.Close() }()
	store, err := redis.New(client, redis.Config{Limit: ratelimit.Per(5, time.Hour), Burst: 5, Name: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	client.Del(context.Background(), "ratelimit:example:user:42")
	for range 3 {
		decision, err := store.Take(context.Background(), "user:42", 2)
		fmt.Println(decision.Allowed, decision.Remaining, err)
	}
	// Output:
	// true 3 <nil>
	// true 1 <nil>
	// false 1 <nil>
}
