package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/parley-go/parley/retry"
)

// A flaky call fails twice and then answers.
func flaky() func(context.Context) (string, error) {
	calls := 0
	return func(context.Context) (string, error) {
		if calls++; calls < 3 {
			return "", errors.New("connection refused")
		}
		return "hello", nil
	}
}

func ExampleDo() {
	value, err := retry.Do(context.Background(), retry.Policy{}, flaky())
	fmt.Println(value, err)
	// Output: hello <nil>
}

func ExamplePolicy() {
	budget, err := retry.NewBudget(retry.BudgetConfig{}) // one for each service
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := retry.Policy{
		Attempts: 4,
		Backoff:  retry.Exponential{Initial: time.Millisecond, Max: 20 * time.Millisecond},
		Elapsed:  time.Minute,
		Budget:   budget,
		OnRetry: func(_ context.Context, attempt int, err error, _ time.Duration) {
			fmt.Printf("attempt %d: %v\n", attempt, err)
		},
	}
	calls := 0
	_, err = retry.Do(context.Background(), policy, func(context.Context) (int, error) {
		calls++
		return 0, errors.New("connection refused")
	})
	fmt.Println(err)
	// Output:
	// attempt 1: connection refused
	// retry: gave up after 2 attempts: budget used up: connection refused
}

func ExamplePermanent() {
	_, err := retry.Do(context.Background(), retry.Policy{}, func(context.Context) (int, error) {
		return 0, retry.Permanent(errors.New("no such user"))
	})
	fmt.Println(err)
	// Output: no such user
}

func ExampleAfter() {
	begin := time.Now()
	call := flaky()
	value, _ := retry.Do(context.Background(), retry.Policy{}, func(ctx context.Context) (string, error) {
		value, err := call(ctx)
		return value, retry.After(err, 10*time.Millisecond) // nil stays nil
	})
	fmt.Println(value, time.Since(begin) >= 20*time.Millisecond)
	// Output: hello true
}

func ExampleExhaustedError() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := retry.Do(ctx, retry.Policy{Backoff: retry.Constant(time.Minute)}, flaky())

	var exhausted *retry.ExhaustedError
	if errors.As(err, &exhausted) {
		fmt.Println("attempts:", exhausted.Attempts)
		fmt.Println("last:", exhausted.Last)
		fmt.Println("cause:", exhausted.Cause)
	}
	fmt.Println(errors.Is(err, context.DeadlineExceeded), ctx.Err()) // without waiting for it
	// Output:
	// attempts: 1
	// last: connection refused
	// cause: context deadline exceeded
	// true <nil>
}

func ExampleAttempt() {
	call := flaky()
	for attempt, err := range retry.Attempts(context.Background(), retry.Policy{}) {
		if err != nil {
			fmt.Println("gave up:", err)
			break
		}
		value, err := call(attempt.Context())
		if err == nil {
			fmt.Printf("attempt %d: %s\n", attempt.Number(), value)
			break
		}
		attempt.Fail(err)
	}
	// Output: attempt 3: hello
}

// Fibonacci is a Backoff of one's own: a value without state.
type Fibonacci time.Duration

func (f Fibonacci) Delay(retry int, _ time.Duration, _ uint64) time.Duration {
	a, b := time.Duration(f), time.Duration(f)
	for range min(retry, 40) - 1 {
		a, b = b, a+b
	}
	return a
}

func ExampleBackoff() {
	policy := retry.Policy{Attempts: 6, Backoff: Fibonacci(time.Microsecond)}
	policy.OnRetry = func(_ context.Context, _ int, _ error, wait time.Duration) { fmt.Print(wait, " ") }
	_, _ = retry.Do(context.Background(), policy, func(context.Context) (int, error) { return 0, errors.New("down") })
	// Output: 1µs 1µs 2µs 3µs 5µs
}

func ExampleExponential() {
	e := retry.Exponential{Initial: 50 * time.Millisecond, Max: time.Second, Jitter: retry.NoJitter}
	for n := range 7 {
		fmt.Print(e.Delay(n+1, 0, 0), " ")
	}
	// Output: 50ms 100ms 200ms 400ms 800ms 1s 1s
}

func ExampleConstant() {
	value, err := retry.Do(context.Background(), retry.Policy{Backoff: retry.Constant(time.Millisecond)}, flaky())
	fmt.Println(value, err)
	// Output: hello <nil>
}

func ExampleJitter() {
	random := rand.New(rand.NewPCG(1, 0))
	for jitter := retry.FullJitter; jitter <= retry.NoJitter; jitter++ {
		e := retry.Exponential{Initial: 100 * time.Millisecond, Max: time.Second, Jitter: jitter}
		var last time.Duration
		fmt.Print(jitter, ":")
		for n := range 5 {
			last = e.Delay(n+1, last, random.Uint64())
			fmt.Print(" ", last.Milliseconds())
		}
		fmt.Println()
	}
	// Output:
	// full: 59 17 286 18 701
	// equal: 77 181 318 522 565
	// decorrelated: 199 137 402 238 644
	// none: 100 200 400 800 1000
}

