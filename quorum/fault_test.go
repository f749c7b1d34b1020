package quorum_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/transport"
)

var errCut = errors.New("cut off")

// A cutter is a Transport whose calls to some nodes fail or hang.
type cutter struct {
	transport.Transport
	mu    sync.Mutex
	fails map[string]bool // guarded by mu
	hangs map[string]bool // guarded by mu
	calls atomic.Int64    // over the network
	most  atomic.Int64    // the largest body seen
}

func (f *cutter) set(fails, hangs []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails, f.hangs = map[string]bool{}, map[string]bool{}
	for _, node := range fails {
		f.fails[node] = true
	}
	for _, node := range hangs {
		f.hangs[node] = true
	}
}

func (f *cutter) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	f.calls.Add(1)
	f.mu.Lock()
	fails, hangs := f.fails[to], f.hangs[to]
	f.mu.Unlock()
	if fails {
		return nil, errCut
	}
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	response, err := f.Transport.Call(ctx, to, service, request)
	f.most.Store(max(f.most.Load(), int64(len(request)), int64(len(response))))
	return response, err
}

// cutCluster is a cluster that is ready and whose nodes' networks can be cut.
func cutCluster(t testing.TB, config quorum.Config, names ...string) (*cluster, map[string]*cutter) {
	t.Helper()
	cutters := map[string]*cutter{}
	c := newCluster(t, config, names...)
	c.wrap = func(tr transport.Transport) transport.Transport {
		cutters[tr.Local()] = &cutter{Transport: tr}
		return cutters[tr.Local()]
	}
	return c.startAll(names...), cutters
}

func TestAWriteThatMissesItsQuorumIsNotAcknowledged(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{}, abc...)
	cut["a"].set([]string{"b", "c"}, nil)
	_, err := c.stores["a"].Put(t.Context(), "k", []byte("x"), quorum.Version{})
	require.ErrorContains(t, err, "quorum: 2 of 3 wanted, ")
	var short *quorum.ShortError
	require.ErrorAs(t, err, &short)
	require.Equal(t, 1, short.Answered, "this node itself, however fast the others fail")
	require.Len(t, short.Failed, 2)
	for _, failed := range short.Failed {
		require.Contains(t, []string{"b: cut off", "c: cut off"}, failed.Error())
	}
	require.ErrorIs(t, err, quorum.ErrQuorum)
	require.ErrorIs(t, err, errCut)
	require.NotErrorIs(t, err, quorum.ErrUncertain, "it was not even sent")
	_, err = c.stores["a"].Get(t.Context(), "k")
	require.ErrorIs(t, err, quorum.ErrQuorum)
	require.Equal(t, "(none)", c.get("b", "k"))
}

// A writeCutter refuses to carry writes while it is armed.
type writeCutter struct {
	transport.Transport
	armed atomic.Bool
}

func (f *writeCutter) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	if f.armed.Load() && request[1] == opPut {
		return nil, errCut
	}
	return f.Transport.Call(ctx, to, service, request)
}

func TestAWriteThatWasSentToTooFewIsUncertain(t *testing.T) {
	var f *writeCutter
	c := newCluster(t, quorum.Config{}, abc...)
	c.wrap = func(tr transport.Transport) transport.Transport {
		w := &writeCutter{Transport: tr}
		if tr.Local() == "a" {
			f = w
		}
		return w
	}
	c.startAll(abc...)
	f.armed.Store(true)
	_, err := c.stores["a"].Put(t.Context(), "k", []byte("x"), quorum.Version{})
	require.ErrorIs(t, err, quorum.ErrUncertain)
	require.ErrorContains(t, err, "2 of 3 wanted")
	require.ErrorContains(t, err, "b: cut off")
	require.ErrorContains(t, err, "c: cut off")
	require.ErrorContains(t, err, "may be found later")
	eventually(t, "a itself has taken it", func() bool { return holds(c, "a", "x") })

	// Nobody else has it. Who finds it on a sees to it that it stays found.
	require.Equal(t, "x", c.get("c", "k", quorum.Read{R: 3}))
	c.lose("a")
	require.Equal(t, "x", c.get("b", "k"))
}

