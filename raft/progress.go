package raft

import "time"

type vote uint8

const (
	voteUnknown vote = iota
	voteGranted
	voteNewborn // granted, by one that may have lost its disk
	voteRefused
)

// A stance is how the leader feeds a follower.
type stance uint8

const (
	probing     stance = iota // one message at a time, until it is known where the logs agree
	replicating               // many on the way
	restoring                 // it needs a snapshot
)

func (s stance) String() string {
	return [...]string{"probing", "replicating", "restoring"}[s]
}

// A peer is what is known of another server. What heartbeats look at stands
// together: with many idle groups, most of their cost is to fetch it.
type peer struct {
	name string
	vote vote // its answer to the latest question

	// What follows is the leader's (nextIndex and matchIndex of figure 3.1).
	stance     stance
	waiting    bool          // a probe is on its way
	newborn    bool          // it said so in its last reply
	unasked    bool          // it need not answer the last heartbeat
	match      uint64        // durable there
	next       uint64        // index of the next entry to send
	sentCommit uint64        // the commit index it was last told
	activeAt   time.Duration // of its last reply
	beatRound  uint64        // of the last heartbeat
	beatNext   uint64        // next, when that was sent
	round      uint64        // latest round that it confirmed
	askedAt    time.Duration // of the first heartbeat to be answered after those that need not
	matchRound uint64        // latest round that vouched for match
	believe    uint64        // the first round whose refusals count again while replicating
	sent       window
}

// probe goes back to one message at a time, from the last entry known to be there.
func (p *peer) probe(round uint64) {
	if p.stance == replicating {
		p.believe = round + 1
	}
	p.stance, p.waiting = probing, false
	p.next = p.match + 1
	p.sent.clear()
}

// A window bounds the messages that are on the way to a follower.
type window struct {
	parts []part // a ring of sent messages, the first at head
	head  int
	n     int
	bytes int
}

type part struct {
	last  uint64 // index
	bytes int
}

func (w *window) push(last uint64, bytes int) {
	if w.n == len(w.parts) {
		bigger := make([]part, max(4, 2*w.n))
		for i := range w.n {
			bigger[i] = w.parts[(w.head+i)%w.n]
		}
		w.parts, w.head = bigger, 0
	}
	w.parts[(w.head+w.n)%len(w.parts)] = part{last, bytes}
	w.n++
	w.bytes += bytes
}

// free drops the messages whose entries have all arrived.
func (w *window) free(match uint64) {
	for w.n > 0 && w.parts[w.head].last <= match {
		w.bytes -= w.parts[w.head].bytes
		w.head = (w.head + 1) % len(w.parts)
		w.n--
	}
}

func (w *window) clear() { w.head, w.n, w.bytes = 0, 0, 0 }
