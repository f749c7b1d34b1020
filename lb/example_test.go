package lb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/parley-go/parley/lb"
)

// Pick a backend, call it, and say how it went.
func Example() {
	balancer, err := lb.New(lb.Config{Policy: lb.PowerOfTwo{}},
		lb.Backend{Name: "10.0.0.1:80", Zone: "eu-1"},
		lb.Backend{Name: "10.0.0.2:80", Zone: "eu-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	pick, err := balancer.Pick(lb.Request{})
	if err != nil {
		fmt.Println(err) // lb.ErrNoBackends
		return
	}
	address := pick.Backend().Name
	pick.Done(nil) // or the error of the call
	fmt.Println(strings.HasPrefix(address, "10.0.0."))
	// Output: true
}

// Shares are exact in every round, and turns are spread over it.
func ExampleWeighted() {
	balancer, err := lb.New(lb.Config{Policy: lb.Weighted{}, Seed: 4},
		lb.Backend{Name: "big", Weight: 3}, lb.Backend{Name: "small", Weight: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	counts := map[string]int{}
	for range 400 {
		pick, _ := balancer.Pick(lb.Request{})
		counts[pick.Backend().Name]++
		pick.Done(nil)
	}
	fmt.Println(counts)
	// Output: map[big:300 small:100]
}

// The requests of one key go to one backend.
func ExampleConsistentHash() {
	balancer, err := lb.New(lb.Config{Policy: lb.ConsistentHash{LoadFactor: 1.25}},
		lb.Backend{Name: "a"}, lb.Backend{Name: "b"}, lb.Backend{Name: "c"})
	if err != nil {
		fmt.Println(err)
		return
	}
	backends := map[string]bool{}
	for range 100 {
		pick, _ := balancer.Pick(lb.Request{Key: "user:42"})
		backends[pick.Backend().Name] = true
		pick.Done(nil)
	}
	fmt.Println(len(backends))
	// Output: 1
}

// All policies choose among the same backends.
func ExamplePolicy() {
	for _, policy := range []lb.Policy{
		lb.RoundRobin{},
		lb.Weighted{},
		lb.Random{},
		lb.LeastConnections{},
		lb.PowerOfTwo{},
		lb.LatencyAware{},
		lb.ConsistentHash{},
		lb.Maglev{},
	} {
		balancer, err := lb.New(lb.Config{Policy: policy}, lb.Backend{Name: "only"})
		if err != nil {
			fmt.Println(err)
			return
		}
		pick, _ := balancer.Pick(lb.Request{Key: "user:42"})
		pick.Done(nil)
		fmt.Println(policy)
	}
	// Output:
	// round-robin
	// weighted
	// random
	// least-connections
	// power-of-two
	// latency-aware
	// consistent-hash
	// maglev
}

// A backend that fails five times in a row is left alone for a while.
func ExampleEjectionConfig() {
	balancer, err := lb.New(lb.Config{Policy: lb.RoundRobin{}, Ejection: lb.EjectionConfig{Consecutive: 5, For: time.Minute}},
		lb.Backend{Name: "good"}, lb.Backend{Name: "broken"})
	if err != nil {
		fmt.Println(err)
		return
	}
	failed := 0
	for range 1000 {
		pick, _ := balancer.Pick(lb.Request{})
		if pick.Backend().Name == "broken" {
			failed++
			pick.Done(errors.New("connection refused"))
			continue
		}
		pick.Done(nil)
	}
	fmt.Println(failed, "failed")
	var status lb.Status
	for status = range balancer.Backends() {
		fmt.Println(status.Name, status.State)
	}
	stats := balancer.Stats()
	fmt.Println(stats.Available, "available,", stats.Ejections, "ejection")
	// Output:
	// 5 failed
	// good available
	// broken ejected
	// 1 available, 1 ejection
}

// Backends come, go, and change their weight while calls go on.
func ExampleBalancer_Set() {
	balancer, err := lb.New(lb.Config{Policy: lb.Weighted{}, DisableSlowStart: true}, lb.Backend{Name: "a"}, lb.Backend{Name: "b"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := balancer.Set(lb.Backend{Name: "b", Weight: 3}, lb.Backend{Name: "c"}); err != nil {
		fmt.Println(err)
		return
	}
	for status := range balancer.Backends() {
		fmt.Printf("%s gets %.0f%%\n", status.Name, 100*status.Share)
	}
	// Output:
	// b gets 75%
	// c gets 25%
}

// Before a backend is taken away, it gets no more calls, and those under way are
// waited for.
func ExampleBalancer_Drain() {
	balancer, err := lb.New(lb.Config{Policy: lb.LeastConnections{}}, lb.Backend{Name: "old"}, lb.Backend{Name: "new"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var state lb.State
	if err := balancer.Drain("old"); err == nil {
		err = balancer.Idle(context.Background(), "old")
		for status := range balancer.Backends() {
			if status.Name == "old" {
				state = status.State
			}
		}
		fmt.Println(state, err, balancer.Remove("old"))
	}
	// Output: draining <nil> true
}

// Tries of one request go to different backends.
func ExampleTried() {
	balancer, err := lb.New(lb.Config{}, lb.Backend{Name: "a"}, lb.Backend{Name: "b"}, lb.Backend{Name: "c"})
	if err != nil {
		fmt.Println(err)
		return
	}
	request := lb.Request{Tried: new(lb.Tried)}
	tried := map[string]bool{}
	for range 3 {
		pick, _ := balancer.Pick(request)
		tried[pick.Backend().Name] = true
		pick.Done(errors.New("no answer"))
	}
	fmt.Println(len(tried), "backends tried")
	// Output: 3 backends tried
}

// A client of net/http whose requests are spread over two servers.
func ExampleRoundTripper() {
	greet := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") })
	one, two := httptest.NewServer(greet), httptest.NewServer(greet)
	defer one.Close()
	defer two.Close()
	balancer, err := lb.New(lb.Config{},
		lb.Backend{Name: strings.TrimPrefix(one.URL, "http://")},
		lb.Backend{Name: strings.TrimPrefix(two.URL, "http://")})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: lb.RoundTripper(balancer, nil)}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://greetings.internal/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s, %v\n", body, err)
	// Output: hello, <nil>
}

// What counts as a failure of a backend is up to the caller: here, not the status
// 500 of a service that is known to mean "try something else".
func ExampleStatusError() {
	failed := func(err error) bool {
		var status *lb.StatusError
		return !errors.As(err, &status) || status.Code != http.StatusInternalServerError
	}
	_, err := lb.New(lb.Config{Failed: failed}, lb.Backend{Name: "10.0.0.1:80"})
	fmt.Println(failed(&lb.StatusError{Code: 500}), failed(&lb.StatusError{Code: 503}), err)
	// Output: false true <nil>
}

// A checker takes out backends that are ill.
func ExampleChecker() {
	balancer, err := lb.New(lb.Config{}, lb.Backend{Name: "up"}, lb.Backend{Name: "down"})
	if err != nil {
		fmt.Println(err)
		return
	}
	checks, found := 0, make(chan struct{})
	var check lb.Check = func(_ context.Context, backend lb.Backend) error { // or lb.HTTPCheck("/healthz")
		if backend.Name == "up" {
			return nil
		}
		if checks++; checks == 4 {
			close(found) // three bad checks in a row are enough
		}
		return errors.New("no answer")
	}
	checker, err := lb.StartChecker(balancer, lb.CheckConfig{Check: check, Interval: time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-found
	if err := checker.Close(); err != nil {
		fmt.Println(err)
	}
	var result lb.CheckResult
	for result = range checker.Results() {
		if !result.Well {
			fmt.Println(result.Backend, "is ill:", result.Err)
		}
	}
	fmt.Println(balancer.Stats().Available, "available")
	// Output:
	// down is ill: no answer
	// 1 available
}

// A watcher keeps the backends up to date with the name service.
func ExampleWatcher() {
	balancer, err := lb.New(lb.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var resolver lb.Resolver = lb.Static{{Name: "10.0.0.1:80"}, {Name: "10.0.0.2:80"}} // or lb.DNS{Host: "profiles.internal", Port: 80}
	watcher, err := lb.StartWatcher(balancer, lb.ResolveConfig{Resolver: resolver})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer watcher.Close()
	if err := watcher.Wait(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(balancer.Stats().Backends)
	// Output: 2
}

// Looking up services by SRV records, _http._tcp.profiles.internal.
func ExampleDNS() {
	balancer, err := lb.New(lb.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = lb.StartWatcher(balancer, lb.ResolveConfig{Resolver: lb.DNS{Host: "", Service: "http"}})
	fmt.Println(err)
	// Output: lb: invalid: ResolveConfig.Resolver.Host is "": must be a name
}

// A service that is ready as long as its database is, even without its cache.
func ExampleReport() {
	report, err := lb.NewReport(lb.ReportConfig{},
		lb.Dependency{Name: "database", Check: func(context.Context) error { return nil }},
		lb.Dependency{Name: "cache", Optional: true, Check: func(context.Context) error { return errors.New("refused") }})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer report.Close()
	mux := http.NewServeMux()
	mux.Handle("/readyz", report.Readiness())
	mux.Handle("/livez", report.Liveness())

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	fmt.Println(w.Code, strings.Contains(w.Body.String(), `"status":"`+string(lb.Warn)+`"`))
	var health lb.Health = lb.Pass
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/livez", nil))
	fmt.Printf("%d %t\n", w.Code, strings.Contains(w.Body.String(), string(health)))
	// Output:
	// 200 true
	// 200 true
}
