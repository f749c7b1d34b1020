package raft

import (
	"errors"
	"io"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport/mem"
)

// startAlone starts node "a" of the given voters, on a network where nobody else is.
func startAlone(t *testing.T, config Config, voters ...string) *Node {
	t.Helper()
	transport, err := mem.NewNetwork().Join("a")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, transport.Close()) })
	config.Transport, config.Voters = transport, voters
	if config.Storage == nil {
		config.Storage = NewMemoryStorage()
	}
	config.StateMachine = &glutton{}
	n, err := Start(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// hear has the node take messages that came in one body.
func hear(n *Node, messages ...message) {
	now := n.enter()
	for i := range messages {
		n.step(now, &messages[i])
	}
	n.leave(now, nil)
}

// While a snapshot is restored, others look at what is applied.
func TestRestoringIsNoDataRace(t *testing.T) {
	n := startAlone(t, Config{}, "a", "b", "c")
	info := SnapshotInfo{Index: 10, Term: 1, Membership: Membership{Voters: []string{"a", "b", "c"}}}
	var stop atomic.Bool
	var others sync.WaitGroup
	others.Go(func() {
		for !stop.Load() {
			_ = n.Status()
		}
	})
	for range 50 {
		info.Index++
		require.NoError(t, n.writeSnapshot(info, newSessionTable(1).append(nil), func(io.Writer) error { return nil }))
		n.takeOver(info)
	}
	stop.Store(true)
	others.Wait()
	require.Equal(t, info.Index, n.Status().Applied)
	require.NoError(t, n.Status().Failure)
}

// A vault opens its snapshot when it is told to.
type vault struct {
	*MemoryStorage
	entered, open chan struct{}
}

func (v *vault) OpenSnapshot() (SnapshotReader, error) {
	close(v.entered)
	<-v.open
	return v.MemoryStorage.OpenSnapshot()
}

// Storage may be closed once Close has returned: nobody uses it any more, not even
// on behalf of a follower.
func TestCloseWaitsForPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{NewMemoryStorage(), make(chan struct{}), make(chan struct{})}
		n := startAlone(t, Config{Storage: v}, "a")
		asked := make(chan error, 1)
		go func() {
			_, err := n.answer(t.Context(), "b", &request{op: opSnapshot, index: 1, term: 1})
			asked <- err
		}()
		<-v.entered
		closed := make(chan struct{})
		go func() {
			_ = n.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned while Storage is in use")
		default:
		}
		close(v.open)
		require.Error(t, <-asked)
		<-closed
		_, err := n.answer(t.Context(), "b", &request{op: opSnapshot, index: 1, term: 1}) // would panic in vault
		require.ErrorIs(t, err, ErrClosed)
	})
}

// A leader may fall before it has committed its first entry, and the next one's
// log be shorter: the index that a read of the former waits for may never come.
func TestBarrierAsksAgainAfterTheLeaderFell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startAlone(t, Config{}, "a", "b", "c")
		hear(n, message{Kind: msgHeartbeat, From: "b", Term: 5})
		result := make(chan error, 1)
		wait := func(term uint64) { go func() { result <- n.waitApplied(t.Context(), 100, term) }() }
		wait(5)
		synctest.Wait()
		hear(n, message{Kind: msgHeartbeat, From: "b", Term: 5, Round: 1})
		synctest.Wait()
		require.Empty(t, result, "the same leader may still commit it")
		hear(n, message{Kind: msgHeartbeat, From: "c", Term: 6})
		require.Equal(t, errElsewhere, <-result)
		wait(5)
		require.Equal(t, errElsewhere, <-result, "the news came before it waits")
	})
}

// Commands without content count for the bound, too.
func TestQueueIsBoundedForEmptyCommands(t *testing.T) {
	n := &Node{config: Config{MaxUncommitted: 100 * entryOverhead}}
	n.queue.draining = true // somebody is on the way, and takes his time
	taken := 0
	for n.queue.put(t.Context(), n, EntryCommand, nil, n.newWaiter()) {
		taken++
		require.LessOrEqual(t, taken, 100)
	}
	require.Equal(t, 100, taken)
}

