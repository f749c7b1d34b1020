package raft_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
	"github.com/parley-go/parley/transport/sim"
)

// startHosts starts a host on each transport, and a number of groups on all.
func startHosts(tb testing.TB, transports []transport.Transport, groups int, config raft.Config) (hosts []*raft.Host, nodes [][]*raft.Node) {
	tb.Helper()
	for _, t := range transports {
		host, err := raft.NewHost(raft.HostConfig{Transport: t})
		require.NoError(tb, err)
		hosts = append(hosts, host)
	}
	nodes = make([][]*raft.Node, groups)
	for g := range groups {
		for _, host := range hosts {
			config := config
			config.Group, config.Voters = fmt.Sprint("group-", g), abc
			config.Storage, config.StateMachine = raft.NewMemoryStorage(), &tally{}
			n, err := host.Start(config)
			require.NoError(tb, err)
			nodes[g] = append(nodes[g], n)
		}
	}
	return hosts, nodes
}

func TestManyGroups(t *testing.T) {
	sim.Run(t, still, func(w *sim.World) {
		t := w.T()
		transports := []transport.Transport{w.Join("a"), w.Join("b"), w.Join("c")}
		hosts, nodes := startHosts(t, transports, 50, raft.Config{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for g := range nodes {
			for i, n := range nodes[g] {
				wg.Go(func() {
					if _, err := n.Propose(ctx, fmt.Append(nil, g, i)); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		for g := range nodes {
			for _, n := range nodes[g] {
				require.NoError(t, n.Barrier(ctx))
				require.Equal(t, uint64(3), n.Status().Applied-2, "a membership, a first entry of the term, and three commands") // a term each more adds one
			}
		}

		_, err := hosts[0].Start(raft.Config{Group: "group-7", Storage: raft.NewMemoryStorage(), StateMachine: &tally{}})
		require.ErrorContains(t, err, "group-7")
		require.NoError(t, nodes[7][0].Close())
		n, err := hosts[0].Start(raft.Config{Group: "group-7", Storage: raft.NewMemoryStorage(), StateMachine: &tally{}})
		require.NoError(t, err, "the name is free again")
		require.Equal(t, "group-7", n.Status().Group)
		count := 0
		for range hosts[0].Nodes() {
			count++
		}
		require.Equal(t, 50, count)

		for _, host := range hosts {
			require.NoError(t, host.Close())
			require.NoError(t, host.Close())
			_, err := host.Start(raft.Config{Storage: raft.NewMemoryStorage(), StateMachine: &tally{}})
			require.ErrorIs(t, err, raft.ErrClosed)
		}
		_, err = nodes[0][0].Propose(ctx, nil)
		require.ErrorIs(t, err, raft.ErrClosed)
	})
}

// The heartbeats of many groups, and their answers, travel together.
func TestHeartbeatsTravelTogether(t *testing.T) {
	sim.Run(t, still, func(w *sim.World) {
		t := w.T()
		counted := make([]*countingTransport, 3)
		transports := make([]transport.Transport, 3)
		for i, name := range abc {
			counted[i] = &countingTransport{Transport: w.Join(name)}
			transports[i] = counted[i]
		}
		const groups = 200
		hosts, nodes := startHosts(t, transports, groups, raft.Config{})
		time.Sleep(10 * time.Second)
		stats := func() (bodies, messages int) {
			for i := range counted {
				bodies += counted[i].sends()
				for g := range nodes {
					messages += int(nodes[g][i].Stats().Sent)
				}
			}
			return bodies, messages
		}
		bodiesBefore, messagesBefore := stats()
		time.Sleep(10 * time.Second)
		bodies, messages := stats()
		bodies, messages = bodies-bodiesBefore, messages-messagesBefore
		t.Logf("%d messages in %d bodies", messages, bodies)
		const heartbeats = groups * 2 * 100 // to two followers, ten a second
		require.InEpsilon(t, heartbeats+heartbeats/3, messages, 0.05, "every third is answered")
		const passes = 4*100 + 1 // heartbeats are a quarter of their interval apart, or together; both ends count
		require.LessOrEqual(t, bodies, 3*2*passes*2, "one to each other node in a pass, and one answer")
		for _, host := range hosts {
			require.NoError(t, host.Close())
		}
	})
}

type countingTransport struct {
	transport.Transport
	mu sync.Mutex
	n  int
}

func (c *countingTransport) Send(to, service string, body []byte) error {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Transport.Send(to, service, body)
}

func (c *countingTransport) sends() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Groups that have nothing to do have no goroutines.
func TestIdleGroupsHaveNoGoroutines(t *testing.T) {
	sim.Run(t, still, func(w *sim.World) {
		t := w.T()
		transports := []transport.Transport{w.Join("a"), w.Join("b"), w.Join("c")}
		before := runtime.NumGoroutine()
		hosts, _ := startHosts(t, transports, 100, raft.Config{})
		time.Sleep(time.Minute)
		w.Wait()
		require.LessOrEqual(t, runtime.NumGoroutine()-before, 3*4)
		for _, host := range hosts {
			require.NoError(t, host.Close())
		}
	})
}

func TestStartChecksItsConfig(t *testing.T) {
	network := mem.NewNetwork()
	node, err := network.Join("a")
	require.NoError(t, err)
	defer node.Close()
	good := raft.Config{Transport: node, Storage: raft.NewMemoryStorage(), StateMachine: &tally{}}
	for field, spoil := range map[string]func(c *raft.Config){
		"Transport is nil":    func(c *raft.Config) { c.Transport = nil },
		"Storage is nil":      func(c *raft.Config) { c.Storage = nil },
		"StateMachine is nil": func(c *raft.Config) { c.StateMachine = nil },
		"Group has 256 bytes": func(c *raft.Config) { c.Group = string(make([]byte, 256)) },
		"Heartbeat is -1s":    func(c *raft.Config) { c.Heartbeat = -time.Second },
		"Heartbeat is 1µs":    func(c *raft.Config) { c.Heartbeat = time.Microsecond },
		"Election is 1ms":     func(c *raft.Config) { c.Election = time.Millisecond },
		"MaxCommand is -1":    func(c *raft.Config) { c.MaxCommand = -1 },
		"MaxCommand is 31457": func(c *raft.Config) { c.MaxCommand = raft.LargestCommand + 1 },
		"MaxUncommitted is 5": func(c *raft.Config) { c.MaxUncommitted = 5 },
		"MaxUnapplied is 5":   func(c *raft.Config) { c.MaxUnapplied = 5 },
		"SnapshotEntries is":  func(c *raft.Config) { c.SnapshotEntries = -5 },
		"SnapshotBytes is -5": func(c *raft.Config) { c.SnapshotBytes = -5 },
		"KeepEntries is -5":   func(c *raft.Config) { c.KeepEntries = -5 },
		"MaxClockDrift is":    func(c *raft.Config) { c.MaxClockDrift = time.Hour },
		"Voters":              func(c *raft.Config) { c.Voters = []string{"a", "a"} },
		"Learners":            func(c *raft.Config) { c.Learners = []string{"a"} },
	} {
		config := good
		spoil(&config)
		_, err := raft.Start(config)
		require.ErrorContains(t, err, field)
		require.ErrorContains(t, err, "Config.")
	}
	_, err = raft.NewHost(raft.HostConfig{})
	require.ErrorContains(t, err, "HostConfig.Transport")
	_, err = raft.NewHost(raft.HostConfig{Transport: node, Service: string(make([]byte, 256))})
	require.ErrorContains(t, err, "HostConfig.Service")
	host, err := raft.NewHost(raft.HostConfig{Transport: node})
	require.NoError(t, err)
	other, err := network.Join("b")
	require.NoError(t, err)
	defer other.Close()
	good.Transport = other
	_, err = host.Start(good)
	require.ErrorContains(t, err, "Config.Transport")
	require.NoError(t, host.Close())
}

// A storage that cannot be read, and one that holds what no node has written.
func TestStartReportsItsStorage(t *testing.T) {
	network := mem.NewNetwork()
	node, err := network.Join("a")
	require.NoError(t, err)
	defer node.Close()
	broken := errors.New("unreadable")
	_, err = raft.Start(raft.Config{Transport: node, Storage: unreadable{raft.NewMemoryStorage(), broken}, StateMachine: &tally{}})
	require.ErrorIs(t, err, broken)
	n, err := raft.Start(raft.Config{Transport: node, Storage: raft.NewMemoryStorage(), StateMachine: &tally{}})
	require.NoError(t, err, "a node that did not start leaves nothing behind")
	require.NoError(t, n.Close())
}

type unreadable struct {
	raft.Storage
	err error
}

func (u unreadable) Load() (raft.State, error) { return raft.State{}, u.err }

// BenchmarkIdleGroups measures what 1,000 idle groups of three cost, all three
// nodes in this process: one op is a second of real time.
func BenchmarkIdleGroups(b *testing.B) {
	network := mem.NewNetwork()
	var transports []transport.Transport
	for _, name := range abc {
		t, err := network.Join(name)
		require.NoError(b, err)
		defer t.Close()
		transports = append(transports, t)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	hosts, nodes := startHosts(b, transports, 1000, raft.Config{})
	for g := range nodes {
		require.NoError(b, nodes[g][0].Ready(b.Context()))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	goroutines := runtime.NumGoroutine()
	began := processTime()
	seconds := 0
	for b.Loop() {
		<-time.After(time.Second)
		seconds++
	}
	b.ReportMetric((processTime()-began).Seconds()/float64(seconds)*100, "%core")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/3000, "heap-B/node")
	b.ReportMetric(float64(goroutines), "goroutines")
	for _, host := range hosts {
		require.NoError(b, host.Close())
	}
}

func processTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
