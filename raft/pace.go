package raft

import "time"

// maxWindow bounds the pieces of one snapshot that are on their way here or wait
// for those before them: 3.75 MiB.
const maxWindow = 64

// firstWindow is how many pieces a fetch begins with.
const firstWindow = 4

// A pace is how many pieces may be on their way at a time. It doubles with every
// round trip as long as pieces come as quickly as one alone would, grows slowly
// after it was found too large, and is halved when a piece is late or lost: what
// waits on a thin link ahead of a heartbeat would cost the follower its leader.
type pace struct {
	size      int
	threshold int           // from here on it grows slowly
	grown     int           // pieces in time since it grew
	round     int           // pieces asked for before this one say nothing new
	alone     time.Duration // that a piece takes when it is the only one; 0: not known
	mean      time.Duration // that pieces took lately; 0: not known
}

func newPace(round int) pace {
	return pace{size: firstWindow, threshold: maxWindow, round: round}
}

// came takes notice of a piece that came after some time. next is the number that
// the next piece will have.
func (a *pace) came(p *piece, took, heartbeat time.Duration, next int) {
	if a.mean == 0 {
		a.mean = took
	}
	a.mean += (took - a.mean) / 8
	if p.alone || a.alone == 0 {
		a.alone = took
	}
	a.alone = min(a.alone, took)
	if a.alone > 2*heartbeat { // the link is very thin, or longer than Config.Heartbeat is meant for
		a.size = 1
		return
	}
	if took > a.alone*3/2+heartbeat/2 {
		a.shrink(p.number, next)
		return
	}
	a.grown++
	if a.size < a.threshold || a.grown >= a.size {
		a.size = min(a.size+1, maxWindow)
		a.grown = 0
	}
}

// shrink halves the window, once for all that was on its way together.
func (a *pace) shrink(number, next int) {
	if number < a.round {
		return
	}
	a.size = max(a.size/2, 1)
	a.threshold, a.grown, a.round = a.size, 0, next
}

// patience returns after how long a piece counts as lost: an election time at most,
// and twice as much when it was lost before.
func (a *pace) patience(tries int, heartbeat, election time.Duration) time.Duration {
	d := election
	if a.mean > 0 {
		d = min(d, 4*a.mean+2*heartbeat)
	}
	return d << min(tries, 1)
}
