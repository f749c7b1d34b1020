package shared_test

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

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ratelimit/shared"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/sim"
)

// A world is a cluster in the simulator whose nodes all take tokens of a few keys,
// far more than there are, and write down when they got them.
type world struct {
	*sim.World
	rings   map[string]*ring.Ring // of each node; one for all, unless they are to disagree
	config  shared.Config
	keys    []string
	pause   time.Duration // between two takes of a client, on average
	clients sync.WaitGroup

	mu       sync.Mutex
	up       map[string]*shared.Limiter // guarded by mu
	lives    uint64                     // guarded by mu
	admitted map[string][]admission     // by key, in order of time; guarded by mu
	alone    uint64                     // takes allowed by limiters that have been closed; guarded by mu
}

type admission struct {
	at time.Duration
	n  int
}

func newWorld(w *sim.World, config shared.Config, names ...string) *world {
	r, err := ring.New(ring.Config{}, nodes(names)...)
	require.NoError(w.T(), err)
	rings := map[string]*ring.Ring{}
	for _, name := range names {
		rings[name] = r
	}
	return startWorld(w, config, rings)
}

func startWorld(w *sim.World, config shared.Config, rings map[string]*ring.Ring) *world {
	c := &world{
		World: w, rings: rings, config: config, keys: []string{"x", "y", "z"}, pause: 4 * time.Millisecond,
		up: map[string]*shared.Limiter{}, admitted: map[string][]admission{},
	}
	for _, name := range slices.Sorted(maps.Keys(rings)) {
		c.boot(w.Join(name))
	}
	return c
}

func nodes(names []string) (list []ring.Node) {
	for _, name := range names {
		list = append(list, ring.Node{Name: name})
	}
	return list
}

// boot starts a node's limiter, and a client beside it.
func (c *world) boot(tr *sim.Transport) {
	config := c.config
	config.Transport, config.Ring = tr, c.rings[tr.Local()]
	limiter, err := shared.Start(config)
	require.NoError(c.T(), err)
	name := tr.Local()
	c.mu.Lock()
	c.lives++
	random := c.Rand("client", name, fmt.Sprint(c.lives))
	c.up[name] = limiter
	c.mu.Unlock()
	c.clients.Go(func() { c.client(tr.Context(), limiter, random) })
}

// stop takes a node down.
func (c *world) stop(name string) {
	c.mu.Lock()
	limiter := c.up[name]
	delete(c.up, name)
	c.mu.Unlock()
	c.Crash(name)
	_ = limiter.Close()
	c.mu.Lock()
	c.alone += limiter.Stats().Alone
	c.mu.Unlock()
}

func (c *world) stopAll() {
	c.mu.Lock()
	up := slices.Sorted(maps.Keys(c.up))
	c.mu.Unlock()
	for _, name := range up {
		c.stop(name)
	}
	c.clients.Wait()
}

// client takes tokens until its node goes down: mostly a steady stream, at times
// a burst, at times nothing for a while, so that leases are given back.
func (c *world) client(ctx context.Context, limiter *shared.Limiter, random *rand.Rand) {
	for ctx.Err() == nil {
		key, repeat := c.keys[random.IntN(len(c.keys))], 1
		switch random.IntN(200) {
		case 0:
			time.Sleep(time.Duration(random.Int64N(int64(2 * c.config.Lease))))
		case 1, 2, 3:
			repeat = 50
		}
		time.Sleep(time.Duration(random.Int64N(int64(2 * c.pause))))
		for range repeat {
			c.take(ctx, limiter, key, 1+random.IntN(4)/3*2)
		}
	}
}

func (c *world) take(ctx context.Context, limiter *shared.Limiter, key string, n int) {
	d, err := limiter.Take(ctx, key, n)
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.Allowed {
		c.admitted[key] = append(c.admitted[key], admission{c.Elapsed(), n})
	}
	if err == nil && !d.Allowed && d.RetryAfter <= 0 {
		c.T().Errorf("denied, and to be tried again after %v", d.RetryAfter)
	}
	if err != nil && !errors.Is(err, shared.ErrUnavailable) && !errors.Is(err, shared.ErrClosed) && !errors.Is(err, context.Canceled) && !errors.Is(err, transport.ErrClosed) {
		c.T().Errorf("an error that no fault explains: %v", err)
	}
}

