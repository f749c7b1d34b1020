package lb_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

func startChecker(t testing.TB, b *lb.Balancer, c lb.CheckConfig) *lb.Checker {
	t.Helper()
	k, err := lb.StartChecker(b, c)
	require.NoError(t, err)
	return k
}

// A backend falls after Fall bad checks in a row and rises after Rise good ones.
func TestCheckerRiseAndFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, lb.Config{DisableSlowStart: true}, backends(2)...)
		script := []bool{true, false, false, true, false, false, false, true, false, true, true, true}
		//               well                              ill at 6                 well at 10
		var steps atomic.Int32
		k := startChecker(t, b, lb.CheckConfig{
			Interval: time.Second, DisableJitter: true, Rise: 2, Fall: 3,
			Check: func(_ context.Context, be lb.Backend) error {
				if be.Name != "b0" {
					return nil
				}
				step := int(steps.Add(1))
				if step > len(script) || script[step-1] {
					return nil
				}
				return errService
			},
		})
		defer k.Close()
		for i := range script {
			synctest.Wait()
			require.Equal(t, i+1, int(steps.Load()), "a check each second, the first at once")
			want := lb.Available
			if i >= 6 && i < 10 {
				want = lb.Unhealthy
			}
			require.Equal(t, want, status(t, b, "b0").State, "after check %d", i)
			require.Equal(t, lb.Available, status(t, b, "b1").State)
			time.Sleep(time.Second)
		}
	})
}

// Checks of many backends do not come in step, and each comes in its time.
func TestCheckerJitters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Second
		var mu sync.Mutex
		times := map[string][]time.Duration{}
		start := time.Now()
		k := startChecker(t, newBalancer(t, lb.Config{}, backends(50)...), lb.CheckConfig{
			Interval: interval, Seed: 1,
			Check: func(_ context.Context, be lb.Backend) error {
				mu.Lock()
				defer mu.Unlock()
				times[be.Name] = append(times[be.Name], time.Since(start))
				return nil
			},
		})
		time.Sleep(time.Minute)
		require.NoError(t, k.Close())
		distinct := map[time.Duration]bool{}
		for name, all := range times {
			require.LessOrEqual(t, all[0], 2*time.Second, name)
			for i := 1; i < len(all); i++ {
				gap := all[i] - all[i-1]
				require.True(t, gap >= 8*time.Second && gap <= interval, "%s after %v", name, gap)
			}
			distinct[all[len(all)-1]] = true
		}
		require.Len(t, times, 50)
		require.Greater(t, len(distinct), 45)
	})
}

func TestCheckerTimesOutAndFollowsBackends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, lb.Config{}, backends(1)...)
		k := startChecker(t, b, lb.CheckConfig{
			Interval: time.Second, Timeout: 500 * time.Millisecond, Fall: 2,
			Check: func(ctx context.Context, be lb.Backend) error {
				if be.Name == "b1" {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			},
		})
		require.NoError(t, b.Set(backends(3)...))
		time.Sleep(10 * time.Second)
		require.Equal(t, lb.Unhealthy, status(t, b, "b1").State)
		require.Equal(t, lb.Available, status(t, b, "b2").State)
		results := slices.Collect(k.Results())
		require.Len(t, results, 3)
		require.Equal(t, "b1", results[1].Backend)
		require.False(t, results[1].Well)
		require.Error(t, results[1].Err)
		require.Equal(t, 500*time.Millisecond, results[1].Took)
		require.True(t, results[2].Well)
		require.NoError(t, results[2].Err)
		require.Positive(t, results[2].InARow)
		b.Remove("b1")
		synctest.Wait()
		require.Len(t, slices.Collect(k.Results()), 2)
		require.NoError(t, k.Close())
		require.NoError(t, k.Close())
	})
}

