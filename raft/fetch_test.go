package raft_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/sim"
)

// A warehouse is a state machine with a large state, that depends on how many
// commands it has seen.
type warehouse struct {
	size     int
	mu       sync.Mutex
	applied  uint64
	restored int
}

func (w *warehouse) Apply(commands []raft.Command) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied += uint64(len(commands))
	return nil
}

// block returns a part of the state that is like no other.
func (w *warehouse) block(applied uint64, at int) []byte {
	b := make([]byte, 4096)
	for i := 0; i < len(b); i += 16 {
		binary.BigEndian.PutUint64(b[i:], applied)
		binary.BigEndian.PutUint64(b[i+8:], uint64(at+i))
	}
	return b
}

func (w *warehouse) Snapshot() (func(io.Writer) error, error) {
	applied := w.count()
	return func(out io.Writer) error {
		for at := 0; at < w.size; at += 4096 {
			if _, err := out.Write(w.block(applied, at)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (w *warehouse) Restore(in io.Reader) error {
	b := make([]byte, 4096)
	for at := 0; at < w.size; at += 4096 {
		if _, err := io.ReadFull(in, b); err != nil {
			return err
		}
		applied := binary.BigEndian.Uint64(b)
		if string(b) != string(w.block(applied, at)) {
			return fmt.Errorf("block at %d is another one", at)
		}
		w.mu.Lock()
		w.applied = applied
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restored++
	return nil
}

// restores returns how many times the state was restored.
func (w *warehouse) restores() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.restored
}

func (w *warehouse) count() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.applied
}

// A shelf is a storage that tells of the snapshots that are written to it, and
// does what it is told while they are.
type shelf struct {
	*raft.MemoryStorage
	world    *sim.World
	mu       sync.Mutex
	created  []time.Duration // when
	infos    []raft.SnapshotInfo
	done     []time.Duration
	onCreate func() error
	onWrite  func(total int) error
	onCommit func() error
	onOpen   func() error
}

func (s *shelf) CreateSnapshot(info raft.SnapshotInfo) (raft.SnapshotWriter, error) {
	s.mu.Lock()
	s.created, s.infos = append(s.created, s.world.Elapsed()), append(s.infos, info)
	s.mu.Unlock()
	if s.onCreate != nil {
		if err := s.onCreate(); err != nil {
			return nil, err
		}
	}
	w, err := s.MemoryStorage.CreateSnapshot(info)
	return &shelfWriter{SnapshotWriter: w, shelf: s}, err
}

func (s *shelf) OpenSnapshot() (raft.SnapshotReader, error) {
	if s.onOpen != nil {
		if err := s.onOpen(); err != nil {
			return nil, err
		}
	}
	return s.MemoryStorage.OpenSnapshot()
}

// begun returns how many snapshots were begun.
func (s *shelf) begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.created)
}

type shelfWriter struct {
	raft.SnapshotWriter
	shelf *shelf
	total int
}

func (w *shelfWriter) Write(p []byte) (int, error) {
	if w.total += len(p); w.shelf.onWrite != nil {
		if err := w.shelf.onWrite(w.total); err != nil {
			return 0, err
		}
	}
	return w.SnapshotWriter.Write(p)
}

func (w *shelfWriter) Commit() error {
	if w.shelf.onCommit != nil {
		if err := w.shelf.onCommit(); err != nil {
			return err
		}
	}
	if err := w.SnapshotWriter.Commit(); err != nil {
		return err
	}
	w.shelf.mu.Lock()
	defer w.shelf.mu.Unlock()
	w.shelf.done = append(w.shelf.done, w.shelf.world.Elapsed())
	return nil
}

// A depot is a group of warehouses whose nodes fetch from each other.
type depot struct {
	*sim.World
	config  raft.Config
	size    int
	nodes   map[string]*raft.Node
	states  map[string]*warehouse
	shelves map[string]*shelf
}

// rtt has a round trip of 10 ms.
var rtt = sim.Config{Seed: 1, Faults: sim.Faults{Delay: sim.Constant(5 * time.Millisecond)}}

func store(t *testing.T, config sim.Config, group raft.Config, size int, f func(t *testing.T, d *depot)) {
	t.Helper()
	sim.Run(t, config, func(w *sim.World) {
		d := &depot{World: w, config: group, size: size, nodes: map[string]*raft.Node{}, states: map[string]*warehouse{}, shelves: map[string]*shelf{}}
		d.config.Seed, d.config.SnapshotEntries, d.config.DisableKeep = 7, 50, true
		defer func() {
			for _, n := range d.nodes {
				_ = n.Close() // it never fails
			}
		}()
		f(w.T(), d)
	})
}

// start starts nodes; change may change what they run on.
func (d *depot) start(change func(c *raft.Config, s *shelf), names ...string) {
	for _, name := range names {
		config := d.config
		d.states[name] = &warehouse{size: d.size}
		d.shelves[name] = &shelf{MemoryStorage: raft.NewMemoryStorage(), world: d.World}
		config.Transport, config.StateMachine, config.Storage = d.Join(name), d.states[name], d.shelves[name]
		if change != nil {
			change(&config, d.shelves[name])
		}
		n, err := raft.Start(config)
		require.NoError(d.T(), err)
		d.nodes[name] = n
	}
}

// startCounted starts a node whose calls are counted.
func (d *depot) startCounted(name string, change func(s *shelf)) (counted *countedTransport) {
	d.start(func(c *raft.Config, s *shelf) {
		counted = &countedTransport{Transport: c.Transport}
		c.Transport = counted
		if change != nil {
			change(s)
		}
	}, name)
	return counted
}

// fill has a node take one snapshot, and no other one.
func (d *depot) fill(node string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for d.nodes[node].Stats().Snapshots == 0 {
		_, err := d.nodes[node].Propose(ctx, []byte("x"))
		require.NoError(d.T(), err)
	}
	for range 5 { // more than the snapshot holds
		_, err := d.nodes[node].Propose(ctx, []byte("x"))
		require.NoError(d.T(), err)
	}
}

// await waits for something, for a while.
func (d *depot) await(what string, within time.Duration, done func() bool) {
	d.T().Helper()
	for end := d.Elapsed() + within; !done(); {
		require.Less(d.T(), d.Elapsed(), end, what)
		time.Sleep(time.Millisecond)
	}
}

func (d *depot) fetched(name string) func() bool {
	return func() bool { return d.nodes[name].Stats().Fetched > 0 }
}

// leader returns the name of the leader that a node knows.
func (d *depot) leader(name string) string {
	for change := range d.nodes[name].Leaders(d.T().Context()) {
		if change.Leader != "" {
			return change.Leader
		}
	}
	return ""
}

// A countedTransport counts the calls that are under way.
type countedTransport struct {
	transport.Transport
	mu        sync.Mutex
	now, most int
	total     int
}

// calls returns how many calls there were, and the most at a time.
func (c *countedTransport) calls() (total, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total, c.most
}

func (c *countedTransport) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	c.mu.Lock()
	c.now++
	c.total++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
	}()
	return c.Transport.Call(ctx, to, service, request)
}

