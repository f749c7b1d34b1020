package quorum_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/sim"
)

// A gate is a Memory in which the calls of one method for one key can be held
// up.
type gate struct {
	*quorum.Memory
	key     string
	arrived chan struct{} // gets one for each call that is held

	mu     sync.Mutex
	method string        // that is held, if any; guarded by mu
	open   chan struct{} // lets it go on; guarded by mu
}

func newGate(key string) *gate {
	return &gate{Memory: quorum.NewMemory(), key: key, arrived: make(chan struct{}, 1000)}
}

func (g *gate) hold(method string) (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	open := make(chan struct{})
	g.method, g.open = method, open
	return func() { close(open) }
}

func (g *gate) pass(method, key string) {
	g.mu.Lock()
	held, open := g.method == method && g.key == key, g.open
	g.mu.Unlock()
	if held {
		g.arrived <- struct{}{}
		<-open
	}
}

func (g *gate) Put(key string, r quorum.Record) (quorum.Version, error) {
	g.pass("Put", key)
	return g.Memory.Put(key, r)
}

// Get is held after it has read: what it returns may be old by then.
func (g *gate) Get(key string) (quorum.Record, error) {
	r, err := g.Memory.Get(key)
	g.pass("Get", key)
	return r, err
}

func TestANodeThatLostItsDataCopiesItBack(t *testing.T) {
	c := newCluster(t, quorum.Config{}, abc...).startAll(abc...)
	for i := range 1000 {
		c.put("b", key(i), key(i))
	}
	c.lose("a")
	c.put("b", "late", "x")
	a := c.start("a")
	require.NoError(t, a.Ready(t.Context()))
	require.GreaterOrEqual(t, a.Stats().Copied, uint64(1001))
	c.stop("b")
	for i := range 1000 {
		require.Equal(t, key(i), c.get("a", key(i)))
	}
	require.Equal(t, "x", c.get("c", "late"))
}

func TestAWriteOfTheLostReplicaAndOneOtherSurvives(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{}, abc...)
	cut["a"].set([]string{"c"}, nil)
	for i := range 100 {
		c.put("a", key(i), "v") // held by a and b
	}
	c.lose("a")
	cut["c"].set([]string{"b"}, nil) // nor does c learn of it from b
	require.NoError(t, c.start("a").Ready(t.Context()))
	c.stop("b")
	for i := range 100 {
		require.Equal(t, "v", c.get("c", key(i)))
	}
}

func TestANodeWithItsDataNeedsNoCopy(t *testing.T) {
	c := newCluster(t, quorum.Config{}, abc...).startAll(abc...)
	c.put("a", "k", "v")
	before := c.stores["c"].Status().Incarnation
	for _, name := range abc {
		c.stop(name)
	}
	s := c.start("c")
	require.NoError(t, s.Ready(t.Context()), "alone, and ready at once")
	require.Equal(t, before, s.Status().Incarnation)
	require.Zero(t, s.Stats().Copied)
	c.startAll("b")
	require.Equal(t, "v", c.get("c", "k"))
}

func TestAClusterStartsWhenAllWereThereOnce(t *testing.T) {
	c := newCluster(t, quorum.Config{}, abc...)
	a, b := c.start("a"), c.start("b")
	eventually(t, "a and b have met", func() bool {
		return a.Status().Peers[0].Met && b.Status().Peers[0].Met
	})
	require.False(t, a.Status().Ready, "c may hold what a has forgotten")
	_, err := a.Get(t.Context(), "k")
	require.ErrorIs(t, err, quorum.ErrRecovering)
	require.ErrorContains(t, err, "2 of 3 wanted, 0 answered")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, a.Ready(ctx), context.Canceled)

	c.start("c") // a and b have kept trying
	for _, name := range abc {
		require.NoError(t, c.stores[name].Ready(t.Context()))
	}
	c.put("a", "k", "v")
}

func TestARecoveringReplicaCountsForWritesButNotForReads(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{}, abc...)
	c.put("a", "old", "v")
	eventually(t, "c has it, too", func() bool { return c.storages["c"].(*quorum.Memory).Len() == 1 })
	c.lose("a")
	// a may meet the others, but its pages come from nowhere.
	c.wrap = func(tr transport.Transport) transport.Transport {
		return &noPages{Transport: tr}
	}
	a := c.start("a")
	eventually(t, "a has met b and c", func() bool {
		peers := a.Status().Peers
		return peers[0].Met && peers[1].Met
	})
	require.False(t, a.Status().Ready)
	cut["b"].set(nil, nil)
	c.put("b", "k", "x")
	eventually(t, "a takes writes", func() bool { return holds(c, "a", "x") })
	c.stop("c")
	_, err := c.stores["b"].Get(t.Context(), "k")
	require.ErrorContains(t, err, "a: quorum: replica is recovering")
}

