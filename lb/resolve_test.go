package lb_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

// A nameServer answers queries from its zone, on connections in memory.
type nameServer struct {
	mu   sync.Mutex
	zone map[string][]any // by "A name", "AAAA name", "SRV name": netip.Addr or net.SRV
	down bool
	wait sync.WaitGroup
}

const (
	typeA, typeAAAA, typeSRV = 1, 28, 33
)

func (s *nameServer) set(zone map[string][]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone, s.down = zone, zone == nil
}

// resolver returns a resolver that asks the server as if by TCP.
func (s *nameServer) resolver(t testing.TB) *net.Resolver {
	t.Cleanup(s.wait.Wait)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		s.wait.Go(func() {
			defer server.Close()
			for s.answer(server) == nil {
			}
		})
		return client, nil
	}}
}

func (s *nameServer) answer(conn net.Conn) error {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return err
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return err
	}
	var labels []string
	at := 12
	for query[at] != 0 {
		n := int(query[at])
		labels = append(labels, string(query[at+1:at+1+n]))
		at += 1 + n
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	question := query[12 : at+5]
	name := strings.Join(labels, ".") + "."
	s.mu.Lock()
	records, known := s.zone[fmt.Sprintf("%s %s", map[uint16]string{typeA: "A", typeAAAA: "AAAA", typeSRV: "SRV"}[kind], name)]
	exists := known
	for key := range s.zone {
		exists = exists || strings.HasSuffix(key, " "+name)
	}
	code := uint16(0)
	switch {
	case s.down:
		code = 2 // SERVFAIL
	case !exists:
		code = 3 // NXDOMAIN
	}
	s.mu.Unlock()
	reply := binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(query))
	reply = binary.BigEndian.AppendUint16(reply, 0x8580|code) // a response, authoritative
	for _, count := range []int{1, len(records), 0, 0} {
		reply = binary.BigEndian.AppendUint16(reply, uint16(count))
	}
	reply = append(reply, question...)
	for _, r := range records {
		var data []byte
		switch r := r.(type) {
		case netip.Addr:
			data = r.AsSlice()
		case net.SRV:
			for _, v := range []uint16{r.Priority, r.Weight, r.Port} {
				data = binary.BigEndian.AppendUint16(data, v)
			}
			for label := range strings.SplitSeq(strings.TrimSuffix(r.Target, "."), ".") {
				data = append(append(data, byte(len(label))), label...)
			}
			data = append(data, 0)
		}
		reply = append(reply, 0xc0, 12) // the name in the question
		reply = binary.BigEndian.AppendUint16(reply, kind)
		reply = append(reply, 0, 1, 0, 0, 0, 60)
		reply = append(binary.BigEndian.AppendUint16(reply, uint16(len(data))), data...)
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	return err
}

func addresses(all ...string) (records []any) {
	for _, a := range all {
		records = append(records, netip.MustParseAddr(a))
	}
	return records
}

func TestDNSAddresses(t *testing.T) {
	s := &nameServer{}
	s.set(map[string][]any{
		"A svc.test.":    addresses("10.0.0.2", "10.0.0.1", "10.0.0.2"),
		"AAAA svc.test.": addresses("2001:db8::1"),
	})
	d := lb.DNS{Host: "svc.test.", Port: 80, Zone: "z", Resolver: s.resolver(t)}
	got, err := d.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []lb.Backend{{Name: "10.0.0.1:80", Zone: "z"}, {Name: "10.0.0.2:80", Zone: "z"}, {Name: "[2001:db8::1]:80", Zone: "z"}}, got)
	d.Network = "ip6"
	got, err = d.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []lb.Backend{{Name: "[2001:db8::1]:80", Zone: "z"}}, got)
	d.Host = "other.test."
	_, err = d.Resolve(t.Context())
	var notFound *net.DNSError
	require.ErrorAs(t, err, &notFound)
	require.True(t, notFound.IsNotFound)
}

