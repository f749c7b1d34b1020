package raft_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
)

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestTransferLeadershipFromAnyNode(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		s.leader()
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		for i := range 9 {
			to := abc[i%3]
			require.NoError(t, s.nodes[abc[i/3]].TransferLeadership(ctx, to))
			require.NoError(t, s.nodes[to].Barrier(ctx))
			require.Equal(t, to, s.leader().Status().Node)
		}
		require.ErrorIs(t, s.nodes["a"].TransferLeadership(ctx, "nobody"), raft.ErrMembership)
	})
}

// Leadership transfer that times out leaves the leader accepting proposals, and
// those that came meanwhile are not lost.
func TestTransferThatTimesOut(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		old := s.leader()
		to := s.others(old)[0]
		s.crash(to)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			s.pass(100 * time.Millisecond)
			_, err := old.Propose(ctx, []byte("meanwhile"))
			done <- err
		}()
		require.ErrorContains(t, old.TransferLeadership(ctx, to), to)
		require.NoError(t, <-done)
		require.Equal(t, old, s.leader())
		s.restart(to)
		require.Equal(t, []string{"meanwhile"}, s.settle())
	})
}

// A learner receives the log and does not count; then it becomes a voter, and
// two others leave, the leader among them.
func TestMembershipFromAnyNode(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		_, err := s.nodes["a"].Propose(ctx, []byte("1"))
		require.NoError(t, err)

		s.config.Voters = nil // d and e join a group that exists
		s.start("d", "e")
		leader := s.leader()
		follower := s.nodes[s.others(leader)[0]]
		require.NoError(t, follower.Reconfigure(ctx, raft.Membership{Voters: abc, Learners: []string{"d", "e"}}))
		require.NoError(t, s.nodes["d"].Ready(ctx))
		require.Equal(t, []string{"1"}, s.states["d"].all())
		require.Equal(t, []string{"d", "e"}, s.nodes["d"].Status().Membership.Learners)
		_, err = s.nodes["e"].Propose(ctx, []byte("2"))
		require.NoError(t, err)

		stays := s.others(leader)[0]
		want := []string{stays, "d", "e"}
		require.NoError(t, leader.Reconfigure(ctx, raft.Membership{Voters: want}))
		for _, name := range want {
			_, err = s.nodes[name].Propose(ctx, []byte(name))
			require.NoError(t, err)
			require.NoError(t, s.nodes[name].Barrier(ctx))
			require.ElementsMatch(t, want, s.nodes[name].Status().Membership.Voters)
		}
		require.Contains(t, want, s.leader().Status().Node)
		require.Equal(t, s.states[stays].all(), s.states["d"].all())
	})
}

// A node that joins when the log no longer reaches back to its beginning starts
// from a snapshot, with sessions and all.
func TestJoinFromSnapshot(t *testing.T) {
	simulate(t, still, small, func(t *testing.T, s *simulation) {
		s.start(abc...)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		session, err := s.nodes["a"].NewSession(ctx)
		require.NoError(t, err)
		s.proposeMany(0, 300, 1000)
		_, err = session.Propose(ctx, []byte("before"))
		require.NoError(t, err)

		s.config.Voters = nil
		s.start("d")
		require.NoError(t, s.nodes["b"].Reconfigure(ctx, raft.Membership{Voters: abc, Learners: []string{"d"}}))
		require.NoError(t, s.nodes["d"].Ready(ctx))
		require.Equal(t, uint64(1), s.nodes["d"].Stats().Fetched)
		require.NoError(t, s.nodes["b"].Reconfigure(ctx, raft.Membership{Voters: []string{"a", "b", "d"}}))
		require.NoError(t, s.nodes["c"].Close())
		require.NoError(t, s.nodes["a"].TransferLeadership(ctx, "d"))
		_, err = session.Propose(ctx, []byte("after")) // d knows the session
		require.NoError(t, err)
		delete(s.nodes, "c")
		all := s.settle()
		require.Len(t, all, 302)
		require.Equal(t, []string{"before", "after"}, all[300:])
	})
}

func TestReconfigureRefusesNonsense(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		s.leader()
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		for _, m := range []raft.Membership{
			{},
			{Learners: abc},
			{Voters: []string{"a", "a"}},
			{Voters: abc, Learners: []string{"c"}},
			{Voters: abc, Outgoing: abc},
			{Voters: []string{""}},
		} {
			require.ErrorIs(t, s.nodes["a"].Reconfigure(ctx, m), raft.ErrMembership, "%v", m)
		}
	})
}

// One of two is removed, and the other goes on alone.
func TestRemovingOneOfTwo(t *testing.T) {
	simulate(t, still, raft.Config{Voters: []string{"a", "b"}}, func(t *testing.T, s *simulation) {
		s.start("a", "b")
		leader := s.leader()
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		for _, name := range []string{"a", "b"} { // whichever leads
			if s.nodes[name] != leader {
				require.NoError(t, leader.Reconfigure(ctx, raft.Membership{Voters: []string{name}}))
				require.NoError(t, leader.Close())
				_, err := s.nodes[name].Propose(ctx, []byte("alone"))
				require.NoError(t, err)
			}
		}
	})
}

func TestLeadersYieldsTheLatest(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var seen []raft.LeaderChange
		for change := range s.nodes["a"].Leaders(ctx) {
			seen = append(seen, change)
			if len(seen) > 1 {
				require.GreaterOrEqual(t, change.Term, seen[len(seen)-2].Term)
				require.NotEqual(t, seen[len(seen)-2], change)
			}
			switch {
			case change.Leader == "":
			case len(seen) < 8:
				to := abc[0]
				if change.Leader == to {
					to = abc[1]
				}
				require.NoError(t, s.nodes["b"].TransferLeadership(ctx, to), "the body may call any method")
			default:
				cancel()
			}
		}
		require.Error(t, ctx.Err())
	})
}

func TestStatusOfLeaderAndFollower(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		s.proposeMany(0, 10, 10)
		s.settle()
		s.pass(time.Second)
		leader := s.leader().Status()
		require.Equal(t, "leader", leader.Role)
		require.Equal(t, leader.Node, leader.Leader)
		require.Equal(t, leader.Commit, leader.Applied)
		require.Equal(t, leader.Last, leader.Commit)
		require.Zero(t, leader.Uncommitted)
		require.Zero(t, leader.Unapplied)
		require.Len(t, leader.Peers, 2)
		for _, p := range leader.Peers {
			require.Equal(t, raft.PeerStatus{Node: p.Node, Match: leader.Last, Next: leader.Last + 1, State: "replicating", Active: true}, p)
		}
		follower := s.nodes[s.others(s.nodes[leader.Node])[0]].Status()
		require.Equal(t, "follower", follower.Role)
		require.Equal(t, leader.Node, follower.Leader)
		require.Equal(t, leader.Commit, follower.Commit, "followers learn of the commit soon")
		require.Equal(t, abc, follower.Membership.Voters)
		require.NoError(t, s.nodes["a"].Close())
		require.Equal(t, "a", s.nodes["a"].Status().Node, "after Close")
	})
}
