package tcp

import (
	"sync/atomic"
	"time"
)

// Stats are the counters of a Transport since Listen.
type Stats struct {
	// Accepted counts TCP connections accepted, Refused those of them that did
	// not become a peer's connection.
	Accepted, Refused uint64
	// Peers has one entry a peer known now, in the order of names. Peers that
	// are down are forgotten after a while, with their counters.
	Peers []PeerStats
}

// PeerStats are the counters of one peer since it became known.
type PeerStats struct {
	Name string
	Up   bool
	// RTT is the time the last ping took; zero before the first.
	RTT time.Duration
	// Connects counts connections made, whoever dialled; DialFailures attempts
	// of ours that failed.
	Connects, DialFailures uint64
	// MessagesSent and so on count what was queued for the peer and what came
	// from it. Bytes are those of bodies and service names.
	MessagesSent, MessagesReceived   uint64
	RequestsSent, RequestsReceived   uint64
	ResponsesSent, ResponsesReceived uint64
	BytesSent, BytesReceived         uint64
	// Overflows counts messages, calls and requests refused at a limit. Dropped
	// counts accepted messages known to be lost, messages without a handler,
	// and responses that came when nobody waited any more.
	Overflows, Dropped uint64
	// Queued is how many bytes wait to be written now, CallsInFlight how many
	// calls wait for a response now.
	Queued, CallsInFlight int
}

// counters are what a peer's connections add to.
type counters struct {
	connects, dialFailures   atomic.Uint64
	messagesOut, messagesIn  atomic.Uint64
	requestsOut, requestsIn  atomic.Uint64
	responsesOut, responseIn atomic.Uint64
	bytesOut, bytesIn        atomic.Uint64
	overflows, dropped       atomic.Uint64
	rtt                      atomic.Int64
}

// A tally gathers counts that one goroutine, or one lock, adds to many times
// before they go to the counters.
type tally struct {
	messages, requests, responses, bytes uint64
}

func (c *counters) addOut(t *tally) {
	addTally(t, &c.messagesOut, &c.requestsOut, &c.responsesOut, &c.bytesOut)
}

func (c *counters) addIn(t *tally) {
	addTally(t, &c.messagesIn, &c.requestsIn, &c.responseIn, &c.bytesIn)
}

func addTally(t *tally, messages, requests, responses, bytes *atomic.Uint64) {
	for _, v := range []struct {
		to *atomic.Uint64
		n  uint64
	}{{messages, t.messages}, {requests, t.requests}, {responses, t.responses}, {bytes, t.bytes}} {
		if v.n > 0 {
			v.to.Add(v.n)
		}
	}
	*t = tally{}
}

func (c *counters) snapshot(name string) PeerStats {
	return PeerStats{
		Name: name, RTT: time.Duration(c.rtt.Load()),
		Connects: c.connects.Load(), DialFailures: c.dialFailures.Load(),
		MessagesSent: c.messagesOut.Load(), MessagesReceived: c.messagesIn.Load(),
		RequestsSent: c.requestsOut.Load(), RequestsReceived: c.requestsIn.Load(),
		ResponsesSent: c.responsesOut.Load(), ResponsesReceived: c.responseIn.Load(),
		BytesSent: c.bytesOut.Load(), BytesReceived: c.bytesIn.Load(),
		Overflows: c.overflows.Load(), Dropped: c.dropped.Load(),
	}
}
