package raft

import (
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/parley-go/parley/transport"
)

// An outbox collects what can wait until the others of one pass are done, the
// heartbeats of many groups and their answers, to send it as one body a peer.
type outbox struct {
	parcels []parcel
}

type parcel struct {
	to   string
	body []byte
}

const (
	collectedBody = 32 << 10        // a parcel that has got this long is sent
	largestBody   = 2 * appendBytes // of several appends to one follower
)

// send sends what the core put out, in order. Called with the node's lock held:
// Transport.Send does not block, and the order is kept.
//
// What goes to one peer makes one body, so that a follower can save it at once;
// and as the same appends go to all followers most of the time, they are encoded
// once, if they are not a frame already.
func (h *Host) send(n *Node, out *outbox) {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	messages := n.core.messages
	var last []message
	var body []byte
	var framed bool
	for i := 0; i < len(messages); {
		m := &messages[i]
		if out != nil && (m.Kind == msgHeartbeat || m.Kind == msgHeartbeatReply) {
			h.collect(n, m, out)
			i++
			continue
		}
		run := messages[i : i+runLength(messages[i:])]
		i += len(run)
		if !sameContent(last, run) {
			if f := n.frameOf(run); f != nil {
				body, framed = f.seal(n.config.Group, m), true
			} else {
				e.body = append(e.body[:0], wireVersion)
				for k := range run {
					e.body = appendMessage(e.body, n.config.Group, &run[k])
				}
				body, framed = e.body, false
			}
		}
		last = run
		send := h.config.Transport.Send
		if framed {
			send = h.sendShared
		}
		n.sent(send(m.To, h.config.Service, body), len(run), len(body))
	}
	clear(messages)
	n.core.messages = messages[:0]
	if cap(e.body) > 2*largestBody {
		e.body = nil
	}
}

// runLength returns how many of the messages, at least one, go to one peer and
// make a body that is not too large.
func runLength(messages []message) int {
	size := 0
	for i := range messages {
		size += sizeOf(messages[i].Entries)
		if i > 0 && (messages[i].To != messages[0].To || size > largestBody) {
			return i
		}
	}
	return len(messages)
}

// sameContent reports whether two runs differ in their receivers alone.
func sameContent(a, b []message) bool {
	return slices.EqualFunc(a, b, func(a, b message) bool {
		if len(a.Entries) != len(b.Entries) || len(a.Entries) > 0 && &a.Entries[0] != &b.Entries[0] {
			return false
		}
		return a.Kind == b.Kind && a.Term == b.Term && a.Index == b.Index && a.LogTerm == b.LogTerm && a.Hint == b.Hint &&
			a.Commit == b.Commit && a.Round == b.Round && a.Reject == b.Reject && a.Force == b.Force && a.Newborn == b.Newborn
	})
}

// An encoder is a buffer for a body.
type encoder struct{ body []byte }

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// collect adds a message to the parcel of its receiver.
func (h *Host) collect(n *Node, m *message, out *outbox) {
	p := out.parcel(m.To)
	if len(p.body) == 0 {
		p.body = append(p.body, wireVersion)
	}
	before := len(p.body)
	p.body = appendMessage(p.body, n.config.Group, m)
	n.sent(nil, 1, len(p.body)-before)
	if len(p.body) >= collectedBody {
		h.sendParcel(p)
	}
}

func (o *outbox) parcel(to string) *parcel {
	for i := range o.parcels {
		if o.parcels[i].to == to {
			return &o.parcels[i]
		}
	}
	if len(o.parcels) < cap(o.parcels) {
		o.parcels = o.parcels[:len(o.parcels)+1] // with the buffer that it had
	} else {
		o.parcels = append(o.parcels, parcel{})
	}
	p := &o.parcels[len(o.parcels)-1]
	p.to = to
	return p
}

// sendAll sends what was collected, and empties the outbox.
func (h *Host) sendAll(out *outbox) {
	for i := range out.parcels {
		h.sendParcel(&out.parcels[i])
	}
	out.parcels = out.parcels[:0]
}

func (h *Host) sendParcel(p *parcel) {
	if len(p.body) > 0 {
		// A heartbeat that is lost is followed by another.
		_ = h.config.Transport.Send(p.to, h.config.Service, p.body)
	}
	p.body = p.body[:0]
}

// sent counts what was sent. Called with mu held. What is not delivered, for
// whatever reason, is sent again by the core.
func (n *Node) sent(err error, messages, bytes int) {
	n.stats.Sent += uint64(messages)
	n.stats.SentBytes += uint64(bytes)
	if err == nil {
		return
	}
	n.stats.Lost += uint64(messages)
	if errors.Is(err, transport.ErrTooLarge) {
		n.note(slog.LevelWarn, "a message is too large for the transport", slog.Any("error", err))
	}
}
