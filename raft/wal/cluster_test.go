package wal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal"
	"github.com/parley-go/parley/raft/wal/internal/faultdisk"
	"github.com/parley-go/parley/transport/sim"
)

var abc = []string{"a", "b", "c"}

// patience is for how many hundredths of a second tests wait, of virtual time.
const patience = 2000

// A lines is a state machine that keeps all commands, one on a line.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (s *lines) Apply(commands []raft.Command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range commands {
		s.text = append(append(s.text, c.Data...), '\n')
	}
	return nil
}

func (s *lines) Snapshot() (func(io.Writer) error, error) {
	text := s.all()
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}, nil
}

func (s *lines) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = b
	return err
}

func (s *lines) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// A member is one node, with the disk that outlives it.
type member struct {
	disk  *faultdisk.Disk
	log   *wal.Log
	node  *raft.Node
	state *lines
}

// A cluster is three nodes, each with its log on a disk with faults, and clients that
// note what was acknowledged to them.
type cluster struct {
	*sim.World
	rand    *rand.Rand
	members map[string]*member

	mu           sync.Mutex // also guards the fields of the members, for the clients
	acknowledged []string
	clients      sync.WaitGroup
	stop         context.CancelFunc
}

func startCluster(w *sim.World, seed uint64) *cluster {
	c := &cluster{World: w, rand: w.Rand("cluster"), members: map[string]*member{}}
	for i, name := range abc {
		c.members[name] = &member{disk: faultdisk.New(seed*3 + uint64(i))}
	}
	for _, name := range abc {
		c.boot(w.Join(name))
	}
	return c
}

// boot starts a node with what is on its disk, which has to open.
func (c *cluster) boot(t *sim.Transport) {
	name := t.Local()
	m := c.members[name]
	log, err := wal.OpenOn(m.disk, "d")
	require.NoError(c.T(), err, name)
	state := &lines{}
	node, err := raft.Start(raft.Config{
		Transport: t, Storage: log, StateMachine: state, Voters: abc,
		SnapshotEntries: 60, KeepEntries: 20, Seed: c.rand.Uint64() | 1,
	})
	require.NoError(c.T(), err, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	m.log, m.node, m.state = log, node, state
}

// crash takes machines down. What their disks had not synced is lost in part.
func (c *cluster) crash(names ...string) {
	for _, name := range names {
		c.Crash(name)
	}
	for _, name := range names {
		m := c.members[name]
		m.disk.CrashIn(1) // whatever it still wants to write
		require.NoError(c.T(), m.node.Close())
		_ = m.log.Close() // there is no disk any more
		m.disk.Crash()
		m.disk.FailSync(0)
		m.disk.SetCapacity(0)
	}
}

// kill ends a process. The machine, and what it has cached of the disk, lives on.
func (c *cluster) kill(name string) {
	c.Crash(name)
	m := c.members[name]
	m.disk.Kill()
	require.NoError(c.T(), m.node.Close())
	_ = m.log.Close()
	m.disk.FailSync(0)
	m.disk.SetCapacity(0)
}

func (c *cluster) restart(names ...string) {
	for _, name := range names {
		c.Restart(name, c.boot)
	}
}

// load starts clients that propose one command after the other, each on any node.
func (c *cluster) load(clients int) {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	for client := range clients {
		r := c.Rand("client", fmt.Sprint(client))
		c.clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c.propose(ctx, r, fmt.Sprintf("%d.%d %s", client, i, strings.Repeat("x", r.IntN(200))))
				time.Sleep(time.Duration(5+r.IntN(50)) * time.Millisecond)
			}
		})
	}
}

func (c *cluster) propose(ctx context.Context, r *rand.Rand, command string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c.mu.Lock()
	node := c.members[abc[r.IntN(len(abc))]].node
	c.mu.Unlock()
	if _, err := node.Propose(ctx, []byte(command)); err == nil {
		c.mu.Lock()
		c.acknowledged = append(c.acknowledged, command)
		c.mu.Unlock()
	}
}

