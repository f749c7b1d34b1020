package shared

import (
	"time"

	"github.com/parley-go/parley/ring"
)

// A tenure knows since when a node has been the owner of a key. Before it grants
// anything, a new owner waits until the leases of the one before it have ended,
// which may be one that it knows nothing of: itself, before a restart. It is a
// function of times and states of the ring, and not safe for concurrent use.
type tenure struct {
	self   string
	lease  time.Duration
	hold   time.Duration
	fill   time.Duration // what an empty bucket takes to be full
	base   time.Duration // when it is safe to grant keys that have not moved
	states []state       // in order of time; never empty
	seen   time.Duration // when the ring was last looked at
}

// A state is what the ring has been since a time.
type state struct {
	ring  *ring.Snapshot
	since time.Duration
}

// maxStates bounds the states that are remembered. With more changes in too short
// a time, all keys count as moved.
const maxStates = 16

func newTenure(self string, c *Config, snapshot *ring.Snapshot) *tenure {
	hold := holdFor(c.Lease)
	return &tenure{
		self: self, lease: c.Lease, hold: hold, fill: rateOf(c.Limit, 1).takes(int64(c.Burst), 0),
		base: hold, states: []state{{snapshot, 0}},
	}
}

// observe takes note of the present state of the ring.
func (t *tenure) observe(now time.Duration, snapshot *ring.Snapshot) {
	last := t.states[len(t.states)-1]
	now = max(now, t.seen)
	unseen := now - t.seen
	t.seen = now
	if last.ring.Version() == snapshot.Version() {
		return
	}
	if snapshot.Version() > last.ring.Version()+1 && unseen >= t.lease {
		t.forget(now, snapshot)
		return
	}
	t.states = append(t.states, state{snapshot, now})
	old := 0
	for old+1 < len(t.states) && now-t.states[old+1].since-t.hold > t.fill {
		old++ // a key that moved then has a full bucket by now
	}
	if len(t.states)-old > maxStates {
		t.forget(now, snapshot)
		return
	}
	t.states = append([]state(nil), t.states[old:]...)
}

// forget makes all keys wait as after a start. It is for when there were too many
// changes to remember, or some that nobody here has seen, because the process had
// stopped, say: a key may have had another owner in between, for long enough that
// this one has granted leases of it.
func (t *tenure) forget(now time.Duration, snapshot *ring.Snapshot) {
	t.base = now + t.hold
	t.states = []state{{snapshot, now}}
}

// owner returns the present owner of a key and the number of nodes.
func (t *tenure) owner(key string) (name string, nodes int) {
	now := t.states[len(t.states)-1].ring
	name, _ = now.Owner(key)
	return name, now.Len()
}

// safe returns the time from which this node, the owner of a key, may grant it.
func (t *tenure) safe(key string) time.Duration {
	for i := len(t.states) - 1; i > 0; i-- {
		if name, _ := t.states[i-1].ring.Owner(key); name != t.self {
			return t.states[i].since + t.hold
		}
	}
	return t.base
}
