package raft_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport"
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

// A deafTransport loses the answer to a change of the membership.
type deafTransport struct{ transport.Transport }

func (d deafTransport) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	response, err := d.Transport.Call(ctx, to, service, request)
	if request[1] == 4 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return response, err
}

// A change that takes long takes as long on a follower as on the leader: here, the
// new voters have to fetch a snapshot first, over thin links.
func TestReconfigureWaitsOnEveryNode(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		store(t, rtt, raft.Config{Voters: abc}, 8<<20, func(t *testing.T, d *depot) {
			d.thin("d", abc...)
			d.thin("e", abc...)
			d.start(func(c *raft.Config, _ *shelf) {
				if deaf {
					c.Transport = deafTransport{c.Transport}
				}
			}, abc...)
			d.fill("a")
			d.config.Voters = nil
			d.start(nil, "d", "e")
			leader := d.leader("a")
			follower := abc[(slices.Index(abc, leader)+1)%3]
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			began := d.Elapsed()
			want := []string{leader, follower, "d", "e"}
			slices.Sort(want)
			require.NoError(t, d.nodes[follower].Reconfigure(ctx, raft.Membership{Voters: want}))
			require.Greater(t, d.Elapsed()-began, 7*time.Second)
			require.Equal(t, want, d.nodes[follower].Status().Membership.Voters)
		})
	}
}

// A change that a leader did not live to answer for: who asked for it on another
// node learns what became of it. If nothing did, the next leader makes it; unless
// somebody has changed the membership otherwise since.
func TestReconfigureOutlivesItsLeader(t *testing.T) {
	for _, overtaken := range []bool{false, true} {
		simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
			s.start(abc...)
			old := s.leader()
			others := s.others(old)
			ctx, cancel := background(s, time.Minute)
			defer cancel()
			require.NoError(t, s.nodes[others[0]].Reconfigure(ctx, learner("x")))
			s.Cut(old.Status().Node, others[0])
			s.Cut(old.Status().Node, others[1])
			done := make(chan error, 1)
			go func() { done <- s.nodes[others[0]].Reconfigure(ctx, learner("y")) }()
			s.pass(500 * time.Millisecond)
			s.Partition([]string{old.Status().Node}, others)
			if overtaken {
				s.newLeader(others[1], old)
				require.NoError(t, s.nodes[others[1]].Reconfigure(ctx, learner("z")))
				require.ErrorIs(t, <-done, raft.ErrUncertain)
				require.Equal(t, []string{"z"}, s.nodes[others[0]].Status().Membership.Learners)
			} else {
				require.NoError(t, <-done)
				require.Equal(t, []string{"y"}, s.nodes[others[0]].Status().Membership.Learners)
			}
			s.Heal()
		})
	}
}

// Voters who cannot catch up change nothing: the members go on without them, and
// who asked learns what was missing. Once they can, the change is made.
func TestReconfigureWaitsForNewVoters(t *testing.T) {
	simulate(t, still, raft.Config{Voters: []string{"a"}}, func(t *testing.T, s *simulation) {
		s.start("a")
		a := s.leader()
		s.config.Voters = nil
		ctx, cancel := background(s, 10*time.Second)
		defer cancel()
		err := a.Reconfigure(ctx, raft.Membership{Voters: abc})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, raft.ErrUncertain, "it is certain that nothing was changed")
		require.ErrorContains(t, err, "a majority of [a b c] has not caught up")
		_, err = a.Propose(context.Background(), []byte("alone"))
		require.NoError(t, err)
		s.pass(2 * time.Second)
		require.Empty(t, a.Status().Peers, "they are forgotten when nobody asks for them any more")

		ctx, cancel = background(s, time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- a.Reconfigure(ctx, raft.Membership{Voters: abc}) }()
		s.pass(2 * time.Second)
		require.Equal(t, []string{"a"}, a.Status().Membership.Voters)
		s.start("c") // one of the two is a majority, with a
		require.NoError(t, <-done)
		require.Equal(t, abc, s.nodes["c"].Status().Membership.Voters)
	})
}

