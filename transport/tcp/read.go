package tcp

import (
	"fmt"
	"net"
	"slices"
	"time"
)

// readBuffer is the size of a connection's read buffer: the most that one
// system call takes in. At least one frame fits.
const readBuffer = 2 * (lengthSize + maxFrame)

// An input is what the reader gathers from the frames of one read, so that
// locks are taken and goroutines woken once for many of them.
type input struct {
	now       time.Time // when it was read; zero until needed
	requests  []*request
	responses []answer
	received  tally
}

// An answer is a response on its way to its waiter.
type answer struct {
	id     uint64
	status status
	body   []byte
	owned  bool // body is not a part of the read buffer
	waiter *waiter
}

// A reader takes frames in and acts on them.
type reader struct {
	*conn
	stream     net.Conn
	buf        []byte
	start, end int // what was read and not yet handled
	parts      assembly
	in         input
}

// read is the reader's goroutine.
func (c *conn) read() {
	if c.after != nil {
		<-c.after // messages of the connection before come first
	}
	r := &reader{
		conn: c, stream: c.link.stream(), buf: make([]byte, readBuffer),
		parts: assembly{limit: c.limit + maxHeader, buffers: &c.t.buffers},
	}
	r.run()
}

// run reads until the connection is over. A handler that ends the goroutine is
// survived on another one.
func (r *reader) run() {
	var err error
	defer func() {
		if err == nil {
			r.t.running.Go(r.run)
			return
		}
		r.fail(err)
		r.peer.readers.Add(-1)
		close(r.readDone)
	}()
	for err == nil {
		if err = r.handleBuffered(); err == nil {
			err = r.fill()
		}
	}
}

// fill reads once.
func (r *reader) fill() error {
	if r.start == r.end {
		r.start, r.end = 0, 0
	} else if len(r.buf)-r.start < lengthSize+maxFrame {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	r.life.reading.Store(true)
	n, err := r.stream.Read(r.buf[r.end:])
	r.life.reading.Store(false)
	r.life.reads.Add(1)
	r.end += n
	r.in.now = time.Time{}
	if n == 0 && err != nil {
		return fmt.Errorf("read: %w", closedByUs(err))
	}
	return nil
}

// handleBuffered handles all whole frames that were read.
func (r *reader) handleBuffered() error {
	for {
		payload, size, err := cut(r.buf[r.start:r.end], r.sums)
		if err != nil {
			return err
		}
		if size == 0 {
			return r.dispatch(&r.in)
		}
		r.start += size
		if err := r.handle(payload); err != nil {
			return err
		}
	}
}

func (r *reader) handle(payload []byte) error {
	var f frame
	if err := parse(payload, &f); err != nil {
		return err
	}
	if f.kind != kindFragment {
		return r.handleFrame(&f, nil)
	}
	whole, err := r.parts.add(&f)
	if whole == nil || err != nil {
		return err
	}
	if err := parse(whole, &f); err != nil {
		return err
	}
	if f.kind > kindResponse {
		return fmt.Errorf("%w: kind %d in fragments", errFrame, f.kind)
	}
	return r.handleFrame(&f, whole)
}

// handleFrame acts on one frame; whole is its payload if it was reassembled, and
// then belongs to it.
func (r *reader) handleFrame(f *frame, whole []byte) error {
	in := &r.in
	// A handler may append to what it is given.
	f.body = slices.Clip(f.body)
	switch f.kind {
	case kindMessage:
		// What came before must not wait for a handler.
		if err := r.dispatch(in); err != nil {
			return err
		}
		in.received.messages++
		in.received.bytes += uint64(len(f.name) + len(f.body))
		if !r.t.table.DeliverTo(f.name, r.peer.name, f.body) {
			r.peer.count.dropped.Add(1)
		}
		r.t.buffers.put(whole)
	case kindRequest:
		in.received.requests++
		in.received.bytes += uint64(len(f.name) + len(f.body))
		in.requests = append(in.requests, r.newRequest(f, in, whole))
	case kindResponse:
		in.received.responses++
		in.received.bytes += uint64(len(f.body))
		in.responses = append(in.responses, answer{id: f.id, status: f.status, body: f.body, owned: whole != nil})
	case kindCancel:
		if err := r.dispatch(in); err != nil {
			return err
		}
		r.conn.in.cancel(f.id)
	case kindPing:
		r.control(func(b []byte) []byte { return appendWord(b, kindPong, f.id, r.sums) })
	case kindPong:
		if rtt := int64(r.t.now()) - int64(f.id); rtt > 0 && int64(f.id) > 0 { // else not ours
			r.peer.count.rtt.Store(rtt)
		}
	case kindAbort:
		r.parts.drop(f.id)
	case kindConfirm:
		return fmt.Errorf("%w: confirm after the handshake", errFrame)
	}
	return nil
}

// dispatch hands over what was gathered.
func (c *conn) dispatch(in *input) error {
	c.peer.count.addIn(&in.received)
	if len(in.responses) > 0 {
		c.deliver(in.responses)
		clear(in.responses)
		in.responses = in.responses[:0]
	}
	if len(in.requests) > 0 {
		err := c.accept(in.requests)
		clear(in.requests)
		in.requests = in.requests[:0]
		return err
	}
	return nil
}

// deliver gives responses to those who wait for them.
func (c *conn) deliver(answers []answer) {
	late := 0
	c.mu.Lock()
	for i := range answers {
		if answers[i].waiter = c.calls.remove(answers[i].id); answers[i].waiter == nil {
			late++
		}
	}
	c.mu.Unlock()
	if late > 0 {
		c.peer.count.dropped.Add(uint64(late))
	}
	for i := range answers {
		a := &answers[i]
		if a.waiter == nil {
			continue
		}
		if !a.owned {
			a.body = append([]byte(nil), a.body...)
		}
		a.waiter.status, a.waiter.response = a.status, a.body
		a.waiter.signal <- struct{}{}
	}
}

// newRequest copies a request out of the read buffer, or takes whole over.
func (c *conn) newRequest(f *frame, in *input, whole []byte) *request {
	r := c.t.request()
	r.conn, r.id, r.whole = c, f.id, whole
	if whole != nil {
		r.name, r.body = f.name, f.body
	} else {
		r.buf = append(append(r.buf[:0], f.name...), f.body...)
		r.name, r.body = r.buf[:len(f.name)], r.buf[len(f.name):]
	}
	r.ctx = &requestContext{}
	if f.timeout > 0 {
		if in.now.IsZero() {
			in.now = time.Now()
		}
		r.ctx.deadline = in.now.Add(time.Duration(min(f.timeout, maxTimeout)))
	}
	return r
}

// maxTimeout keeps deadlines within what time.Time can add.
const maxTimeout = uint64(100 * 365 * 24 * time.Hour)

// refuse answers a request that is not taken on.
func refuse(r *request, s status) {
	c, id := r.conn, r.id
	c.control(func(b []byte) []byte { return appendResponse(b, id, s, nil, c.sums) })
}
