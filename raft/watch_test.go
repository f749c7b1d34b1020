package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport/mem"
)

// A gate is a state machine that waits to be let go on, and echoes commands.
type gate struct {
	shut chan struct{} // nil: open
}

func (g *gate) Apply(commands []Command) error {
	if g.shut != nil {
		<-g.shut
	}
	for i := range commands {
		commands[i].Result = append([]byte(nil), commands[i].Data...)
	}
	return nil
}

func (g *gate) Snapshot() (func(io.Writer) error, error) {
	return func(io.Writer) error { return nil }, nil
}
func (g *gate) Restore(io.Reader) error { return nil }

// leaderOf starts node a of the given voters, alone, and has it lead.
func leaderOf(t *testing.T, machine StateMachine, voters ...string) *Node {
	t.Helper()
	transport, err := mem.NewNetwork().Join("a")
	require.NoError(t, err)
	n, err := Start(Config{
		Transport: transport, Voters: voters, Storage: NewMemoryStorage(), StateMachine: machine,
		Heartbeat: 10 * time.Millisecond, Election: 100 * time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, n.Close())
		require.NoError(t, transport.Close())
	})
	if len(voters) > 1 {
		n.win(voters...)
	}
	require.NoError(t, n.until(t.Context(), func() (bool, error) { return n.core.role == leader, nil }))
	return n
}

// proposeMany has callers propose with a context, and returns what becomes of each.
func proposeMany(ctx context.Context, n *Node, callers int) (outcomes chan error) {
	outcomes = make(chan error, callers)
	for i := range callers {
		go func() {
			result, err := n.Propose(ctx, fmt.Append(nil, i))
			if err == nil && string(result) != fmt.Sprint(i) {
				err = fmt.Errorf("got the result %q of command %d", result, i)
			}
			outcomes <- err
		}()
	}
	return outcomes
}

// watched returns whether a node watches a context.
func watched(n *Node, ctx context.Context) bool {
	n.queue.mu.Lock()
	defer n.queue.mu.Unlock()
	return n.queue.contexts.watch != nil && n.queue.contexts.watch.end == ctx.Done()
}

var errCause = errors.New("the cause")

// Wherever a command waits, its caller returns at once when the context ends that
// all share, says for certain what may have become of the command, and why.
func TestSharedContextEnds(t *testing.T) {
	const callers = 3 * watchAfter
	for _, tt := range []struct {
		name  string
		begin func(t *testing.T) *Node
		want  error
	}{
		{"queued", func(t *testing.T) *Node {
			n := leaderOf(t, &gate{}, "a")
			n.queue.mu.Lock()
			n.queue.draining = true // somebody is on the way, and never comes
			n.queue.mu.Unlock()
			return n
		}, ErrDropped},
		{"in the log", func(t *testing.T) *Node { return leaderOf(t, &gate{}, "a", "b", "c") }, ErrUncertain},
		{"being applied", func(t *testing.T) *Node {
			g := &gate{shut: make(chan struct{})}
			n := leaderOf(t, g, "a")
			t.Cleanup(func() { close(g.shut) }) // before Close, which waits for it
			return n
		}, ErrUncertain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := tt.begin(t)
				ctx, cancel := context.WithCancelCause(t.Context())
				outcomes := proposeMany(ctx, n, callers)
				synctest.Wait()
				require.True(t, watched(n, ctx))
				require.Empty(t, outcomes)
				began := time.Now()
				cancel(errCause)
				synctest.Wait()
				require.Len(t, outcomes, callers, "callers that returned")
				require.Zero(t, time.Since(began))
				require.False(t, watched(n, ctx))
				for range callers {
					err := <-outcomes
					require.ErrorIs(t, err, tt.want)
					require.ErrorIs(t, err, context.Canceled)
					require.ErrorIs(t, err, errCause)
				}
			})
		})
	}
}

// Who has the context that was watched before still learns of its end, as does who
// has one of his own.
func TestWatchMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := leaderOf(t, &gate{}, "a", "b", "c")
		type party struct {
			ctx      context.Context
			cancel   context.CancelFunc
			outcomes chan error
			callers  int
		}
		var parties []*party
		for _, callers := range []int{2 * watchAfter, 2 * watchAfter, 1, 2 * watchAfter} {
			p := &party{callers: callers}
			p.ctx, p.cancel = context.WithTimeout(t.Context(), time.Hour)
			defer p.cancel()
			p.outcomes = proposeMany(p.ctx, n, callers)
			synctest.Wait()
			parties = append(parties, p)
		}
		require.True(t, watched(n, parties[3].ctx))
		for i, p := range parties {
			p.cancel()
			synctest.Wait()
			require.Len(t, p.outcomes, p.callers, "of party %d", i)
			for k, later := range parties[i+1:] {
				require.Empty(t, later.outcomes, "of party %d", i+1+k)
			}
		}
	})
}

// A context may end while it is about to be watched.
func TestContextEndsWhileTheWatchBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := leaderOf(t, &gate{}, "a", "b", "c")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n.startWatch(ctx)
		synctest.Wait()
		require.False(t, watched(n, ctx), "nobody would ever be told")
	})
}

