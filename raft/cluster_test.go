package raft_test

import (
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A tally is the state machine of most tests: it keeps every command, in order,
// and its result is how many there were before.
type tally struct {
	mu       sync.Mutex
	commands []string
	indices  []uint64
	restored int
	err      error         // of the next Apply
	hold     chan struct{} // if not nil, Apply waits for it
}

func (s *tally) Apply(commands []raft.Command) error {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.err {
	case nil:
	case errGoexit:
		runtime.Goexit()
	default:
		return s.err
	}
	for i := range commands {
		c := &commands[i]
		c.Result = binary.BigEndian.AppendUint64(nil, uint64(len(s.commands)))
		s.commands = append(s.commands, string(c.Data))
		s.indices = append(s.indices, c.Index)
	}
	return nil
}

func (s *tally) Snapshot() (func(w io.Writer) error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	commands, indices := s.commands[:len(s.commands):len(s.commands)], s.indices
	return func(w io.Writer) error {
		for i, c := range commands {
			b := binary.BigEndian.AppendUint64(nil, indices[i])
			b = binary.BigEndian.AppendUint32(b, uint32(len(c)))
			if _, err := w.Write(append(b, c...)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (s *tally) Restore(r io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands, s.indices = nil, nil
	s.restored++
	for {
		var head [12]byte
		switch _, err := io.ReadFull(r, head[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		command := make([]byte, binary.BigEndian.Uint32(head[8:]))
		if _, err := io.ReadFull(r, command); err != nil {
			return err
		}
		s.indices = append(s.indices, binary.BigEndian.Uint64(head[:]))
		s.commands = append(s.commands, string(command))
	}
}

// errGoexit stands for runtime.Goexit.
var errGoexit = errors.New("goexit")

// breakWith makes the next Apply fail.
func (s *tally) breakWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// holdUp makes Apply wait until release is called.
func (s *tally) holdUp() (release func()) {
	hold := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = hold
	return func() {
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
		close(hold)
	}
}

// all returns what was applied.
func (s *tally) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands[:len(s.commands):len(s.commands)]
}

var abc = []string{"a", "b", "c"}

// A cluster is nodes on a network in this process, in real time.
type cluster struct {
	tb      testing.TB
	network *mem.Network
	nodes   map[string]*raft.Node
	states  map[string]*tally
}

// quick has short times, for tests in real time.
func quick(config raft.Config) raft.Config {
	config.Heartbeat, config.Election = 10*time.Millisecond, 100*time.Millisecond
	return config
}

func startCluster(tb testing.TB, config raft.Config, names ...string) *cluster {
	tb.Helper()
	c := &cluster{tb, mem.NewNetwork(), map[string]*raft.Node{}, map[string]*tally{}}
	config.Voters = names
	for _, name := range names {
		t, err := c.network.Join(name)
		require.NoError(tb, err)
		config := config
		config.Transport = t
		if config.Storage == nil {
			config.Storage = raft.NewMemoryStorage()
		}
		if config.StateMachine == nil {
			c.states[name] = &tally{}
			config.StateMachine = c.states[name]
		}
		n, err := raft.Start(config)
		require.NoError(tb, err)
		c.nodes[name] = n
		tb.Cleanup(func() {
			require.NoError(tb, n.Close())
			require.NoError(tb, t.Close())
		})
	}
	return c
}

// leader waits for one.
func (c *cluster) leader() *raft.Node {
	for _, n := range c.nodes {
		for change := range n.Leaders(c.tb.Context()) {
			if leader := c.nodes[change.Leader]; leader != nil {
				return leader
			}
		}
	}
	c.tb.Fatal("no leader")
	return nil
}
