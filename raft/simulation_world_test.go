package raft

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/internal/event"
)

// A simWorld is a cluster of cores in virtual time. It does for each of them what
// the driver does, lets things go wrong, and checks after every event what the
// protocol promises.
type simWorld struct {
	plan  simPlan
	rng   *rand.Rand
	loop  *event.Loop[*simItem]
	nodes []*simNode
	fate  int // the node of the loop whose timers are clients and faults
	truth simTruth
	seen  simCoverage

	until    time.Duration // the end of chaos
	troubles int           // faults that are under way
	amnesiac *simNode      // has lost its disk and not caught up
	amnesia  int           // more attempts to find a moment for it
	events   int           // so far
	quiet    int           // clients propose nothing
	ambush   int           // so many leaders to come crash early
	nextID   uint64
	trace    []string // the latest lines, if tracing
	tracing  bool
}

// A simItem is a message, or something to be done on arrival.
type simItem struct {
	m  message
	do func()
}

// A simPlan is what a seed decides in advance.
type simPlan struct {
	seed                    uint64
	voters, learners, spare int
	heartbeat, election     time.Duration
	lease                   bool
	faults                  event.Faults
	disk                    time.Duration // mean of a save
	load                    time.Duration // mean between two proposals
	calamity                time.Duration // mean between two faults
	chaos                   time.Duration
	snapshotEvery, keep     uint64
	appendBytes, inflight   int
	weights                 [simOps]int // of faults
}

// simEvents is how many events a run may have, some ten times what is usual.
const simEvents = 300_000

// simDrift is the bound on the rates of clocks, in millionths: two of them drift
// apart by a tenth at most, as the leases of a plan assume.
const simDrift = 50_000

func newSimPlan(seed uint64) simPlan {
	r := rand.New(draw.NewStream(seed, "plan"))
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	election := time.Duration(pick(150, 300, 1000)) * time.Millisecond
	p := simPlan{
		seed:   seed,
		voters: pick(3, 3, 3, 3, 3, 3, 5, 5, 5, 2, 4, 7, 1), learners: pick(0, 0, 1), spare: pick(0, 1, 2),
		heartbeat: election / time.Duration(pick(3, 5, 10)), election: election,
		lease: r.IntN(2) == 0,
		faults: event.Faults{
			Drop: 0.03 * r.Float64(), Duplicate: 0.03 * r.Float64(), Reorder: 0.03 * r.Float64(),
			Delay: event.Exponential(200*time.Microsecond, election/time.Duration(pick(50, 100, 500))),
		},
		disk:          election / time.Duration(pick(30, 100, 1000)),
		load:          election / time.Duration(pick(10, 20, 40)),
		calamity:      election / time.Duration(pick(1, 2, 4)),
		chaos:         40 * election,
		snapshotEvery: uint64(pick(5, 20, 100, 1000)), keep: uint64(pick(0, 5, 30)),
	}
	// Small messages, or few, but not both: catching up has to end some day.
	switch r.IntN(3) {
	case 0:
		p.appendBytes, p.inflight = 60, 256
	case 1:
		p.appendBytes, p.inflight = 1000, 4
	case 2:
		p.appendBytes, p.inflight = 1<<20, 1
	}
	for i := range p.weights {
		p.weights[i] = pick(0, 1, 1, 2, 5)
	}
	return p
}

func newSimWorld(plan simPlan) *simWorld {
	w := &simWorld{plan: plan, rng: rand.New(draw.NewStream(plan.seed, "chaos")), until: plan.chaos}
	var all, voters, learners []string
	for i := range plan.voters + plan.learners + plan.spare {
		name := string(rune('a' + i))
		all = append(all, name)
		switch {
		case i < plan.voters:
			voters = append(voters, name)
		case i < plan.voters+plan.learners:
			learners = append(learners, name)
		}
	}
	loop, err := event.New[*simItem](plan.seed, plan.faults, all...)
	if err != nil {
		panic(err)
	}
	w.loop, w.fate = loop, loop.Add("fate")
	w.truth.init(Membership{Voters: voters, Learners: learners})
	for i, name := range all {
		n := &simNode{w: w, id: i, name: name, ppm: w.rng.Int64N(2*simDrift) - simDrift, slow: 1}
		n.config = coreConfig{
			id: name, heartbeat: plan.heartbeat, election: plan.election,
			maxAppendBytes: plan.appendBytes, maxInflight: plan.inflight, maxInflightBytes: 1 << 20,
		}
		if i < plan.voters+plan.learners {
			n.config.voters, n.config.learners = voters, learners
		}
		if plan.lease {
			n.config.lease = plan.election - plan.election/10
		}
		w.nodes = append(w.nodes, n)
	}
	return w
}

// A simViolation is a promise that was broken.
type simViolation struct {
	invariant string
	text      string
	at        time.Duration
}

func (v *simViolation) Error() string {
	return fmt.Sprintf("invariant %q broken at %v: %s", v.invariant, v.at, v.text)
}

// breaks ends the run.
func (w *simWorld) breaks(invariant, format string, args ...any) {
	panic(&simViolation{invariant, fmt.Sprintf(format, args...), w.loop.Now()})
}

