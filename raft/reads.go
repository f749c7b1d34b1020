package raft

import "time"

// A query is a read that waits for a round to confirm that this server still
// leads (section 6.4).
type query struct {
	id    uint64
	index uint64
	round uint64 // which began after the read arrived
}

// A readReady says that a read may be answered from any state that includes the
// entry at index.
type readReady struct{ id, index uint64 }

// read asks for an index from which a read is linearizable. The answer comes in
// reads, or in readsLost.
func (c *core) read(now time.Duration, id uint64) error {
	c.now = now
	if c.role != leader {
		return ErrNotLeader
	}
	o := &c.office
	// What earlier leaders committed lies before the first entry of this term,
	// whether this server knows already that it is committed or not.
	q := query{id: id, index: max(c.commit, o.start), round: o.round + 1}
	if c.leased() {
		c.reads = append(c.reads, readReady{q.id, q.index})
		return nil
	}
	o.queries = append(o.queries, q)
	if len(o.queries) == 1 {
		c.beat()
	}
	return nil
}

// confirm releases the reads whose round majorities have answered. The reads that
// came meanwhile share the next round.
func (c *core) confirm() {
	o := &c.office
	if len(o.queries) == 0 {
		return
	}
	confirmed := c.reached(func(p *peer) uint64 {
		if p == nil {
			return o.round
		}
		return p.round
	})
	n := 0
	for n < len(o.queries) && o.queries[n].round <= confirmed {
		c.reads = append(c.reads, readReady{o.queries[n].id, o.queries[n].index})
		n++
	}
	if n == 0 {
		return
	}
	o.queries = o.queries[:copy(o.queries, o.queries[n:])]
	if len(o.queries) > 0 && o.queries[0].round > o.round {
		c.beat()
	}
}

// leased reports whether nobody else can have been elected (section 6.4.1): a
// majority has answered a round that was sent less than a lease ago, and so has
// promised not to vote yet. Whoever was asked to stand by this leader need not
// keep to that, whenever the message reaches him.
func (c *core) leased() bool {
	o := &c.office
	if c.lease == 0 || o.handedOver {
		return false
	}
	since := c.reached(func(p *peer) uint64 {
		switch {
		case p == nil:
			return uint64(c.now)
		case p.round == 0 || o.round-p.round >= rememberedRounds:
			return 0
		}
		return uint64(o.sentAt[p.round%rememberedRounds])
	})
	return since > 0 && c.now-time.Duration(since) < c.lease
}