// A backend that went and came back is well to the balancer, and ill to a checker
// that did not see it go: the next check settles it.
func TestCheckerOfABackendThatCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, lb.Config{}, backends(3)...)
		k := startChecker(t, b, lb.CheckConfig{Interval: time.Second, Check: func(_ context.Context, be lb.Backend) error {
			if be.Name == "b1" {
				return errService
			}
			return nil
		}})
		defer k.Close()
		time.Sleep(10 * time.Second)
		require.Equal(t, lb.Unhealthy, status(t, b, "b1").State)
		require.True(t, b.Remove("b1"))
		require.NoError(t, b.Add(lb.Backend{Name: "b1"})) // before the checker has looked
		require.Equal(t, lb.Available, status(t, b, "b1").State)
		time.Sleep(10 * time.Second)
		require.Equal(t, lb.Unhealthy, status(t, b, "b1").State)
	})
}

// At most so many checks run at a time, however many backends there are.
func TestCheckerConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most, made := 0, 0, map[string]bool{}
		k := startChecker(t, newBalancer(t, lb.Config{}, backends(40)...), lb.CheckConfig{
			Interval: time.Second, Concurrent: 4,
			Check: func(_ context.Context, be lb.Backend) error {
				mu.Lock()
				running++
				most = max(most, running)
				made[be.Name] = true
				mu.Unlock()
				time.Sleep(50 * time.Millisecond)
				mu.Lock()
				running--
				mu.Unlock()
				return nil
			},
		})
		time.Sleep(5 * time.Second)
		require.NoError(t, k.Close())
		require.Equal(t, 4, most)
		require.Len(t, made, 40)
	})
}

// A check that ends its goroutine is a bad one, and the next goes on.
func TestCheckerSurvivesGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, lb.Config{}, backends(1)...)
		k := startChecker(t, b, lb.CheckConfig{
			Interval: time.Second,
			Check:    func(context.Context, lb.Backend) error { runtime.Goexit(); return nil },
		})
		time.Sleep(10 * time.Second)
		require.Equal(t, lb.Unhealthy, status(t, b, "b0").State)
		require.NoError(t, k.Close())
	})
}

func TestCheckerInvalid(t *testing.T) {
	_, err := lb.StartChecker(newBalancer(t, lb.Config{}), lb.CheckConfig{Interval: -1, Jitter: 2, Timeout: 1, Rise: -1, Fall: -1, Concurrent: -1})
	require.ErrorIs(t, err, lb.ErrInvalid)
	for _, field := range []string{"Check is nil", "Interval is -1ns", "Jitter is 2", "Timeout is 1ns", "Rise is -1", "Fall is -1", "Concurrent is -1"} {
		require.ErrorContains(t, err, field)
	}
}

func hostOf(t testing.TB, s *httptest.Server) lb.Backend {
	t.Helper()
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	return lb.Backend{Name: u.Host}
}

// closedPort returns the address of a port that nobody listens on.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func TestHTTPCheck(t *testing.T) {
	code := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			code = http.StatusTeapot
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
		_, _ = w.Write(make([]byte, 1<<20)) // more than is read
	}))
	defer s.Close()
	check := lb.HTTPCheck("/healthz")
	for status, well := range map[int]bool{200: true, 204: true, 302: true, 399: true, 400: false, 404: false, 500: false, 503: false} {
		code = status
		err := check(t.Context(), hostOf(t, s))
		require.Equal(t, well, err == nil, "%d: %v", status, err)
		require.Equal(t, status, code)
	}
	code = http.StatusOK
	require.NoError(t, lb.HTTPCheck("healthz")(t.Context(), hostOf(t, s)), "the slash is ours to add")
	require.Error(t, check(t.Context(), lb.Backend{Name: closedPort(t)}))
	require.Error(t, check(t.Context(), lb.Backend{Name: "not an address"}))
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer secure.Close()
	withTLS := lb.HTTPCheckWith(secure.Client().Transport, func(be lb.Backend) string { return "https://" + be.Name })
	require.NoError(t, withTLS(t.Context(), hostOf(t, secure)))
}

func TestTCPCheck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, lb.TCPCheck()(t.Context(), lb.Backend{Name: l.Addr().String()}))
	require.NoError(t, l.Close())
	require.Error(t, lb.TCPCheck()(t.Context(), lb.Backend{Name: l.Addr().String()}))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorContains(t, lb.TCPCheck()(ended, lb.Backend{Name: "127.0.0.1:1"}), "canceled")
}

