package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/parley-go/parley/breaker"
)

type Profile struct{ Name string }

func fetchProfile(context.Context) (Profile, error) { return Profile{"Ada"}, nil }

func unreachable(context.Context) (Profile, error) {
	return Profile{}, errors.New("connection refused")
}

func ExampleBreaker() {
	b, err := breaker.New(breaker.Config{Name: "profiles"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	for range 5 {
		_, err = breaker.Do(ctx, b, unreachable)
		fmt.Println(err)
	}
	_, err = breaker.Do(ctx, b, fetchProfile)
	if errors.Is(err, breaker.ErrOpen) {
		fmt.Println("not called:", b.State())
	}
	// Output:
	// connection refused
	// connection refused
	// connection refused
	// connection refused
	// connection refused
	// not called: open
}

func ExampleConfig() {
	b, err := breaker.New(breaker.Config{
		Name:        "search",
		WindowTime:  30 * time.Second,
		FailureRate: 0.2,
		SlowAfter:   800 * time.Millisecond,
		Probes:      3,
	})
	fmt.Println(b.State(), err)

	_, err = breaker.New(breaker.Config{WindowCalls: 50, FailureRate: 20})
	fmt.Println(err)
	// Output:
	// closed <nil>
	// breaker: Config.FailureRate is 20: must be above 0, to 1
}

func ExampleGuard() {
	b, _ := breaker.New(breaker.Config{})
	pool, _ := breaker.NewBulkhead(breaker.BulkheadConfig{})
	limit, _ := breaker.NewAdaptive(breaker.AdaptiveConfig{})
	for _, g := range []breaker.Guard{b, pool, limit, limit.For("tenant-7")} {
		profile, err := breaker.Do(context.Background(), g, fetchProfile)
		fmt.Println(profile.Name, err)
	}
	// Output:
	// Ada <nil>
	// Ada <nil>
	// Ada <nil>
	// Ada <nil>
}

func ExamplePermit() {
	b, _ := breaker.New(breaker.Config{Consecutive: 1})
	ctx := context.Background()

	permit, err := b.Acquire(ctx)
	if err != nil {
		return // rejected
	}
	err = errors.New("stream broke") // of a call that ends somewhere else
	permit.Done(ctx, err)
	fmt.Println(b.State())
	// Output: open
}

func ExampleFallback() {
	b, _ := breaker.New(breaker.Config{})
	cached := func(_ context.Context, err error) (Profile, error) {
		return Profile{"Ada, from the cache"}, nil
	}
	profile, err := breaker.Fallback(context.Background(), b, unreachable, cached)
	fmt.Println(profile.Name, err)
	// Output: Ada, from the cache <nil>
}

func ExampleOutcome() {
	notFound := errors.New("not found")
	b, _ := breaker.New(breaker.Config{Consecutive: 1, Classify: func(result any, err error) breaker.Outcome {
		switch {
		case err == nil, errors.Is(err, notFound): // the service did its work
			return breaker.Success
		case errors.Is(err, context.DeadlineExceeded):
			return breaker.Failure
		}
		return breaker.Ignored
	}})
	_, _ = breaker.Do(context.Background(), b, func(context.Context) (Profile, error) { return Profile{}, notFound })
	fmt.Println(b.State())
	// Output: closed
}

func ExampleOpenError() {
	b, _ := breaker.New(breaker.Config{Name: "profiles", Consecutive: 1, OpenFor: time.Minute})
	_, _ = breaker.Do(context.Background(), b, unreachable)
	_, err := breaker.Do(context.Background(), b, fetchProfile)

	var open *breaker.OpenError
	if errors.As(err, &open) {
		fmt.Println(open.Name, open.State, open.RetryAfter() > 40*time.Second)
	}
	// Output: profiles open true
}

func ExampleState() {
	b, _ := breaker.New(breaker.Config{Consecutive: 1, OpenFor: time.Millisecond})
	fmt.Println(b.State())
	_, _ = breaker.Do(context.Background(), b, unreachable)
	for b.State() == breaker.Open { // for about a millisecond
	}
	fmt.Println(b.State())
	_, _ = breaker.Do(context.Background(), b, fetchProfile)
	fmt.Println(b.State())
	// Output:
	// closed
	// half-open
	// closed
}

func ExampleMode() {
	b, _ := breaker.New(breaker.Config{})
	_ = b.SetMode(breaker.ForceOpen) // for maintenance, say
	_, err := breaker.Do(context.Background(), b, fetchProfile)
	fmt.Println(err, b.Mode())
	_ = b.SetMode(breaker.Automatic)
	_, err = breaker.Do(context.Background(), b, fetchProfile)
	fmt.Println(err, b.Mode())
	// Output:
	// breaker: open force-open
	// <nil> automatic
}

func ExampleStats() {
	b, _ := breaker.New(breaker.Config{WindowCalls: 100, CountSuccesses: true})
	for range 3 {
		_, _ = breaker.Do(context.Background(), b, fetchProfile)
	}
	_, _ = breaker.Do(context.Background(), b, unreachable)
	s := b.Stats()
	fmt.Printf("%v: %d good, %d bad; %d of %d in the window failed\n", s.State, s.Successes, s.Failures, s.WindowFailures, s.WindowCalls)
	// Output: closed: 3 good, 1 bad; 1 of 4 in the window failed
}

func ExampleChange() {
	b, _ := breaker.New(breaker.Config{Name: "profiles", Consecutive: 2})
	ctx := context.Background()
	changes := b.Changes(ctx) // from here on
	for range 2 {
		_, _ = breaker.Do(ctx, b, unreachable)
	}
	for c := range changes { // in a goroutine of its own, as a rule
		fmt.Printf("%s: %v -> %v: %s\n", c.Name, c.From, c.To, c.Cause)
		break
	}
	// Output: profiles: closed -> open: too many failures in a row
}

func ExampleCause() {
	b, _ := breaker.New(breaker.Config{})
	changes := b.Changes(context.Background())
	_ = b.SetMode(breaker.ForceOpen)
	for c := range changes {
		fmt.Println(c.Cause == breaker.CauseForced)
		break
	}
	// Output: true
}

func ExampleKeyed() {
	hosts, _ := breaker.NewKeyed[string](breaker.KeyedConfig{Breaker: breaker.Config{Name: "hosts", Consecutive: 1}})
	ctx := context.Background()
	_, _ = breaker.Do(ctx, hosts.Get("10.0.0.1"), unreachable)
	_, err := breaker.Do(ctx, hosts.Get("10.0.0.1"), fetchProfile)
	fmt.Println(errors.Is(err, breaker.ErrOpen))
	_, err = breaker.Do(ctx, hosts.Get("10.0.0.2"), fetchProfile)
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

func ExampleKeyedConfig() {
	tenants, err := breaker.NewKeyed[int](breaker.KeyedConfig{MaxKeys: 1000})
	for id := range 5000 {
		tenants.Get(id)
	}
	fmt.Println(tenants.Len(), err)
	// Output: 1000 <nil>
}

func ExampleBulkhead() {
	pool, _ := breaker.NewBulkhead(breaker.BulkheadConfig{Concurrent: 1, DisableWaiting: true})
	_, err := breaker.Do(context.Background(), pool, func(ctx context.Context) (Profile, error) {
		_, err := breaker.Do(ctx, pool, fetchProfile) // while the first one runs
		fmt.Println(err)
		return fetchProfile(ctx)
	})
	fmt.Println(err)
	// Output:
	// breaker: full
	// <nil>
}

func ExampleBulkheadConfig() {
	pool, err := breaker.NewBulkhead(breaker.BulkheadConfig{Concurrent: 16, Waiting: 64})
	fmt.Println(pool.Stats().Limit, err)
	_ = pool.Resize(32)
	fmt.Println(pool.Stats().Limit)
	// Output:
	// 16 <nil>
	// 32
}

func ExampleBulkheadStats() {
	pool, _ := breaker.NewBulkhead(breaker.BulkheadConfig{Concurrent: 4})
	permit, _ := pool.Acquire(context.Background())
	s := pool.Stats()
	fmt.Printf("%d of %d in use, %d waiting, %d rejected\n", s.InUse, s.Limit, s.Waiting, s.Rejected)
	permit.Report(breaker.Success)
	// Output: 1 of 4 in use, 0 waiting, 0 rejected
}

func ExampleClass() {
	pool, _ := breaker.NewBulkhead(breaker.BulkheadConfig{Concurrent: 8})
	reports := pool.For(breaker.Class{Weight: 6, Priority: breaker.Low})
	_, _ = breaker.Do(context.Background(), reports, func(context.Context) (int, error) {
		fmt.Println(pool.Stats().InUse)
		return 0, nil
	})
	// Output: 6
}

func ExamplePriority() {
	pool, _ := breaker.NewBulkhead(breaker.BulkheadConfig{})
	checkout := pool.For(breaker.Class{Priority: breaker.High}) // when the queue is full, others leave for it
	_, err := breaker.Do(context.Background(), checkout, fetchProfile)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleAdaptive() {
	limit, _ := breaker.NewAdaptive(breaker.AdaptiveConfig{})
	profile, err := breaker.Do(context.Background(), limit.For("tenant-7"), fetchProfile)
	fmt.Println(profile.Name, err)
	// Output: Ada <nil>
}

func ExampleAdaptiveConfig() {
	limit, err := breaker.NewAdaptive(breaker.AdaptiveConfig{
		Min: 4, Max: 200,
		Shares: map[string]float64{"batch": 0.25},
	})
	fmt.Println(limit.Stats().Limit, err)
	// Output: 20 <nil>
}

func ExampleAdaptiveStats() {
	limit, _ := breaker.NewAdaptive(breaker.AdaptiveConfig{Initial: 1, DisableWaiting: true})
	permit, _ := limit.Acquire(context.Background())
	_, err := limit.Acquire(context.Background())
	s := limit.Stats()
	fmt.Printf("%v: %d of %d in use, %d rejected\n", err, s.InUse, s.Limit, s.Rejected)
	permit.Done(context.Background(), nil)
	// Output: breaker: full: 1 of 1 in use, 1 rejected
}

func ExampleAlgorithm() {
	for _, algorithm := range []breaker.Algorithm{breaker.Gradient{}, breaker.AIMD{}} {
		_, err := breaker.NewAdaptive(breaker.AdaptiveConfig{Algorithm: algorithm})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
}

func ExampleGradient() {
	_, err := breaker.NewAdaptive(breaker.AdaptiveConfig{Algorithm: breaker.Gradient{Tolerance: 1.2}})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleAIMD() {
	_, err := breaker.NewAdaptive(breaker.AdaptiveConfig{Algorithm: breaker.AIMD{Timeout: 250 * time.Millisecond}})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleRoundTripper() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "down", http.StatusBadGateway)
	}))
	defer server.Close()

	b, _ := breaker.New(breaker.Config{Consecutive: 2})
	client := &http.Client{Transport: breaker.RoundTripper(b, server.Client().Transport)}
	for range 3 {
		resp, err := client.Get(server.URL)
		if err != nil {
			fmt.Println(errors.Is(err, breaker.ErrOpen))
			continue
		}
		fmt.Println(resp.StatusCode)
		resp.Body.Close()
	}
	// Output:
	// 502
	// 502
	// true
}

func ExampleMiddleware() {
	pool, _ := breaker.NewBulkhead(breaker.BulkheadConfig{Concurrent: 1, DisableWaiting: true})
	busy, _ := pool.Acquire(context.Background())
	defer busy.Report(breaker.Success)

	handler := breaker.Middleware(pool, http.NotFoundHandler())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Header().Get("Retry-After"))
	// Output: 503 1
}
