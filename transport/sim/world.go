package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/internal/event"
	"github.com/parley-go/parley/transport"
)

// A World is a network of nodes in virtual time, with the verbs that break it.
// Run makes one. All methods are safe for concurrent use within the bubble.
//
// A verb takes effect once everything else at this instant has run out, and
// before anything more arrives: it returns after that. Names need not have joined
// yet for Link and the faults of links. Misuse, such as a crash of a node that is
// not up, fails the test.
type World struct {
	t      *testing.T
	config Config
	start  time.Time
	wake   chan struct{} // tells the pump that something was posted
	done   chan struct{} // closed when the pump has ended

	// Owned by the pump.
	loop     *event.Loop[packet]
	lanes    map[laneName]*event.Lane[packet]
	trace    trace
	timer    *time.Timer
	event    event.Event[packet] // the one being carried out
	spare    []post              // the memory of the last batch
	last     time.Duration       // time of the last event
	still    int                 // events at that time
	patience int                 // how many of them are too many
	over     bool                // the run has gone on for too long

	mu      sync.Mutex
	names   map[string]*host // guarded by mu
	hosts   []*host          // by index in loop; guarded by mu
	posted  []post           // since the pump last looked; guarded by mu
	verbs   []action         // likewise
	waiting []action         // for an instant to run out; guarded by mu
	ending  bool             // guarded by mu
}

// loopback is the time from a node to itself. It is not zero, so that a node that
// does nothing but talk to itself does not stop the time.
const loopback = 10 * time.Microsecond

// standstill is the number of events at one instant that nobody means to have.
const standstill = 1 << 20

// A host is what bears a name, through crashes and restarts.
type host struct {
	name  string
	index int

	transport *Transport // nil while down; guarded by World.mu
	joined    bool       // has ever been up; guarded by World.mu
	ports     int        // given away so far; guarded by World.mu
}

func newWorld(t *testing.T, config Config) (*World, error) {
	loop, err := event.New[packet](config.Seed, config.Faults.internal(nil))
	if err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	return &World{
		t:        t,
		config:   config,
		start:    time.Now(),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		loop:     loop,
		lanes:    map[laneName]*event.Lane[packet]{},
		trace:    newTrace(config.Trace),
		names:    map[string]*host{},
		timer:    time.NewTimer(config.Limit),
		patience: standstill,
	}, nil
}

// T returns the test of the bubble, to be used in place of the one given to Run.
func (w *World) T() *testing.T { return w.t }

// Rand returns a source of random numbers for the workload of a test, from its
// beginning: the same names give the same numbers under the same seed, whatever
// else is drawn. It is not safe for concurrent use; give each goroutine its own.
func (w *World) Rand(names ...string) *rand.Rand {
	return rand.New(draw.NewStream(w.config.Seed, append([]string{"user"}, names...)...))
}

// Elapsed returns the virtual time since the start of the run.
func (w *World) Elapsed() time.Duration { return time.Since(w.start) }

// Join brings a node up and returns its transport. No node of that name may be up.
func (w *World) Join(name string) *Transport {
	w.t.Helper()
	return w.up("join", name, func(h *host) bool { return h.transport == nil })
}

// Restart brings a node that has crashed or closed its transport up again, with
// a new transport, and runs boot with it, if it is not nil. What was on the way
// to the former node may arrive at the new one.
//
// boot should start all that the node does, so that a first start reads
// boot(w.Join(name)), and derive it from Transport.Context, which ends with the
// node.
func (w *World) Restart(name string, boot func(t *Transport)) *Transport {
	w.t.Helper()
	t := w.up("restart", name, func(h *host) bool { return h.joined && h.transport == nil })
	if boot != nil {
		boot(t)
	}
	return t
}

func (w *World) up(verb, name string, allowed func(h *host) bool) *Transport {
	w.t.Helper()
	if err := transport.CheckName("node", name); err != nil {
		w.t.Errorf("sim: %s: %v", verb, err)
		return newTransport(w, &host{name: name}).dead()
	}
	var t *Transport
	w.do(verb+" "+name, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		h := w.host(name)
		if !allowed(h) {
			return
		}
		t = newTransport(w, h)
		h.transport, h.joined = t, true
		w.loop.Resume(h.index) // a new process is not stopped
		w.loop.Restart(h.index)
	})
	if t == nil {
		w.t.Errorf("sim: cannot %s node %q: it is up already, or was never, or the run has ended", verb, name)
		return newTransport(w, &host{name: name}).dead()
	}
	return t
}

// Crash takes a node down at once. Its transport answers transport.ErrClosed, its
// Context ends, its handlers' contexts end, what it has sent goes on. Other nodes
// learn of it as with TCP: their calls and connections to it fail one delay
// later, unless the network keeps that from them; one-way messages are lost in
// silence.
//
// Its goroutines cannot be killed. Those that do not watch Context go on, cut off
// from the world, and what they keep in memory or write to shared storage stays.
func (w *World) Crash(name string) {
	w.t.Helper()
	w.verb("crash", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		h := w.host(name)
		if h.transport == nil {
			return false
		}
		w.crash(h)
		return true
	}, name)
}

// crash takes a node down that is up. Called by the pump, with mu held.
func (w *World) crash(h *host) {
	w.loop.Crash(h.index)
	h.transport.leave((*conn).crash)
}