// Pieces travel side by side: a snapshot takes round trips by the window, not by
// the piece, and no more memory than the window.
func TestSnapshotPiecesTravelTogether(t *testing.T) {
	const size = 12 << 20
	store(t, rtt, raft.Config{Voters: abc}, size, func(t *testing.T, d *depot) {
		d.start(nil, "a", "b")
		d.fill("a")
		counted := d.startCounted("c", nil)
		d.await("fetched", time.Minute, d.fetched("c"))
		c := d.shelves["c"]
		took := c.done[0] - c.created[0]
		total, most := counted.calls()
		t.Logf("%d MiB in %v, %d calls, up to %d at a time", size>>20, took, total, most)
		require.Less(t, took, 15*10*time.Millisecond, "210 pieces")
		require.LessOrEqual(t, most, 64)
		require.Less(t, total, 220)
	})
}

// A thin link is not filled with pieces: the heartbeats that travel beside them
// come in time, and the follower keeps its leader.
func TestSnapshotOverAThinLinkKeepsTheLeader(t *testing.T) {
	for _, bandwidth := range []int64{80_000, 400_000, 2_000_000} {
		size := int(bandwidth) * 10 / 4096 * 4096
		store(t, rtt, raft.Config{Voters: abc}, size, func(t *testing.T, d *depot) {
			for _, from := range []string{"a", "b"} {
				d.Link(from, "c").Set(sim.Faults{Delay: sim.Constant(5 * time.Millisecond), Bandwidth: bandwidth})
			}
			d.start(nil, "a", "b")
			d.fill("a")
			d.start(nil, "c")
			term := d.nodes["a"].Status().Term
			leader := d.leader("c")
			began := d.Elapsed()
			d.await("fetched", time.Minute, func() bool {
				status := d.nodes["c"].Status()
				require.Equal(t, leader, status.Leader)
				require.Equal(t, term, status.Term)
				return d.nodes["c"].Stats().Fetched > 0
			})
			require.Less(t, d.Elapsed()-began, 13*time.Second, "the link is used: it takes 10 s to carry as much")
			require.Equal(t, 1, d.shelves["c"].begun())
		})
	}
}