// grpcServer answers health checks over HTTP/2 in the clear, by the service asked
// for. The bytes are those of the protocol: a flag, a length, and field 1.
func grpcServer(t testing.TB) lb.Backend {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := make([]byte, 64)
		n, _ := r.Body.Read(request)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		reply := func(frame, status, message string) {
			_, _ = w.Write([]byte(frame))
			w.Header().Set("Grpc-Status", status)
			w.Header().Set("Grpc-Message", message)
		}
		if r.ProtoMajor != 2 || r.URL.Path != "/grpc.health.v1.Health/Check" || r.Header.Get("Te") != "trailers" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		switch string(request[:n]) {
		case "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x06\x0a\x04good":
			reply("\x00\x00\x00\x00\x02\x08\x01", "0", "")
		case "\x00\x00\x00\x00\x05\x0a\x03bad":
			reply("\x00\x00\x00\x00\x02\x08\x02", "0", "")
		case "\x00\x00\x00\x00\x06\x0a\x04half":
			reply("\x00\x00\x00", "0", "")
		case "\x00\x00\x00\x00\x06\x0a\x04hang":
			<-r.Context().Done()
		default:
			reply("", "5", "unknown service")
		}
	}))
	s.Config.Protocols = protocols
	s.Start()
	t.Cleanup(s.Close)
	return hostOf(t, s)
}

func TestGRPCCheck(t *testing.T) {
	be := grpcServer(t)
	check := func(service string) error { return lb.GRPCCheck(service, nil)(t.Context(), be) }
	require.NoError(t, check(""))
	require.NoError(t, check("good"))
	require.ErrorContains(t, check("bad"), "serving status 2")
	require.ErrorContains(t, check("half"), "not a HealthCheckResponse")
	require.ErrorContains(t, check("other"), `gRPC status "5": unknown service`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, lb.GRPCCheck("hang", nil)(ctx, be), context.DeadlineExceeded)
	require.Error(t, lb.GRPCCheck("", nil)(t.Context(), lb.Backend{Name: closedPort(t)}))
}

func TestGRPCCheckOverTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte("\x00\x00\x00\x00\x02\x08\x01"))
		w.Header().Set("Grpc-Status", fmt.Sprint(2-r.ProtoMajor))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	config := s.Client().Transport.(*http.Transport).TLSClientConfig
	require.NoError(t, lb.GRPCCheck("", config)(t.Context(), hostOf(t, s)))
}

// The whole chain with real servers: one goes down, is found out, and is found
// well again.
func TestCheckerWithServers(t *testing.T) {
	down := make(chan bool, 1)
	down <- false
	all, _ := serve(t,
		func(http.ResponseWriter, *http.Request) {},
		func(w http.ResponseWriter, _ *http.Request) {
			is := <-down
			if down <- is; is {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	b := newBalancer(t, lb.Config{}, all...)
	k := startChecker(t, b, lb.CheckConfig{Check: lb.HTTPCheck("/"), Interval: 5 * time.Millisecond})
	defer k.Close()
	for _, want := range []lb.State{lb.Unhealthy, lb.Available} {
		<-down
		down <- want == lb.Unhealthy
		require.Eventually(t, func() bool { return status(t, b, all[1].Name).State == want }, 10*time.Second, time.Millisecond)
		require.Equal(t, lb.Available, status(t, b, all[0].Name).State)
	}
}

func TestCloseEndsTheContextOfChecks(t *testing.T) {
	began := make(chan struct{})
	var cause error
	k := startChecker(t, newBalancer(t, lb.Config{}, backends(1)...), lb.CheckConfig{
		DisableJitter: true, Timeout: time.Hour,
		Check: func(ctx context.Context, _ lb.Backend) error {
			close(began)
			<-ctx.Done()
			cause = ctx.Err()
			return cause
		},
	})
	<-began
	require.NoError(t, k.Close())
	require.True(t, errors.Is(cause, context.Canceled), "%v", cause)
}
