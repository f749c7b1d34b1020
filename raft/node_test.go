package raft_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport/sim"
)

// still has no faults and even delays.
var still = sim.Config{Seed: 1, Faults: sim.Faults{Delay: sim.Constant(time.Millisecond)}}

// newLeader waits until a node knows another leader than the old one.
func (s *simulation) newLeader(name string, old *raft.Node) {
	for change := range s.nodes[name].Leaders(context.Background()) {
		if change.Leader != "" && s.nodes[change.Leader] != old {
			return
		}
	}
}

func background(s *simulation, d time.Duration) (context.Context, context.CancelFunc) {
	s.T().Helper()
	return context.WithTimeout(context.Background(), d)
}

// others returns the nodes but the given one.
func (s *simulation) others(n *raft.Node) (names []string) {
	for _, name := range abc {
		if s.nodes[name] != n {
			names = append(names, name)
		}
	}
	return names
}

func TestProposeOnEveryNode(t *testing.T) {
	c := startCluster(t, quick(raft.Config{}), abc...)
	for i := range 100 {
		for _, name := range abc {
			_, err := c.nodes[name].Propose(t.Context(), fmt.Append(nil, i, name))
			require.NoError(t, err)
		}
	}
	for _, name := range abc {
		require.NoError(t, c.nodes[name].Barrier(t.Context()))
		require.Len(t, c.states[name].all(), 300)
		require.Equal(t, c.states["a"].all(), c.states[name].all())
	}
}

// The command belongs to the caller again when Propose returns, and Propose
// returns the result of that very command.
func TestProposeCopiesAndReturnsTheResult(t *testing.T) {
	c := startCluster(t, quick(raft.Config{}), abc...)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			command := make([]byte, 8)
			for k := range 50 {
				binary.BigEndian.PutUint64(command, uint64(i*1000+k))
				want := string(command)
				result, err := c.nodes[abc[i%3]].Propose(t.Context(), command)
				clear(command)
				if err != nil {
					t.Error(err)
					return
				}
				all := c.states[abc[0]].all()
				if place := binary.BigEndian.Uint64(result); place < uint64(len(all)) && all[place] != want {
					t.Errorf("result names place %d, where there is %x and not %x", place, all[place], want)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.nodes["a"].Barrier(t.Context()))
	require.Len(t, c.states["a"].all(), 1600)
}

func TestSingleNode(t *testing.T) {
	c := startCluster(t, quick(raft.Config{}), "alone")
	_, err := c.nodes["alone"].Propose(t.Context(), []byte("x"))
	require.NoError(t, err)
	require.NoError(t, c.nodes["alone"].Barrier(t.Context()))
	require.NoError(t, c.nodes["alone"].Ready(t.Context()))
	require.Equal(t, []string{"x"}, c.states["alone"].all())
}

func TestTooLargeIsDropped(t *testing.T) {
	c := startCluster(t, quick(raft.Config{MaxCommand: 10}), "a")
	_, err := c.nodes["a"].Propose(t.Context(), make([]byte, 11))
	require.ErrorIs(t, err, raft.ErrTooLarge)
	require.ErrorIs(t, err, raft.ErrDropped)
	_, err = c.nodes["a"].Propose(t.Context(), make([]byte, 10))
	require.NoError(t, err)
}

// The largest command that a Config allows gets to all nodes.
func TestLargestCommand(t *testing.T) {
	config := quick(raft.Config{MaxCommand: raft.LargestCommand})
	config.Election = 500 * time.Millisecond // copying takes its time under the race detector
	c := startCluster(t, config, abc...)
	for _, name := range abc {
		_, err := c.nodes[name].Propose(t.Context(), make([]byte, raft.LargestCommand))
		require.NoError(t, err)
	}
	session, err := c.nodes["a"].NewSession(t.Context())
	require.NoError(t, err)
	_, err = session.Propose(t.Context(), make([]byte, raft.LargestCommand))
	require.NoError(t, err)
	for _, name := range abc {
		require.NoError(t, c.nodes[name].Barrier(t.Context()))
		require.Len(t, c.states[name].all(), 4)
	}
}

// A context that ends before a leader is known ends Propose with ErrDropped and
// the cause; so does one that has ended before.
func TestProposeWithoutLeader(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start("a")
		cause := errors.New("out of patience")
		ctx, cancel := context.WithTimeoutCause(context.Background(), 10*time.Second, cause)
		defer cancel()
		_, err := s.nodes["a"].Propose(ctx, []byte("x"))
		require.ErrorIs(t, err, raft.ErrDropped)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, cause)
		require.Equal(t, 10*time.Second, s.Elapsed())
		_, err = s.nodes["a"].Propose(ctx, []byte("x"))
		require.ErrorIs(t, err, raft.ErrDropped)
		require.ErrorIs(t, s.nodes["a"].Barrier(ctx), cause)
	})
}