func TestDNSServices(t *testing.T) {
	s := &nameServer{}
	s.set(map[string][]any{"SRV _http._tcp.svc.test.": {
		net.SRV{Priority: 1, Weight: 3, Port: 8080, Target: "b.test."},
		net.SRV{Priority: 1, Weight: 0, Port: 8081, Target: "a.test."},
		net.SRV{Priority: 2, Weight: 9, Port: 8082, Target: "backup.test."},
	}, "SRV plain.test.": {
		net.SRV{Weight: 60000, Port: 1, Target: "x.test."},
		net.SRV{Weight: 30000, Port: 1, Target: "y.test."},
	}})
	d := lb.DNS{Host: "svc.test.", Service: "http", Resolver: s.resolver(t)}
	got, err := d.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []lb.Backend{{Name: "a.test:8081", Weight: 1}, {Name: "b.test:8080", Weight: 3}}, got)
	d.Host, d.Service = "plain.test.", "-"
	got, err = d.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []lb.Backend{{Name: "x.test:1", Weight: 1000}, {Name: "y.test:1", Weight: 500}}, got)
}

// names returns the names of the backends, sorted.
func names(b *lb.Balancer) (all []string) {
	for s := range b.Backends() {
		all = append(all, s.Name)
	}
	slices.Sort(all)
	return all
}

// A watcher follows the answers, and keeps the last good one while the name server
// is down, has forgotten the name, or has nothing to say.
func TestWatcherKeepsTheLastGoodAnswer(t *testing.T) {
	s := &nameServer{}
	s.set(map[string][]any{"A svc.test.": addresses("10.0.0.1", "10.0.0.2")})
	b := newBalancer(t, lb.Config{})
	w, err := lb.StartWatcher(b, lb.ResolveConfig{Resolver: lb.DNS{Host: "svc.test.", Port: 80, Network: "ip4", Resolver: s.resolver(t)}, Interval: time.Hour})
	require.NoError(t, err)
	defer w.Close()
	require.NoError(t, w.Wait(t.Context()))
	require.Equal(t, []string{"10.0.0.1:80", "10.0.0.2:80"}, names(b))
	for _, zone := range []map[string][]any{nil, {"A elsewhere.": addresses("10.0.0.9")}} {
		s.set(zone)
		w.Refresh()
		require.Eventually(t, func() bool { _, err := w.Last(); return err != nil }, 10*time.Second, time.Millisecond)
		require.Equal(t, []string{"10.0.0.1:80", "10.0.0.2:80"}, names(b))
		s.set(map[string][]any{"A svc.test.": addresses("10.0.0.1", "10.0.0.2")})
		w.Refresh()
		require.Eventually(t, func() bool { _, err := w.Last(); return err == nil }, 10*time.Second, time.Millisecond)
	}
	s.set(map[string][]any{"A svc.test.": addresses("10.0.0.3")})
	w.Refresh()
	require.Eventually(t, func() bool { return slices.Equal(names(b), []string{"10.0.0.3:80"}) }, 10*time.Second, time.Millisecond)
}

// A scripted resolver answers what the function says.
type scripted func(ctx context.Context) ([]lb.Backend, error)

func (f scripted) Resolve(ctx context.Context) ([]lb.Backend, error) { return f(ctx) }

func TestWatcherIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var asked []time.Duration
		b := newBalancer(t, lb.Config{})
		w, err := lb.StartWatcher(b, lb.ResolveConfig{
			Interval: 16 * time.Second, DisableJitter: true, Timeout: time.Second,
			Resolver: scripted(func(ctx context.Context) ([]lb.Backend, error) {
				asked = append(asked, time.Since(start))
				switch n := len(asked); {
				case n == 3:
					<-ctx.Done() // hangs: the time-out ends it
					return nil, ctx.Err()
				case n >= 4 && n <= 8:
					return nil, nil // nothing found
				}
				return backends(2), nil
			}),
		})
		require.NoError(t, err)
		require.NoError(t, w.Wait(t.Context()))
		time.Sleep(2 * time.Minute)
		require.NoError(t, w.Close())
		var got []time.Duration
		for i := 1; i < len(asked); i++ {
			got = append(got, (asked[i]-asked[i-1])/time.Second)
		}
		require.Equal(t, []time.Duration{16, 16, 2, 2, 4, 8, 16, 16, 16}, got[:9])
		require.Equal(t, []string{"b0", "b1"}, names(b))
	})
}