// Requests say in their second byte what they ask for; these are for a
// record, with a write and for a page of a copy.
const opGet, opPut, opCopy = 2, 3, 6

// noPages refuses requests for a copy.
type noPages struct{ transport.Transport }

func (f *noPages) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	if request[1] == opCopy {
		return nil, errCut
	}
	return f.Transport.Call(ctx, to, service, request)
}

// The race that incarnations are for: a acknowledges a write, loses its data
// and copies from b before the write gets to b; then b acknowledges. The
// coordinator has heard two, and only b has the write.
func TestAcksOfTwoLivesAreNotCountedTogether(t *testing.T) {
	sim.Run(t, sim.Config{Faults: sim.Faults{Delay: sim.Constant(time.Millisecond)}}, func(w *sim.World) {
		t := w.T()
		c := newWorld(w, quorum.Config{}, abc...)
		for _, name := range abc {
			c.start(w.Join(name))
		}
		d := c.start(w.Join("d")) // coordinates, and is no member
		for _, name := range abc {
			require.NoError(t, c.stores[name].Ready(t.Context()))
		}
		outcome := make(chan error, 1)
		go func() {
			_, err := d.Put(t.Context(), "k", []byte("lost?"), quorum.Version{})
			outcome <- err
		}()
		time.Sleep(2500 * time.Microsecond) // the versions are known, the write is on its way
		w.Hold("d", "b")
		w.Cut("d", "c")
		time.Sleep(10 * time.Millisecond)
		c.stop("a", true)
		w.Restart("a", func(tr *sim.Transport) { c.start(tr) })
		require.NoError(t, c.stores["a"].Ready(t.Context()))
		w.Release("d", "b")

		err := <-outcome
		require.ErrorIs(t, err, quorum.ErrUncertain, "a's acknowledgement is worth nothing any more")
		require.ErrorIs(t, err, quorum.ErrSuperseded)
		v, err := c.stores["a"].Get(t.Context(), "k", quorum.Read{DisableWriteBack: true})
		require.NoError(t, err)
		t.Logf("found: %q", v.Siblings)
		c.stopAll()
	})
}

// The same race where b meets the new life while its storage is writing.
func TestAnAckKnowsWhoWasMetWhileItWasWritten(t *testing.T) {
	slow, broken := newGate("k"), &brokenStorage{Memory: quorum.NewMemory()}
	c := newCluster(t, quorum.Config{}, abc...)
	c.storages["b"], c.storages["c"] = slow, broken
	c.startAll(abc...)
	d := c.start("d")
	release := slow.hold("Put")
	broken.fail("put")
	outcome := make(chan error, 1)
	go func() {
		_, err := d.Put(t.Context(), "k", []byte("lost?"), quorum.Version{})
		outcome <- err
	}()
	<-slow.arrived
	eventually(t, "a has taken the write", func() bool { return holds(c, "a", "lost?") })
	c.lose("a")
	require.NoError(t, c.start("a").Ready(t.Context()))
	require.False(t, holds(c, "a", "lost?"))
	release()
	err := <-outcome
	require.ErrorIs(t, err, quorum.ErrSuperseded)
	require.ErrorIs(t, err, quorum.ErrUncertain)
}

// A replica that has copied everything by the time it answers had not when it
// looked.
func TestAReadBegunBeforeTheCopyDoesNotCountAfterIt(t *testing.T) {
	slow := newGate("k")
	c := newCluster(t, quorum.Config{R: 1, W: 3}, abc...).startAll(abc...)
	c.put("b", "k", "v")
	c.lose("a")
	c.storages["a"] = slow
	copies := make(chan struct{})
	c.wrap = func(tr transport.Transport) transport.Transport {
		return &laterCopies{Transport: tr, copies: copies}
	}
	a := c.start("a")
	release := slow.hold("Get")
	outcome := make(chan error, 1)
	go func() {
		_, err := a.Get(t.Context(), "k", quorum.Read{DisableWriteBack: true})
		outcome <- err
	}()
	<-slow.arrived
	close(copies)
	require.NoError(t, a.Ready(t.Context()))
	release()
	require.ErrorIs(t, <-outcome, quorum.ErrRecovering)
}

