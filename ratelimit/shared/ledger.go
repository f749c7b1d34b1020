package shared

import (
	"slices"
	"time"
)

// A ledger is what an owner knows of its keys. Its rule is that what is in the
// bucket of a key and what is out on lease are together never more than the
// burst: a leased token keeps its place in the bucket until its lessee says that
// it was used, or gives it back, or can no longer use it. Lessees tell late,
// never early, so the rule holds for the tokens that really exist, too; and
// tokens come into being only as fast as the limit. Hence in any time t all nodes
// together use at most burst + limit*t of them.
//
// It is a function of times and messages, and not safe for concurrent use.
type ledger struct {
	rate  rate
	burst int64
	lease time.Duration // how long a lessee may use its tokens
	hold  time.Duration // how long they are kept for it: longer, for clocks differ
	most  int           // keys

	forgive bool // new keys begin with a full bucket

	keys  map[string]*entry
	order []*entry // the same, for the sweep
	hand  int
	now   time.Duration // never goes back
}

// An entry is one key's bucket and leases.
type entry struct {
	bucket
	key    string
	from   time.Duration // since when this node has been the one that grants
	place  int           // in ledger.order
	out    int64         // the sum of the leases
	leases []lease       // in the order in which they end
}

// A lease is what one life of a node may still hold.
type lease struct {
	node   string
	life   uint64
	number uint64 // of the last request
	tokens int64
	ends   time.Duration
}

const (
	sweepEach = 2   // entries looked at in passing
	sweepFull = 128 // when there is no room
)

func newLedger(c *Config) *ledger {
	return &ledger{
		rate: rateOf(c.Limit, 1), burst: int64(c.Burst), lease: c.Lease, hold: holdFor(c.Lease),
		most: c.MaxKeys, forgive: c.Forgive, keys: map[string]*entry{},
	}
}

// holdFor returns how long an owner keeps a lease's tokens. The lessee counts from
// when it asked, the owner from when it answered, so nothing but the difference
// between the rates of two clocks has to be allowed for: an eighth.
func holdFor(lease time.Duration) time.Duration { return lease + lease/8 }

// exchange takes a lessee's report and answers what it asks for. safe is when this
// node became, or becomes, the one that grants the key's tokens; nodes is how many
// there are to share them.
func (l *ledger) exchange(now, safe time.Duration, node string, q *request, nodes int) response {
	l.now = max(l.now, now)
	l.sweep(sweepEach)
	if l.now < safe {
		return response{status: statusWarming, retry: safe - l.now}
	}
	e, ok := l.entry(q.key, safe, q.wanted+q.batch > 0)
	if !ok {
		return response{status: statusFull, retry: l.lease}
	}
	if e == nil {
		return response{status: statusGranted, lease: l.lease}
	}
	l.advance(e)
	kept, fresh := e.report(node, q)
	if !fresh {
		return response{status: statusStale}
	}
	r := response{status: statusGranted, kept: kept, granted: e.grant(q, nodes), lease: l.lease}
	if kept+r.granted > 0 {
		e.out += kept + r.granted
		e.leases = append(e.leases, lease{node, q.life, q.number, kept + r.granted, l.now + l.hold})
	}
	r.left = e.tokens
	if r.granted < q.wanted {
		r.retry = e.wait(q.need, l.rate)
	}
	return r
}

// entry returns the entry of a key. ok is false if it should be made and there is
// no room. An entry from before this node lost the key to another one and got it
// back is worth nothing.
func (l *ledger) entry(key string, safe time.Duration, create bool) (e *entry, ok bool) {
	e = l.keys[key]
	if e != nil && e.from < safe {
		l.remove(e)
		e = nil
	}
	if e != nil || !create {
		return e, true
	}
	if len(l.order) >= l.most {
		l.sweep(sweepFull)
	}
	if len(l.order) >= l.most {
		return nil, false
	}
	e = &entry{bucket: newBucket(safe, l.burst, l.forgive), key: key, from: safe, place: len(l.order)}
	l.keys[key] = e
	l.order = append(l.order, e)
	return e, true
}

// advance brings an entry up to the present. What a lease still had at its end
// counts as used: there is nobody to ask.
func (l *ledger) advance(e *entry) {
	ended := 0
	for ; ended < len(e.leases) && e.leases[ended].ends <= l.now; ended++ {
		e.fill(e.leases[ended].ends, l.rate, l.burst-e.out)
		e.out -= e.leases[ended].tokens
	}
	if ended > 0 {
		e.leases = slices.Delete(e.leases, 0, ended)
	}
	e.fill(l.now, l.rate, l.burst-e.out)
}

// report takes the lessee's lease out of the books: what is given back goes into
// the bucket, what it keeps is returned, the rest was used. fresh is false for a
// request that has been overtaken by a later one.
func (e *entry) report(node string, q *request) (kept int64, fresh bool) {
	i := slices.IndexFunc(e.leases, func(l lease) bool { return l.life == q.life && l.node == node })
	if i < 0 {
		return 0, true
	}
	l := e.leases[i]
	if q.number <= l.number {
		return 0, false
	}
	kept = min(q.held, l.tokens)
	e.tokens += min(q.returned, l.tokens-kept)
	e.out -= l.tokens
	e.leases = slices.Delete(e.leases, i, i+1)
	return kept, true
}

// grant takes tokens out of the bucket for a lessee: what is wanted at once as far
// as it goes, and of what is left then a fair part for later. With less than what
// is needed it takes none, so that nodes do not block each other with tokens that
// are too few for any of them.
func (e *entry) grant(q *request, nodes int) int64 {
	if e.tokens < q.need {
		return 0
	}
	n := min(q.wanted, e.tokens)
	n += min(q.batch, (e.tokens-n)/int64(max(1, nodes)))
	e.tokens -= n
	return n
}

// sweep looks at the next few entries and forgets those that a new one would be
// just like: mostly, those whose bucket is full.
func (l *ledger) sweep(n int) {
	for range min(n, len(l.order)) {
		l.hand %= len(l.order)
		e := l.order[l.hand]
		l.advance(e)
		if len(e.leases) == 0 && e.forgettable(l.now, e.from, l.rate, l.burst, l.forgive) {
			l.remove(e) // the last one takes its place, and is looked at next
			continue
		}
		l.hand++
	}
}

func (l *ledger) remove(e *entry) {
	last := len(l.order) - 1
	l.order[e.place] = l.order[last]
	l.order[e.place].place = e.place
	l.order[last] = nil
	l.order = l.order[:last]
	delete(l.keys, e.key)
}
