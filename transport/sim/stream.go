package sim

import (
	"syscall"
	"time"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/internal/event"
)

// What is lost is sent again after retryFirst, then after twice that and so on,
// at most retryMax, until retries of them were lost too: that is a quarter of an
// hour. A dial begins with dialFirst and gives up after two minutes.
const (
	retryFirst  = 200 * time.Millisecond
	retryMax    = 2 * time.Minute
	retries     = 15
	dialFirst   = time.Second
	dialRetries = 6
)

// A stream is one direction of a connection. Guarded by World.mu.
type stream struct {
	sender, receiver *conn // receiver is nil until the connection is made

	// At the sender.
	next     uint64 // number of the next segment
	flight   int    // bytes sent that the receiver is not known to have read
	finished bool   // the last segment has been sent
	room     signal // fires when flight falls, or the connection ends

	// At the receiver.
	expect   uint64              // number of the next segment to come
	early    map[uint64]*segment // those that came before it
	unread   [][]byte
	consumed int    // bytes read since the sender was last told
	credits  uint64 // how often it was told
	ended    bool   // the last segment has come
	arrived  signal // fires when there is more to read, or the connection ends
}

// The kinds of packets of a connection, for their draws.
const (
	kindSegment = iota
	kindCredit
	kindSyn
	kindAccepted
	kindRefusal
	kindAbort
)

// post sends a packet of this end to the other. Its draws belong to the packet
// and the try, so that reading does not change the luck of writing. Called with
// World.mu held.
func (c *conn) post(p packet, kind, number uint64, tries int) {
	n := draw.At(c.key, kind<<60|number<<8|uint64(tries)) >> 1
	lane := laneName{c.owner.host, c.remote, streams, ""}
	c.owner.world.post(post{lane: lane, packet: p, id: c.id, n: n})
}

// again sends a lost packet once more, after a while that grows with the number of
// tries. It reports false when it is time to give up. Called by the pump.
func (c *conn) again(p packet, tries int, first time.Duration, most int) bool {
	if tries > most {
		return false
	}
	if c.gone {
		return true
	}
	wait := min(first<<(tries-1), retryMax)
	c.owner.world.loop.After(c.owner.host.index, wait, p)
	return true
}

// A segment is a part of a stream on its way.
type segment struct {
	stream *stream
	seq    uint64
	data   []byte
	last   bool // nothing follows
	tries  int
}

func (g *segment) label() label {
	verb := "data"
	if g.last {
		verb = "fin"
	}
	return label{verb: verb, service: g.stream.sender.id, body: g.data}
}

func (g *segment) happen(w *World, e *event.Event[packet]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from, to := g.stream.sender, g.stream.receiver
	switch e.Kind {
	case event.Timer:
		from.post(g, kindSegment, g.seq, g.tries)
	case event.Message:
		if to.err == nil {
			g.stream.accept(g)
		} else if len(g.data) > 0 {
			to.abort()
		}
	case event.Refused:
		to.abort()
	default:
		if g.tries++; !from.again(g, g.tries, retryFirst, retries) {
			from.fail(syscall.ETIMEDOUT)
		}
	}
}

// accept puts a segment in its place, and makes readable what is complete.
func (s *stream) accept(g *segment) {
	if g.seq < s.expect {
		return // a duplicate
	}
	if s.early == nil {
		s.early = map[uint64]*segment{}
	}
	s.early[g.seq] = g
	for g := s.early[s.expect]; g != nil; g = s.early[s.expect] {
		delete(s.early, s.expect)
		s.expect++
		if len(g.data) > 0 {
			s.unread = append(s.unread, g.data)
		}
		s.ended = s.ended || g.last
		s.arrived.fire()
	}
}

// A credit tells the sender of a stream that bytes have been read.
type credit struct {
	stream *stream
	number uint64
	bytes  int
	tries  int
}

func (p credit) label() label { return label{verb: "credit", service: p.stream.sender.id} }

func (p credit) happen(w *World, e *event.Event[packet]) {
	if e.Copy {
		return // the first counts
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Kind {
	case event.Timer:
		p.stream.receiver.post(p, kindCredit, p.number, p.tries)
	case event.Message:
		p.stream.flight -= p.bytes
		p.stream.room.fire()
	case event.Dropped, event.Severed:
		p.tries++
		p.stream.receiver.again(p, p.tries, retryFirst, retries)
	}
}

// A syn asks for a connection.
type syn struct {
	conn  *conn
	tries int
}

func (p syn) label() label { return label{verb: "syn", service: p.conn.id} }

func (p syn) happen(w *World, e *event.Event[packet]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := p.conn
	if c.err != nil || c.peer != nil {
		return // given up, or a duplicate
	}
	switch e.Kind {
	case event.Timer:
		c.post(p, kindSyn, 0, p.tries)
		return
	case event.Message:
		l := c.remote.transport.listeners[c.remoteAddr.port]
		if l == nil {
			c.refuse(w)
			return
		}
		if len(l.waiting) < backlog {
			far := l.accept(c)
			far.post(accepted{c, 0}, kindAccepted, 0, 0)
			return
		}
	case event.Refused:
		c.refuse(w)
		return
	}
	if p.tries++; !c.again(p, p.tries, dialFirst, dialRetries) {
		c.fail(syscall.ETIMEDOUT)
	}
}

// refuse tells the dialer that nobody listens. Called with World.mu held.
func (c *conn) refuse(w *World) {
	lane := laneName{c.remote, c.owner.host, streams, ""}
	w.post(post{lane: lane, packet: refusal{c}, id: c.id, n: draw.At(c.key, kindRefusal<<60) >> 1})
}

// An accepted packet tells the dialer that the connection is made.
type accepted struct {
	conn  *conn // of the dialer
	tries int
}

func (p accepted) label() label { return label{verb: "accept", service: p.conn.id} }

func (p accepted) happen(w *World, e *event.Event[packet]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := p.conn
	switch e.Kind {
	case event.Timer:
		c.peer.post(p, kindAccepted, 0, p.tries)
	case event.Message:
		if c.err == nil && !c.open {
			c.open = true
			close(c.established)
		}
	case event.Dropped, event.Severed:
		p.tries++
		c.peer.again(p, p.tries, dialFirst, dialRetries)
	}
}

// A refusal tells the dialer that there will be no connection.
type refusal struct{ conn *conn }

func (p refusal) label() label { return label{verb: "refuse", service: p.conn.id} }

func (p refusal) happen(w *World, e *event.Event[packet]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Kind == event.Message && !p.conn.open {
		p.conn.fail(syscall.ECONNREFUSED)
	}
}

// An abort resets the other end. It is sent once: if it is lost, the other end
// learns when it next sends something.
type abort struct{ from *conn }

// abort resets the other end. Called with World.mu held.
func (c *conn) abort() {
	c.aborts++
	c.post(abort{c}, kindAbort, c.aborts, 0)
}

func (p abort) label() label { return label{verb: "reset", service: p.from.id} }

func (p abort) happen(w *World, e *event.Event[packet]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Kind == event.Message && p.from.peer != nil {
		p.from.peer.fail(syscall.ECONNRESET)
	}
}