// Many pieces are lost; each is asked for again, and none of the rest.
func TestSnapshotPiecesAreLost(t *testing.T) {
	sim.Seeds(t, 5, func(t *testing.T, seed uint64) {
		config := rtt
		config.Seed = seed
		store(t, config, raft.Config{Voters: abc}, 4<<20, func(t *testing.T, d *depot) {
			d.start(nil, "a", "b")
			d.fill("a")
			for _, from := range []string{"a", "b"} {
				faults := sim.Faults{Drop: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: sim.Uniform(time.Millisecond, 9*time.Millisecond)}
				d.Link(from, "c").Set(faults)
				d.Link("c", from).Set(faults)
			}
			d.start(nil, "c")
			d.await("restored", time.Minute, func() bool { return d.states["c"].restores() > 0 })
			require.Equal(t, 1, d.shelves["c"].begun())
		})
	})
}

// A disk that is slower than the network is no silence of the leader, and what
// waits for it is bounded.
func TestSnapshotToASlowDisk(t *testing.T) {
	store(t, rtt, raft.Config{Voters: abc}, 3<<20, func(t *testing.T, d *depot) {
		d.start(nil, "a", "b")
		d.fill("a")
		counted := d.startCounted("c", func(s *shelf) {
			s.onWrite = func(int) error {
				time.Sleep(3 * time.Second)
				return nil
			}
		})
		d.await("fetched", 5*time.Minute, d.fetched("c"))
		require.Equal(t, 1, d.shelves["c"].begun())
		total, _ := counted.calls()
		require.Less(t, total, 70, "of 53 pieces")
	})
}

// thin has a node's link carry 1 MB a second, so that a snapshot takes a while.
func (d *depot) thin(to string, from ...string) {
	for _, name := range from {
		d.Link(name, to).Set(sim.Faults{Delay: sim.Constant(5 * time.Millisecond), Bandwidth: 1_000_000})
	}
}

