// Package raft_test compares raft with its peers: three servers of a cluster in
// one process, every proposal counted when it is committed and applied on the
// leader. In memory the servers of etcd, hashicorp and dragonboat pass structs
// through channels, ours bytes through transport/mem; on disk everybody waits
// for fdatasync. Timers are the same: heartbeats every 50 ms (hashicorp has no
// setting for it and beats every 15 to 30), elections after 150 to 300 ms,
// pre-vote and check-quorum on. The state machine is a counter and a checksum.
package raft_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A cluster is three servers in this process.
type cluster interface {
	// Propose returns nil when the command is committed and applied on the
	// leader. It finds the leader itself, and tries again until ctx ends.
	Propose(ctx context.Context, command []byte) error
	// KillLeader cuts the leader off without a hand-over, and returns at once.
	KillLeader()
	Close()
}

// settings is what every implementation gets.
type settings struct {
	dir       string        // for logs that are synced; empty: in memory
	heartbeat time.Duration // from one to the next
	election  time.Duration // shortest; the longest is twice that
	tick      time.Duration // where there is a tick
}

var (
	errNotLeader = errors.New("not leader")
	errStopped   = errors.New("stopped")
)

type impl struct {
	name    string
	start   func(settings) (cluster, error)
	durable bool // whether it has a log on disk
}

var impls = []impl{
	{"parley", startParley, true},
	{"etcd", startEtcd, true},
	{"hashicorp", startHashicorp, true},
	{"hashicorp-tuned", startHashicorpTuned, true},
	{"dragonboat", startDragonboat, true},
}

// machine is the state machine of all: it counts, and keeps a checksum.
type machine struct{ n, sum atomic.Uint64 }

func (m *machine) apply(command []byte) uint64 {
	if len(command) > 0 {
		m.sum.Add(uint64(command[0]) + uint64(command[len(command)-1]))
	}
	return m.n.Add(1)
}

// BenchmarkPropose is the table of callers and sizes.
func BenchmarkPropose(b *testing.B) {
	for _, store := range []string{"memory", "disk"} {
		for _, size := range []int{16, 1 << 10} {
			for _, callers := range []int{1, 64, 1024} {
				for _, i := range impls {
					b.Run(fmt.Sprintf("store=%s/size=%d/callers=%d/impl=%s", store, size, callers, i.name), func(b *testing.B) {
						propose(b, i, store == "disk", size, callers)
					})
				}
			}
		}
	}
}

// propose lets the callers propose one command after the other until b has its
// number. The processor's time is the whole process's.
func propose(b *testing.B, i impl, disk bool, size, callers int) {
	c := start(b, i, disk)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	work := func(tickets *atomic.Int64, samples *[]time.Duration) {
		command := make([]byte, size)
		for tickets.Add(-1) >= 0 {
			began := time.Now()
			if err := c.Propose(ctx, command); err != nil {
				b.Error(err)
				return
			}
			if samples != nil {
				*samples = append(*samples, time.Since(began))
			}
		}
	}
	run := func(n int, samples [][]time.Duration) {
		var tickets atomic.Int64
		tickets.Store(int64(n))
		var group sync.WaitGroup
		for k := range callers {
			group.Go(func() {
				if samples == nil {
					work(&tickets, nil)
				} else {
					work(&tickets, &samples[k])
				}
			})
		}
		group.Wait()
	}
	warm := min(20*callers, 20_000)
	if testing.Short() {
		warm = callers
	}
	run(warm, nil)
	b.ReportAllocs()
	samples := make([][]time.Duration, callers)
	for k := range samples {
		samples[k] = make([]time.Duration, 0, 2*b.N/callers+16)
	}
	runtime.GC()
	cpu := processorTime()
	b.ResetTimer()
	run(b.N, samples)
	b.StopTimer()
	cpu = processorTime() - cpu
	all := slices.Concat(samples...)
	slices.Sort(all)
	n := float64(b.N)
	b.ReportMetric(0, "ns/op") // says less than the rate
	b.ReportMetric(n/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64(all[len(all)/2])/1e3, "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100])/1e3, "p99-µs")
	b.ReportMetric(float64(cpu)/1e3/n, "cpu-µs/op")
}

// BenchmarkFailover is the time from the end of a leader to the next commit.
func BenchmarkFailover(b *testing.B) {
	for _, i := range impls {
		b.Run("store=memory/impl="+i.name, func(b *testing.B) {
			atLeast := 5
			if testing.Short() {
				atLeast = 1
			}
			var total time.Duration
			n := 0
			for b.Loop() {
				for range atLeast {
					total += failover(b, i, n)
					n++
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(total)/1e6/float64(n), "ms")
		})
	}
}

func failover(b *testing.B, i impl, n int) time.Duration {
	c, err := i.start(timing)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 100 {
		if err := c.Propose(ctx, []byte("0123456789abcdef")); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(time.Duration(n*37%97) * time.Millisecond) // so that kills do not line up with heartbeats
	began := time.Now()
	c.KillLeader()
	if err := c.Propose(ctx, []byte("after")); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

var timing = settings{heartbeat: 50 * time.Millisecond, election: 150 * time.Millisecond, tick: 10 * time.Millisecond}

// start starts a cluster for the duration of b, and waits for its first commit.
func start(b *testing.B, i impl, disk bool) cluster {
	s := timing
	if disk {
		if !i.durable {
			b.Skip("has no log on disk")
		}
		dir, err := os.MkdirTemp(".", "disk") // not the temporary directory, which may be memory
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		s.dir = dir
	}
	c, err := i.start(s)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.Propose(ctx, []byte("first")); err != nil {
		b.Fatal("no leader: ", err)
	}
	return c
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// folder is where a server of the cluster keeps its log.
func folder(s settings, id int) string { return fmt.Sprintf("%s/n%d", s.dir, id) }