// trouble makes faults: the network, and nodes that crash. move says whether the
// ring changes, too.
func (c *world) trouble(names []string, steps int, move bool) {
	random := c.Rand("faults")
	pick := func() string { return names[random.IntN(len(names))] }
	down := ""
	for range steps {
		time.Sleep(time.Duration(random.Int64N(int64(2 * c.config.Lease))))
		switch random.IntN(8) {
		case 0:
			rest := slices.Clone(names)
			random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
			c.Partition(rest[:1], rest[1:])
		case 1:
			if from, to := pick(), pick(); from != to {
				c.Cut(from, to)
			}
		case 2, 3:
			c.Heal()
		case 4:
			if from, to := pick(), pick(); from != to {
				c.Hold(from, to)
				time.Sleep(time.Duration(random.Int64N(int64(2 * c.config.Lease))))
				c.Release(from, to)
			}
		case 5:
			if name := pick(); move && !c.rings[name].Remove(name) {
				require.NoError(c.T(), c.rings[name].Add(ring.Node{Name: name}))
			}
		default:
			if down != "" {
				c.Restart(down, c.boot)
				down = ""
				continue
			}
			down = pick()
			c.stop(down)
		}
	}
	c.Heal()
	if down != "" {
		c.Restart(down, c.boot)
	}
}

// excess returns by how much more than limit*t any window of a key's admissions
// holds, whatever its length t: what a bucket would have needed for a burst.
func excess(list []admission, perSecond float64) (most float64) {
	lacking, last := 0.0, time.Duration(0)
	for _, a := range list {
		lacking = max(0, lacking-perSecond*(a.at-last).Seconds()) + float64(a.n)
		last = a.at
		most = max(most, lacking)
	}
	return most
}

// check holds all keys against a bound of burst + perSecond*t, and the number of
// admissions against what makes the test worth running.
func (c *world) check(burst, perSecond float64, least int) {
	total := 0
	for _, key := range c.keys {
		list := c.admitted[key]
		for _, a := range list {
			total += a.n
		}
		if got := excess(list, perSecond); got > burst+1e-6 {
			c.T().Errorf("key %s: a window of length t has %.2f + %g*t admissions, the bound is %g + %g*t", key, got, perSecond, burst, perSecond)
		}
	}
	if total < least {
		c.T().Errorf("only %d tokens were taken in %v, want at least %d", total, c.Elapsed(), least)
	}
	c.T().Logf("%d tokens in %v, %d decisions by shares", total, c.Elapsed(), c.alone)
}

var abcde = []string{"a", "b", "c", "d", "e"}

const (
	burst = 40
	rate  = 200
)

func config() shared.Config {
	return shared.Config{Limit: ratelimit.Per(rate, time.Second), Burst: burst, Lease: 400 * time.Millisecond, Timeout: 50 * time.Millisecond, FailClosed: true}
}

var rough = sim.Faults{Delay: sim.Exponential(time.Millisecond, 4*time.Millisecond), Drop: 0.02, Duplicate: 0.02, Reorder: 0.02}

// In a calm network the limit is the one of a single limiter, and nearly all of it
// can be used.
func TestSimulationCalm(t *testing.T) {
	sim.Seeds(t, 2, func(t *testing.T, seed uint64) {
		sim.Run(t, sim.Config{Seed: seed}, func(w *sim.World) {
			c := newWorld(w, config(), abcde...)
			time.Sleep(10 * time.Second)
			c.stopAll()
			c.check(burst, rate, int(0.95*3*rate*9.5))
		})
	})
}

// TestSimulationNeverOver is the promise with FailClosed: crashes, restarts,
// partitions, and messages lost, doubled, held and out of order add nothing. Nor
// does a ring that changes, if all see it change at once.
func TestSimulationNeverOver(t *testing.T) {
	for name, move := range map[string]bool{"owners stay": false, "owners move": true} {
		t.Run(name, func(t *testing.T) { troubled(t, config(), move, burst, rate, 1000) })
	}
}