// A leader falls silent in the middle of a snapshot, and the new one does not have
// that: it is given up as soon as this is known, and the new one's is fetched.
func TestSnapshotOfALeaderThatFellSilent(t *testing.T) {
	store(t, rtt, raft.Config{Voters: abc, Learners: []string{"d"}}, 4<<20, func(t *testing.T, d *depot) {
		d.thin("d", abc...)
		for i, name := range abc { // no two have the same snapshot
			d.start(func(c *raft.Config, _ *shelf) { c.SnapshotEntries = 30 + 10*i }, name)
		}
		d.fill("c")
		d.start(nil, "d")
		old := d.leader("d")
		d.await("begun", time.Minute, func() bool { return d.shelves["d"].begun() == 1 })
		time.Sleep(time.Second)
		rest := slices.DeleteFunc(slices.Clone(abc), func(name string) bool { return name == old })
		d.Partition([]string{old}, append(rest, "d"))
		silent := d.Elapsed()
		known := time.Duration(0)
		d.await("another one begun", time.Minute, func() bool {
			if known == 0 && slices.Contains(rest, d.nodes["d"].Status().Leader) {
				known = d.Elapsed()
			}
			return d.shelves["d"].begun() == 2
		})
		t.Logf("another leader is known after %v, and its snapshot begun after %v", known-silent, d.Elapsed()-silent)
		require.Less(t, d.Elapsed()-known, time.Second/2)
		d.await("fetched", time.Minute, d.fetched("d"))
	})
}

// The same, and another follower has fetched the same snapshot before: it serves
// the rest of it, and nothing is fetched twice.
func TestSnapshotGoesOnWithAnotherHolder(t *testing.T) {
	store(t, rtt, raft.Config{Voters: abc, Learners: []string{"d"}}, 4<<20, func(t *testing.T, d *depot) {
		d.thin("d", abc...)
		d.start(nil, "a", "b")
		d.fill("a")
		d.start(nil, "c")
		d.await("fetched", time.Minute, d.fetched("c"))
		counted := d.startCounted("d", nil)
		old := d.leader("d")
		require.NotEqual(t, "c", old)
		d.await("begun", time.Minute, func() bool { return d.shelves["d"].begun() == 1 })
		time.Sleep(2 * time.Second)
		rest := map[string]string{"a": "b", "b": "a"}[old]
		d.Partition([]string{old}, []string{rest, "c", "d"})
		d.await("fetched", 10*time.Second, d.fetched("d"))
		require.Equal(t, 1, d.shelves["d"].begun())
		total, _ := counted.calls()
		require.Less(t, total, 110, "of 70 pieces")
		d.await("restored", time.Minute, func() bool { return d.states["d"].count() == d.states["c"].count() })
	})
}

// A new leader still has the entries that the snapshot holds: the node takes those,
// and does not go on to fetch what it no longer needs.
func TestSnapshotThatIsNoLongerNeeded(t *testing.T) {
	store(t, rtt, raft.Config{Voters: abc, Learners: []string{"d"}}, 8<<20, func(t *testing.T, d *depot) {
		d.thin("d", "a")
		d.start(nil, "a")
		d.start(func(c *raft.Config, _ *shelf) { c.DisableSnapshots = true }, "b", "c")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, d.nodes["b"].TransferLeadership(ctx, "a"))
		d.fill("a")
		counted := d.startCounted("d", nil)
		d.await("begun", time.Minute, func() bool { return d.shelves["d"].begun() == 1 })
		time.Sleep(time.Second)
		require.NoError(t, d.nodes["a"].TransferLeadership(ctx, "b"))
		d.await("the same", 5*time.Second, func() bool { return d.states["d"].count() == d.states["b"].count() })
		time.Sleep(100 * time.Millisecond)
		before, _ := counted.calls()
		time.Sleep(3 * time.Second)
		after, _ := counted.calls()
		require.Equal(t, before, after)
		require.Zero(t, d.nodes["d"].Stats().Fetched)
	})
}

