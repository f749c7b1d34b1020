package raft_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
)

// A verbose machine returns large results.
type verbose struct{ tally }

func (v *verbose) Apply(commands []raft.Command) error {
	if err := v.tally.Apply(commands); err != nil {
		return err
	}
	for i := range commands {
		commands[i].Result = bytes.Repeat(commands[i].Data[:1], raft.MaxSessionBytes/2)
	}
	return nil
}

// A client that comes back for a result that is no longer kept hears that its
// command was applied, on every node, and it is not applied again.
func TestSessionResultThatWasDropped(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		states := map[string]*verbose{}
		for _, name := range abc {
			states[name] = &verbose{}
			n, err := raft.Start(raft.Config{
				Transport: s.Join(name), Storage: raft.NewMemoryStorage(), StateMachine: states[name], Voters: abc, Seed: 5,
			})
			require.NoError(t, err)
			s.nodes[name], s.states[name] = n, &states[name].tally
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		session, err := s.nodes["a"].NewSession(ctx)
		require.NoError(t, err)
		propose := func(node string, seq uint64) ([]byte, error) {
			return s.nodes[node].ProposeOnce(ctx, raft.CommandID{Session: session.ID(), Seq: seq, Lowest: 1}, []byte{byte('0' + seq)})
		}
		for seq := range uint64(5) {
			result, err := propose(abc[seq%3], seq+1)
			require.NoError(t, err)
			require.Len(t, result, raft.MaxSessionBytes/2)
		}
		for _, name := range abc {
			for seq := range uint64(5) {
				result, err := propose(name, seq+1)
				if seq+1 < 4 {
					require.ErrorIs(t, err, raft.ErrResultDropped)
					require.NotErrorIs(t, err, raft.ErrUncertain)
					require.NotErrorIs(t, err, raft.ErrDropped)
				} else {
					require.NoError(t, err)
					require.Equal(t, byte('0'+seq+1), result[0])
				}
			}
		}
		require.Equal(t, []string{"1", "2", "3", "4", "5"}, s.settle())
	})
}
