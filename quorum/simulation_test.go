package quorum_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/sim"
)

// A world is a cluster in the simulator: one client a node, whose reads and
// writes go into a history, and faults from a seed.
type world struct {
	*sim.World
	ring   *ring.Ring
	config quorum.Config
	skew   func(name string) time.Duration // of the clock, in the life that starts

	clients sync.WaitGroup

	mu       sync.Mutex
	stores   map[string]*quorum.Store  // those that are up; guarded by mu
	storages map[string]*quorum.Memory // guarded by mu
	lives    uint64                    // starts so far; guarded by mu
	history  history                   // guarded by mu
}

func newWorld(w *sim.World, config quorum.Config, names ...string) *world {
	nodes := make([]ring.Node, len(names))
	for i, name := range names {
		nodes[i].Name = name
	}
	r, err := ring.New(ring.Config{}, nodes...)
	require.NoError(w.T(), err)
	c := &world{
		World: w, ring: r, config: config,
		stores: map[string]*quorum.Store{}, storages: map[string]*quorum.Memory{},
	}
	random := w.Rand("skew")
	c.skew = func(string) time.Duration { // every life has another clock
		return time.Duration(random.Int64N(int64(8*time.Second))) - 4*time.Second
	}
	return c
}

// boot starts the store of a node, and a client beside it.
func (c *world) boot(tr *sim.Transport) {
	store := c.start(tr)
	c.mu.Lock()
	random := c.Rand("client", tr.Local(), fmt.Sprint(c.lives))
	c.mu.Unlock()
	c.clients.Go(func() { c.client(tr.Context(), tr.Local(), store, random) })
}

// start starts the store of a node.
func (c *world) start(tr *sim.Transport) *quorum.Store {
	name := tr.Local()
	c.mu.Lock()
	c.lives++
	if c.storages[name] == nil {
		c.storages[name] = quorum.NewMemory()
	}
	config := c.config
	config.Storage = c.storages[name]
	config.Seed = c.lives
	skew := c.skew(name)
	c.mu.Unlock()
	config.Transport, config.Ring = tr, c.ring
	config.Now = func() time.Time { return time.Now().Add(skew) }
	store, err := quorum.Start(config)
	require.NoError(c.T(), err)
	c.mu.Lock()
	c.stores[name] = store
	c.mu.Unlock()
	context.AfterFunc(tr.Context(), func() { _ = store.Close() })
	return store
}

// stop takes a node down, with its data or without.
func (c *world) stop(name string, lose bool) {
	c.mu.Lock()
	store := c.stores[name]
	delete(c.stores, name)
	if lose {
		delete(c.storages, name)
	}
	c.mu.Unlock()
	c.Crash(name)
	_ = store.Close()
}

// stopAll takes all nodes down and waits for their clients.
func (c *world) stopAll() {
	c.mu.Lock()
	up := slices.Sorted(maps.Keys(c.stores))
	c.mu.Unlock()
	for _, name := range up {
		c.stop(name, false)
	}
	c.clients.Wait()
}

// ready reports whether a node is up, has recovered and has met all others.
func (c *world) ready(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stores[name] == nil {
		return false
	}
	status := c.stores[name].Status()
	return status.Ready && !slices.ContainsFunc(status.Peers, func(p quorum.PeerStatus) bool { return !p.Met })
}

// client reads and writes a few keys until its node goes down.
func (c *world) client(ctx context.Context, name string, store *quorum.Store, random *rand.Rand) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(1+random.IntN(30)) * time.Millisecond)
		o := operation{node: name, key: fmt.Sprint("k", random.IntN(3)), start: c.Elapsed()}
		timed, cancel := context.WithTimeout(ctx, time.Second)
		var err error
		switch random.IntN(5) {
		case 0:
			o.kind = write
			_, err = c.write(timed, store, &o, random)
		case 1:
			o.kind = write
			o.deleted = true
			o.version, err = store.Delete(timed, o.key, quorum.Version{})
		default:
			o.kind = read
			var v quorum.Value
			v, err = store.Get(timed, o.key)
			o.version = v.Version
			value, ok := v.Newest()
			o.value, o.deleted = string(value), !ok
		}
		cancel()
		c.record(o, err)
	}
}

func (c *world) write(ctx context.Context, store *quorum.Store, o *operation, random *rand.Rand) (v quorum.Version, err error) {
	o.value = fmt.Sprintf("%s-%s-%d", o.node, o.start, random.Uint64())
	o.version, err = store.Put(ctx, o.key, []byte(o.value), quorum.Version{})
	return o.version, err
}

