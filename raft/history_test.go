package raft_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport/sim"
)

// A disk is a storage that takes its time.
type disk struct {
	*raft.MemoryStorage
	mu     sync.Mutex
	rand   *rand.Rand
	delay  time.Duration // at most
	err    error         // of the next Save
	synced int
}

func (d *disk) Save(b raft.Batch) error {
	d.mu.Lock()
	err, delay := d.err, time.Duration(0)
	if d.delay > 0 {
		delay = time.Duration(d.rand.Int64N(int64(d.delay)))
	}
	d.synced++
	d.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	switch err {
	case nil:
		return d.MemoryStorage.Save(b)
	case errGoexit:
		runtime.Goexit()
	}
	return err
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// A simulation is a group on a simulated network, in virtual time.
type simulation struct {
	*sim.World
	config raft.Config
	delay  time.Duration         // of the disks
	mu     sync.Mutex            // not held while waiting: that would stop the time
	nodes  map[string]*raft.Node // guarded by mu for others than the test itself
	states map[string]*tally
	disks  map[string]*disk
}

func simulate(t *testing.T, config sim.Config, group raft.Config, f func(t *testing.T, s *simulation)) {
	t.Helper()
	sim.Run(t, config, func(w *sim.World) {
		s := &simulation{
			World: w, config: group,
			nodes: map[string]*raft.Node{}, states: map[string]*tally{}, disks: map[string]*disk{},
		}
		s.config.Seed = config.Seed + 1
		defer func() {
			for _, n := range s.nodes {
				_ = n.Close() // it never fails
			}
		}()
		f(w.T(), s)
	})
}

// start brings nodes up for the first time.
func (s *simulation) start(names ...string) {
	for _, name := range names {
		s.disks[name] = &disk{MemoryStorage: raft.NewMemoryStorage(), rand: s.Rand("disk", name), delay: s.delay}
		s.boot(s.Join(name))
	}
}

func (s *simulation) boot(t *sim.Transport) {
	name := t.Local()
	config := s.config
	config.Transport, config.Storage = t, s.disks[name]
	state := &tally{}
	config.StateMachine = state
	n, err := raft.Start(config)
	require.NoError(s.T(), err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[name], s.states[name] = n, state
}

// node returns the node that bears the name now. Clients use it.
func (s *simulation) node(name string) *raft.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[name]
}

// crash takes a node down with all that it has not saved.
func (s *simulation) crash(name string) {
	s.Crash(name)
	saved := s.disks[name].Clone()
	require.NoError(s.T(), s.nodes[name].Close())
	s.disks[name] = &disk{MemoryStorage: saved, rand: s.Rand("disk", name, fmt.Sprint(s.Elapsed())), delay: s.delay}
}

func (s *simulation) restart(name string) { s.Restart(name, s.boot) }

// pass lets virtual time pass.
func (s *simulation) pass(d time.Duration) { time.Sleep(d) }

// leader waits for a node that leads and whose term is the highest.
func (s *simulation) leader() *raft.Node {
	s.T().Helper()
	for range 1000 {
		var best raft.Status
		for _, n := range s.nodes {
			if st := n.Status(); st.Role == "leader" && st.Term > best.Term {
				best = st
			}
		}
		if best.Node != "" {
			return s.nodes[best.Node]
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.T().Fatal("no leader")
	return nil
}

// settle heals everything and waits until all nodes have applied the same.
func (s *simulation) settle() []string {
	s.T().Helper()
	s.Heal()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	names := slices.Sorted(maps.Keys(s.nodes))
	for _, name := range names {
		n := s.nodes[name]
		require.NoError(s.T(), n.Barrier(ctx), "%+v", n.Status())
	}
	for !s.quiet() { // what callers gave up may still be on its way
		require.NoError(s.T(), ctx.Err(), "the nodes do not come to rest")
		time.Sleep(10 * time.Millisecond)
	}
	var first []string
	for _, name := range names {
		all := s.states[name].all()
		if first == nil {
			first = all
		}
		require.Equal(s.T(), first, all, name)
	}
	return first
}

// quiet reports whether all nodes have applied the same log to its end.
func (s *simulation) quiet() bool {
	var last uint64
	for _, n := range s.nodes {
		status := n.Status()
		last = max(last, status.Last)
	}
	for _, n := range s.nodes {
		if n.Status().Applied != last {
			return false
		}
	}
	return true
}

// An attempt is a command and what its caller was told.
type attempt struct {
	command string
	session bool
	result  []byte
	err     error
}

// judge compares what callers were told with what was applied.
func judge(t *testing.T, attempts []attempt, applied []string) {
	t.Helper()
	count, place := map[string]int{}, map[string]int{}
	for i, c := range applied {
		count[c]++
		place[c] = i
	}
	for _, a := range attempts {
		switch n := count[a.command]; {
		case n > 1:
			t.Errorf("%q (session %v, error %v) was applied %d times", a.command, a.session, a.err, n)
		case a.err == nil && n != 1:
			t.Errorf("%q was acknowledged and is not there", a.command)
		case a.err == nil && binary.BigEndian.Uint64(a.result) != uint64(place[a.command]):
			t.Errorf("%q is in place %d, and its result is %x", a.command, place[a.command], a.result)
		case errors.Is(a.err, raft.ErrDropped) && n != 0:
			t.Errorf("%q was applied after %v", a.command, a.err)
		case errors.Is(a.err, raft.ErrDropped) == errors.Is(a.err, raft.ErrUncertain) && a.err != nil && !errors.Is(a.err, raft.ErrSessionExpired):
			t.Errorf("%q: neither or both of dropped and uncertain: %v", a.command, a.err)
		}
	}
}

// TestHistory has clients on all nodes propose while the network and the nodes
// break. Whatever Propose returned has to be true in the end.
func TestHistory(t *testing.T) {
	sim.Seeds(t, 10, func(t *testing.T, seed uint64) {
		config := sim.Config{Seed: seed, Faults: sim.Faults{Drop: 0.02, Duplicate: 0.02, Reorder: 0.02}}
		group := raft.Config{Voters: abc, SnapshotEntries: 40, KeepEntries: 10}
		simulate(t, config, group, func(t *testing.T, s *simulation) {
			if seed%2 == 0 {
				s.delay = 10 * time.Millisecond
			}
			s.start(abc...)
			var mu sync.Mutex
			var attempts []attempt
			var clients sync.WaitGroup
			stop := make(chan struct{})
			for i := range 6 {
				name := abc[i%3]
				rnd := s.Rand("client", fmt.Sprint(i))
				clients.Go(func() {
					var session *raft.Session
					of := s.node(name)
					for k := 0; ; k++ {
						select {
						case <-stop:
							return
						case <-time.After(time.Duration(rnd.Int64N(int64(200 * time.Millisecond)))):
						}
						n := s.node(name)
						ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.Int64N(int64(5*time.Second))))
						a := attempt{command: fmt.Sprintf("%d-%d", i, k), session: i >= 3}
						switch {
						case !a.session:
							a.result, a.err = n.Propose(ctx, []byte(a.command))
						case session == nil || n != of:
							session, _ = n.NewSession(ctx)
							of = n
							a.err = raft.ErrDropped
						default:
							a.result, a.err = session.Propose(ctx, []byte(a.command))
						}
						cancel()
						mu.Lock()
						attempts = append(attempts, a)
						mu.Unlock()
					}
				})
			}
			rnd := s.Rand("faults")
			for range 20 {
				time.Sleep(time.Duration(rnd.Int64N(int64(4 * time.Second))))
				victim := abc[rnd.IntN(3)]
				others := slices.DeleteFunc(slices.Clone(abc), func(n string) bool { return n == victim })
				switch rnd.IntN(4) {
				case 0:
					s.Partition([]string{victim}, others)
				case 1:
					s.Cut(victim, others[rnd.IntN(2)])
				case 2:
					s.Heal()
				case 3:
					s.crash(victim)
					time.Sleep(time.Duration(rnd.Int64N(int64(3 * time.Second))))
					s.restart(victim)
				}
			}
			s.Heal()
			close(stop)
			clients.Wait()
			applied := s.settle()
			mu.Lock()
			defer mu.Unlock()
			judge(t, attempts, applied)
			good := 0
			for _, a := range attempts {
				if a.err == nil {
					good++
				}
			}
			require.Greater(t, good, 50, "of %d commands", len(attempts))
		})
	})
}

// A seed decides all that happens on the network, with the drivers in it.
func TestSimulatedGroupIsReproducible(t *testing.T) {
	run := func() (hash uint64) {
		config := sim.Config{Seed: 7, Faults: sim.Faults{Drop: 0.05}}
		simulate(t, config, small, func(t *testing.T, s *simulation) {
			s.start(abc...)
			ctx, cancel := background(s, time.Hour)
			defer cancel()
			for i := range 60 {
				_, _ = s.nodes[abc[i%3]].Propose(ctx, fmt.Append(nil, i)) // it may be uncertain
				if i%20 == 0 {
					s.crash(abc[i/20])
					s.pass(2 * time.Second)
					s.restart(abc[i/20])
				}
			}
			s.settle()
			hash = s.Hash()
		})
		return hash
	}
	require.Equal(t, run(), run())
}