func TestWatcherJitters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var asked []time.Duration
		w, err := lb.StartWatcher(newBalancer(t, lb.Config{}), lb.ResolveConfig{
			Interval: 10 * time.Second, Seed: 1,
			Resolver: scripted(func(context.Context) ([]lb.Backend, error) {
				asked = append(asked, time.Since(start))
				return backends(1), nil
			}),
		})
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		require.NoError(t, w.Close())
		distinct := map[time.Duration]bool{}
		for i := 1; i < len(asked); i++ {
			gap := asked[i] - asked[i-1]
			require.True(t, gap >= 8*time.Second && gap <= 10*time.Second, "%v", gap)
			distinct[gap] = true
		}
		require.Greater(t, len(distinct), 30)
	})
}

func TestWatcherReportsWhy(t *testing.T) {
	w, err := lb.StartWatcher(newBalancer(t, lb.Config{}), lb.ResolveConfig{
		Resolver: scripted(func(context.Context) ([]lb.Backend, error) { return nil, errService }), Interval: time.Hour,
	})
	require.NoError(t, err)
	defer w.Close()
	require.Eventually(t, func() bool { _, err := w.Last(); return err != nil }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = w.Wait(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errService)
}

// Who waits for the first answer does not wait for ever when there will be none.
func TestWatcherWaitEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := lb.StartWatcher(newBalancer(t, lb.Config{}), lb.ResolveConfig{
			Resolver: scripted(func(context.Context) ([]lb.Backend, error) { return nil, errService }),
		})
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- w.Wait(context.Background()) }()
		synctest.Wait()
		require.NoError(t, w.Close())
		synctest.Wait()
		select {
		case err := <-ended:
			require.ErrorIs(t, err, errService)
			require.ErrorContains(t, err, "closed")
		default:
			t.Fatal("it waits still")
		}
	})
}

func TestStaticResolves(t *testing.T) {
	b := newBalancer(t, lb.Config{})
	w, err := lb.StartWatcher(b, lb.ResolveConfig{Resolver: lb.Static(backends(3))})
	require.NoError(t, err)
	require.NoError(t, w.Wait(t.Context()))
	require.NoError(t, w.Close())
	require.NoError(t, w.Wait(t.Context()), "there was an answer")
	require.Equal(t, []string{"b0", "b1", "b2"}, names(b))
}

func TestWatcherInvalid(t *testing.T) {
	for _, tt := range []struct {
		config lb.ResolveConfig
		text   string
	}{
		{lb.ResolveConfig{}, "Resolver is nil"},
		{lb.ResolveConfig{Resolver: lb.DNS{Port: 80}}, `Host is ""`},
		{lb.ResolveConfig{Resolver: lb.DNS{Host: "x"}}, "Port is 0"},
		{lb.ResolveConfig{Resolver: lb.Static{}, Interval: -1}, "Interval is -1ns"},
		{lb.ResolveConfig{Resolver: lb.Static{}, Timeout: -1}, "Timeout is -1ns"},
		{lb.ResolveConfig{Resolver: lb.Static{}, Jitter: -1}, "Jitter is -1"},
	} {
		_, err := lb.StartWatcher(newBalancer(t, lb.Config{}), tt.config)
		require.True(t, errors.Is(err, lb.ErrInvalid))
		require.ErrorContains(t, err, tt.text)
	}
}