// troubled holds a troubled cluster against a bound, for some seeds.
func troubled(t *testing.T, config shared.Config, move bool, burst, perSecond float64, least int) {
	t.Helper()
	sim.Seeds(t, 3, func(t *testing.T, seed uint64) {
		sim.Run(t, sim.Config{Seed: seed, Faults: rough}, func(w *sim.World) {
			c := newWorld(w, config, abcde...)
			c.trouble(abcde, 40, move)
			c.stopAll()
			c.check(burst, perSecond, least)
			require.Equal(w.T(), config.FailClosed, c.alone == 0)
		})
	})
}

// Nodes that learn late of a change have two owners for a key. It costs no more
// than twice the limit for as long as they disagree.
func TestSimulationRingsDisagree(t *testing.T) {
	const changes, late = 6, time.Second
	sim.Seeds(t, 3, func(t *testing.T, seed uint64) {
		sim.Run(t, sim.Config{Seed: seed, Faults: rough}, func(w *sim.World) {
			rings := map[string]*ring.Ring{}
			for _, name := range abcde {
				r, err := ring.New(ring.Config{}, nodes(abcde)...)
				require.NoError(t, err)
				rings[name] = r
			}
			c := startWorld(w, config(), rings)
			random := w.Rand("changes")
			time.Sleep(2 * time.Second)
			for i := range changes {
				name := abcde[i/2%len(abcde)] // out, and in again
				var learning sync.WaitGroup
				for _, node := range abcde {
					delay := time.Duration(random.Int64N(int64(late)))
					learning.Go(func() {
						time.Sleep(delay)
						if !rings[node].Remove(name) {
							_ = rings[node].Add(ring.Node{Name: name})
						}
					})
				}
				learning.Wait()
				time.Sleep(3 * time.Second)
			}
			c.stopAll()
			c.check(burst+2*rate*late.Seconds()*changes, rate, 1000)
			c.checkWindows(2*time.Second, burst+2*rate*int(late/time.Second)+2*rate)
		})
	})
}

// checkWindows holds windows of one length, in which at most one change lies,
// against a bound.
func (c *world) checkWindows(length time.Duration, bound int) {
	for _, key := range c.keys {
		first, sum := 0, 0
		list := c.admitted[key]
		for _, a := range list {
			for sum += a.n; a.at-list[first].at > length; first++ {
				sum -= list[first].n
			}
			if sum > bound {
				c.T().Errorf("key %s: %d admissions in the %v before %v, the bound is %d", key, sum, length, a.at, bound)
			}
		}
	}
}

// With shares, what the nodes decide alone comes on top, and is no more than the
// limit once again.
func TestSimulationShares(t *testing.T) {
	shares := config()
	shares.FailClosed = false
	troubled(t, shares, false, 2*burst, 2*rate, 4000)
}

// Forgive adds a burst for each owner that starts.
func TestSimulationForgive(t *testing.T) {
	sim.Seeds(t, 2, func(t *testing.T, seed uint64) {
		sim.Run(t, sim.Config{Seed: seed, Faults: rough}, func(w *sim.World) {
			forgiving := config()
			forgiving.Forgive = true
			c := newWorld(w, forgiving, abcde...)
			c.trouble(abcde, 40, false)
			c.stopAll()
			c.check(burst*float64(c.lives-uint64(len(abcde))+1), rate, 1000)
		})
	})
}

func TestSimulationIsReproducible(t *testing.T) {
	run := func() (hash uint64) {
		sim.Run(t, sim.Config{Seed: 3, Faults: rough}, func(w *sim.World) {
			c := newWorld(w, config(), abcde...)
			c.trouble(abcde, 20, true)
			c.stopAll()
			hash = w.Hash()
		})
		return hash
	}
	first := run()
	for range 2 {
		require.Equal(t, first, run())
	}
}
