package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/internal/event"
	"github.com/parley-go/parley/transport"
)

// A call is one request of one caller.
type call struct {
	from     *Transport
	to       *host
	service  string
	request  []byte
	deadline time.Time // zero: none
	outcome  chan outcome

	n    uint64 // among the calls of this service on this link; set by the pump
	runs []*run // of its handler: two if it was duplicated; guarded by World.mu
}

type outcome struct {
	response []byte
	err      error
}

// Call sends a request and waits for the response; see transport.Transport. If
// the request or the response is lost, Call waits for the end of ctx. A node that
// is down, or goes down, answers with ErrUnreachable after the time that this
// takes on the way; one that is cut off does not answer.
func (t *Transport) Call(ctx context.Context, to, service string, request []byte) (response []byte, err error) {
	if err := t.check(to, service, request); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, transport.ContextError(ctx)
	}
	c := &call{from: t, service: service, request: bytes.Clone(request), outcome: make(chan outcome, 1)}
	c.deadline, _ = ctx.Deadline()

	w := t.world
	w.mu.Lock()
	h, p, err := t.reach(to, service)
	if err == nil && p.calls >= w.config.Queue {
		err = failure(transport.ErrOverflow, to, service)
	}
	if err != nil {
		w.mu.Unlock()
		return nil, err
	}
	c.to = h
	p.calls++
	w.post(post{lane: laneName{t.host, h, requests, service}, packet: requested{c}, call: c})
	w.mu.Unlock()

	o, answered := c.wait(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	p.calls--
	if !answered {
		w.post(post{lane: laneName{t.host, h, cancels, service}, packet: cancel{c}, call: c})
	}
	return o.response, o.err
}

// wait returns the outcome. Where several things end the call at one instant, the
// choice is not left to select.
func (c *call) wait(ctx context.Context) (o outcome, answered bool) {
	select {
	case o := <-c.outcome:
		return o, true
	case <-ctx.Done():
	case <-c.from.ctx.Done():
	}
	select {
	case o := <-c.outcome:
		return o, true
	default:
	}
	if c.from.ctx.Err() != nil {
		return outcome{err: failure(transport.ErrClosed, c.to.name, c.service)}, false
	}
	return outcome{err: transport.ContextError(ctx)}, false
}

// answer posts the response. Called with World.mu held.
func (c *call) answer(w *World, body []byte, err error) {
	lane := laneName{c.to, c.from.host, responses, c.service}
	w.post(post{lane: lane, packet: response{c, body, err}, call: c})
}

// requested is a call on its way to the handler.
type requested struct{ *call }

func (p requested) label() label { return label{verb: "call", service: p.service, body: p.request} }

func (p requested) happen(w *World, e *event.Event[packet]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Kind {
	case event.Message:
		r := &run{call: p.call, on: w.hosts[e.To].transport, request: p.request}
		if e.Twin {
			r.request = bytes.Clone(p.request)
		}
		if p.deadline.IsZero() {
			r.ctx, r.cancel = context.WithCancel(r.on.ctx)
		} else {
			r.ctx, r.cancel = context.WithDeadline(r.on.ctx, p.deadline)
		}
		r.on.runs[r] = struct{}{}
		p.runs = append(p.runs, r)
		go r.handle()
	case event.Refused:
		p.answer(w, nil, failure(transport.ErrUnreachable, p.to.name, p.service))
	}
}

// A cancel tells the handlers of a call that the caller has given up.
type cancel struct{ *call }

func (p cancel) label() label { return label{verb: "cancel", service: p.service} }

func (p cancel) happen(w *World, e *event.Event[packet]) {
	if e.Kind != event.Message {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range p.runs {
		r.cancel()
	}
}

// A response is what came of a call, on its way back.
type response struct {
	*call
	body []byte
	err  error
}

func (p response) label() label {
	verb := "response"
	if p.err != nil {
		verb = "error"
	}
	return label{verb: verb, service: p.service, body: p.body}
}

func (p response) happen(_ *World, e *event.Event[packet]) {
	if e.Kind != event.Message {
		return
	}
	select {
	case p.outcome <- outcome{p.body, p.err}:
	default: // answered already: the call was duplicated
	}
}

// A run is one run of a call's handler.
type run struct {
	call    *call
	on      *Transport
	request []byte
	ctx     context.Context
	cancel  context.CancelFunc
}

func (r *run) handle() {
	defer r.on.world.blame()
	defer r.cancel()
	r.on.services.Answer(r.ctx, r.call.service, r.call.from.host.name, r.request, r)
}

// Reply sends what the handler returned. It is the service.Replier of the run.
func (r *run) Reply(body []byte, err error) {
	w := r.on.world
	to, service := r.on.host.name, r.call.service
	var copied []byte
	switch limit := w.config.MaxMessage; {
	case errors.Is(err, transport.ErrNoService):
		err = failure(transport.ErrNoService, to, service)
	case err != nil:
		err = &transport.RemoteError{Node: to, Service: service, Message: err.Error()}
	case len(body) > limit:
		err = fmt.Errorf("%w: %d bytes in the response of %s on %s, the limit is %d", transport.ErrTooLarge, len(body), service, to, limit)
	default:
		copied = bytes.Clone(body)
	}
	poison(r.request)

	w.mu.Lock()
	defer w.mu.Unlock()
	if r.on.closed {
		return
	}
	delete(r.on.runs, r)
	r.call.answer(w, copied, err)
}
