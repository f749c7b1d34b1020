package tcp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/service"
	"github.com/parley-go/parley/transport"
)

const (
	// maxIdle is how many workers a connection keeps for the next requests.
	maxIdle = 16
	// maxKept is the largest request buffer kept for the next request.
	maxKept = 8 << 10
	// maxErrorText bounds the text of a handler's error on the wire.
	maxErrorText = 4 << 10
)

// A request is one that a peer has made and a handler answers.
type request struct {
	conn  *conn
	id    uint64
	ctx   *requestContext
	name  []byte
	body  []byte
	buf   []byte // holds name and body, if whole does not
	whole []byte // a reassembled payload
	next  *request
}

// Reply sends the outcome of the handler to the caller.
func (r *request) Reply(response []byte, err error) {
	s := statusOK
	switch {
	case err == nil:
	case errors.Is(err, transport.ErrNoService):
		s = statusNoService
	default:
		text := err.Error()
		s, response = statusError, []byte(text[:min(len(text), maxErrorText, r.conn.limit)])
	}
	// Once its time is up the caller must learn just that, not what the handler
	// made of it; and a node that closes answers nobody.
	if !r.ctx.end(context.Canceled) && !r.conn.t.closed() {
		r.conn.respond(r.id, s, response)
	}
}

var _ service.Replier = (*request)(nil)

// incoming holds the requests of one peer that are taken on, and the goroutines
// that answer them. Requests of one read are queued under one lock with one
// wake-up. A worker that finds more of them waiting wakes the next before it
// starts, unless one is on its way already: a handler that blocks never holds up
// the queue, and quick ones do not cost a wake-up each.
type incoming struct {
	maxCount, maxBytes int64
	taken              *taken

	mu          sync.Mutex
	first, last *request   // wait for a worker
	slots       []*request // all taken on, by the slot of their number
	idle        []*worker
	waking      bool // a worker was woken and does not run yet
	closed      bool
}

// taken counts the requests of one peer that are taken on. Handlers may outlive
// their connection: a peer that comes back does not start from nothing.
type taken struct {
	count, bytes atomic.Int64
}

// full reports whether there is no room for one more of n bytes. Only one
// reader of a peer takes requests on at a time, all others only end them.
func (t *taken) full(in *incoming, n int) bool {
	return t.count.Load() >= in.maxCount || t.bytes.Load()+int64(n) > in.maxBytes
}

type worker struct {
	wake chan struct{} // 1 slot
}

func (in *incoming) init(config *Config, taken *taken) {
	in.taken = taken
	// Twice what the peer was told: it counts a call as over when its response
	// arrives, or when the caller gives up, we when the handler has returned.
	in.maxCount = int64(2 * config.MaxCalls)
	in.maxBytes = int64(config.MaxQueue)
	in.slots = make([]*request, min(config.MaxCalls, 16))
}

// accept takes requests on, or refuses them.
func (c *conn) accept(requests []*request) error {
	in := &c.in
	for _, r := range requests {
		if slot := int(r.id & slotMask); slot >= c.t.config.MaxCalls {
			return fmt.Errorf("%w: call number %d is over the limit of %d calls", errFrame, slot, c.t.config.MaxCalls)
		}
	}
	refused := 0
	var orphans []*requestContext
	in.mu.Lock()
	for _, r := range requests {
		if in.closed {
			break
		}
		if in.taken.full(in, len(r.body)) {
			requests[refused] = r
			refused++
			continue
		}
		if before := in.add(r, int(r.id&slotMask)); before != nil {
			orphans = append(orphans, before.ctx)
		}
	}
	wake, sleeper := in.wakeNext()
	in.mu.Unlock()
	c.wake(wake, sleeper)
	for _, ctx := range orphans {
		ctx.end(context.Canceled)
	}
	for _, r := range requests[:refused] {
		c.peer.count.overflows.Add(1)
		refuse(r, statusOverflow)
		c.t.release(r)
	}
	return nil
}

