package shared

import (
	"math"
	"time"
)

// An account is what a node holds of one key: the tokens of its lease, what it was
// last told by the owner, and its own share of the limit for when the owner
// cannot be asked. It is a function of times and answers, and not safe for
// concurrent use.
type account struct {
	key   string
	held  int64
	until time.Duration // when the lease ends

	batch int64         // how many tokens are worth having in advance
	used  int64         // of the lease, since
	since time.Duration // the last request
	seen  time.Duration // the last use

	left     int64         // in the owner's bucket, when it last answered
	short    int64         // as many tokens, or more, are not there
	shortFor time.Duration // before this time

	down  error         // why the owner gave no answer; nil if it did
	probe time.Duration // when it is worth asking again
	share bucket

	// Those who wait for an answer.
	waiting int64  // tokens that they want
	least   int64  // the fewest that one of them wants
	begun   uint64 // flights so far
	flight  *flight
}

// A flight is a request that is under way.
type flight struct {
	number uint64
	done   chan struct{}
}

// A verdict is what an account alone can say to a request.
type verdict uint8

const (
	taken  verdict = iota // the tokens were there
	denied                // they are not, and the owner has none either
	down                  // they are not, and the owner does not answer
	ask                   // they are not: ask the owner
)

// take takes n tokens from the lease, if they are there.
func (a *account) take(now time.Duration, n int64) verdict {
	if now >= a.until {
		a.held = 0
	}
	a.seen = now
	switch {
	case a.held >= n:
		a.held -= n
		a.used += n
		return taken
	case a.down != nil:
		return down
	case n >= a.short && now < a.shortFor:
		return denied
	}
	return ask
}

// low reports whether it is time to ask for more before the lease is used up.
func (a *account) low(now, lease time.Duration) bool {
	return a.held*2 < a.batch && a.flight == nil && a.down == nil && now-a.since > lease/64
}

// due reports whether an owner that did not answer should be asked again.
func (a *account) due(now time.Duration) bool { return now >= a.probe && a.flight == nil }

// wait returns how long it is, as far as the account knows, until n tokens are
// there.
func (a *account) wait(now time.Duration, n int64, r rate) time.Duration {
	d := max(0, a.shortFor-now)
	if more := n - max(a.short, a.held); more > 0 {
		d += min(math.MaxInt64-d, r.takes(more, 0))
	}
	return max(d, 1)
}

// request returns what to send to the owner. When somebody waits, what is held is
// given back with the same message, so that the owner sees all that there is;
// otherwise it stays in use meanwhile.
func (a *account) request(now, lease time.Duration, burst int64) request {
	a.plan(now, lease, burst)
	q := request{key: a.key, need: a.least, wanted: a.waiting, batch: a.batch}
	if now >= a.until {
		a.held = 0
	}
	if a.waiting > 0 {
		q.returned, a.held = a.held, 0
	} else {
		q.held = a.held
	}
	return q
}

// plan sets the batch to what half a lease's time takes at the present pace.
func (a *account) plan(now, lease time.Duration, burst int64) {
	elapsed := max(now-a.since, lease/64)
	pace := float64(a.used) / float64(elapsed) * float64(lease) / 2
	a.batch = int64(min(pace, float64(burst)))
	a.used, a.since = 0, now
}

// granted takes the owner's answer to a request sent at a time.
func (a *account) granted(now, sent time.Duration, q *request, r *response) {
	if now >= a.until {
		a.held = 0
	}
	a.held = min(a.held, r.kept) + r.granted
	a.until = sent + r.lease
	a.left, a.down = r.left, nil
	a.short, a.shortFor = 0, 0
	if r.granted < q.wanted {
		a.short, a.shortFor = q.need, now+r.retry
	}
}

// failed notes that the owner gave no answer, and when to ask again.
func (a *account) failed(err error, again time.Duration) {
	a.down, a.probe = err, again
	a.short, a.shortFor = 0, 0
}

// takeShare takes n tokens from the node's own share.
func (a *account) takeShare(now time.Duration, n int64, r rate, size int64) (wait time.Duration, ok bool) {
	a.share.fill(now, r, size)
	if a.share.tokens < n {
		return a.share.wait(n, r), false
	}
	a.share.tokens -= n
	return 0, true
}

// join and leave count one who waits for n tokens.
func (a *account) join(n int64) {
	if a.waiting == 0 {
		a.least = n
	}
	a.waiting += n
	a.least = min(a.least, n)
}

func (a *account) leave(n int64) {
	if a.waiting -= n; a.waiting == 0 {
		a.least = 0
	}
}

// idle gives up a lease that has not been used for a while, and returns its
// tokens.
func (a *account) idle(now, after time.Duration) (returned int64) {
	if a.held == 0 || a.flight != nil || now-a.seen < after {
		return 0
	}
	returned, a.held = a.held, 0
	if now >= a.until {
		return 0
	}
	return returned
}

// idling reports whether nothing but the share is worth keeping the account for.
func (a *account) idling(now, after time.Duration) bool {
	return a.flight == nil && a.waiting == 0 && now-a.seen >= after && (a.held == 0 || now >= a.until)
}
