package tcp

import "slices"

// A bulk is a payload too large for one frame, or a message that must stay
// behind one: frames ready for the wire, of which the writer takes one at a
// time in between small ones.
type bulk struct {
	wire    []byte
	next    int    // where the part not yet written starts
	stride  int    // size of each frame but the last
	stream  uint32 // of the fragments
	service string // of a one-way message, else ""
	call    uint64 // of a request, else 0
	dropped bool   // the caller gave up when some was written
}

// queueBulk queues a payload for which there is room. The caller holds mu;
// queueBulk releases it, and does not hold it while it copies.
func (c *conn) queueBulk(b *bulk, h header, body []byte) {
	size := fragmentedSize(len(h)+len(body), c.sums)
	c.reserved += size
	c.mu.Unlock()
	b.stream = c.t.streams.Add(1)
	b.stride = fragmentStride(c.sums)
	b.wire = appendFragments(c.t.buffers.get(size), b.stream, h, body, c.sums)
	c.mu.Lock()
	c.reserved -= size
	if c.err == nil {
		c.bulk.push(b)
	}
	c.unlockAndWake()
}

// A bulkQueue holds what is large. Up to maxStreams payloads take turns of some
// frames each; the others wait. One-way messages of one service go one after the
// other.
type bulkQueue struct {
	active   []*bulk
	waiting  []*bulk
	turn     int // index of the active one whose turn it is
	taken    int // frames it has had in this turn
	bytes    int
	services map[string]int // one-way messages queued, by service
}

// framesPerTurn is enough for 128 KiB: a payload of that size does not wait
// for all others in its middle.
const framesPerTurn = 4

// holds reports whether one-way messages of a service are queued.
func (q *bulkQueue) holds(service string) bool {
	return len(q.services) > 0 && q.services[service] > 0
}

func (q *bulkQueue) empty() bool { return len(q.active) == 0 && len(q.waiting) == 0 }

func (q *bulkQueue) push(b *bulk) {
	q.waiting = append(q.waiting, b)
	q.bytes += len(b.wire)
	if b.service != "" {
		if q.services == nil {
			q.services = map[string]int{}
		}
		q.services[b.service]++
	}
	q.activate()
}

// activate fills free places among the active ones.
func (q *bulkQueue) activate() {
	for i := 0; i < len(q.waiting) && len(q.active) < maxStreams; {
		b := q.waiting[i]
		if b.service != "" && slices.ContainsFunc(q.active, func(a *bulk) bool { return a.service == b.service }) {
			i++
			continue
		}
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.active = append(q.active, b)
	}
}

// take returns the next frame to write, and whose it is: b.done then says if it
// was the last. There is no frame if there is nothing to write, or if the caller
// of b gave up.
func (q *bulkQueue) take() (part []byte, b *bulk) {
	if len(q.active) == 0 {
		return nil, nil
	}
	q.turn %= len(q.active)
	b = q.active[q.turn]
	if b.dropped {
		q.remove(b)
		return nil, b
	}
	end := min(b.next+b.stride, len(b.wire))
	part = b.wire[b.next:end]
	b.next = end
	q.bytes -= len(part)
	if b.done() {
		q.remove(b)
	} else if q.taken++; q.taken == framesPerTurn {
		q.turn, q.taken = q.turn+1, 0
	}
	return part, b
}

func (b *bulk) done() bool { return b.next == len(b.wire) }

// remove takes b out of the active ones.
func (q *bulkQueue) remove(b *bulk) {
	i := slices.Index(q.active, b)
	q.active = slices.Delete(q.active, i, i+1)
	if i == q.turn {
		q.taken = 0
	} else if i < q.turn {
		q.turn--
	}
	q.bytes -= len(b.wire) - b.next
	if b.service != "" {
		if q.services[b.service]--; q.services[b.service] == 0 {
			delete(q.services, b.service)
		}
	}
	q.activate()
}

// cancel drops the request of a call. It returns false if none of it was
// written: the peer need not hear of it.
func (q *bulkQueue) cancel(call uint64) bool {
	same := func(b *bulk) bool { return b.call == call }
	if i := slices.IndexFunc(q.waiting, same); i >= 0 {
		q.bytes -= len(q.waiting[i].wire)
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return false
	}
	if i := slices.IndexFunc(q.active, same); i >= 0 {
		if b := q.active[i]; b.next > 0 {
			b.dropped = true
		} else {
			q.remove(b)
		}
		return false
	}
	return true
}