// laterCopies holds back copies and refuses to read.
type laterCopies struct {
	transport.Transport
	copies chan struct{}
}

func (l *laterCopies) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	switch request[1] {
	case opGet:
		return nil, errCut
	case opCopy:
		<-l.copies
	}
	return l.Transport.Call(ctx, to, service, request)
}

func TestCopiesArePagedAndRetried(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{}, abc...)
	value := make([]byte, 10_000)
	for i := range 100 {
		c.put("a", key(i), string(value))
	}
	c.lose("a")
	var flaky *flakyTransport
	c.wrap = func(tr transport.Transport) transport.Transport {
		cut["a"] = &cutter{Transport: tr}
		flaky = &flakyTransport{Transport: cut["a"]}
		return flaky
	}
	require.NoError(t, c.start("a").Ready(t.Context()))
	require.Equal(t, 100, c.storages["a"].(*quorum.Memory).Len())
	require.LessOrEqual(t, cut["a"].most.Load(), int64(64<<10))
	require.GreaterOrEqual(t, flaky.calls.Load(), int64(60), "1 MB from two peers, every second call failing")
}

// A flakyTransport fails every second call.
type flakyTransport struct {
	transport.Transport
	calls atomic.Int64
}

func (f *flakyTransport) Call(ctx context.Context, to, service string, request []byte) ([]byte, error) {
	if f.calls.Add(1)%2 == 0 {
		return nil, errCut
	}
	return f.Transport.Call(ctx, to, service, request)
}

func TestOnlyOwnedKeysAreCopied(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	c := newCluster(t, quorum.Config{}, names...).startAll(names...)
	owned := 0
	for i := range 300 {
		c.put("a", key(i), "v")
		for _, owner := range c.ring.Owners(nil, key(i), 3) {
			if owner == "f" {
				owned++
			}
		}
	}
	c.lose("f")
	c.startAll("f")
	require.Equal(t, owned, c.storages["f"].(*quorum.Memory).Len())
	require.Positive(t, owned)
	require.Less(t, owned, 250)
}

// A brokenStorage fails as told.
type brokenStorage struct {
	*quorum.Memory
	fails  atomic.Pointer[string]
	failed atomic.Int64
}

var errDisk = errors.New("disk full")

func (b *brokenStorage) err(what string) error {
	if p := b.fails.Load(); p != nil && *p == what {
		b.failed.Add(1)
		return fmt.Errorf("%s: %w", what, errDisk)
	}
	return nil
}

func (b *brokenStorage) fail(what string) { b.fails.Store(&what) }

func (b *brokenStorage) Get(key string) (quorum.Record, error) {
	r, _ := b.Memory.Get(key)
	return r, b.err("get")
}

func (b *brokenStorage) Put(key string, r quorum.Record) (quorum.Version, error) {
	if err := b.err("put"); err != nil {
		return quorum.Version{}, err
	}
	return b.Memory.Put(key, r)
}

func (b *brokenStorage) Scan(after string) iter.Seq2[quorum.Entry, error] {
	if err := b.err("scan"); err != nil {
		return func(yield func(quorum.Entry, error) bool) { yield(quorum.Entry{}, err) }
	}
	return b.Memory.Scan(after)
}

func (b *brokenStorage) LoadState() ([]byte, error) {
	state, _ := b.Memory.LoadState()
	return state, b.err("load")
}

func (b *brokenStorage) SaveState(state []byte) error {
	if err := b.err("save"); err != nil {
		return err
	}
	return b.Memory.SaveState(state)
}

func TestABrokenStorageIsNotAnAnswer(t *testing.T) {
	broken := &brokenStorage{Memory: quorum.NewMemory()}
	c := newCluster(t, quorum.Config{R: 3, W: 3}, abc...)
	c.storages["b"] = broken
	c.startAll(abc...)
	c.put("a", "k", "v")
	broken.fail("put")
	_, err := c.stores["a"].Put(t.Context(), "k", nil, quorum.Version{})
	require.ErrorContains(t, err, "b: ")
	require.ErrorContains(t, err, "disk full")
	broken.fail("get")
	_, err = c.stores["a"].Get(t.Context(), "k")
	require.ErrorContains(t, err, "disk full")
	_, err = c.stores["b"].Get(t.Context(), "k")
	require.ErrorIs(t, err, errDisk, "the error of one's own storage keeps its identity")

	broken.fail("scan")
	c.lose("a")
	a := c.start("a")
	eventually(t, "c is copied", func() bool { return a.Status().Peers[1].Copied })
	require.False(t, a.Status().Peers[0].Copied)
	broken.fail("save")
	c.lose("c")
	s := c.start("c")
	eventually(t, "a has met c", func() bool { return s.Status().Peers[0].Met })
	require.False(t, s.Status().Peers[1].Met, "what is not saved is not said")
	broken.fail("nothing")
	require.NoError(t, a.Ready(t.Context()))
	require.NoError(t, s.Ready(t.Context()))
}