// Messages that differ in anything but their names are encoded each for itself.
func TestContentIsAllButTheReceiver(t *testing.T) {
	same := func(a, b message) bool { return sameContent([]message{a}, []message{b}) }
	require.True(t, same(message{To: "a"}, message{To: "b"}))
	kind := reflect.TypeFor[message]()
	for i := range kind.NumField() {
		var m message
		switch f := reflect.ValueOf(&m).Elem().Field(i); {
		case kind.Field(i).Name == "From" || kind.Field(i).Name == "To":
			continue
		case f.CanUint():
			f.SetUint(1)
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		default:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		}
		require.False(t, same(m, message{}), kind.Field(i).Name)
	}
}

// A node that has failed is not the end of the matter for those who took it for
// the leader: another one leads, or will.
func TestFailedNodeSendsAskersOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startAlone(t, Config{}, "a", "b", "c")
		now := n.enter()
		n.fail(errors.New("broken"))
		n.leave(now, nil)
		for _, q := range []request{{op: opTransfer, data: []byte("b")}, {op: opRead}, {op: opPropose}} {
			_, err := n.answer(t.Context(), "b", &q)
			require.ErrorIs(t, err, ErrNotLeader)
		}
		require.ErrorIs(t, n.TransferLeadership(t.Context(), "b"), ErrFailed)
	})
}

// A snapshot is fetched from a leader, not from nobody.
func TestNoFetchWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startAlone(t, Config{}, "a", "b", "c")
		hear(
			n, message{Kind: msgSnapshot, From: "b", Term: 5, Index: 100, LogTerm: 4},
			message{Kind: msgVote, From: "c", Term: 6, Index: 100, LogTerm: 5, Force: true},
		)
		n.mu.Lock()
		defer n.mu.Unlock()
		require.Empty(t, n.core.leader)
		require.False(t, n.transfer.fetching)
	})
}

// A node may be closed by its host, or by who finds it there, while it starts.
func TestHostCloseDuringStart(t *testing.T) {
	transport, err := mem.NewNetwork().Join("a")
	require.NoError(t, err)
	host, err := NewHost(HostConfig{Transport: transport})
	require.NoError(t, err)
	var closing sync.WaitGroup
	var stop atomic.Bool
	closing.Go(func() {
		for !stop.Load() {
			for n := range host.Nodes() {
				_ = n.Close() // it never fails
			}
		}
	})
	for range 300 {
		n, err := host.Start(Config{Storage: NewMemoryStorage(), StateMachine: &glutton{}, Voters: []string{"a"}})
		require.NoError(t, err)
		require.NoError(t, n.Close())
	}
	stop.Store(true)
	closing.Wait()
	require.NoError(t, host.Close())
	_, err = host.Start(Config{Storage: NewMemoryStorage(), StateMachine: &glutton{}})
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, transport.Close())
}

// A lease is judged by the time at which a read came, or later: who takes it to the
// core may have been held up since he looked at the clock.
func TestTrapLeaseReadOfAPausedLeader(t *testing.T) {
	config := Config{Heartbeat: 10 * time.Millisecond, Election: 20 * time.Millisecond, LeaseReads: true}
	n := startAlone(t, config, "a", "b", "c")
	now := n.enter() // no tick of the timer comes in between
	defer n.leave(now, nil)
	c := n.core
	c.electionAt = now
	c.tick(now)
	c.step(now, &message{Kind: msgPreVoteReply, From: "b", Term: c.term + 1})
	n.flush(now, nil)
	c.step(now, &message{Kind: msgVoteReply, From: "b", Term: c.term})
	n.flush(now, nil)
	require.Equal(t, leader, c.role)

	w := n.newWaiter()
	n.queue.mu.Lock()
	n.queue.draining = true
	drained := make(chan struct{})
	n.mu.Unlock()
	go func() {
		n.drain()
		close(drained)
	}()
	for n.mu.TryLock() { // until it has the lock
		c.now = n.host.now()
		c.beat()
		c.step(c.now, &message{Kind: msgHeartbeatReply, From: "b", Term: c.term, Round: c.office.round})
		require.True(t, c.leased())
		n.mu.Unlock()
		runtime.Gosched()
	}
	<-time.After(2 * config.Election)
	n.queue.filling.reads = append(n.queue.filling.reads, w)
	n.queue.mu.Unlock()
	<-drained
	n.mu.Lock()
	require.NotEqual(t, []any{decided, error(nil)}, []any{w.state.Load(), w.err}, "the lease is over")
}