// A leash counts what is tied to it.
type leash struct {
	context.Context
	tied atomic.Int32
}

// Value hides the inner context, which others would be tied to instead.
func (l *leash) Value(any) any { return nil }

func (l *leash) AfterFunc(f func()) (stop func() bool) {
	l.tied.Add(1)
	cut := context.AfterFunc(l.Context, f)
	return func() bool {
		l.tied.Add(-1)
		return cut()
	}
}

// A context that lives longer than the node must not hold on to it.
func TestCloseEndsTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := leaderOf(t, &gate{}, "a")
		inner, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx := &leash{Context: inner}
		for range 2 * watchAfter {
			_, err := n.Propose(ctx, []byte("x"))
			require.NoError(t, err)
		}
		require.EqualValues(t, 1, ctx.tied.Load())
		require.NoError(t, n.Close())
		require.Zero(t, ctx.tied.Load())
		n.startWatch(ctx) // by somebody who was late
		require.Zero(t, ctx.tied.Load())
	})
}

// Callers come and go with a few contexts, which end at any time: each gets the
// result of his own command, or learns of the end of his own context.
func TestWatchedCallersGetTheirOwnOutcome(t *testing.T) {
	n := leaderOf(t, &gate{}, "a")
	var group sync.WaitGroup
	for party := range 4 {
		group.Go(func() {
			for round := range 30 {
				ctx, cancel := context.WithCancel(t.Context())
				var callers sync.WaitGroup
				for k := range 20 {
					callers.Go(func() {
						for i := range 20 {
							command := fmt.Sprint(party, round, k, i)
							result, err := n.Propose(ctx, []byte(command))
							switch {
							case err == nil && string(result) != command:
								t.Errorf("got the result %q of %q", result, command)
							case err != nil && (!errors.Is(err, context.Canceled) || ctx.Err() == nil):
								t.Errorf("%q: %v", command, err)
							}
						}
					})
				}
				if round%2 == 0 {
					cancel() // somewhere in the middle
				}
				callers.Wait()
				cancel()
			}
		})
	}
	group.Wait()
}

// watchedLeader returns a node that leads alone, and watches a context.
func watchedLeader(t *testing.T, machine StateMachine, ctx context.Context) *Node {
	t.Helper()
	n := leaderOf(t, machine, "a")
	for range watchAfter {
		_, err := n.Propose(ctx, []byte("x"))
		require.NoError(t, err)
	}
	require.True(t, watched(n, ctx))
	return n
}

// Close waits for the state machine, which may take its time. A caller whose context
// ends meanwhile does not.
func TestSharedContextEndsWhileTheNodeCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		ctx, cancel := context.WithCancel(t.Context())
		n := watchedLeader(t, g, ctx)
		g.shut = make(chan struct{})
		outcomes := proposeMany(ctx, n, 1)
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			_ = n.Close()
			close(closed)
		}()
		synctest.Wait()
		require.Empty(t, outcomes, "it is being applied")
		cancel()
		synctest.Wait()
		returned := len(outcomes)
		close(g.shut)
		<-closed
		require.Equal(t, 1, returned, "callers that returned before the state machine did")
	})
}

// A grudge is a context that panics when somebody wants to be told of its end.
type grudge struct{ context.Context }

func (g *grudge) Value(any) any                       { return nil }
func (g *grudge) AfterFunc(func()) (stop func() bool) { panic("no") }

// What a context does to its own caller must not keep others waiting: he may be the
// one who was to take all to the core.
func TestContextThatPanicsHarmsItsCallerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := leaderOf(t, &gate{}, "a")
		ctx := &grudge{t.Context()}
		require.PanicsWithValue(t, "no", func() {
			for range watchAfter {
				_, _ = n.Propose(ctx, []byte("x"))
			}
		})
		other, cancel := context.WithCancel(t.Context())
		defer cancel()
		outcomes := proposeMany(other, n, 1)
		synctest.Wait()
		require.Len(t, outcomes, 1)
		require.NoError(t, <-outcomes)
	})
}

// When a watch moves on, those look up who relied on it, and nobody else: they can
// be many, and contexts that are each used for a while can follow each other quickly.
func TestWatchThatMovesOnWakesItsOwn(t *testing.T) {
	n := startAlone(t, Config{}, "a", "b", "c")
	n.queue.draining = true // somebody is on the way, and never comes
	begin := func() (context.Context, *waiter) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		n.startWatch(ctx)
		w := n.newWaiter()
		require.True(t, n.queue.put(ctx, n, EntryCommand, nil, w))
		return ctx, w
	}
	_, first := begin()
	own, cancel := context.WithCancel(t.Context())
	defer cancel()
	alone := n.newWaiter()
	require.True(t, n.queue.put(own, n, EntryCommand, nil, alone))
	require.Empty(t, first.done)
	_, second := begin()
	require.Len(t, first.done, 1)
	require.Empty(t, second.done)
	require.Empty(t, alone.done, "he waits for the end of his context himself")
	n.queue.draining = false
}