func TestAStateThatCouldNotBeSavedIsSavedLater(t *testing.T) {
	broken := &brokenStorage{Memory: quorum.NewMemory()}
	c := newCluster(t, quorum.Config{}, abc...)
	c.storages["a"] = broken
	a := c.start("a")
	broken.fail("save")
	c.start("b")
	c.start("c")
	eventually(t, "a has tried to save", func() bool { return broken.failed.Load() > 3 })
	require.False(t, a.Status().Ready)
	broken.fail("nothing")
	require.NoError(t, a.Ready(t.Context()))
}

func TestAStorageThatDoesNotKnowItsStateStartsNothing(t *testing.T) {
	c := newCluster(t, quorum.Config{}, abc...)
	tr, err := c.network.Join("a")
	require.NoError(t, err)
	defer func() { require.NoError(t, tr.Close()) }()
	for _, what := range []string{"load", "save"} {
		broken := &brokenStorage{Memory: quorum.NewMemory()}
		broken.fail(what)
		_, err = quorum.Start(quorum.Config{Transport: tr, Ring: c.ring, Storage: broken})
		require.ErrorIs(t, err, errDisk)
	}
	damaged := quorum.NewMemory()
	require.NoError(t, damaged.SaveState([]byte("what is this")))
	_, err = quorum.Start(quorum.Config{Transport: tr, Ring: c.ring, Storage: damaged})
	require.ErrorIs(t, err, quorum.ErrCorrupt)
}

// A life of a with a fast clock introduces itself to b, slowly, acknowledges a
// write and loses its data. The next life, its clock right again, meets everyone
// and copies. Then the introduction of the former life arrives: if b took it for
// the newer one, b's acknowledgement and that of the former life would count
// together, and the write would be on b alone.
func TestALateIntroductionOfAFastClockLosesNothing(t *testing.T) {
	sim.Run(t, sim.Config{Faults: sim.Faults{Delay: sim.Constant(time.Millisecond)}}, func(w *sim.World) {
		t := w.T()
		c := newWorld(w, quorum.Config{}, abc...)
		fast := false
		c.skew = func(name string) time.Duration {
			if name == "a" && fast {
				return time.Second
			}
			return 0
		}
		for _, name := range abc {
			c.start(w.Join(name))
		}
		d := c.start(w.Join("d"))
		for _, name := range abc {
			require.NoError(t, c.stores[name].Ready(t.Context()))
		}
		time.Sleep(5 * time.Second)
		c.stop("a", true)
		c.stop("b", false)
		w.Link("a", "b").Set(sim.Faults{Delay: sim.Constant(1500 * time.Millisecond)})
		w.Cut("a", "c")
		fast = true
		w.Restart("a", func(tr *sim.Transport) { c.start(tr) })
		w.Restart("b", func(tr *sim.Transport) { c.start(tr) })
		time.Sleep(50 * time.Millisecond)
		outcome := make(chan error, 1)
		go func() {
			_, err := d.Put(t.Context(), "k", []byte("v"), quorum.Version{})
			outcome <- err
		}()
		time.Sleep(2500 * time.Microsecond) // the versions are known, the write is on its way
		w.Hold("d", "b")
		w.Cut("d", "c")
		time.Sleep(10 * time.Millisecond) // a has taken it
		c.stop("a", true)
		w.Mend("a", "c")
		w.Link("a", "b").Set(sim.Faults{Delay: sim.Constant(time.Millisecond)})
		fast = false
		w.Restart("a", func(tr *sim.Transport) { c.start(tr) })
		require.NoError(t, c.stores["a"].Ready(t.Context()))
		time.Sleep(1600 * time.Millisecond) // the late introduction has come
		w.Release("d", "b")
		acknowledged := <-outcome
		c.stop("b", false)
		value, err := c.stores["a"].Get(t.Context(), "k")
		require.NoError(t, err)
		if acknowledged == nil {
			require.Len(t, value.Siblings, 1, "the write was acknowledged")
		}
		c.stopAll()
	})
}