// A leader without its followers cannot know: ErrUncertain, and the command may
// turn up, once.
func TestProposeIsUncertainWithoutMajority(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		s.Partition([]string{leader.Status().Node}, s.others(leader))
		ctx, cancel := background(s, 500*time.Millisecond)
		defer cancel()
		_, err := leader.Propose(ctx, []byte("x"))
		require.ErrorIs(t, err, raft.ErrUncertain)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, raft.ErrDropped)
		s.settle()
	})
}

// A proposal on a leader that is cut off and then deposed is proposed again by
// itself, once it is certain that it was dropped.
func TestProposalOfADeposedLeaderIsProposedAgain(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		old := s.leader()
		others := s.others(old)
		s.Partition([]string{old.Status().Node}, others)
		done := make(chan error, 1)
		go func() {
			_, err := old.Propose(context.Background(), []byte("x"))
			done <- err
		}()
		s.newLeader(others[0], old)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		_, err := s.nodes[others[0]].Propose(ctx, []byte("y"))
		require.NoError(t, err)
		s.Heal()
		require.NoError(t, <-done)
		require.Equal(t, []string{"y", "x"}, s.settle())
	})
}

// TestLeaderWithABrokenDiskStepsDown has the leader's disk fail: it stops to lead, another takes over
// at once, and whoever waited there learns the truth.
func TestLeaderWithABrokenDiskStepsDown(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		old := s.leader()
		broken := errors.New("i/o error")
		s.disks[old.Status().Node].fail(broken)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		_, err := old.Propose(ctx, []byte("x"))
		require.ErrorIs(t, err, raft.ErrUncertain)
		require.ErrorIs(t, err, raft.ErrFailed)
		require.ErrorIs(t, old.Status().Failure, broken)
		began := s.Elapsed()
		for _, name := range s.others(old) {
			_, err = s.nodes[name].Propose(ctx, []byte(name))
			require.NoError(t, err)
		}
		require.Less(t, s.Elapsed()-began, time.Second, "it handed over, and nobody waited for a time-out")
		_, err = old.Propose(ctx, []byte("y"))
		require.ErrorIs(t, err, raft.ErrDropped)
		require.ErrorIs(t, err, raft.ErrFailed)
		require.ErrorIs(t, old.Barrier(ctx), raft.ErrFailed)
		require.ErrorIs(t, old.Reconfigure(ctx, raft.Membership{Voters: abc}), raft.ErrFailed)
		for change := range old.Leaders(ctx) {
			t.Errorf("a node that failed names a leader: %v", change)
		}
	})
}

func TestStateMachineThatFailsStopsTheNode(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		broken := errors.New("no such table")
		s.states[leader.Status().Node].breakWith(broken)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		_, err := leader.Propose(ctx, []byte("x"))
		require.ErrorIs(t, err, raft.ErrUncertain)
		require.ErrorIs(t, leader.Status().Failure, broken)
		_, err = s.nodes[s.others(leader)[0]].Propose(ctx, []byte("y"))
		require.NoError(t, err)
		require.Equal(t, []string{"x", "y"}, s.states[s.others(leader)[0]].all()[:2])
	})
}

// Code of others that ends its goroutine (as a failed test does) ends the node's
// part, and leaves nobody waiting.
func TestGoexitInTheCodeOfOthers(t *testing.T) {
	for _, where := range []string{"apply", "save"} {
		simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
			s.start(abc...)
			old := s.leader()
			name := old.Status().Node
			if where == "apply" {
				s.states[name].breakWith(errGoexit)
			} else {
				s.disks[name].fail(errGoexit)
			}
			ctx, cancel := background(s, time.Minute)
			defer cancel()
			_, err := old.Propose(ctx, []byte("x"))
			require.ErrorIs(t, err, raft.ErrUncertain)
			require.ErrorIs(t, err, raft.ErrFailed)
			require.ErrorContains(t, old.Status().Failure, "ended the goroutine")
			_, err = s.nodes[s.others(old)[0]].Propose(ctx, []byte("y"))
			require.NoError(t, err)
			require.NoError(t, old.Close())
		})
	}
}