func ExampleBudget() {
	budget, err := retry.NewBudget(retry.BudgetConfig{Ratio: 0.1, DisableFloor: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := retry.Policy{Backoff: retry.Constant(0), Budget: budget}
	calls := 0
	for range 1000 { // an outage
		_, _ = retry.Do(context.Background(), policy, func(context.Context) (int, error) {
			calls++
			return 0, errors.New("down")
		})
	}
	fmt.Println(calls)
	// Output: 1100
}

func ExampleBudgetConfig() {
	_, err := retry.NewBudget(retry.BudgetConfig{Ratio: 50})
	fmt.Println(err)
	// Output: retry: invalid configuration: BudgetConfig.Ratio is 50, want above 0, to 10, or 0 for 0.1
}

func ExampleBudgetStats() {
	budget, _ := retry.NewBudget(retry.BudgetConfig{Ratio: 0.5, DisableFloor: true})
	for range 5 {
		budget.Deposit()
	}
	fmt.Println(budget.Allow(), budget.Allow(), budget.Allow())
	fmt.Printf("%+v\n", budget.Stats())
	// Output:
	// true true false
	// {Allowed:2 Denied:1 Balance:0.5}
}

func ExampleHedge() {
	calls := make(chan int, 2)
	calls <- 1
	calls <- 2
	value, err := retry.Hedge(context.Background(), retry.HedgePolicy{After: time.Millisecond},
		func(ctx context.Context) (string, error) {
			if <-calls == 1 { // the first hangs
				<-ctx.Done()
				return "", ctx.Err()
			}
			return "from the second", nil
		})
	fmt.Println(value, err)
	// Output: from the second <nil>
}

func ExampleHedgePolicy() {
	latency, err := retry.NewLatency(retry.LatencyConfig{Percentile: 0.99})
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := retry.HedgePolicy{
		After:    50 * time.Millisecond, // until enough calls were seen
		Latency:  latency,
		Attempts: 3,
	}
	value, err := retry.Hedge(context.Background(), policy, func(context.Context) (int, error) { return 7, nil })
	fmt.Println(value, err)
	// Output: 7 <nil>
}

func ExampleLatency() {
	latency, _ := retry.NewLatency(retry.LatencyConfig{})
	for i := range 1000 {
		latency.Observe(time.Duration(i%100+1) * time.Millisecond)
	}
	late, ok := latency.Late()
	fmt.Println(late.Round(5*time.Millisecond), ok)
	// Output: 95ms true
}

func ExampleLatencyConfig() {
	latency, _ := retry.NewLatency(retry.LatencyConfig{Window: 20, Max: time.Second})
	for range 20 {
		latency.Observe(time.Minute)
	}
	fmt.Println(latency.Late())
	// Output: 1s true
}

func ExampleRoundTripper() {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls < 3 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()

	policy := retry.Policy{Backoff: retry.Exponential{Initial: time.Millisecond}}
	client := &http.Client{Transport: retry.RoundTripper(policy, &http.Transport{})}
	defer client.CloseIdleConnections()
	request, _ := http.NewRequest(http.MethodPut, server.URL, strings.NewReader("hello"))
	response, err := client.Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	fmt.Println(response.StatusCode, string(body))
	// Output: 200 hello
}

func ExampleStatusError() {
	policy := retry.Policy{
		Retryable: func(err error) bool {
			var status *retry.StatusError
			return errors.As(err, &status) && status.Code == http.StatusServiceUnavailable
		},
	}
	next := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody}, nil
	})
	request, _ := http.NewRequest(http.MethodGet, "http://example.test", nil)
	response, err := retry.RoundTripper(policy, next).RoundTrip(request)
	fmt.Println(response.StatusCode, err)
	// Output: 502 <nil>
}

func ExampleDeduplicator() {
	orders := 0
	shop := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		orders++
		_, _ = fmt.Fprintf(w, "order %d", orders)
	})
	handler, err := retry.Deduplicate(shop, retry.DeduplicateConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	key := retry.NewKey()
	for range 2 {
		request := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader("tea"))
		request.Header.Set(retry.KeyHeader, key)
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		fmt.Printf("%s, replayed: %q\n", response.Body, response.Header().Get(retry.ReplayedHeader))
	}
	// Output:
	// order 1, replayed: ""
	// order 1, replayed: "true"
}

func ExampleDeduplicateConfig() {
	_, err := retry.Deduplicate(http.NotFoundHandler(), retry.DeduplicateConfig{MaxEntries: -1})
	fmt.Println(err)
	// Output: retry: invalid configuration: DeduplicateConfig.MaxEntries is -1, want 1 to 1e8, or 0 for 10000
}

func ExampleDeduplicateStats() {
	handler, _ := retry.Deduplicate(http.NotFoundHandler(), retry.DeduplicateConfig{})
	for range 3 {
		request := httptest.NewRequest(http.MethodPost, "/orders", http.NoBody)
		request.Header.Set(retry.KeyHeader, "k")
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
	stats := handler.Stats()
	fmt.Println(stats.Entries, stats.Replayed, stats.Evicted)
	// Output: 1 2 0
}
