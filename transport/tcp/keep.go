package tcp

import (
	"fmt"
	"maps"
	"time"
)

const (
	// minKeepAlive bounds what a peer can make us do in pings.
	minKeepAlive = 10 * time.Millisecond
	// forgetAfter is for how long a peer without a connection is remembered.
	forgetAfter = time.Minute
)

// A vigil is what the keeper knows of one connection.
type vigil struct {
	reads, writes   uint64
	silent, stalled time.Duration // for how long the reader, the writer has been stuck
	pinged          time.Time
}

// keep is the goroutine that pings peers and gives up those that are silent. It
// looks at each connection twice between two pings, so that silence and stalls are
// noticed within the times of Config.
func (t *Transport) keep() {
	vigils := map[*conn]*vigil{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	last, forgot, pause := time.Now(), time.Now(), time.Duration(0)
	for {
		select {
		case <-timer.C:
		case <-t.nudge:
		case <-t.ctx.Done():
			return
		}
		now := time.Now()
		// A pause that took longer than planned says that this process stood
		// still, not that its peers did.
		pause = t.lookAfter(vigils, now, min(now.Sub(last), 2*pause))
		last = now
		timer.Reset(pause)
		if now.Sub(forgot) >= forgetAfter {
			t.forgetIdle()
			forgot = now
		}
	}
}

// lookAfter looks at all connections once, and says when to look again.
func (t *Transport) lookAfter(vigils map[*conn]*vigil, now time.Time, passed time.Duration) (pause time.Duration) {
	t.mu.Lock()
	maps.DeleteFunc(vigils, func(c *conn, _ *vigil) bool { _, there := t.conns[c]; return !there })
	fresh := []*conn{}
	for c := range t.conns {
		if vigils[c] == nil && c.peer.name != t.name {
			fresh = append(fresh, c)
		}
	}
	t.mu.Unlock()
	pause = forgetAfter
	for c, v := range vigils {
		pause = min(pause, c.ping/2, t.config.StallTimeout/8)
		t.watch(c, v, now, passed)
	}
	for _, c := range fresh {
		pause = min(pause, c.ping/2, t.config.StallTimeout/8)
		vigils[c] = &vigil{pinged: now}
	}
	return pause
}

// watch looks at one connection. Silence only counts while the reader reads: it
// may be held up by a handler.
func (t *Transport) watch(c *conn, v *vigil, now time.Time, passed time.Duration) {
	v.silent += passed
	v.stalled += passed
	if n := c.life.reads.Load(); n != v.reads || !c.life.reading.Load() {
		v.reads, v.silent = n, 0
	}
	if n := c.life.writes.Load(); n != v.writes || !c.life.blocking.Load() {
		v.writes, v.stalled = n, 0
	}
	switch {
	case v.silent >= t.config.KeepAlive*3/4:
		c.fail(fmt.Errorf("nothing heard for %v", v.silent.Round(time.Millisecond)))
	case v.stalled >= t.config.StallTimeout*3/4:
		c.fail(fmt.Errorf("nothing could be written for %v", v.stalled.Round(time.Millisecond)))
	case now.Sub(v.pinged) >= c.ping:
		v.pinged = now
		c.control(func(b []byte) []byte { return appendWord(b, kindPing, uint64(t.now()), c.sums) })
	}
}

// forgetIdle forgets the peers that nobody wanted since it last looked.
func (t *Transport) forgetIdle() {
	t.peersMu.Lock()
	defer t.peersMu.Unlock()
	all := maps.Clone(*t.peers.Load())
	maps.DeleteFunc(all, func(_ string, p *peer) bool { return p.retire(false) })
	t.peers.Store(&all)
}

// retire marks a peer as forgotten, if it is idle. With force, a peer that was
// used lately and now backs off is idle, too.
func (p *peer) retire(force bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.current.Load() == nil && p.attempt == nil && p.dials == 0 && p.inbound == 0 && p.quiet()
	if idle && (force || !p.used) {
		p.evicted = true
	}
	p.used = false
	return p.evicted
}

// quiet reports whether no handler runs for the peer, of connections that are
// over: the next one must know of them. The caller holds mu.
func (p *peer) quiet() bool {
	if p.taken.count.Load() > 0 {
		return false
	}
	select {
	case <-p.readDone:
		return true
	default:
		return p.readDone == nil
	}
}