func (c *world) record(o operation, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.end = c.Elapsed()
	switch {
	case err == nil:
		c.history.done = append(c.history.done, o)
	case errors.Is(err, quorum.ErrUncertain) && !o.deleted:
		c.history.uncertain = append(c.history.uncertain, o)
	default:
		c.history.failed++
	}
	if c.T().Failed() {
		return
	}
	if err != nil && !errors.Is(err, quorum.ErrQuorum) && !errors.Is(err, quorum.ErrClosed) && !errors.Is(err, context.Canceled) && !errors.Is(err, transport.ErrClosed) {
		c.T().Errorf("an error that no fault explains: %v", err)
	}
}

// trouble makes faults for a while: the network as it likes, and data lost of
// one node at a time.
func (c *world) trouble(names []string, steps int) {
	random := c.Rand("faults")
	pick := func() string { return names[random.IntN(len(names))] }
	down, lossy := "", ""
	for range steps {
		time.Sleep(time.Duration(20+random.IntN(300)) * time.Millisecond)
		if lossy != "" && c.ready(lossy) {
			lossy = ""
		}
		switch random.IntN(10) {
		case 0:
			rest := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == names[0] })
			random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
			c.Partition(rest[:1], append(rest[1:], names[0]))
		case 1, 2:
			from, to := pick(), pick()
			if from != to {
				c.Cut(from, to)
			}
		case 3, 4:
			c.Heal()
		case 5:
			from, to := pick(), pick()
			if from != to {
				c.Hold(from, to)
				time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
				c.Release(from, to)
			}
		default:
			if down != "" {
				c.Restart(down, c.boot)
				down = ""
				continue
			}
			down = pick()
			lose := lossy == "" || lossy == down
			if lose {
				lossy = down
			}
			c.stop(down, lose)
		}
	}
	c.Heal()
	if down != "" {
		c.Restart(down, c.boot)
	}
}

func TestSimulationRegistersAreLinearizable(t *testing.T) {
	for _, test := range []struct {
		name   string
		nodes  []string
		config quorum.Config
	}{
		{"N=3 R=2 W=2", []string{"a", "b", "c"}, quorum.Config{}},
		{"N=3 R=1 W=3", []string{"a", "b", "c"}, quorum.Config{R: 1, W: 3}},
		{"N=3 R=2 W=2 of 5", []string{"a", "b", "c", "d", "e"}, quorum.Config{}},
		{"N=5 R=3 W=3", []string{"a", "b", "c", "d", "e"}, quorum.Config{N: 5}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sim.Seeds(t, 3, func(t *testing.T, seed uint64) {
				faults := sim.Faults{Delay: sim.Exponential(time.Millisecond, 5*time.Millisecond), Drop: 0.01}
				sim.Run(t, sim.Config{Seed: seed, Faults: faults}, func(w *sim.World) {
					c := newWorld(w, test.config, test.nodes...)
					for _, name := range test.nodes {
						c.boot(w.Join(name))
					}
					c.trouble(test.nodes, 40)
					c.settle(test.nodes)
				})
			})
		})
	}
}

func TestSimulationIsReproducible(t *testing.T) {
	run := func() (hash uint64) {
		sim.Run(t, sim.Config{Seed: 3}, func(w *sim.World) {
			c := newWorld(w, quorum.Config{}, abc...)
			for _, name := range abc {
				c.boot(w.Join(name))
			}
			c.trouble(abc, 20)
			c.settle(abc)
			hash = w.Hash()
		})
		return hash
	}
	first := run()
	for range 5 {
		require.Equal(t, first, run())
	}
}

// settle waits, once the faults are over, until all nodes are ready and have
// worked for a while, and looks at the history.
func (c *world) settle(names []string) {
	for _, from := range names {
		for _, to := range names {
			if from != to {
				c.Link(from, to).Set(sim.Faults{})
			}
		}
	}
	for i := 0; slices.ContainsFunc(names, func(n string) bool { return !c.ready(n) }); i++ {
		require.Less(c.T(), i, 1000, "the nodes do not recover although nothing stands in their way")
		time.Sleep(100 * time.Millisecond)
	}
	c.mu.Lock()
	before := len(c.history.done)
	c.mu.Unlock()
	time.Sleep(2 * time.Second)
	c.stopAll()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Greater(c.T(), len(c.history.done), before+50, "too few operations succeed without faults")
	c.history.check(c.T())
	c.T().Logf("%d done, %d uncertain, %d failed, %d starts", len(c.history.done), len(c.history.uncertain), c.history.failed, c.lives)
}
