package raft_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/sim"
)

// proposeMany proposes n commands of a size.
func (s *simulation) proposeMany(node, n, size int) {
	s.T().Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for i := range n {
		_, err := s.nodes[abc[node]].Propose(ctx, append(fmt.Append(nil, i, "-", s.Elapsed()), make([]byte, size)...))
		require.NoError(s.T(), err)
	}
}

var small = raft.Config{Voters: abc, SnapshotEntries: 50, KeepEntries: 5}

// A node that was away for longer than the log reaches back gets the snapshot, in
// pieces, while the others go on, and loses nothing.
func TestSnapshotTransferWhileApplying(t *testing.T) {
	simulate(t, still, small, func(t *testing.T, s *simulation) {
		s.start(abc...)
		s.proposeMany(0, 10, 10)
		s.Partition([]string{"c"}, []string{"a", "b"})
		s.proposeMany(0, 300, 10_000) // some 3 MB: 50 pieces
		s.Heal()
		s.proposeMany(1, 200, 10_000) // at the same time
		require.Len(t, s.settle(), 510)
		st := s.nodes["c"].Stats()
		require.Positive(t, st.Fetched)
		require.LessOrEqual(t, st.Fetched, uint64(3), "a newer snapshot does not starve the one that is on its way")
		require.Positive(t, s.states["c"].restored)
	})
}

// The transfer takes up where it was when pieces are lost, and the leader changes.
func TestSnapshotTransferSurvivesLoss(t *testing.T) {
	sim.Seeds(t, 5, func(t *testing.T, seed uint64) {
		simulate(t, sim.Config{Seed: seed, Faults: sim.Faults{Drop: 0.1}}, small, func(t *testing.T, s *simulation) {
			s.start(abc...)
			s.Partition([]string{"c"}, []string{"a", "b"})
			leader := s.leader()
			ctx, cancel := background(s, time.Hour)
			defer cancel()
			for i := range 200 {
				for {
					if _, err := leader.Propose(ctx, append(fmt.Append(nil, i), make([]byte, 5000)...)); err == nil {
						break
					}
				}
			}
			s.Heal()
			s.settle()
			require.Positive(t, s.nodes["c"].Stats().Fetched)
		})
	})
}

// After a restart the node has the snapshot, and the log from there on.
func TestRestartFromSnapshot(t *testing.T) {
	simulate(t, still, small, func(t *testing.T, s *simulation) {
		s.start(abc...)
		s.proposeMany(0, 170, 10)
		before := s.settle()
		for _, name := range abc {
			s.crash(name)
		}
		for _, name := range abc {
			s.restart(name)
			require.Equal(t, 1, s.states[name].restored)
		}
		require.Equal(t, before, s.settle())
		st := s.nodes["a"].Status()
		require.Less(t, st.Last-st.First, uint64(60), "the log was compacted")
	})
}

// The contents of a snapshot are checked before a state machine keeps them.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	simulate(t, still, small, func(t *testing.T, s *simulation) {
		s.start("a", "b")
		s.proposeMany(0, 120, 10)
		s.settle()
		for _, spoil := range []func(b []byte) []byte{
			func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
			func(b []byte) []byte { b[0] = 99; return b },
			func(b []byte) []byte { b[3] = 0xff; return b },
			func(b []byte) []byte { return b[:len(b)-1] },
			func(b []byte) []byte { return b[:5] },
			func(b []byte) []byte { return nil },
		} {
			damaged := s.disks["a"].Clone()
			r, err := damaged.OpenSnapshot()
			require.NoError(t, err)
			content := make([]byte, r.Size())
			_, err = r.ReadAt(content, 0)
			require.NoError(t, err)
			w, err := damaged.CreateSnapshot(r.Info())
			require.NoError(t, err)
			_, err = w.Write(spoil(content))
			require.NoError(t, err)
			require.NoError(t, w.Commit())
			_, err = raft.Start(raft.Config{Transport: s.Join(fmt.Sprint("x", s.Elapsed())), Storage: damaged, StateMachine: &tally{}})
			require.ErrorContains(t, err, "snapshot")
			time.Sleep(time.Millisecond)
		}
	})
}

// A hollow machine cannot be captured or restored.
type hollow struct{ tally }

var errHollow = errors.New("hollow")

func (h *hollow) Snapshot() (func(io.Writer) error, error) { return nil, errHollow }

// A snapshot that fails is no disaster: the log stays.
func TestSnapshotThatFailsIsOnlyLogged(t *testing.T) {
	var log strings.Builder
	config := small
	config.Logger = logTo(&log)
	simulate(t, still, config, func(t *testing.T, s *simulation) {
		state := &hollow{}
		s.config.StateMachine = state
		n, err := raft.Start(raft.Config{
			Transport: s.Join("a"), Storage: raft.NewMemoryStorage(), StateMachine: state, Voters: []string{"a"},
			SnapshotEntries: 10, Logger: config.Logger,
		})
		require.NoError(t, err)
		s.nodes["a"], s.states["a"] = n, &state.tally
		s.proposeMany(0, 100, 10)
		require.Len(t, s.settle(), 100)
		require.Zero(t, n.Stats().Snapshots)
		require.NoError(t, n.Close())
		require.Contains(t, log.String(), "hollow")
	})
}

// Close ends a snapshot that is being written.
func TestCloseDuringSnapshot(t *testing.T) {
	simulate(t, still, raft.Config{}, func(t *testing.T, s *simulation) {
		state := &endless{}
		n, err := raft.Start(raft.Config{
			Transport: s.Join("a"), Storage: raft.NewMemoryStorage(), StateMachine: state, Voters: []string{"a"}, SnapshotEntries: 10,
		})
		require.NoError(t, err)
		s.nodes["a"] = n
		s.proposeMany(0, 20, 10)
		require.NoError(t, n.Close())
	})
}

// An endless machine writes its snapshot for ever.
type endless struct{ tally }

func (e *endless) Snapshot() (func(io.Writer) error, error) {
	return func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 100_000)); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}, nil
}

// A peer that asks for pieces that are not there gets an error, and no more.
func TestPiecesThatAreNotThere(t *testing.T) {
	simulate(t, still, small, func(t *testing.T, s *simulation) {
		s.start(abc...)
		s.proposeMany(0, 120, 10)
		s.settle()
		stranger := s.Join("stranger")
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		ask := func(body ...byte) error {
			response, err := stranger.Call(ctx, "a", "raft", body)
			if err == nil && len(response) > 1 && response[1] == 0 {
				return nil
			}
			return errors.Join(errors.New("refused"), err)
		}
		require.Error(t, ask())
		require.Error(t, ask(1, 5, 0))
		require.Error(t, ask(1, 5, 0, 1, 1, 0), "no such snapshot")
		require.Error(t, ask(1, 5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 0))
		require.Error(t, ask(1, 99, 0))
		require.Error(t, ask(2, 2, 0))
		require.Error(t, ask(1, 2, 200, 'x'))
		require.NoError(t, stranger.Send("a", "raft", []byte{1, 0, 1, 0xff, 0xff}))
		require.NoError(t, stranger.Send("a", "raft", []byte{7}))
		_, err := stranger.Call(ctx, "a", "raft", []byte{1, 2, 3, 'x', 'y', 'z'})
		require.NoError(t, err, "no such group: an answer, not an error of the transport")
		require.NotErrorIs(t, err, transport.ErrNoService)
		s.settle()
	})
}