func TestAReadWritesBackBeforeItReturns(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{}, abc...)
	c.put("a", "k", "old")
	eventually(t, "all have it", func() bool { return holds(c, "b", "old") && holds(c, "c", "old") })
	plant(t, c, "a", "k", "new") // as a write leaves it that reached only a
	cut["b"].set([]string{"c"}, nil)
	require.Equal(t, "new", c.get("b", "k"))
	require.True(t, holds(c, "b", "new"), "b was behind and had to be brought up to date first")
	require.EqualValues(t, 1, c.stores["b"].Stats().WrittenBack)

	cut["c"].set([]string{"a"}, nil)
	require.Equal(t, "new", c.get("c", "k"), "reads never go back")
}

func TestAReadThatCannotWriteBackFails(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{R: 1, W: 3}, abc...)
	c.put("a", "k", "v")
	cut["a"].set([]string{"b"}, nil)
	_, err := c.stores["a"].Get(t.Context(), "k")
	require.ErrorContains(t, err, "3 of 3 wanted")
	require.ErrorContains(t, err, "b: cut off")
	require.Equal(t, "v", c.get("a", "k", quorum.Read{DisableWriteBack: true}))
}

// holds reports whether a node itself holds value under "k".
func holds(c *cluster, node, value string) bool {
	r, _ := c.storages[node].Get("k")
	return string(r.Value) == value
}

// plant puts a new record into the storage of one node alone.
func plant(t *testing.T, c *cluster, node, key, value string) {
	t.Helper()
	held, err := c.storages[node].Get(key)
	require.NoError(t, err)
	v := held.Version
	v.Logical++
	_, err = c.storages[node].Put(key, quorum.Record{Version: v, Value: []byte(value)})
	require.NoError(t, err)
}

func TestAStaleCoordinatorIsRepaired(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{}, abc...)
	cut["b"].set([]string{"a"}, nil)
	c.put("b", "k", "v") // reaches b and c
	require.False(t, holds(c, "a", "v"))
	require.Equal(t, "v", c.get("a", "k"))
	eventually(t, "the coordinator itself is repaired", func() bool { return holds(c, "a", "v") })
}

// oneBehind is a cluster in which a and b hold value under "k" and c does not.
func oneBehind(t *testing.T, value string) (c *cluster, slow *gate) {
	slow = newGate("k")
	c = newCluster(t, quorum.Config{}, abc...)
	c.storages["c"] = slow
	c.startAll(abc...)
	plant(t, c, "a", "k", value)
	plant(t, c, "b", "k", value)
	return c, slow
}

func TestReadRepairReachesAnOwnerThatAnswersLate(t *testing.T) {
	c, slow := oneBehind(t, "v")
	release := slow.hold("Get")
	require.Equal(t, "v", c.get("a", "k"))
	<-slow.arrived
	release() // and only now c says that it has nothing
	eventually(t, "c is repaired", func() bool { return holds(c, "c", "v") })
	eventually(t, "it is counted", func() bool { return c.stores["a"].Stats().Repaired == 1 })
}

func TestReadRepairReachesAnOwnerThatWasNotNeeded(t *testing.T) {
	c := newCluster(t, quorum.Config{R: 3, W: 2}, abc...).startAll(abc...)
	plant(t, c, "a", "k", "v")
	plant(t, c, "b", "k", "v")
	require.Equal(t, "v", c.get("b", "k"))
	eventually(t, "c is repaired", func() bool { return holds(c, "c", "v") })
	require.Zero(t, c.stores["b"].Stats().WrittenBack, "nobody had to wait for it")
}

func TestReadRepairNeverOverwritesANewerWrite(t *testing.T) {
	c, gate := oneBehind(t, "old")
	release := gate.hold("Put") // the repair of c gets stuck in its storage
	require.Equal(t, "old", c.get("a", "k"))
	<-gate.arrived
	v := c.put("a", "k", "new") // a and b take it
	_, err := gate.Memory.Put("k", quorum.Record{Version: v, Value: []byte("new")})
	require.NoError(t, err)
	release()
	eventually(t, "the repair is over", func() bool { return c.stores["a"].Stats().Background == 0 })
	require.True(t, holds(c, "c", "new"))
	require.Equal(t, "new", c.get("c", "k"))
}

func TestADeletedKeyDoesNotComeBack(t *testing.T) {
	c, _ := cutCluster(t, quorum.Config{}, abc...)
	c.put("a", "k", "v")
	eventually(t, "all have it", func() bool { return holds(c, "b", "v") && holds(c, "c", "v") })
	c.stop("c")
	deleted, err := c.stores["b"].Delete(t.Context(), "k", quorum.Version{})
	require.NoError(t, err)
	c.startAll("c") // with the old value
	for range 5 {
		v, err := c.stores["c"].Get(t.Context(), "k")
		require.NoError(t, err)
		require.Empty(t, v.Siblings)
		require.Equal(t, deleted, v.Version)
	}
	c.lose("b") // and the tombstone is copied like a value
	c.startAll("b")
	c.stop("a")
	require.Equal(t, "(none)", c.get("c", "k"))
}