// A node that was removed says so, instead of waiting for a leader that never comes
// to it: the leader of before, a follower, and after a restart. Once it is named
// again, it goes on.
func TestRemovedNodeSaysSo(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		ctx, cancel := background(s, 10*time.Minute)
		defer cancel()
		session, err := s.nodes["a"].NewSession(ctx)
		require.NoError(t, err)
		check := func(name, member string) {
			n := s.nodes[name]
			began := s.Elapsed()
			var err error
			for err == nil { // for a moment, it may still hear from the others
				_, err = s.nodes[member].Propose(ctx, []byte("without"))
				require.NoError(t, err)
				require.Less(t, s.Elapsed()-began, 4*time.Second)
				err = n.Barrier(ctx)
			}
			require.ErrorIs(t, err, raft.ErrRemoved)
			require.Less(t, s.Elapsed()-began, 4*time.Second)
			_, err = n.Propose(ctx, []byte("x"))
			require.ErrorIs(t, err, raft.ErrRemoved)
			require.ErrorIs(t, err, raft.ErrDropped)
			_, err = n.ProposeOnce(ctx, raft.CommandID{Session: session.ID(), Seq: 1, Lowest: 1}, nil)
			require.ErrorIs(t, err, raft.ErrRemoved)
			_, err = n.NewSession(ctx)
			require.ErrorIs(t, err, raft.ErrRemoved)
			require.ErrorIs(t, n.Ready(ctx), raft.ErrRemoved)
			require.ErrorIs(t, n.Reconfigure(ctx, raft.Membership{Voters: abc}), raft.ErrRemoved)
			require.ErrorIs(t, n.TransferLeadership(ctx, "a"), raft.ErrRemoved)
			require.NoError(t, n.Status().Failure)
			require.Less(t, s.Elapsed()-began, 4*time.Second, "the others at once")
		}
		for range 2 { // the leader, then a follower
			out := s.leader()
			name, others := out.Status().Node, s.others(out)
			if s.Elapsed() > 2*time.Second {
				name, others = others[0], []string{name, others[1]}
			}
			require.NoError(t, s.nodes[others[0]].Reconfigure(ctx, raft.Membership{Voters: others}))
			check(name, others[0])
			s.crash(name)
			s.restart(name)
			check(name, others[0])

			require.NoError(t, s.nodes[others[0]].Reconfigure(ctx, raft.Membership{Voters: abc}))
			require.NoError(t, s.nodes[name].Ready(ctx))
			_, err = s.nodes[name].Propose(ctx, []byte("y"))
			require.NoError(t, err)
			s.pass(5 * time.Second)
			require.NoError(t, s.nodes[name].Barrier(ctx))
		}
		s.settle()
	})
}

// A node that has yet to be named is not one that was removed: it waits.
func TestNodeThatJoinsIsNotTakenForRemoved(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		s.proposeMany(0, 500, 10)
		s.config.Voters = nil
		s.start("d")
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		ready := make(chan error, 1)
		go func() { ready <- s.nodes["d"].Ready(ctx) }()
		s.pass(20 * time.Second)
		for i := range 3 { // its log says that it is no member for as long as it is cut off
			require.NoError(t, s.nodes["a"].Reconfigure(ctx, raft.Membership{Voters: abc, Learners: []string{fmt.Sprint("x", i)}}))
		}
		s.Hold("d", s.leader().Status().Node)
		require.NoError(t, s.nodes["a"].Reconfigure(ctx, raft.Membership{Voters: abc, Learners: []string{"d"}}))
		s.pass(10 * time.Second)
		require.Empty(t, ready)
		s.Release("d", s.leader().Status().Node)
		require.NoError(t, <-ready)
	})
}