// A group without a leader for a while: what was fetched is kept, and goes on when
// the leader is back.
func TestSnapshotGoesOnAfterAPause(t *testing.T) {
	store(t, rtt, raft.Config{Voters: abc}, 4<<20, func(t *testing.T, d *depot) {
		d.thin("c", "a", "b")
		d.start(nil, "a", "b")
		d.fill("a")
		d.start(nil, "c")
		d.await("begun", time.Minute, func() bool { return d.shelves["c"].begun() == 1 })
		time.Sleep(time.Second)
		d.Partition([]string{"a", "b"}, []string{"c"})
		time.Sleep(7 * time.Second)
		d.Heal()
		d.await("fetched", 10*time.Second, d.fetched("c"))
		require.Equal(t, 1, d.shelves["c"].begun())
		d.await("restored", 10*time.Second, func() bool { return d.states["c"].restores() == 1 })
	})
}

// A source that answers that it does not have the snapshot any more is not asked
// again and again.
func TestSnapshotThatIsRefused(t *testing.T) {
	store(t, rtt, raft.Config{Voters: abc}, 4<<20, func(t *testing.T, d *depot) {
		d.thin("c", "a", "b")
		var broken bool
		var mu sync.Mutex
		fail := func(_ *raft.Config, s *shelf) {
			s.onOpen = func() error {
				mu.Lock()
				defer mu.Unlock()
				if broken {
					return errors.New("cannot be read")
				}
				return nil
			}
		}
		d.start(fail, "a", "b")
		d.fill("a")
		mu.Lock()
		broken = true
		mu.Unlock()
		counted := d.startCounted("c", nil)
		time.Sleep(20 * time.Second)
		total, _ := counted.calls()
		require.Less(t, total, 2*20*10, "no more than the leader offers, a heartbeat apart")
		require.Positive(t, total)
		mu.Lock()
		broken = false
		mu.Unlock()
		d.await("fetched", time.Minute, d.fetched("c"))
	})
}

// A storage that fails, or ends the goroutine, while a snapshot is taken over is
// the end of the node's part, and Status says so: it could not go on without.
func TestStorageThatFailsDuringAFetch(t *testing.T) {
	broken := errors.New("i/o error")
	dies := map[string]func(s *shelf, f func() error){
		"create":  func(s *shelf, f func() error) { s.onCreate = f },
		"write":   func(s *shelf, f func() error) { s.onWrite = func(int) error { return f() } },
		"commit":  func(s *shelf, f func() error) { s.onCommit = f },
		"restore": func(s *shelf, f func() error) { s.onOpen = f },
	}
	for where, set := range dies {
		for _, end := range []bool{false, true} {
			t.Run(fmt.Sprint(where, end), func(t *testing.T) {
				store(t, rtt, raft.Config{Voters: abc}, 1<<20, func(t *testing.T, d *depot) {
					d.start(nil, "a", "b")
					d.fill("a")
					d.start(func(_ *raft.Config, s *shelf) {
						set(s, func() error {
							if end {
								runtime.Goexit()
							}
							return broken
						})
					}, "c")
					c := d.nodes["c"]
					d.await("failure", 10*time.Second, func() bool { return c.Status().Failure != nil })
					if end {
						require.ErrorContains(t, c.Status().Failure, "ended the goroutine")
					} else {
						require.ErrorIs(t, c.Status().Failure, broken)
					}
					require.ErrorIs(t, c.Barrier(t.Context()), raft.ErrFailed)
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					_, err := d.nodes["a"].Propose(ctx, []byte("x"))
					require.NoError(t, err, "the others go on")
					require.NoError(t, c.Close())
				})
			})
		}
	}
}

// A node that stands for election when the last piece is written takes the
// snapshot over all the same: it does not begin from zero.
func TestSnapshotOfACandidateIsNotThrownAway(t *testing.T) {
	store(t, rtt, raft.Config{Voters: abc}, 1<<20, func(t *testing.T, d *depot) {
		d.start(nil, "a", "b")
		d.fill("a")
		d.start(func(_ *raft.Config, s *shelf) {
			s.onWrite = func(total int) error {
				if total > 1<<20 {
					d.Partition([]string{"c"}, []string{"a", "b"})
					for d.nodes["c"].Status().Role != "pre-candidate" {
						time.Sleep(time.Millisecond)
					}
					s.onWrite = nil
				}
				return nil
			}
		}, "c")
		d.await("restored", time.Minute, func() bool { return d.states["c"].restores() == 1 })
		require.Equal(t, 1, d.shelves["c"].begun())
		require.NoError(t, d.nodes["c"].Status().Failure)
		d.Heal()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, d.nodes["c"].Barrier(ctx))
		require.Equal(t, 1, d.shelves["c"].begun())
	})
}