// add queues a request. It returns the one that had its slot before and still
// runs: the caller has no more use for it. The caller holds mu.
func (in *incoming) add(r *request, slot int) (before *request) {
	in.taken.count.Add(1)
	in.taken.bytes.Add(int64(len(r.body)))
	if slot >= len(in.slots) {
		grown := make([]*request, max(slot+1, 2*len(in.slots)))
		copy(grown, in.slots)
		in.slots = grown
	}
	before, in.slots[slot] = in.slots[slot], r
	if in.last == nil {
		in.first = r
	} else {
		in.last.next = r
	}
	in.last = r
	return before
}

// wakeNext says whether a worker should be woken, and which: none if one must be
// started. The caller holds mu, and calls conn.wake without it.
func (in *incoming) wakeNext() (wake bool, w *worker) {
	if in.first == nil || in.waking {
		return false, nil
	}
	in.waking = true
	if n := len(in.idle); n > 0 {
		w = in.idle[n-1]
		in.idle = in.idle[:n-1]
	}
	return true, w
}

func (c *conn) wake(wake bool, w *worker) {
	switch {
	case !wake:
	case w == nil:
		c.t.running.Go(c.work)
	default:
		w.wake <- struct{}{}
	}
}

// work is a worker's goroutine: it answers requests until none are left.
func (c *conn) work() {
	w := &worker{wake: make(chan struct{}, 1)}
	var r *request
	// Only for handlers that end the goroutine: after next, there is no request.
	defer func() {
		if r != nil {
			c.in.finish(r)
		}
	}()
	for woken := true; ; {
		var parked bool
		if r, parked = c.next(w, r, woken); r != nil {
			woken = false
			if !r.ctx.over() { // else nobody waits for the answer any more
				c.t.table.AnswerTo(r.ctx, r.name, c.peer.name, r.body, r)
			}
			continue
		}
		if !parked {
			return
		}
		<-w.wake
		woken = true
	}
}

// next ends the request before and returns the next one. Without one, the worker
// is parked, or has to go.
func (c *conn) next(w *worker, before *request, woken bool) (r *request, parked bool) {
	in := &c.in
	in.mu.Lock()
	if before != nil {
		in.remove(before)
	}
	if woken {
		in.waking = false
	}
	r = in.first
	if r != nil {
		in.first, r.next = r.next, nil
		if in.first == nil {
			in.last = nil
		}
	} else if !in.closed && len(in.idle) < maxIdle {
		in.idle = append(in.idle, w)
		parked = true
	}
	wake, sleeper := in.wakeNext()
	in.mu.Unlock()
	c.wake(wake, sleeper)
	if before != nil {
		c.t.release(before)
	}
	return r, parked
}

func (in *incoming) finish(r *request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.remove(r)
}

// remove ends a request; the caller holds mu.
func (in *incoming) remove(r *request) {
	in.taken.count.Add(-1)
	in.taken.bytes.Add(-int64(len(r.body)))
	if slot := r.id & slotMask; in.slots[slot] == r {
		in.slots[slot] = nil
	}
}

// cancel ends the context of a request whose caller gave up.
func (in *incoming) cancel(id uint64) {
	var ctx *requestContext
	in.mu.Lock()
	if slot := int(id & slotMask); slot < len(in.slots) {
		if r := in.slots[slot]; r != nil && r.id == id {
			ctx = r.ctx
		}
	}
	in.mu.Unlock()
	if ctx != nil {
		ctx.end(context.Canceled)
	}
}

// cancelAll ends the contexts of all requests.
func (in *incoming) cancelAll(cause error) {
	in.mu.Lock()
	all := in.contexts()
	in.mu.Unlock()
	for _, ctx := range all {
		ctx.end(cause)
	}
}

// contexts returns the contexts of all requests; the caller holds mu.
func (in *incoming) contexts() (all []*requestContext) {
	for _, r := range in.slots {
		if r != nil {
			all = append(all, r.ctx)
		}
	}
	return all
}

// close ends the contexts of all requests, drops those that wait, and lets the
// workers go.
func (in *incoming) close(cause error) {
	in.mu.Lock()
	in.closed = true // at once with the look at what there is: nothing slips in between
	all := in.contexts()
	for in.first != nil {
		r := in.first
		in.first, r.next = r.next, nil
		in.remove(r)
	}
	in.last = nil
	for _, w := range in.idle {
		w.wake <- struct{}{}
	}
	in.idle = nil
	in.mu.Unlock()
	for _, ctx := range all {
		ctx.end(cause)
	}
}
