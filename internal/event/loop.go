package event

import (
	"fmt"
	"time"

	"github.com/parley-go/parley/internal/draw"
)

// A Kind says what an Event is.
type Kind uint8

// The kinds of events.
const (
	Message Kind = iota // a message reached its node
	Dropped             // a message was lost by chance
	Severed             // a message was lost because the link was cut on its way, or before
	Refused             // a message reached a node that is down
	Timer               // a timer of a node, set by After, is due
	Wake                // the time that a node set by WakeAt has come
)

// String returns the kind in one word, for traces.
func (k Kind) String() string {
	if names := [...]string{"message", "dropped", "severed", "refused", "timer", "wake"}; int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// An Event is what Next returns. Every message that is sent comes out once as
// arrived or as lost, and a duplicated one twice.
type Event[M any] struct {
	Kind     Kind
	Twin     bool   // of a duplicated message, which arrives twice
	Copy     bool   // its second arrival
	From, To int    // nodes; for a Timer the same
	N        uint64 // number of the message in its lane; of the timer in its node
	Sent     time.Duration
	At       time.Duration // of the event
	Body     M
}

// A Loop is a network of nodes in virtual time. It holds what is on the way and
// what is wrong with the links, and gives out one event after the other. The
// zero value is not usable; call New. It is not safe for concurrent use.
type Loop[M any] struct {
	seed     uint64
	defaults Faults
	now      time.Duration
	queue    Queue[parcel[M]]
	nodes    []*node[M]
	hash     uint64
	grouped  bool // whether a partition is in force
}

// A parcel is an event on its way.
type parcel[M any] struct {
	lane       *Lane[M]
	n          uint64
	sent       time.Duration
	mark       uint32 // the era of its link; for a timer, the life of its node
	kind       Kind
	twin, copy bool
	landed     bool // it has left its link and waits in the inbox of a paused node
	body       M
}

type node[M any] struct {
	name   string
	timers Lane[M]
	alarm  alarm
	links  []*link[M] // by destination; nil where nothing was ever sent
	life   uint32     // number of crashes: a timer of an earlier life is void
	down   bool
	paused bool
	group  int         // in the partition; 0: in none
	inbox  []parcel[M] // due while paused
	outbox []outgoing[M]
}

// An alarm is the one time at which a node wants to be woken. Moving it on does
// not push another event: the pending one moves when it is due.
type alarm struct {
	at      time.Duration
	pending time.Duration // time of the valid event in the queue
	event   uint64        // its number; 0: none
}

type outgoing[M any] struct {
	lane *Lane[M]
	n    uint64
	size int
	body M
}

// New returns a Loop of the given nodes, all up, whose links have the given
// faults. Nodes are known by their index, names only name their draws.
func New[M any](seed uint64, faults Faults, nodes ...string) (*Loop[M], error) {
	if err := faults.Validate(); err != nil {
		return nil, err
	}
	l := &Loop[M]{seed: seed, defaults: faults}
	for _, name := range nodes {
		l.Add(name)
	}
	return l, nil
}

// Add adds a node, up, and returns its index.
func (l *Loop[M]) Add(name string) int {
	i := len(l.nodes)
	n := &node[M]{name: name}
	n.timers = Lane[M]{link: &link[M]{from: i, to: i}, key: draw.Key(l.seed, "timer", name)}
	l.nodes = append(l.nodes, n)
	return i
}

// Now returns the virtual time since the start.
func (l *Loop[M]) Now() time.Duration { return l.now }

// Hash returns a fingerprint of all events so far: their kinds, times, nodes and
// numbers. Two runs that did the same have the same.
func (l *Loop[M]) Hash() uint64 { return l.hash }

// Lane returns a new stream of messages on a link. The name sets its draws. In
// an ordered lane no message overtakes another, unless Reorder or Duplicate say
// so; in another, each arrives at its own time.
func (l *Loop[M]) Lane(from, to int, name string, ordered bool) *Lane[M] {
	lane := l.link(from, to).lane(l, name, ordered)
	return &lane
}

// Send sends a message of size bytes on the link's own ordered lane.
func (l *Loop[M]) Send(from, to, size int, body M) {
	lane := &l.link(from, to).main
	l.SendOn(lane, lane.Take(), size, body)
}

// SendOn sends message n of a lane. Equal n have equal draws: an answer that
// takes the number of its request has the same luck whenever it is given.
func (l *Loop[M]) SendOn(lane *Lane[M], n uint64, size int, body M) {
	k := lane.link
	if from := l.nodes[k.from]; from.paused {
		from.outbox = append(from.outbox, outgoing[M]{lane, n, size, body})
		return
	}
	k.busy = max(k.busy, l.now) + k.faults.transmission(size)
	c := lane.plot(n, &k.faults, k.busy)
	kind := Message
	switch {
	case k.blocked():
		kind = Severed
	case c.dropped:
		kind = Dropped
	}
	p := l.push(c.arrival, lane, n, false)
	p.kind, p.sent, p.mark, p.body = kind, l.now, k.era, body
	if c.duplicated && kind == Message {
		p.twin = true
		p := l.push(c.second, lane, n, true)
		p.twin, p.sent, p.mark, p.body = true, l.now, k.era, body
	}
}

// After gives the node a Timer event with the body after d. It fires once; a
// crash of the node voids it, a pause delays it.
func (l *Loop[M]) After(node int, d time.Duration, body M) {
	nd := l.nodes[node]
	n := nd.timers.Take()
	p := l.push(l.now+max(d, 0), &nd.timers, n, false)
	p.kind, p.sent, p.mark, p.body = Timer, l.now, nd.life, body
}

// WakeAt sets the time of the node's next Wake event, in place of the one set
// before. A crash of the node voids it, a pause delays it.
func (l *Loop[M]) WakeAt(node int, at time.Duration) {
	a := &l.nodes[node].alarm
	a.at = at
	if a.event == 0 || at < a.pending {
		l.arm(node, at)
	}
}

func (l *Loop[M]) arm(node int, at time.Duration) {
	n := l.nodes[node]
	number := n.timers.Take() + 1
	n.alarm.pending, n.alarm.event = at, number
	p := l.push(max(at, l.now), &n.timers, number, false)
	p.kind, p.sent, p.mark = Wake, l.now, n.life
}

// ring decides whether Wake event n wakes the node.
func (l *Loop[M]) ring(node int, n uint64) bool {
	a := &l.nodes[node].alarm
	switch {
	case n != a.event:
		return false // another took its place
	case a.at > l.now:
		l.arm(node, a.at)
		return false
	}
	*a = alarm{}
	return true
}

// push puts a parcel into the queue and returns it, to be filled. Those that are
// due at the same time come out lane by lane, in an order of lanes that changes
// from time to time.
func (l *Loop[M]) push(at time.Duration, lane *Lane[M], n uint64, copy bool) *parcel[M] {
	seq := 2 * n
	if copy {
		seq++
	}
	p := l.queue.Push(Key{At: at, Tie: draw.At(lane.key, uint64(at)), Seq: seq})
	p.lane, p.n, p.copy = lane, n, copy
	return p
}

// Due returns the time of the first thing that may happen next, if there is any.
func (l *Loop[M]) Due() (at time.Duration, ok bool) {
	k, ok := l.queue.First()
	return k.At, ok
}

// Advance moves the time on to the given one, but not past what is due.
func (l *Loop[M]) Advance(to time.Duration) {
	if at, ok := l.Due(); ok {
		to = min(to, at)
	}
	l.now = max(l.now, to)
}

// Next moves the time to the next event that is due by the given time, and
// returns it. If there is none, it moves the time to that time.
func (l *Loop[M]) Next(until time.Duration) (e Event[M], ok bool) {
	for {
		k, ok := l.queue.First()
		if !ok || k.At > until {
			l.now = max(l.now, until)
			return e, false
		}
		k, p := l.queue.Pop()
		l.now = max(l.now, k.At)
		due := *p
		*p = parcel[M]{}
		if !l.arrive(&due) {
			continue
		}
		from, to := due.lane.link.from, due.lane.link.to
		l.hash = draw.At(l.hash^uint64(from)<<40^uint64(to)<<16^uint64(due.kind)^k.Seq<<4, uint64(l.now))
		return Event[M]{
			Kind: due.kind, Twin: due.twin, Copy: due.copy,
			From: from, To: to, N: due.n, Sent: due.sent, At: l.now, Body: due.body,
		}, true
	}
}

// arrive decides at the time of arrival whether a parcel is an event now, and of
// which kind. A parcel that has to wait is put where it waits.
func (l *Loop[M]) arrive(p *parcel[M]) bool {
	k := p.lane.link
	to := l.nodes[k.to]
	switch {
	case p.kind == Dropped || p.kind == Severed:
		return true
	case p.kind >= Timer && p.mark != to.life:
		return false
	}
	if p.kind == Message && !p.landed {
		if p.mark != k.era {
			p.kind = Severed
			return true
		}
		if k.held {
			k.parked = append(k.parked, *p)
			return false
		}
	}
	if p.kind == Message && to.down {
		p.kind = Refused
		return true
	}
	if to.paused {
		p.landed = true
		to.inbox = append(to.inbox, *p)
		return false
	}
	return p.kind != Wake || l.ring(k.to, p.n)
}

func (l *Loop[M]) link(from, to int) *link[M] {
	n := l.nodes[from]
	if to < len(n.links) && n.links[to] != nil {
		return n.links[to]
	}
	return l.newLink(from, to)
}

func (l *Loop[M]) newLink(from, to int) *link[M] {
	n := l.nodes[from]
	for len(n.links) < len(l.nodes) {
		n.links = append(n.links, nil)
	}
	k := &link[M]{from: from, to: to}
	k.main = k.lane(l, "", true)
	if from != to {
		k.faults = l.defaults
	}
	k.split = l.separate(from, to)
	n.links[to] = k
	return k
}
