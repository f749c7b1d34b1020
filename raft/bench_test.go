package raft_test

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parley-go/parley/raft"
)

// A counter does next to nothing.
type counter struct{ n, sum atomic.Uint64 }

func (c *counter) Apply(commands []raft.Command) error {
	for i := range commands {
		c.sum.Add(uint64(commands[i].Data[0]))
		c.n.Add(1)
	}
	return nil
}

func (c *counter) Snapshot() (func(io.Writer) error, error) {
	return func(io.Writer) error { return nil }, nil
}
func (c *counter) Restore(io.Reader) error { return nil }

// BenchmarkPropose has callers on the leader of three nodes in memory propose one
// command after the other.
func BenchmarkPropose(b *testing.B) {
	for _, size := range []int{16, 1024} {
		for _, callers := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("%dB/%d", size, callers), func(b *testing.B) {
				c := startCluster(b, raft.Config{StateMachine: &counter{}, DisableSnapshots: true}, abc...)
				leader := c.leader()
				command := make([]byte, size)
				var left atomic.Int64
				left.Store(int64(b.N))
				ctx := b.Context()
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range callers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := leader.Propose(ctx, command); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
