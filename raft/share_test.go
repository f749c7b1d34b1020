package raft_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/mem"
)

// A ledger keeps what it applies, without a copy, and its checksums.
type ledger struct {
	counter
	mu   sync.Mutex
	data [][]byte
	sums [][sha256.Size]byte
}

func (l *ledger) Apply(commands []raft.Command) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range commands {
		l.data = append(l.data, commands[i].Data)
		l.sums = append(l.sums, sha256.Sum256(commands[i].Data))
	}
	return nil
}

// startLedgers starts three nodes over what wrap makes of their transports.
func startLedgers(t *testing.T, wrap func(*mem.Transport) transport.Transport) (nodes []*raft.Node, ledgers []*ledger) {
	t.Helper()
	network := mem.NewNetwork()
	for _, name := range abc {
		node, err := network.Join(name)
		require.NoError(t, err)
		l := &ledger{}
		n, err := raft.Start(quick(raft.Config{Transport: wrap(node), Storage: raft.NewMemoryStorage(), StateMachine: l, Voters: abc, DisableSnapshots: true}))
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, n.Close())
			require.NoError(t, node.Close())
		})
		nodes, ledgers = append(nodes, n), append(ledgers, l)
	}
	return nodes, ledgers
}

// Commands of all sizes, by many callers who use their buffers again, arrive whole
// on all nodes, and what one node holds stays as it is while others are written:
// with memory that the nodes share, and over a transport that does not.
func TestCommandsOfAllSizesStayWhole(t *testing.T) {
	for name, wrap := range map[string]func(*mem.Transport) transport.Transport{
		"shared": func(t *mem.Transport) transport.Transport { return t },
		"copied": func(t *mem.Transport) transport.Transport { return struct{ transport.Transport }{t} },
	} {
		t.Run(name, func(t *testing.T) {
			nodes, ledgers := startLedgers(t, wrap)
			var mu sync.Mutex
			want := map[[sha256.Size]byte]int{}
			var group sync.WaitGroup
			for k := range 16 {
				group.Go(func() {
					rng := rand.New(rand.NewPCG(1, uint64(k)))
					buffer := make([]byte, 300<<10)
					for i := range 60 {
						command := buffer[:rng.IntN(1<<rng.IntN(12))]
						if i == 10*(k%6) {
							command = buffer[:rng.IntN(len(buffer))]
						}
						for j := range command {
							command[j] = byte(rng.Uint32())
						}
						sum := sha256.Sum256(command)
						if _, err := nodes[k%3].Propose(t.Context(), command); err != nil {
							t.Error(err)
						}
						mu.Lock()
						want[sum]++
						mu.Unlock()
					}
				})
			}
			group.Wait()
			for i, l := range ledgers {
				require.NoError(t, nodes[i].Barrier(t.Context()))
				l.mu.Lock()
				got := map[[sha256.Size]byte]int{}
				for k, data := range l.data {
					require.Equal(t, l.sums[k], sha256.Sum256(data), "command %d on %s was changed afterwards", k, abc[i])
					got[l.sums[k]]++
				}
				l.mu.Unlock()
				require.Equal(t, want, got, "what %s applied", abc[i])
			}
		})
	}
}

// In one process a command is in memory once, whatever the number of nodes.
func TestNodesOfOneProcessShareCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where nobody is late, and elects another leader
		nodes, ledgers := startLedgers(t, func(t *mem.Transport) transport.Transport { return t })
		require.NoError(t, nodes[0].Ready(t.Context()))
		synctest.Wait() // the leader knows both logs: it no longer probes
		command := bytes.Repeat([]byte("x"), 1000)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				for range 20 {
					if _, err := nodes[0].Propose(t.Context(), command); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		for _, n := range nodes {
			require.NoError(t, n.Barrier(t.Context()))
		}
		shared := 0
		for k, data := range ledgers[0].data {
			if &data[0] == &ledgers[1].data[k][0] && &data[0] == &ledgers[2].data[k][0] {
				shared++
			}
		}
		// What is sent again, or in parts, is copied.
		require.Greater(t, shared, len(ledgers[0].data)*9/10, "of %d", len(ledgers[0].data))
	})
}
