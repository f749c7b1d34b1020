package event

import (
	"time"

	"github.com/parley-go/parley/internal/draw"
)

// A link is one direction between two nodes.
type link[M any] struct {
	from, to int
	faults   Faults
	busy     time.Duration // when the last byte accepted so far has left; for Bandwidth
	era      uint32        // number of times it was cut: what left in an earlier era is lost
	cut      bool          // by Cut
	split    bool          // by Partition
	held     bool
	parked   []parcel[M] // due while held, in the order of their keys
	main     Lane[M]
}

func (l *link[M]) blocked() bool { return l.cut || l.split }

// A Lane is a numbered stream of messages on a link. Draws belong to a lane, so
// that the traffic of one does not change the luck of another.
type Lane[M any] struct {
	link    *link[M]
	key     uint64
	ordered bool
	next    uint64        // number of the next message
	last    time.Duration // latest arrival so far, if ordered
}

func (k *link[M]) lane(l *Loop[M], name string, ordered bool) Lane[M] {
	from, to := l.nodes[k.from].name, l.nodes[k.to].name
	return Lane[M]{link: k, key: draw.Key(l.seed, "link", from, to, name), ordered: ordered}
}

// Take returns the number of the next message and counts it.
func (l *Lane[M]) Take() uint64 {
	n := l.next
	l.next++
	return n
}

// The draws that one message takes from its lane. Each has its place whether it
// is needed or not, so switching one fault off leaves the others as they were.
const (
	drawDrop = iota
	drawDelay
	drawDuplicate
	drawReorder
	drawSecondDelay // of the duplicate
	drawExtraDelay  // of a reordered message
	draws           // how many places a message has
)

// minHold is the least time by which a reordered message is held back.
const minHold = time.Millisecond

// A course is what becomes of one message.
type course struct {
	arrival time.Duration
	second  time.Duration // arrival of the second copy, if duplicated

	duplicated, dropped bool
}

// plot decides the course of message n that has left at the given time. Faults
// apply on top of an arrival that does not depend on them: without the fault, the
// same message arrives at the same time.
func (l *Lane[M]) plot(n uint64, f *Faults, left time.Duration) course {
	chance := func(place uint64) float64 { return draw.Float(draw.At(l.key, n*draws+place)) }
	delay := func(place uint64) time.Duration {
		if f.Delay == nil {
			return 0
		}
		return min(max(f.Delay(chance(place)), 0), MaxDelay)
	}
	c := course{arrival: left + delay(drawDelay)}
	if l.ordered {
		c.arrival = max(c.arrival, l.last)
		l.last = c.arrival
	}
	if f.Reorder > 0 && chance(drawReorder) < f.Reorder {
		c.arrival += max(delay(drawExtraDelay), minHold)
	}
	if f.Duplicate > 0 && chance(drawDuplicate) < f.Duplicate {
		c.duplicated, c.second = true, c.arrival+delay(drawSecondDelay)
	}
	c.dropped = f.Drop > 0 && chance(drawDrop) < f.Drop
	return c
}
