package raft_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
)

// All who wait on a leader that was deposed learn their fate with the first entry
// of the next one, also where its log is shorter than theirs.
func TestDeposedLeaderLetsAllGo(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		old := s.leader()
		others := s.others(old)
		s.Partition([]string{old.Status().Node}, others)
		short, cancel := background(s, 10*time.Millisecond)
		defer cancel()
		_, err := old.Propose(short, []byte("first")) // nobody waits for the first place
		require.ErrorIs(t, err, raft.ErrUncertain)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		var waiting sync.WaitGroup
		for i := range 5 {
			waiting.Go(func() {
				if _, err := old.Propose(ctx, fmt.Append(nil, i)); err != nil {
					t.Error(err)
				}
			})
		}
		s.newLeader(others[0], old)
		s.Heal()
		began := s.Elapsed()
		waiting.Wait()
		require.Less(t, s.Elapsed()-began, 5*time.Second)
		require.ElementsMatch(t, []string{"0", "1", "2", "3", "4"}, s.settle())
	})
}

// Close ends what waits for another node's answer, too.
func TestCloseEndsForwardedCalls(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		name := s.others(leader)[0]
		n := s.nodes[name]
		s.Partition([]string{name}, s.others(n))
		calls := map[string]func() error{
			"propose":     func() error { _, err := n.Propose(context.Background(), []byte("x")); return err },
			"barrier":     func() error { return n.Barrier(context.Background()) },
			"reconfigure": func() error { return n.Reconfigure(context.Background(), raft.Membership{Voters: abc}) },
			"transfer":    func() error { return n.TransferLeadership(context.Background(), name) },
		}
		var calling sync.WaitGroup
		for what, call := range calls {
			calling.Go(func() {
				if err := call(); !errors.Is(err, raft.ErrClosed) {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		s.pass(10 * time.Millisecond)
		began := s.Elapsed()
		require.NoError(t, n.Close())
		calling.Wait()
		require.Equal(t, began, s.Elapsed())
	})
}

// A session that expires between two tries of a command leaves its fate open.
func TestSessionThatExpiresBetweenTries(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		name := s.others(leader)[0]
		ctx, cancel := background(s, time.Hour)
		defer cancel()
		session, err := s.nodes[name].NewSession(ctx)
		require.NoError(t, err)
		done := make(chan error, 1)
		s.Cut(leader.Status().Node, name) // it hears, and is not heard
		go func() {
			_, err := session.Propose(ctx, []byte("once"))
			done <- err
		}()
		s.pass(100 * time.Millisecond)
		require.Equal(t, []string{"once"}, s.states[leader.Status().Node].all())
		var opening sync.WaitGroup
		for range raft.MaxSessions {
			opening.Go(func() {
				if _, err := leader.NewSession(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		opening.Wait()
		s.Heal()
		err = <-done
		require.ErrorIs(t, err, raft.ErrSessionExpired)
		require.ErrorIs(t, err, raft.ErrUncertain)
		require.NotErrorIs(t, err, raft.ErrDropped)

		_, err = session.Propose(ctx, []byte("never"))
		require.ErrorIs(t, err, raft.ErrSessionExpired)
		require.NotErrorIs(t, err, raft.ErrUncertain)
		require.Equal(t, []string{"once"}, s.settle())
	})
}

// A leader that is removed no longer hears what becomes of what it proposed last:
// its callers are told so.
func TestRemovedLeaderLetsAllGo(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		others := s.others(leader)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		_, err := leader.Propose(ctx, []byte("before"))
		require.NoError(t, err)
		short, cancel := background(s, 10*time.Second)
		defer cancel()
		var proposing sync.WaitGroup
		proposing.Go(func() {
			if err := leader.Reconfigure(ctx, raft.Membership{Voters: others}); err != nil {
				t.Error(err)
			}
		})
		done := map[string]error{}
		var mu sync.Mutex
		for i := range 200 {
			proposing.Go(func() {
				s.pass(time.Duration(i) * 50 * time.Microsecond)
				if leader.Status().Role != "leader" {
					return
				}
				_, err := leader.Propose(short, fmt.Append(nil, i))
				mu.Lock()
				defer mu.Unlock()
				done[fmt.Sprint(i)] = err
			})
		}
		began := s.Elapsed()
		proposing.Wait()
		require.Less(t, s.Elapsed()-began, 5*time.Second)
		delete(s.nodes, leader.Status().Node)
		defer leader.Close()
		applied := s.settle()
		uncertain := 0
		for command, err := range done {
			switch {
			case errors.Is(err, raft.ErrUncertain):
				uncertain++
			case err == nil:
				require.Contains(t, applied, command)
			default:
				require.ErrorIs(t, err, raft.ErrDropped)
				require.NotContains(t, applied, command)
			}
		}
		require.Positive(t, uncertain, "of %d", len(done))
	})
}

// A Barrier on a leader that nobody answers ends with its context, though the node
// still takes itself for the leader.
func TestBarrierOfACutOffLeaderEndsWithItsContext(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		s.Partition([]string{leader.Status().Node}, s.others(leader))
		ctx, cancel := background(s, 10*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, leader.Barrier(ctx), context.DeadlineExceeded)
		require.Equal(t, "leader", leader.Status().Role)
		s.settle()
	})
}
