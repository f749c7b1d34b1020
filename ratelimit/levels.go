package ratelimit

import "time"

// A Level is one of several limits that AllowAll asks together: a *Limiter, or
// one key of a Keyed, from Keyed.Level.
type Level interface {
	// hold takes n tokens, or none, and giveBack gives back what it took.
	hold(now time.Time, n int) (Decision, keyTicket)
	giveBack(now time.Time, t keyTicket)
}

// AllowAll takes n tokens of every level at the time now, or none of any: of the
// user, the tenant and the whole service, say. Put the level first that refuses
// most, which is usually the narrowest.
//
// The decision is that of the level that refused. If all allowed, it is that of
// the level with the fewest tokens left. Without levels everything is allowed.
//
// What earlier levels gave is given back when a later one refuses, as by
// Reservation.Cancel; since that follows at once, it is all, unless somebody has
// made a reservation in between, or begun or ended to wait for the same key. Until then others may be refused for want of
// it. In a close race levels together allow less than each alone; a call that is
// held up between taking and giving back may give back up to n that have come back
// meanwhile. There is no allocation but that of Keyed.Level.
func AllowAll(now time.Time, n int, levels ...Level) Decision {
	tightest := Decision{Allowed: true, Remaining: maxBurst}
	tickets := make([]keyTicket, 0, 8)
	for _, level := range levels {
		d, t := level.hold(now, n)
		if !d.Allowed {
			for i, t := range tickets {
				levels[i].giveBack(now, t)
			}
			return d
		}
		tickets = append(tickets, t)
		if d.Remaining < tightest.Remaining || len(tickets) == 1 {
			tightest = d
		}
	}
	return tightest
}

func (l *Limiter) hold(now time.Time, n int) (Decision, keyTicket) {
	t, _ := l.take(l.at(now), n)
	return t.decide(), keyTicket{ticket: t}
}

func (l *Limiter) giveBack(now time.Time, t keyTicket) { l.refund(t.ticket, l.at(now), false) }

// Level returns one key's limit as a level for AllowAll. It may be kept.
func (k *Keyed[K]) Level(key K) Level { return keyLevel[K]{k, key} }

type keyLevel[K comparable] struct {
	keyed *Keyed[K]
	key   K
}

func (l keyLevel[K]) hold(now time.Time, n int) (Decision, keyTicket) {
	return l.keyed.decide(l.keyed.at(now), l.key, n)
}

func (l keyLevel[K]) giveBack(now time.Time, t keyTicket) {
	l.keyed.refund(l.keyed.at(now), l.key, t)
}
