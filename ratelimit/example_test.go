package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/parley-go/parley/ratelimit"
)

// noon is a time to tell limiters, so that the examples need not sleep.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func ExampleLimiter() {
	l, err := ratelimit.New(ratelimit.Per(10, time.Second), 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.AllowN(noon, 3), l.AllowN(noon, 1))
	fmt.Println(l.AllowN(noon.Add(100*time.Millisecond), 1))

	var d ratelimit.Decision = l.Decide(noon.Add(100*time.Millisecond), 2)
	fmt.Println(d.Allowed, d.Remaining, d.RetryAfter)
	// Output:
	// true false
	// true
	// false 0 200ms
}

func ExampleLimiter_Wait() {
	l, err := ratelimit.New(ratelimit.Per(1, time.Hour), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(l.Wait(ctx))

	err = l.Wait(ctx) // returns at once: the minute would not be enough
	var limited *ratelimit.LimitedError
	if errors.As(err, &limited) {
		fmt.Println(errors.Is(err, ratelimit.ErrLimited), limited.RetryAfter > 59*time.Minute)
	}
	// Output:
	// <nil>
	// true true
}

func ExampleLimiter_SetLimit() {
	l, err := ratelimit.New(ratelimit.Per(1, time.Minute), 5)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.SetLimit(ratelimit.Per(100, time.Second), 20))
	limit, burst := l.Limit()
	fmt.Println(limit, burst)
	fmt.Println(l.SetLimit(ratelimit.Per(0, time.Second), 20))
	// Output:
	// <nil>
	// 100 per 1s 20
	// ratelimit: Limit.Events is 0: must be from 1 to 1000 for each nanosecond of Period
}

func ExampleReservation() {
	l, err := ratelimit.New(ratelimit.Per(10, time.Second), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	first, second := l.ReserveN(noon, 1), l.ReserveN(noon, 1)
	fmt.Println(first.DelayFrom(noon), second.DelayFrom(noon))
	second.CancelAt(noon) // nobody wants to wait that long
	fmt.Println(l.ReserveN(noon, 1).DelayFrom(noon))
	// Output:
	// 0s 100ms
	// 100ms
}

func ExampleNewWarm() {
	l, err := ratelimit.NewWarm(ratelimit.Per(100, time.Second), 1, ratelimit.WarmConfig{Period: 10 * time.Second, From: 0.2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for second := range 12 {
		allowed := 0
		for i := range 1000 {
			if l.AllowN(noon.Add(time.Duration(second)*time.Second+time.Duration(i)*time.Millisecond), 1) {
				allowed++
			}
		}
		if second%5 == 0 {
			fmt.Printf("after %2d s: about %d a second\n", second, allowed/10*10)
		}
	}
	// Output:
	// after  0 s: about 20 a second
	// after  5 s: about 60 a second
	// after 10 s: about 100 a second
}

func ExampleKeyed() {
	users, err := ratelimit.NewKeyed[string](ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Second), Burst: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(users.AllowN(noon, "ann", 2), users.AllowN(noon, "ann", 1), users.AllowN(noon, "bob", 1))

	if err := users.SetKeyLimitAt(noon, "carl", ratelimit.Per(100, time.Second), 200); err != nil { // who has a contract
		fmt.Println(err)
	}
	fmt.Println(users.AllowN(noon, "carl", 150))

	var s ratelimit.KeyedStats = users.Stats()
	fmt.Println(s.Keys, s.Own)
	// Output:
	// true false true
	// true
	// 2 1
}

func ExampleKeyed_Wait() {
	hosts, err := ratelimit.NewKeyed[string](ratelimit.KeyedConfig{Limit: ratelimit.Per(100, time.Second), Burst: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	began := time.Now()
	for range 3 { // a polite crawler: a host gets a request each 10 ms
		if err := hosts.Wait(context.Background(), "example.org"); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(time.Since(began) >= 20*time.Millisecond)
	// Output: true
}

func ExampleAllowAll() {
	users, err := ratelimit.NewKeyed[string](ratelimit.KeyedConfig{Limit: ratelimit.Per(1, time.Second), Burst: 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	service, err := ratelimit.New(ratelimit.Per(100, time.Second), 8)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, user := range []string{"ann", "bob"} {
		levels := []ratelimit.Level{users.Level(user), service}
		d := ratelimit.AllowAll(noon, 4, levels...)
		fmt.Println(user, d.Allowed)
	}
	d := ratelimit.AllowAll(noon, 4, users.Level("carl"), service)
	fmt.Println("carl", d.Allowed, "and has", users.Decide(noon, "carl", 0).Remaining)
	// Output:
	// ann true
	// bob true
	// carl false and has 5
}

func ExampleWindow() {
	w, err := ratelimit.NewWindow(ratelimit.Per(1000, time.Hour), ratelimit.WindowConfig{Slots: 60})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.AllowN(noon, 1000), w.AllowN(noon.Add(59*time.Minute), 1), w.AllowN(noon.Add(61*time.Minute), 1000))
	// Output: true false true
}

func ExampleLeaky() {
	printer, err := ratelimit.NewLeaky(ratelimit.Per(1000, time.Second), ratelimit.LeakyConfig{Queue: 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	for page := range 3 {
		if err := printer.Wait(context.Background()); err != nil { // ErrFull: ten are waiting already
			fmt.Println(err)
		}
		fmt.Println("page", page)
	}
	// Output:
	// page 0
	// page 1
	// page 2
}

func ExampleMiddleware() {
	clients, err := ratelimit.NewKeyed[string](ratelimit.KeyedConfig{Limit: ratelimit.Per(10, time.Minute), Burst: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	byClient := ratelimit.ByForwardedFor(netip.MustParsePrefix("10.0.0.0/8")) // our proxies
	handler := ratelimit.Middleware(clients, byClient, hello)

	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:4711"
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Printf("%d %s, retry after %q\n", w.Code, w.Header().Get("RateLimit"), w.Header().Get("Retry-After"))
	}
	// Output:
	// 200 "default";r=0;t=6, retry after ""
	// 429 "default";r=0;t=6, retry after "6"
}

// A lenient store lets requests pass when the one it asks fails.
type lenient struct{ ratelimit.Store }

func (s lenient) Take(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	d, err := s.Store.Take(ctx, key, n)
	if err != nil {
		return ratelimit.Decision{Allowed: true}, nil
	}
	return d, nil
}

type broken struct{}

func (broken) Take(context.Context, string, int) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, errors.New("no connection")
}

func ExampleStore() {
	handler := ratelimit.Middleware(lenient{broken{}}, ratelimit.ByClientIP, http.NotFoundHandler())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code)
	// Output: 404
}