func TestABlackHoleDelaysNobodyAndIsBounded(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{Background: 10, Timeout: time.Hour}, abc...)
	cut["a"].set(nil, []string{"c"})
	for i := range 500 {
		c.put("a", key(i), "v")
		require.Equal(t, "v", c.get("a", key(i)))
		require.LessOrEqual(t, c.stores["a"].Stats().Background, 10)
	}
	// Close ends what still hangs.
}

func TestAnEndedContextReturnsAtOnce(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{Timeout: time.Hour}, abc...)
	cut["a"].set(nil, []string{"b", "c"})
	why := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error, 2)
	before := cut["a"].calls.Load()
	go func() {
		_, err := c.stores["a"].Put(ctx, "k", nil, quorum.Version{})
		failed <- err
	}()
	go func() {
		_, err := c.stores["a"].Get(ctx, "k")
		failed <- err
	}()
	eventually(t, "both wait", func() bool { return cut["a"].calls.Load() >= before+4 })
	cancel(why)
	for range 2 {
		err := <-failed
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, quorum.ErrQuorum)
		require.ErrorContains(t, err, "no answer in time")
	}
	before = cut["a"].calls.Load()
	_, err := c.stores["a"].Put(ctx, "k", nil, quorum.Version{})
	require.ErrorIs(t, err, why)
	require.Equal(t, before, cut["a"].calls.Load(), "an ended context asks nobody")
}

func TestAnOperationWithoutADeadlineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, cut := cutCluster(t, quorum.Config{Timeout: time.Second}, abc...)
		cut["a"].set(nil, []string{"b", "c"})
		start := time.Now()
		_, err := c.stores["a"].Get(context.Background(), "k")
		require.ErrorIs(t, err, quorum.ErrQuorum)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		for _, name := range abc {
			c.stop(name)
		}
	})
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{Timeout: time.Hour}, abc...)
	s := c.stores["a"]
	cut["a"].set(nil, []string{"b", "c"})
	failed := make(chan error, 1)
	before := cut["a"].calls.Load()
	go func() {
		_, err := s.Put(t.Context(), "k", nil, quorum.Version{})
		failed <- err
	}()
	eventually(t, "it waits", func() bool { return cut["a"].calls.Load() >= before+2 })
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-failed, quorum.ErrClosed)
	require.NoError(t, s.Close())
	_, err := s.Put(t.Context(), "k", nil, quorum.Version{})
	require.ErrorIs(t, err, quorum.ErrClosed)
	_, err = s.Get(t.Context(), "k")
	require.ErrorIs(t, err, quorum.ErrClosed)
	require.NoError(t, s.Ready(t.Context()), "it was ready once")
}

// A storage that hangs costs the operation its time, and no more goroutines than
// Config.Background.
func TestAHungStorageIsBounded(t *testing.T) {
	c := newCluster(t, quorum.Config{Timeout: 50 * time.Millisecond, Background: 8}, abc...)
	hung := newGate("k")
	hung.arrived = make(chan struct{}, 10_000)
	c.storages["a"] = hung
	c.startAll(abc...)
	c.put("b", "k", "v")
	release := hung.hold("Get")
	defer release()
	before := runtime.NumGoroutine()
	for range 1000 {
		require.Equal(t, "v", c.get("a", "k"), "the two others answer")
	}
	require.Less(t, runtime.NumGoroutine(), before+100)

	c.stop("c")
	_, err := c.stores["a"].Get(t.Context(), "k") // no deadline but the store's own
	require.ErrorIs(t, err, quorum.ErrQuorum)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// With R=1 and W=N the answers that a write-back would need are waited for, and
// a settled key then costs one round.
func TestAReadOfOneWritesBackOnlyWhatIsNotEverywhere(t *testing.T) {
	c := newCluster(t, quorum.Config{R: 1, W: 3}, abc...).startAll(abc...)
	c.put("a", "k", "v")
	for range 50 {
		require.Equal(t, "v", c.get("a", "k"))
	}
	require.Zero(t, c.stores["a"].Stats().WrittenBack)
}
