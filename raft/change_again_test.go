package raft_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport"
)

// A wire has the calls for a change of the membership go through the hands of a test.
type wire struct {
	transport.Transport
	call  func(ctx context.Context, send func(context.Context) ([]byte, error)) ([]byte, error)
	hurry time.Duration // by which the clock of this node runs ahead while it serves
}

func (w *wire) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	send := func(ctx context.Context) ([]byte, error) { return w.Transport.Call(ctx, to, service, request) }
	if w.call == nil || request[1] != 4 {
		return send(ctx)
	}
	return w.call(ctx, send)
}

func (w *wire) Serve(service string, h func(ctx context.Context, from string, request []byte) ([]byte, error)) (stop func()) {
	return w.Transport.Serve(service, func(ctx context.Context, from string, request []byte) ([]byte, error) {
		if end, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, end.Add(-w.hurry))
			defer cancel()
		}
		return h(ctx, from, request)
	})
}

// wired starts nodes whose transports are in the hands of the test.
func (s *simulation) wired(names ...string) map[string]*wire {
	wires := map[string]*wire{}
	for _, name := range names {
		w := &wire{Transport: s.Join(name)}
		config := s.config
		config.Transport, config.Storage, config.StateMachine = w, raft.NewMemoryStorage(), &tally{}
		n, err := raft.Start(config)
		require.NoError(s.T(), err)
		s.nodes[name], wires[name] = n, w
	}
	return wires
}

func learner(name string) raft.Membership {
	return raft.Membership{Voters: abc, Learners: []string{name}}
}

// Who asks a leader whose clock runs ahead is not told that the time is over.
func TestReconfigureOutlastsTheLeadersClock(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		wires := s.wired(abc...)
		leader := s.leader()
		wires[leader.Status().Node].hurry = 50 * time.Millisecond
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		began := s.Elapsed()
		done := make(chan error, 1)
		go func() {
			done <- s.nodes[s.others(leader)[0]].Reconfigure(ctx, raft.Membership{Voters: []string{"d", "e", "f"}})
		}()
		s.pass(20 * time.Second)
		require.Empty(t, done, "nothing has changed")
		s.config.Voters = nil
		s.start("d", "e", "f")
		err := <-done
		if err != nil { // a node that is removed is not always told so in time
			require.ErrorIs(t, err, raft.ErrUncertain)
		}
		require.Less(t, s.Elapsed()-began, 40*time.Second)
	})
}

// A membership that is as it was before is no proof that nothing was done: who has
// taken the change back meanwhile does not see it made again.
func TestReconfigureIsNotMadeAgainAfterItWasTakenBack(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		wires := s.wired(abc...)
		leader := s.leader()
		asker := s.others(leader)[0]
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		calls := 0
		wires[asker].call = func(ctx context.Context, send func(context.Context) ([]byte, error)) ([]byte, error) {
			calls++
			if calls > 1 {
				return send(ctx)
			}
			_, err := send(ctx)
			require.NoError(t, err)
			require.NoError(t, leader.Reconfigure(ctx, raft.Membership{Voters: abc}))
			<-ctx.Done() // the answer is lost
			return nil, ctx.Err()
		}
		require.ErrorIs(t, s.nodes[asker].Reconfigure(ctx, learner("x")), raft.ErrUncertain)
		require.Empty(t, leader.Status().Membership.Learners)
	})
}

// Asking again takes its time, also if the transport says no at once.
func TestReconfigureDoesNotAskWithoutPause(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		wires := s.wired(abc...)
		asker := s.others(s.leader())[0]
		ctx, cancel := background(s, 10*time.Second)
		defer cancel()
		calls := 0
		wires[asker].call = func(context.Context, func(context.Context) ([]byte, error)) ([]byte, error) {
			calls++
			return nil, errors.New("no")
		}
		require.ErrorIs(t, s.nodes[asker].Reconfigure(ctx, learner("x")), raft.ErrUncertain)
		require.LessOrEqual(t, calls, 101, "once a heartbeat")
	})
}

// What came of an attempt whose answer was lost, and that arrived late, is not
// denied by the answer to a later one.
func TestReconfigureDoesNotForgetItsDoubt(t *testing.T) {
	simulate(t, still, raft.Config{Voters: abc}, func(t *testing.T, s *simulation) {
		wires := s.wired(abc...)
		leader := s.leader()
		asker, down := s.others(leader)[0], s.others(leader)[1]
		ctx, cancel := background(s, time.Minute)
		defer cancel()
		require.NoError(t, s.nodes[asker].Barrier(ctx))
		var late func(context.Context) ([]byte, error)
		transferred := make(chan error, 1)
		wires[asker].call = func(ctx context.Context, send func(context.Context) ([]byte, error)) ([]byte, error) {
			if late == nil {
				late = send
				return nil, errors.New("the connection broke")
			}
			_, err := late(ctx)
			require.NoError(t, err)
			go func() { transferred <- leader.TransferLeadership(ctx, down) }()
			s.pass(10 * time.Millisecond)
			return send(ctx)
		}
		s.Crash(down)
		require.NoError(t, s.nodes[asker].Reconfigure(ctx, learner("x")), "the answer to the later one is ErrBusy")
		require.Equal(t, []string{"x"}, leader.Status().Membership.Learners)
		require.Error(t, <-transferred)
	})
}

// Who asks for voters that never come does not keep another from adding some that do,
// even if he asks each time a moment after the other.
func TestReconfigureBesideOneThatWaits(t *testing.T) {
	simulate(t, still, raft.Config{Voters: []string{"a"}}, func(t *testing.T, s *simulation) {
		s.start("a")
		a := s.leader()
		s.config.Voters = nil
		s.start("b", "c")
		ctx, cancel := background(s, 20*time.Second)
		defer cancel()
		done, waits := make(chan error, 1), make(chan error, 1)
		go func() { done <- a.Reconfigure(ctx, raft.Membership{Voters: abc}) }()
		s.pass(time.Millisecond / 2)
		go func() { waits <- a.Reconfigure(ctx, raft.Membership{Voters: []string{"a", "x", "y"}}) }()
		began := s.Elapsed()
		require.NoError(t, <-done)
		require.Less(t, s.Elapsed()-began, 2*time.Second)
		require.ErrorIs(t, <-waits, raft.ErrBusy)
	})
}
