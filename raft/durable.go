package raft

import "time"

// A disk tells what of the persistent state is durable. At most one batch is out
// at a time, and what it will have made durable shrinks when its entries are
// replaced meanwhile: its late completion cannot vouch for entries that only
// look like those that it wrote (an ABA).
type disk struct {
	stable  uint64    // entries up to here are durable
	outHard HardState // what was saved last, or is being saved
	restart uint64    // not 0: the saved log has to begin anew here
	term    uint64    // durable
	vote    string    // durable
	newborn bool      // nothing durable says that it is none
	held    []message // until term, vote and newborn are durable

	note bool // the commit index is worth saving, though nothing waits for it

	out     bool   // a batch is being saved
	outLast uint64 // and its entries are durable then, up to here
}

// cut forgets entries from index i on: they are replaced.
func (d *disk) cut(i uint64) {
	d.stable = min(d.stable, i-1)
	d.outLast = min(d.outLast, i-1)
}

// takeBatch returns what has to be saved next, unless a batch is out already or
// there is nothing. The entries' headers are copied to the memory of buf.
func (c *core) takeBatch(buf []Entry) (b Batch, ok bool) {
	if b, ok = c.nextBatch(); !ok {
		return b, false
	}
	b.Entries = buf[:0]
	last := c.log.last()
	for i, left := c.disk.stable+1, maxBatchBytes; i <= last && left > 0; {
		piece := c.log.slice(i, last, left)
		b.Entries = append(b.Entries, piece...)
		i += uint64(len(piece))
		left -= sizeOf(piece)
	}
	c.batchOut(&b)
	return b, true
}

// takePiece is takeBatch without the copy: the entries are a piece of the log, for
// good, and more may be left. It begins with what was saved of that piece before, so
// that whoever keeps it has no more pieces than the log.
func (c *core) takePiece() (b Batch, ok bool) {
	if b, ok = c.nextBatch(); !ok {
		return b, false
	}
	b.Entries = c.log.piece(c.disk.stable + 1)
	c.batchOut(&b)
	return b, true
}

// nextBatch returns the next batch without its entries.
func (c *core) nextBatch() (b Batch, ok bool) {
	d := &c.disk
	lazy := d.stable >= c.log.last() && d.restart == 0 && c.durable()
	if d.out || c.failed || lazy && !d.note {
		return Batch{}, false
	}
	return Batch{Hard: HardState{Term: c.term, Vote: c.vote, Commit: c.safeCommit()}, Restart: d.restart, Lazy: lazy}, true
}

// batchOut takes notice that a batch is being saved.
func (c *core) batchOut(b *Batch) {
	d := &c.disk
	d.note = false
	d.out, d.outHard, d.outLast, d.restart = true, b.Hard, d.stable, 0
	if n := len(b.Entries); n > 0 {
		d.outLast = b.Entries[n-1].Index
	}
}

// safeCommit returns the commit index to be saved: only for entries that are, for
// beside an older log it would declare committed what is about to be replaced. A
// newborn is known by its being 0.
func (c *core) safeCommit() uint64 {
	if c.newborn {
		return 0
	}
	return min(c.commit, c.disk.stable)
}

// noteCommit has the commit index saved if it moved since, even if there is nothing
// else. With every heartbeat, that is often enough: a server that starts again
// knows at once nearly all that was committed, and a log that rests ends in a
// record behind its last entries.
func (c *core) noteCommit() { c.disk.note = c.safeCommit() > c.disk.outHard.Commit }

// durable reports whether the term, the vote and the end of being newborn are.
func (c *core) durable() bool {
	d := &c.disk
	return d.term == c.term && d.vote == c.vote && d.newborn == c.newborn
}

// maxBatchBytes is about how much is saved at once.
const maxBatchBytes = 8 << 20

// saved takes notice that the batch that is out is durable.
func (c *core) saved(now time.Duration) {
	c.now = now
	d := &c.disk
	if !d.out || c.failed {
		return
	}
	d.out = false
	d.term, d.vote, d.newborn = d.outHard.Term, d.outHard.Vote, d.newborn && d.outHard.Commit == 0
	d.stable = max(d.stable, d.outLast)
	if c.durable() {
		c.messages = append(c.messages, d.held...)
		clear(d.held)
		d.held = d.held[:0]
		if c.role == candidate && !c.selfVote {
			c.selfVote = true
			c.tally()
		}
	}
	switch {
	case c.role == leader:
		c.promoteCommit()
	case c.ackOwed:
		c.acknowledge()
	}
}