func TestBarrierSeesWhatWasAcknowledgedElsewhere(t *testing.T) {
	sim.Seeds(t, 5, func(t *testing.T, seed uint64) {
		for _, lease := range []bool{false, true} {
			simulate(t, sim.Config{Seed: seed, Faults: sim.Faults{Drop: 0.05}}, raft.Config{Voters: abc, LeaseReads: lease}, func(t *testing.T, s *simulation) {
				s.start(abc...)
				rnd := s.Rand("reads")
				for i := range 30 {
					ctx, cancel := background(s, time.Minute)
					if _, err := s.nodes[abc[rnd.IntN(3)]].Propose(ctx, fmt.Append(nil, i)); err == nil {
						reader := abc[rnd.IntN(3)]
						require.NoError(t, s.nodes[reader].Barrier(ctx))
						require.Contains(t, s.states[reader].all(), fmt.Sprint(i), "on %s", reader)
					}
					cancel()
					switch rnd.IntN(6) {
					case 0:
						cut := abc[rnd.IntN(3)]
						s.Partition([]string{cut})
						s.Partition([]string{cut}, s.others(s.nodes[cut]))
						time.Sleep(time.Duration(rnd.Int64N(int64(3 * time.Second))))
						s.Heal()
					case 1:
						ctx, cancel := background(s, 5*time.Second)
						_ = s.nodes["a"].TransferLeadership(ctx, abc[rnd.IntN(3)]) // it may fail
						cancel()
					}
				}
			})
		}
	})
}

// A leader that was cut off does not answer from the past, whatever it believes.
func TestBarrierOfADeposedLeader(t *testing.T) {
	for _, lease := range []bool{false, true} {
		simulate(t, still, raft.Config{Voters: abc, LeaseReads: lease}, func(t *testing.T, s *simulation) {
			s.start(abc...)
			old := s.leader()
			others := s.others(old)
			s.Partition([]string{old.Status().Node}, others)
			s.newLeader(others[0], old)
			ctx, cancel := background(s, time.Minute)
			defer cancel()
			_, err := s.nodes[others[0]].Propose(ctx, []byte("new"))
			require.NoError(t, err)
			short, cancel := background(s, time.Second)
			defer cancel()
			require.ErrorIs(t, old.Barrier(short), context.DeadlineExceeded)
			s.Heal()
			require.NoError(t, old.Barrier(ctx))
			require.Equal(t, []string{"new"}, s.states[old.Status().Node].all())
		})
	}
}

// With leases, Barrier on the leader sends nothing.
func TestLeaseReadSendsNothing(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc, LeaseReads: true}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		require.NoError(t, leader.Barrier(ctx))
		time.Sleep(50 * time.Millisecond) // between two heartbeats
		sent, began := leader.Stats().Sent, s.Elapsed()
		for range 100 {
			require.NoError(t, leader.Barrier(ctx))
		}
		require.Equal(t, sent, leader.Stats().Sent)
		require.Equal(t, began, s.Elapsed())
	})
}

// A hundred barriers at once share one or two rounds of messages.
func TestBarriersShareRounds(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		require.NoError(t, leader.Barrier(ctx))
		time.Sleep(50 * time.Millisecond)
		sent := leader.Stats().Sent
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := leader.Barrier(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, leader.Stats().Sent-sent, uint64(8))
	})
}

// A follower's barrier takes a call and a round, and not the time until the
// leader tells what is committed.
func TestBarrierOfAFollowerIsQuick(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc, Heartbeat: time.Second, Election: 10 * time.Second}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		leader := s.leader()
		follower := s.others(leader)[0]
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		for i := range 10 {
			_, err := leader.Propose(ctx, fmt.Append(nil, i))
			require.NoError(t, err)
			began := s.Elapsed()
			require.NoError(t, s.nodes[follower].Barrier(ctx))
			require.LessOrEqual(t, s.Elapsed()-began, 10*time.Millisecond)
			require.Len(t, s.states[follower].all(), i+1)
		}
	})
}

func TestReadyOfANodeThatWasAway(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start("a", "b")
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		for i := range 500 {
			_, err := s.nodes["a"].Propose(ctx, fmt.Append(nil, i))
			require.NoError(t, err)
		}
		s.start("c")
		require.NoError(t, s.nodes["c"].Ready(ctx))
		require.Len(t, s.states["c"].all(), 500)
		s.Partition([]string{"c"}, []string{"a", "b"})
		require.NoError(t, s.nodes["c"].Ready(ctx), "once is enough")
	})
}