// run lives through the chaos and what follows it, and returns what broke.
func (w *simWorld) run() (broken *simViolation) {
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(*simViolation)
			if !ok {
				panic(r)
			}
			broken = v
		}
	}()
	for _, n := range w.nodes {
		n.start()
	}
	w.clients()
	w.calamities()
	w.pass(w.until)
	w.heal()
	w.recover()
	return nil
}

// pass lets events happen up to a time.
func (w *simWorld) pass(until time.Duration) {
	for {
		e, ok := w.loop.Next(until)
		if !ok {
			return
		}
		if w.events++; w.events > simEvents {
			w.breaks("messages do not multiply", "%d events", w.events)
		}
		switch {
		case e.Kind == event.Wake:
			n := w.nodes[e.To]
			n.input(func(now time.Duration) { n.core.tick(now) })
		case e.Kind > event.Wake || e.Kind == event.Dropped || e.Kind == event.Severed || e.Kind == event.Refused:
		case e.Body.do != nil:
			e.Body.do()
		default:
			n := w.nodes[e.To]
			m := e.Body.m
			w.logf("%s gets %s", n.name, &simMessage{&m})
			n.hears(&m)
		}
	}
}

// after does something later, wherever nothing else can prevent it.
func (w *simWorld) after(d time.Duration, do func()) { w.loop.After(w.fate, d, &simItem{do: do}) }

// harm does something bad later, unless the chaos is over by then or one disk is
// lost already: that is failure enough.
func (w *simWorld) harm(d time.Duration, do func()) {
	w.after(d, func() {
		if w.loop.Now() < w.until && w.amnesiac == nil {
			do()
		}
	})
}

func (w *simWorld) exponential(mean time.Duration) time.Duration {
	return time.Duration(w.rng.ExpFloat64() * float64(mean))
}

func (w *simWorld) chance(p float64) bool { return w.rng.Float64() < p }

func (w *simWorld) id() uint64 {
	w.nextID++
	return w.nextID
}

func (w *simWorld) logf(format string, args ...any) {
	if !w.tracing {
		return
	}
	if len(w.trace) > 200 {
		w.trace = append(w.trace[:0], w.trace[100:]...)
	}
	w.trace = append(w.trace, fmt.Sprintf("%11.6f  ", w.loop.Now().Seconds())+fmt.Sprintf(format, args...))
}

// byName returns the node of that name, or nil.
func (w *simWorld) byName(name string) *simNode {
	if len(name) != 1 {
		return nil
	}
	return w.nodes[name[0]-'a']
}

// leader returns the leader of the highest term, if there is one.
func (w *simWorld) leader() (best *simNode) {
	for _, n := range w.nodes {
		if n.leads() && (best == nil || n.core.term > best.core.term) {
			best = n
		}
	}
	return best
}

func (w *simWorld) anyNode() *simNode { return w.nodes[w.rng.IntN(len(w.nodes))] }

// clients propose and read until the chaos ends.
func (w *simWorld) clients() {
	var propose, read func()
	propose = func() {
		if w.loop.Now() >= w.until {
			return
		}
		if n := w.anyNode(); w.quiet > 0 {
			// Nothing.
		} else if n.leads() {
			n.propose(1 + w.rng.IntN(3))
		} else if l := w.leader(); l != nil && w.chance(0.8) {
			l.propose(1 + w.rng.IntN(3))
		}
		w.after(w.exponential(w.plan.load), propose)
	}
	read = func() {
		if w.loop.Now() >= w.until {
			return
		}
		if n := w.anyNode(); n.leads() {
			n.read(uint64(len(w.truth.entries)), nil)
		} else if n.runs() {
			n.readRemotely()
		}
		w.after(w.exponential(2*w.plan.load), read)
	}
	w.after(0, propose)
	w.after(0, read)
}

// simCommand makes the data of a command.
func simCommand(id uint64, padding int) []byte {
	return append(binary.BigEndian.AppendUint64(nil, id), make([]byte, padding)...)
}

// A simMessage is a message that prints short.
type simMessage struct{ *message }

func (m *simMessage) String() string {
	s := fmt.Sprintf("%v %s>%s t%d", m.Kind, m.From, m.To, m.Term)
	switch m.Kind {
	case msgAppend:
		s += fmt.Sprintf(" after %d/t%d %d entries commit %d round %d", m.Index, m.LogTerm, len(m.Entries), m.Commit, m.Round)
		if n := len(m.Entries); n > 0 {
			s += fmt.Sprintf(" ..%d/t%d", m.Entries[n-1].Index, m.Entries[n-1].Term)
		}
	case msgHeartbeat:
		s += fmt.Sprintf(" commit %d round %d", m.Commit, m.Round)
	case msgAppendReply, msgHeartbeatReply:
		s += fmt.Sprintf(" index %d round %d hint %d/t%d", m.Index, m.Round, m.Hint, m.LogTerm)
	default:
		s += fmt.Sprintf(" index %d/t%d", m.Index, m.LogTerm)
	}
	if m.Reject {
		s += " REJECT"
	}
	if m.Force {
		s += " FORCE"
	}
	return s
}
