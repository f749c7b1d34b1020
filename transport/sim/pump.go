package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/event"
)

// A packet is what travels in the event loop.
type packet interface {
	// label describes it.
	label() label
	// happen carries out an event. Called by the pump.
	happen(w *World, e *event.Event[packet])
}

// A post is a packet that a node has handed to the network and the pump has not
// seen yet. Goroutines that run at the same instant post in an order that no seed
// decides, so the pump sorts: by lane, and within a lane by content for requests,
// whose order nobody is promised. Only messages keep the order of their coming.
type post struct {
	lane   laneName
	packet packet
	call   *call  // of a request, response or cancel; else nil
	id     string // of a connection's packet: the connection
	n      uint64 // likewise: the number of its draws
}

// A laneName identifies a stream of packets that share their draws.
type laneName struct {
	from, to *host
	kind     laneKind
	service  string
}

type laneKind uint8

// Requests come first, for they get the numbers that responses and cancels use.
const (
	requests laneKind = iota
	messages
	responses
	cancels
	streams
)

func (k laneKind) String() string {
	return [...]string{"call", "send", "response", "cancel", "stream"}[k]
}

func comparePosts(a, b post) int {
	if c := cmp.Or(
		strings.Compare(a.lane.from.name, b.lane.from.name),
		strings.Compare(a.lane.to.name, b.lane.to.name),
		cmp.Compare(a.lane.kind, b.lane.kind),
		strings.Compare(a.lane.service, b.lane.service),
	); c != 0 {
		return c
	}
	switch a.lane.kind {
	case requests:
		return bytes.Compare(a.call.request, b.call.request)
	case responses, cancels:
		return cmp.Compare(a.call.n, b.call.n)
	case streams:
		return cmp.Or(strings.Compare(a.id, b.id), cmp.Compare(a.n, b.n))
	default:
		return 0
	}
}

// An action is something for the pump to do.
type action struct {
	line string // of the trace; none if empty
	f    func()
	done chan struct{}
}

// do has the pump run f, and returns when it has, or the run has ended.
func (w *World) do(line string, f func()) {
	a := action{line, f, make(chan struct{})}
	w.mu.Lock()
	w.verbs = append(w.verbs, a)
	w.mu.Unlock()
	w.nudge()
	select {
	case <-a.done:
	case <-w.done:
	}
}

func (w *World) nudge() {
	select {
	case w.wake <- struct{}{}:
	default: // it is about to look
	}
}

// post hands a packet to the pump. Called with mu held.
func (w *World) post(p post) {
	w.posted = append(w.posted, p)
	if len(w.posted) == 1 {
		w.nudge()
	}
}

// pump is the one goroutine that moves the world. It does one thing at a time and
// then lets everything run until all goroutines wait, so that what one event sets
// off has ended before the next begins. At one instant, first goes what the nodes'
// own timers set off, then what was sent, then the verbs, then what arrives.
func (w *World) pump() {
	defer close(w.done)
	for {
		synctest.Wait()
		now := w.Elapsed()
		w.loop.Advance(now)
		w.commit()
		if w.act(now) {
			continue
		}
		if w.next(now) {
			continue
		}
		if w.settle() {
			continue
		}
		if w.stop() {
			return
		}
		w.sleep(now)
	}
}

// commit sends what was posted.
func (w *World) commit() {
	w.mu.Lock()
	posted := w.posted
	w.posted, w.spare = w.spare[:0], posted
	w.mu.Unlock()
	if len(posted) == 0 {
		return
	}
	defer clear(posted)

	slices.SortStableFunc(posted, func(a, b post) int {
		return cmp.Compare(min(a.lane.kind, messages), min(b.lane.kind, messages))
	})
	rest := slices.IndexFunc(posted, func(p post) bool { return p.lane.kind != requests })
	if rest < 0 {
		rest = len(posted)
	}
	for _, part := range [][]post{posted[:rest], posted[rest:]} {
		slices.SortStableFunc(part, comparePosts)
		for _, p := range part {
			w.send(p)
		}
	}
}

// send sends one packet. Called by the pump.
func (w *World) send(p post) {
	lane := w.lane(p.lane)
	n := p.n
	switch p.lane.kind {
	case messages:
		n = lane.Take()
	case requests:
		n = lane.Take()
		p.call.n = n
	case responses, cancels:
		n = p.call.n
	}
	w.loop.SendOn(lane, n, len(p.packet.label().body), p.packet)
}

func (w *World) lane(name laneName) *event.Lane[packet] {
	lane := w.lanes[name]
	if lane == nil {
		lane = w.loop.Lane(name.from.index, name.to.index, name.kind.String()+" "+name.service, name.kind == messages)
		w.lanes[name] = lane
	}
	return lane
}

// act runs the verbs that were called for, and reports whether there were any.
func (w *World) act(now time.Duration) bool {
	w.mu.Lock()
	verbs := w.verbs
	w.verbs = nil
	w.mu.Unlock()
	slices.SortStableFunc(verbs, func(a, b action) int { return strings.Compare(a.line, b.line) })
	for _, a := range verbs {
		if a.line != "" {
			w.trace.add(record{at: now, what: a.line}, w.config.Trace)
		}
		a.f()
	}
	for _, a := range verbs {
		close(a.done)
	}
	return len(verbs) > 0
}

// next carries out one event that is due, and reports whether there was one.
func (w *World) next(now time.Duration) (ok bool) {
	e := &w.event
	if *e, ok = w.loop.Next(now); !ok {
		return false
	}
	w.moves(now)
	w.mu.Lock()
	from, to := w.hosts[e.From], w.hosts[e.To]
	if e.Kind == event.Message && to.transport == nil {
		e.Kind = event.Refused
	}
	w.mu.Unlock()
	w.trace.add(record{
		at: e.At, what: e.Kind.String(), from: from.name, to: to.name,
		packet: e.Body.label(), n: e.N,
	}, w.config.Trace)
	e.Body.happen(w, e)
	return true
}

// settle lets those go on who wait for the instant to run out.
func (w *World) settle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.waiting {
		close(a.done)
	}
	n := len(w.waiting)
	w.waiting = nil
	return n > 0
}

func (w *World) stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ending
}

// sleep waits for the next event, or for something to be posted.
func (w *World) sleep(now time.Duration) {
	limit := w.config.Limit
	if w.over {
		limit *= 2
	}
	if now >= limit {
		w.overrun(fmt.Sprintf("the run has reached %v of virtual time, see Config.Limit", limit))
		return
	}
	until := limit
	if at, ok := w.loop.Due(); ok {
		until = min(until, at)
	}
	w.timer.Reset(until - now)
	select {
	case <-w.timer.C:
	case <-w.wake:
		w.timer.Stop()
	}
}

// moves counts the events of one instant: a run in which time stands still never
// reaches its limit.
func (w *World) moves(now time.Duration) {
	if now > w.last {
		w.last, w.still = now, 0
	}
	if w.still++; w.still%w.patience == 0 {
		w.overrun(fmt.Sprintf("%d events at one instant: time does not move on", w.still))
	}
}

// overrun ends a run that goes on for too long.
func (w *World) overrun(what string) {
	if w.over {
		panic("sim: with all nodes down, " + what)
	}
	w.over = true
	w.t.Errorf("sim: %s", what)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.hosts {
		if h.transport != nil {
			w.crash(h)
		}
	}
}