// Pause stops the network of a node that is up, as if its process hung: what
// arrives and what it sends waits until Resume, or until the node is up again
// after a crash. Its goroutines and timers cannot be stopped in a bubble: they
// run on, and see the world fall silent.
func (w *World) Pause(name string) {
	w.t.Helper()
	w.verb("pause", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		h := w.host(name)
		if h.transport == nil {
			return false
		}
		w.loop.Pause(h.index)
		return true
	}, name)
}

// Resume ends Pause. What has waited arrives, and leaves, now and in order.
func (w *World) Resume(name string) {
	w.verb("resume", func() bool { w.loop.Resume(w.index(name)); return true }, name)
}

// Partition splits the network: nothing passes between nodes of different groups,
// and what is on the way there is lost. Nobody is told: to the nodes it is a black
// hole. A node in no group reaches everyone. A later Partition takes the place of
// an earlier one; Heal ends it.
func (w *World) Partition(groups ...[]string) {
	w.t.Helper()
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = "[" + strings.Join(g, " ") + "]"
	}
	w.verb("partition", func() bool {
		members := make([][]int, len(groups))
		for i, g := range groups {
			for _, name := range g {
				members[i] = append(members[i], w.index(name))
			}
		}
		if err := w.loop.Partition(members...); err != nil {
			w.t.Errorf("sim: %v", err)
		}
		return true
	}, names...)
}

// Cut cuts the link from one node to another, in this direction only: what is on
// it and what is sent on it is lost in silence, until Heal or Mend.
func (w *World) Cut(from, to string) {
	w.verb("cut", func() bool { w.loop.Cut(w.index(from), w.index(to)); return true }, from, to)
}

// Mend undoes one Cut.
func (w *World) Mend(from, to string) {
	w.verb("mend", func() bool { w.loop.Mend(w.index(from), w.index(to)); return true }, from, to)
}

// Heal ends the partition and all cuts. Held links stay held, and what was lost
// stays lost.
func (w *World) Heal() {
	w.verb("heal", func() bool { w.loop.Heal(); return true })
}

// Hold keeps what is sent from one node to another from arriving, until Release.
func (w *World) Hold(from, to string) {
	w.verb("hold", func() bool { w.loop.Hold(w.index(from), w.index(to)); return true }, from, to)
}

// Release ends Hold. What was due in the meantime arrives now, in order.
func (w *World) Release(from, to string) {
	w.verb("release", func() bool { w.loop.Release(w.index(from), w.index(to)); return true }, from, to)
}

// Link returns the directed link from one node to another. Neither needs to have
// joined yet.
func (w *World) Link(from, to string) Link { return Link{w, from, to} }

// A Link is one direction between two nodes.
type Link struct {
	world    *World
	from, to string
}

// Set gives the link other faults, for what is sent on it from now on.
func (l Link) Set(f Faults) {
	w := l.world
	w.t.Helper()
	w.verb("set", func() bool {
		delay := w.config.Faults.Delay
		if l.from == l.to {
			delay = Constant(loopback)
		}
		if err := w.loop.Set(w.index(l.from), w.index(l.to), f.internal(delay)); err != nil {
			w.t.Errorf("sim: %v", err)
		}
		return true
	}, l.from, l.to, f.summary())
}

// Wait returns when all that can happen at this instant has happened: every
// other goroutine waits for something, and nothing is due. It takes the place of
// synctest.Wait, which must not be called in a World, for the World does.
func (w *World) Wait() {
	a := action{done: make(chan struct{})}
	w.mu.Lock()
	w.waiting = append(w.waiting, a)
	w.mu.Unlock()
	w.nudge()
	select {
	case <-a.done:
	case <-w.done:
	}
}

// Logf adds a line to the trace, and so to the hash.
func (w *World) Logf(format string, args ...any) {
	w.verb(fmt.Sprintf(format, args...), func() bool { return true })
}

// Hash returns a fingerprint of all that has happened so far: each event with its
// time, nodes, service and content. Two runs with the same hash were the same.
func (w *World) Hash() uint64 {
	var sum uint64
	w.do("", func() { sum = w.trace.digest.Sum64() })
	return sum
}

// Trace returns the last events, one on a line, as a failing test shows them.
func (w *World) Trace() string {
	var s string
	w.do("", func() { s = w.trace.String() })
	return s
}

// verb has the pump carry out an action, with a line in the trace. f reports
// whether it made sense.
func (w *World) verb(what string, f func() bool, names ...string) {
	w.t.Helper()
	line := strings.Join(append([]string{what}, names...), " ")
	ok := true
	w.do(line, func() { ok = f() })
	if !ok {
		w.t.Errorf("sim: cannot %s: it is not up", line)
	}
}

// index returns the index of a name, known or new.
func (w *World) index(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.host(name).index
}

// host returns the bearer of a name, new if need be. Called by the pump, with mu
// held.
func (w *World) host(name string) *host {
	h := w.names[name]
	if h == nil {
		h = &host{name: name, index: w.loop.Add(name)}
		if err := w.loop.Set(h.index, h.index, event.Faults{Delay: event.Constant(loopback)}); err != nil {
			panic(err) // a constant delay is valid
		}
		w.names[name] = h
		w.hosts = append(w.hosts, h)
	}
	return h
}

// transports returns those that are up, in the order of their names.
func (w *World) transports() []*Transport {
	w.mu.Lock()
	defer w.mu.Unlock()
	var up []*Transport
	for _, h := range w.hosts {
		if h.transport != nil {
			up = append(up, h.transport)
		}
	}
	slices.SortFunc(up, func(a, b *Transport) int { return strings.Compare(a.host.name, b.host.name) })
	return up
}