// TestCommandAppliedTwiceAfterARetry loses the replies to forwarded commands, and the
// leaders who gave them: commands are proposed again, and applied once.
func TestCommandAppliedTwiceAfterARetry(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		ctx, cancel := background(s, time.Hour)
		defer cancel()
		old := s.leader()
		name := s.others(old)[0]
		session, err := s.nodes[name].NewSession(ctx)
		require.NoError(t, err)
		var attempts []attempt
		for i := range 10 {
			leader := s.leader().Status().Node
			if leader != name {
				s.Cut(leader, name) // the command gets there, the reply does not
				s.Hold(name, leader)
			}
			done := make(chan struct{})
			go func() {
				a := attempt{command: fmt.Sprint(i), session: true}
				a.result, a.err = session.Propose(ctx, []byte(a.command))
				attempts = append(attempts, a)
				close(done)
			}()
			time.Sleep(time.Second / 2)
			s.Release(name, leader)
			time.Sleep(time.Duration(i) * 300 * time.Millisecond)
			s.Heal()
			<-done
			require.NoError(t, attempts[i].err)
		}
		judge(t, attempts, s.settle())
	})
}

// A client that numbers its commands proposes one through all nodes, at the same
// time and later, and gets one and the same result.
func TestProposeOnceThroughEveryNode(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		s.start(abc...)
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		session, err := s.nodes["a"].NewSession(ctx)
		require.NoError(t, err)
		for seq := range uint64(20) {
			id := raft.CommandID{Session: session.ID(), Seq: seq + 1, Lowest: max(seq, 1)}
			var wg sync.WaitGroup
			for range 5 {
				for _, name := range abc {
					wg.Go(func() {
						result, err := s.nodes[name].ProposeOnce(ctx, id, fmt.Append(nil, seq))
						if err != nil || binary.BigEndian.Uint64(result) != seq {
							t.Errorf("%x, %v", result, err)
						}
					})
				}
			}
			wg.Wait()
		}
		require.Len(t, s.settle(), 20)
		_, err = s.nodes["b"].ProposeOnce(ctx, raft.CommandID{Session: session.ID(), Seq: 1, Lowest: 1}, nil)
		require.ErrorIs(t, err, raft.ErrSessionExpired, "its outcome was not wanted any more")
		_, err = s.nodes["b"].ProposeOnce(ctx, raft.CommandID{Session: 12345, Seq: 1, Lowest: 1}, nil)
		require.ErrorIs(t, err, raft.ErrSessionExpired)
		for _, id := range []raft.CommandID{{}, {Seq: 1}, {Seq: 1, Lowest: 2}, {Seq: raft.MaxOutstanding + 1, Lowest: 1}} {
			_, err = s.nodes["b"].ProposeOnce(ctx, id, nil)
			require.ErrorIs(t, err, raft.ErrDropped)
			require.ErrorContains(t, err, "Lowest")
		}
		require.Len(t, s.settle(), 20)
	})
}

// TestCloseUnderLoad closes the nodes of a busy group again and again. Nothing
// hangs, and everybody who waited is told.
func TestCloseUnderLoad(t *testing.T) {
	for range 6 {
		c := startCluster(t, quick(raft.Config{}), abc...)
		leader := c.leader()
		var wg sync.WaitGroup
		for i := range 16 {
			n := c.nodes[abc[i%3]]
			wg.Go(func() {
				for {
					_, err := n.Propose(t.Context(), []byte("x"))
					if errors.Is(err, raft.ErrClosed) {
						if errors.Is(err, raft.ErrDropped) == errors.Is(err, raft.ErrUncertain) {
							t.Errorf("neither or both of dropped and uncertain: %v", err)
						}
						return
					}
				}
			})
			wg.Go(func() {
				for n.Barrier(t.Context()) == nil {
				}
			})
		}
		_, err := leader.Propose(t.Context(), []byte("y"))
		require.NoError(t, err)
		for _, n := range c.nodes {
			wg.Go(func() { _ = n.Close() })
		}
		wg.Wait()
		for _, n := range c.nodes {
			_, err := n.Propose(t.Context(), []byte("z"))
			require.ErrorIs(t, err, raft.ErrClosed)
			require.ErrorIs(t, err, raft.ErrDropped)
			require.ErrorIs(t, n.Barrier(t.Context()), raft.ErrClosed)
			require.ErrorIs(t, n.TransferLeadership(t.Context(), "a"), raft.ErrClosed)
		}
	}
}