// failed breaks a node's disk until that hits the log, not a snapshot that can be
// done without, and the node gives up.
func (c *cluster) failed(name string, breaks func(*faultdisk.Disk)) error {
	m := c.members[name]
	for i := range patience {
		if err := m.node.Status().Failure; err != nil {
			return err
		}
		if i%50 == 0 {
			breaks(m.disk)
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.FailNow(c.T(), "the node goes on beside a broken disk", name)
	return nil
}

// leader waits for a node that leads, other than the given one.
func (c *cluster) leader(not string) string {
	for range patience {
		for _, name := range abc {
			if name != not && c.members[name].node.Status().Role == "leader" {
				return name
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.FailNow(c.T(), "no leader")
	return ""
}

// acknowledges waits until so many more commands are acknowledged.
func (c *cluster) acknowledges(more int) {
	count := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.acknowledged)
	}
	for want, i := count()+more, 0; count() < want; i++ {
		require.Less(c.T(), i, patience, "the cluster does not go on")
		time.Sleep(10 * time.Millisecond)
	}
}

// close ends everything, also in the midst of a test that fails.
func (c *cluster) close() {
	c.stop()
	for _, m := range c.members {
		_ = m.node.Close()
	}
	c.clients.Wait()
	for _, m := range c.members {
		_ = m.log.Close()
	}
}

// settle ends the clients, and checks that all nodes have the same state, with all
// that was acknowledged in it, and nothing twice.
func (c *cluster) settle() {
	t := c.T()
	c.acknowledges(20)
	c.stop()
	c.clients.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range abc {
		require.NoError(t, c.members[name].node.Barrier(ctx), name)
	}
	want := c.members["a"].state.all()
	for _, name := range abc {
		m := c.members[name]
		require.Equal(t, want, m.state.all(), name)
		require.NoError(t, m.node.Close())
		require.NoError(t, m.log.Close())
		c.Crash(name)
	}
	there := map[string]int{}
	for line := range strings.SplitSeq(want, "\n") {
		there[line]++
		require.Equal(t, 1, there[line], "applied twice: %s", line)
	}
	for _, command := range c.acknowledged {
		require.Equal(t, 1, there[command], "acknowledged, and lost: %s", command)
	}
}

func runCluster(t *testing.T, seed uint64, test func(t *testing.T, c *cluster)) {
	faults := sim.Faults{Delay: sim.Uniform(200*time.Microsecond, 3*time.Millisecond)}
	sim.Run(t, sim.Config{Seed: seed, Faults: faults}, func(w *sim.World) {
		c := startCluster(w, seed)
		defer c.close()
		c.load(6)
		test(w.T(), c)
		c.settle()
	})
}

// Machines crash in the midst of what they write, one, two or all of them at a time,
// and start again with what is left.
func TestClusterOutlivesCrashes(t *testing.T) {
	sim.Seeds(t, 8, func(t *testing.T, seed uint64) {
		runCluster(t, seed, func(t *testing.T, c *cluster) {
			for range 8 {
				c.acknowledges(c.rand.IntN(80))
				names := slices.Clone(abc)
				c.rand.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
				names = names[:1+c.rand.IntN(len(names))]
				for _, name := range names { // one after the other, if under load
					c.members[name].disk.CrashIn(1 + c.rand.IntN(60))
				}
				time.Sleep(time.Duration(c.rand.IntN(1000)) * time.Millisecond)
				c.crash(names...)
				time.Sleep(time.Duration(c.rand.IntN(3000)) * time.Millisecond)
				c.restart(names...)
			}
		})
	})
}

// The leader's sync fails: it stops to lead and to vote, the others go on, and it
// comes back as a process that finds what the kernel pretends to have, or as a machine
// that finds what the disk has.
func TestClusterOutlivesAFailingSyncOfTheLeader(t *testing.T) {
	sim.Seeds(t, 6, func(t *testing.T, seed uint64) {
		runCluster(t, seed, func(t *testing.T, c *cluster) {
			c.acknowledges(50)
			old := c.leader("")
			err := c.failed(old, func(d *faultdisk.Disk) { d.FailSync(1 + c.rand.IntN(4)) })
			require.ErrorIs(t, err, faultdisk.ErrSync)
			status := c.members[old].node.Status()
			require.NotEqual(t, "leader", status.Role)
			_, err = c.members[old].node.Propose(context.Background(), nil)
			require.ErrorIs(t, err, raft.ErrFailed)
			require.NotEqual(t, old, c.leader(old))
			c.acknowledges(50)
			require.NotEqual(t, "leader", c.members[old].node.Status().Role)
			if seed%2 == 0 {
				c.kill(old)
			} else {
				c.crash(old)
			}
			c.restart(old)
			c.acknowledges(50)
			c.crash(abc...) // what was taken from the cache has to be on the disk by now
			c.restart(abc...)
		})
	})
}

// Disks get full one after the other, that of the leader first. As long as a majority
// has room the cluster goes on; nodes come back when they have room again.
func TestClusterOutlivesFullDisks(t *testing.T) {
	sim.Seeds(t, 6, func(t *testing.T, seed uint64) {
		runCluster(t, seed, func(t *testing.T, c *cluster) {
			for range 3 {
				c.acknowledges(30)
				full := c.leader("")
				err := c.failed(full, func(d *faultdisk.Disk) { d.SetCapacity(d.Used() + c.rand.Int64N(5000)) })
				require.ErrorIs(t, err, faultdisk.ErrFull)
				var damage *wal.CorruptError
				require.False(t, errors.As(err, &damage))
				c.acknowledges(30)
				c.kill(full)
				c.restart(full)
			}
		})
	})
}
