package raft_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
)

// flood has callers propose on a node until the time is over. It returns how
// many were refused, and how many got through.
func (s *simulation) flood(n *raft.Node, callers, size int, d time.Duration) (refused, done int64) {
	s.T().Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var overloaded, good atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := n.Propose(ctx, make([]byte, size))
				switch {
				case err == nil:
					good.Add(1)
				case errors.Is(err, raft.ErrOverloaded):
					overloaded.Add(1)
					if !errors.Is(err, raft.ErrDropped) {
						s.T().Errorf("%v without ErrDropped", err)
					}
					s.pass(10 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	return overloaded.Load(), good.Load()
}

var tight = raft.Config{Voters: abc, MaxCommand: 1000, MaxUncommitted: 20_000, MaxUnapplied: 20_000}

// Without followers, what waits stays within the bound.
func TestOverloadWithoutFollowers(t *testing.T) {
	simulate(t, still, tight, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		for _, name := range s.others(leader) {
			s.Cut(name, leader.Status().Node)
		}
		refused, done := s.flood(leader, 100, 1000, 500*time.Millisecond)
		require.Positive(t, refused)
		require.Zero(t, done)
		require.LessOrEqual(t, leader.Status().Uncommitted, tight.MaxUncommitted)
		s.Heal()
		s.pass(5 * time.Second)
		refused, done = s.flood(s.leader(), 5, 1000, 500*time.Millisecond)
		require.Zero(t, refused, "the burden is gone")
		require.Positive(t, done)
		s.settle()
	})
}

// With a state machine that lags, the leader refuses; the others, too, go no
// further ahead of theirs than the bound.
func TestOverloadOfTheStateMachine(t *testing.T) {
	simulate(t, still, tight, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		release := s.states[leader.Status().Node].holdUp()
		refused, _ := s.flood(leader, 100, 1000, time.Second)
		require.Positive(t, refused)
		st := leader.Status()
		require.LessOrEqual(t, st.Unapplied, tight.MaxUnapplied+tight.MaxUncommitted)
		require.Equal(t, "leader", st.Role, "a state machine that lags does not cost the leadership")
		release()
		s.settle()
		require.Zero(t, leader.Status().Unapplied)
	})
}

// A follower whose state machine lags takes no more than the bound, and catches up.
func TestOverloadOfAFollower(t *testing.T) {
	simulate(t, still, tight, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		slow := s.others(leader)[0]
		release := s.states[slow].holdUp()
		_, done := s.flood(leader, 10, 1000, time.Second)
		require.Greater(t, done, int64(500), "the other two go on")
		st := s.nodes[slow].Status()
		require.LessOrEqual(t, st.Unapplied, tight.MaxUnapplied+100_000, "what was on the way, besides")
		require.Less(t, st.Last, leader.Status().Last)
		require.Positive(t, s.nodes[slow].Stats().Refused)
		require.Equal(t, leader.Status().Node, st.Leader)
		release()
		s.settle()
	})
}

// A slow disk delays, and does no more.
func TestSlowDisk(t *testing.T) {
	simulate(t, still, tight, func(t *testing.T, s *simulation) {
		s.delay = 500 * time.Millisecond
		s.start(abc...)
		_, done := s.flood(s.leader(), 10, 100, 10*time.Second)
		require.Greater(t, done, int64(50))
		applied := s.settle()
		require.GreaterOrEqual(t, len(applied), int(done), fmt.Sprint(len(applied)))
	})
}
