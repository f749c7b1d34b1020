package raft_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/rafttest"
)

func TestMemoryStorageConforms(t *testing.T) {
	kept := map[string]*raft.MemoryStorage{}
	rafttest.Run(t, func(dir string) (raft.Storage, error) {
		if kept[dir] == nil {
			kept[dir] = raft.NewMemoryStorage()
		}
		return kept[dir], nil
	})
}

// What a clone holds, a node that crashed then would have found: nothing of what
// was saved later.
func TestMemoryStorageClone(t *testing.T) {
	s := raft.NewMemoryStorage()
	h := raft.HardState{Term: 1, Vote: "a"}
	require.NoError(t, s.Save(raft.Batch{Hard: h, Entries: []raft.Entry{{Index: 1, Term: 1}, {Index: 2, Term: 1}}}))
	c := s.Clone()
	require.NoError(t, s.Save(raft.Batch{Hard: raft.HardState{Term: 2}, Entries: []raft.Entry{{Index: 2, Term: 2}}}))
	require.NoError(t, c.Save(raft.Batch{Hard: h, Entries: []raft.Entry{{Index: 3, Term: 1}}}))

	got, err := c.Load()
	require.NoError(t, err)
	require.Equal(t, raft.State{Hard: h, Entries: []raft.Entry{{Index: 1, Term: 1}, {Index: 2, Term: 1}, {Index: 3, Term: 1}}}, got)
	got, err = s.Load()
	require.NoError(t, err)
	require.Equal(t, []raft.Entry{{Index: 1, Term: 1}, {Index: 2, Term: 2}}, got.Entries)
}

func TestMemoryStorageRefusesGaps(t *testing.T) {
	s := raft.NewMemoryStorage()
	require.Error(t, s.Save(raft.Batch{Entries: []raft.Entry{{Index: 2}}}))
	require.Error(t, s.Save(raft.Batch{Entries: []raft.Entry{{Index: 0}}}))
	require.NoError(t, s.Save(raft.Batch{Entries: []raft.Entry{{Index: 1}}}))
	require.Error(t, s.Save(raft.Batch{Hard: raft.HardState{Term: 9}, Entries: []raft.Entry{{Index: 3}}}))
	got, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, raft.State{Entries: []raft.Entry{{Index: 1}}}, got)
}

// A log whose length is bounded by Compact takes no new memory.
func TestMemoryStorageSaveDoesNotAllocate(t *testing.T) {
	s := raft.NewMemoryStorage()
	batch := make([]raft.Entry, 64)
	next := uint64(1)
	save := func() {
		for i := range batch {
			batch[i] = raft.Entry{Index: next, Term: 1}
			next++
		}
		if s.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: batch}) != nil || s.Compact(next-min(next, 1000)) != nil {
			t.Error("failed")
		}
	}
	for range 100 {
		save()
	}
	require.Zero(t, testing.AllocsPerRun(1000, save))
}

func ExampleMemoryStorage() {
	s := raft.NewMemoryStorage()
	err := s.Save(raft.Batch{
		Hard:    raft.HardState{Term: 1, Vote: "a"},
		Entries: []raft.Entry{{Index: 1, Term: 1, Data: []byte("x = 1")}},
	})
	crashed := s.Clone() // what a node would find that crashed now
	state, _ := crashed.Load()
	fmt.Println(err, state.Hard.Vote, len(state.Entries))
	// Output: <nil> a 1
}

func BenchmarkMemoryStorageSave(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := raft.NewMemoryStorage()
			batch := make([]raft.Entry, n)
			next := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				// Save looks at the ends of a batch alone; to fill it is the caller's cost.
				batch[0].Index, batch[n-1].Index = next, next+uint64(n)-1
				next += uint64(n)
				if err := s.Save(raft.Batch{Hard: raft.HardState{Term: 1}, Entries: batch}); err != nil {
					b.Fatal(err)
				}
				if next%8192 < uint64(n) {
					_ = s.Compact(next - 1)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
		})
	}
}