// Snapshots are fetched all the time, while the network and the nodes break: in the
// end every node holds the same, and none has failed.
func TestSnapshotsUnderFaults(t *testing.T) {
	sim.Seeds(t, 3, func(t *testing.T, seed uint64) {
		config := sim.Config{Seed: seed, Faults: sim.Faults{Drop: 0.02, Duplicate: 0.02, Reorder: 0.02}}
		group := raft.Config{Voters: abc, Learners: []string{"d", "e"}, SnapshotEntries: 40}
		store(t, config, group, 1<<20, func(t *testing.T, d *depot) {
			all := []string{"a", "b", "c", "d", "e"}
			rnd := d.Rand("faults")
			d.config.SnapshotEntries = 40
			d.start(nil, all...)
			stop := make(chan struct{})
			var clients sync.WaitGroup
			for _, name := range all[:3] {
				clients.Go(func() {
					for {
						ctx, cancel := context.WithTimeout(context.Background(), time.Second)
						_, _ = d.nodes[name].Propose(ctx, []byte("x")) // it may fail
						cancel()
						select {
						case <-stop:
							return
						case <-time.After(20 * time.Millisecond):
						}
					}
				})
			}
			for range 25 {
				time.Sleep(time.Duration(rnd.Int64N(int64(2 * time.Second))))
				victim := all[rnd.IntN(5)]
				others := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == victim })
				switch rnd.IntN(5) {
				case 0, 1:
					d.Partition([]string{victim}, others)
				case 2:
					d.Cut(victim, others[rnd.IntN(4)])
				case 3:
					d.Heal()
				case 4:
					d.thin(victim, others...)
				}
			}
			d.Heal()
			close(stop)
			clients.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			fetched := uint64(0)
			for _, name := range all {
				require.NoError(t, d.nodes[name].Barrier(ctx), "%s: %+v", name, d.nodes[name].Status())
				require.NoError(t, d.nodes[name].Status().Failure)
				fetched += d.nodes[name].Stats().Fetched
			}
			d.await("the same", time.Minute, func() bool {
				return !slices.ContainsFunc(all, func(name string) bool { return d.states[name].count() != d.states["a"].count() })
			})
			t.Logf("%d commands, %d fetched", d.states["a"].count(), fetched)
			require.Positive(t, fetched)
		})
	})
}

// A seed decides all that happens while a snapshot is fetched, from one source after
// the other.
func TestFetchIsReproducible(t *testing.T) {
	run := func() (hash uint64) {
		store(t, rtt, raft.Config{Voters: abc, Learners: []string{"d"}}, 4<<20, func(t *testing.T, d *depot) {
			d.start(nil, abc...)
			d.fill("a")
			for _, name := range abc {
				faults := sim.Faults{Drop: 0.05, Delay: sim.Uniform(time.Millisecond, 9*time.Millisecond), Bandwidth: 2_000_000}
				d.Link(name, "d").Set(faults)
				d.Link("d", name).Set(faults)
			}
			d.start(nil, "d")
			time.Sleep(1500 * time.Millisecond)
			d.Partition([]string{d.leader("d")})
			time.Sleep(3 * time.Second)
			d.Heal()
			d.await("restored", time.Minute, func() bool { return d.states["d"].restores() > 0 })
			hash = d.Hash()
		})
		return hash
	}
	require.Equal(t, run(), run())
}
