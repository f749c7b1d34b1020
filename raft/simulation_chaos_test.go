package raft

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parley-go/parley/internal/event"
)

// The faults and the operations that a plan gives weights.
const (
	simCrash = iota
	simCrashLeader
	simCrashAll
	simPause
	simPartition
	simIsolateLeader
	simCut
	simHold
	simLossy
	simSlowDisk
	simBreakDisk
	simStall
	simTransfer
	simReconfigure
	simAmbush
	simBetray
	simAmnesia
	simOps
)

// calamities lets things go wrong, one after the other, until the chaos ends.
func (w *simWorld) calamities() {
	var next func()
	next = func() {
		if w.loop.Now() >= w.until {
			return
		}
		switch {
		case w.amnesiac != nil: // no second failure
		case w.amnesia > 0:
			w.amnesia--
			w.loseDisk()
		default:
			w.calamity()
		}
		w.after(w.exponential(w.plan.calamity), next)
	}
	w.after(w.exponential(w.plan.calamity), next)
}

func (w *simWorld) calamity() {
	total := 0
	for _, weight := range w.plan.weights {
		total += weight
	}
	if total == 0 {
		return
	}
	k := w.rng.IntN(total)
	op := 0
	for k >= w.plan.weights[op] {
		k -= w.plan.weights[op]
		op++
	}
	n := w.anyNode()
	if l := w.leader(); l != nil && w.chance(0.4) {
		n = l
	}
	other := w.anyNode()
	switch op {
	case simCrash:
		w.crashFor(n, w.while(1))
	case simCrashLeader:
		w.crashLeader()
	case simCrashAll:
		if w.chance(0.3) {
			w.logf("all crash")
			for _, n := range w.nodes {
				w.crashFor(n, w.while(0.3))
			}
		}
	case simPause:
		w.pauseFor(n, w.while(1))
	case simPartition:
		w.partitionFor(w.while(3))
	case simIsolateLeader:
		w.isolateFor(n, w.while(3))
	case simCut:
		w.trouble(w.while(2), func() { w.loop.Cut(n.id, other.id) }, func() { w.loop.Mend(n.id, other.id) })
	case simHold:
		w.holdFor(other, n, w.plan.election/2+w.while(1))
	case simLossy:
		w.lossyFor(n, w.while(2))
	case simSlowDisk:
		w.slowDisks()
	case simBreakDisk:
		w.breakDisk(n)
	case simStall:
		w.trouble(w.while(1), func() { n.stalled = true }, func() { n.stalled = false })
	case simTransfer:
		w.handOver(other)
	case simReconfigure:
		w.reconfigure()
	case simAmbush:
		w.ambush = 4 + w.rng.IntN(8)
	case simBetray:
		w.betray()
	case simAmnesia:
		w.amnesia = 20
	}
}

// while returns a time drawn around so many election times.
func (w *simWorld) while(elections float64) time.Duration {
	return w.exponential(time.Duration(elections * float64(w.plan.election)))
}

// trouble begins a fault that ends by itself, or with the chaos, by heal.
func (w *simWorld) trouble(d time.Duration, begin, end func()) {
	w.troubles++
	begin()
	w.after(d, func() {
		w.troubles--
		if w.loop.Now() < w.until {
			end()
		}
	})
}

func (w *simWorld) crashFor(n *simNode, d time.Duration) { w.trouble(d, n.crash, n.restart) }

// crashLeader crashes the leader just after it has taken a command, or while it
// waits for its disk.
func (w *simWorld) crashLeader() {
	l := w.leader()
	if l == nil {
		return
	}
	_ = l.propose(1)
	w.harm(w.exponential(2*w.plan.disk), func() { w.crashFor(l, w.while(1)) })
}

func (w *simWorld) pauseFor(n *simNode, d time.Duration) {
	if !n.runs() {
		return
	}
	life := n.lives
	w.trouble(d, func() {
		w.logf("%s pauses", n.name)
		n.paused = true
		w.loop.Pause(n.id)
	}, func() {
		if n.lives == life && n.paused {
			w.resume(n)
		}
	})
}

func (w *simWorld) resume(n *simNode) {
	w.logf("%s resumes", n.name)
	n.paused = false
	w.loop.Resume(n.id)
	if n.leads() { // somebody asked meanwhile
		n.read(uint64(len(w.truth.entries)), nil)
	}
}

// slowDisks makes many disks slow, and the leader fail on top: what it sent is
// replaced before it is saved.
func (w *simWorld) slowDisks() {
	for _, n := range w.nodes {
		if w.chance(0.6) {
			w.trouble(w.while(3), func() { n.slow = 50 }, func() { n.slow = 1 })
		}
	}
	w.harm(w.while(0.3), func() {
		if l := w.leader(); l != nil {
			_ = l.propose(2)
			w.isolateFor(l, w.while(2))
		}
	})
}

// holdFor keeps what one node says to another. Perhaps the latter loses the
// leadership and wins it again meanwhile: what arrives then is of another term.
func (w *simWorld) holdFor(from, to *simNode, d time.Duration) {
	w.trouble(d, func() { w.loop.Hold(from.id, to.id) }, func() { w.loop.Release(from.id, to.id) })
	if to.leads() {
		voters := to.core.membership().Voters
		third := w.byName(voters[w.rng.IntN(len(voters))])
		w.harm(w.plan.election/10, func() { w.transfer(third) })
		w.harm(w.plan.election*3/10, func() { w.transfer(to) })
	}
}

// handOver asks for a transfer. Perhaps the old leader hears nothing of it, and is
// asked what it believes to know.
func (w *simWorld) handOver(to *simNode) {
	l := w.leader()
	if l == nil {
		return
	}
	w.transfer(to)
	if w.chance(0.5) {
		w.harm(w.while(0.05), func() {
			w.trouble(w.while(1), func() { w.each(l, func(m *simNode) { w.loop.Cut(m.id, l.id) }) }, func() { w.each(l, func(m *simNode) { w.loop.Mend(m.id, l.id) }) })
			w.readsOn(l)
		})
	}
}

// each visits the other nodes.
func (w *simWorld) each(n *simNode, do func(m *simNode)) {
	for _, m := range w.nodes {
		if m != n {
			do(m)
		}
	}
}

// betray brings the others to the point where they might break what their leader
// relies on: one has not heard of it for long, the rest has just restarted.
func (w *simWorld) betray() {
	l := w.leader()
	if l == nil {
		return
	}
	x := w.anyNode()
	w.trouble(w.plan.election*3, func() { w.quiet++ }, func() { w.quiet-- }) // so that all have the same log
	w.harm(w.plan.election/5, func() {
		w.trouble(w.plan.election*3, func() { w.loop.Cut(l.id, x.id) }, func() { w.loop.Mend(l.id, x.id) })
	})
	w.harm(w.plan.election*6/5+w.while(0.2), func() {
		if !l.leads() {
			return
		}
		for _, n := range w.nodes {
			if n != l && n != x {
				w.crashFor(n, w.while(0.02))
			}
		}
		w.isolateFor(l, 2*w.plan.election)
		w.readsOn(l)
	})
}

// ambushed has a leader fail before it can say more, if that was planned. It is
// called before messages are sent.
func (w *simWorld) ambushed(n *simNode) {
	if w.ambush == 0 || w.amnesiac != nil {
		return
	}
	w.ambush--
	w.logf("%s is ambushed", n.name)
	w.trouble(w.while(1), func() { w.each(n, func(m *simNode) { w.loop.Cut(n.id, m.id) }) }, func() { w.each(n, func(m *simNode) { w.loop.Mend(n.id, m.id) }) })
	w.harm(w.exponential(2*w.plan.disk), func() { w.crashFor(n, w.while(1)) })
}

// readsOn has a leader that may soon be none asked again and again.
func (w *simWorld) readsOn(l *simNode) {
	for k := range 30 {
		w.after(time.Duration(k)*w.plan.election/20, func() {
			if l.leads() {
				l.read(uint64(len(w.truth.entries)), nil)
			}
		})
	}
}

func (w *simWorld) partitionFor(d time.Duration) {
	var groups [2][]int
	for _, n := range w.nodes {
		k := w.rng.IntN(2)
		groups[k] = append(groups[k], n.id)
	}
	w.trouble(d, func() {
		w.logf("partition %v", groups)
		if err := w.loop.Partition(groups[:]...); err != nil {
			panic(err)
		}
	}, func() {
		w.logf("the partition ends")
		_ = w.loop.Partition()
	})
}

// isolateFor cuts a node off, in one direction or in both.
func (w *simWorld) isolateFor(n *simNode, d time.Duration) {
	out, in := w.chance(0.7), w.chance(0.7)
	each := func(do func(from, to int)) {
		w.each(n, func(m *simNode) {
			if out {
				do(n.id, m.id)
			}
			if in {
				do(m.id, n.id)
			}
		})
	}
	w.logf("%s is isolated, out %v, in %v", n.name, out, in)
	w.readsOn(n)
	w.trouble(d, func() { each(w.loop.Cut) }, func() { each(w.loop.Mend) })
}

// lossyFor makes the links of a node bad.
func (w *simWorld) lossyFor(n *simNode, d time.Duration) {
	bad := event.Faults{
		Drop: 0.5 * w.rng.Float64(), Duplicate: 0.5 * w.rng.Float64(), Reorder: 0.5 * w.rng.Float64(),
		Delay: event.Exponential(time.Millisecond, time.Duration(w.rng.Int64N(int64(w.plan.election/3)))),
	}
	each := func(f event.Faults) {
		w.each(n, func(m *simNode) {
			w.setFaults(n, m, f)
			w.setFaults(m, n, f)
		})
	}
	w.logf("links of %s get bad: %+v", n.name, bad)
	w.trouble(d, func() { each(bad) }, func() { each(w.plan.faults) })
}

func (w *simWorld) setFaults(from, to *simNode, f event.Faults) {
	if err := w.loop.Set(from.id, to.id, f); err != nil {
		panic(err)
	}
}

// breakDisk has the next save of a node fail. It is repaired some time later.
func (w *simWorld) breakDisk(n *simNode) {
	w.trouble(w.while(2), func() { n.broken = true }, func() {
		n.broken = false
		if n.up && n.core.failed {
			n.crash()
			n.restart()
		}
	})
}

func (w *simWorld) transfer(to *simNode) {
	if l := w.leader(); l != nil {
		w.transferTo(l, to)
	}
}

func (w *simWorld) transferTo(l, to *simNode) {
	w.logf("%s is to hand over to %s", l.name, to.name)
	l.input(func(now time.Duration) {
		if l.core.transfer(now, to.name) == nil {
			w.seen.transfers++
		}
	})
}

// reconfigure asks for any other membership.
func (w *simWorld) reconfigure() {
	l := w.leader()
	if l == nil {
		return
	}
	var m Membership
	for _, k := range w.rng.Perm(len(w.nodes)) {
		switch name := w.nodes[k].name; {
		case len(m.Voters) == 0 || w.chance(0.6):
			m.Voters = append(m.Voters, name)
		case w.chance(0.4):
			m.Learners = append(m.Learners, name)
		}
	}
	w.logf("%s is to change the membership to %v", l.name, m)
	w.insist(l, m, 30)
}

// insist asks for a change as long as the leader has it that it is too early, as a
// driver does, and no longer than the chaos lasts.
func (w *simWorld) insist(l *simNode, m Membership, times int) {
	if !l.runs() || times == 0 || w.loop.Now() >= w.until {
		return
	}
	var err error
	l.input(func(now time.Duration) { _, err = l.core.reconfigure(now, m) })
	if errors.Is(err, errNotYet) {
		w.after(w.plan.heartbeat, func() { w.insist(l, m, times-1) })
	}
}

// loseDisk takes the disk of one node away, if that is the only failure: a node
// without a past counts as one until it has caught up, also where it has none
// because it was never reached. (One that began as the only voter would take itself
// for a new cluster; nothing can tell it.)
func (w *simWorld) loseDisk() {
	l := w.leader()
	if l == nil || w.troubles > 0 || w.ambush > 0 {
		return
	}
	m := l.core.membership()
	if m.joint() || l.core.changing() || len(m.Voters) < 3 || l.core.commit < l.core.office.start {
		return
	}
	var able []*simNode
	goal := uint64(0)
	for _, n := range w.nodes {
		if !n.runs() || n.core.failed || n.core.founding() {
			return
		}
		if slices.Contains(m.Voters, n.name) && (n.core.newborn || n.core.leader != l.name || n.core.term != l.core.term || !n.core.membership().equal(*m)) {
			return
		}
		goal = max(goal, n.core.last())
		if slices.Contains(m.Voters, n.name) && len(n.config.voters) != 1 && n.core.last() > 1 {
			able = append(able, n)
		}
	}
	if len(able) == 0 {
		return
	}
	n := able[w.rng.IntN(len(able))]
	w.amnesia, w.amnesiac = 0, n
	n.goal = goal
	w.logf("%s loses its disk; it has to catch up to %d", n.name, goal)
	n.crash()
	n.disk = simDisk{}
	w.after(w.while(0.3), func() {
		n.restart()
		if w.chance(0.5) { // and it may crash again on its way
			w.after(w.while(0.3), func() {
				if w.amnesiac == n {
					n.crash()
					w.after(w.while(0.1), n.restart)
				}
			})
		}
	})
}

// heal ends all faults.
func (w *simWorld) heal() {
	w.logf("all is healed")
	w.ambush = 0
	w.loop.Heal()
	calm := event.Faults{Delay: w.plan.faults.Delay}
	for _, n := range w.nodes {
		n.slow, n.broken, n.stalled = 1, false, false
		if n.up && n.core.failed {
			n.crash()
		}
		if n.up && n.paused {
			w.resume(n)
		}
		n.restart()
		w.each(n, func(m *simNode) {
			w.loop.Release(n.id, m.id)
			w.setFaults(n, m, calm)
		})
	}
}

// simPatience is how many of the shortest election times a healed cluster may
// take to lead, and to catch up.
const simPatience = 15

// recover checks that the cluster works again within a bounded time, and then
// comes to rest.
func (w *simWorld) recover() {
	var l *simNode
	w.waitFor("there is a leader that takes commands", func() bool {
		l = w.leader()
		return l != nil && l.core.membership().IsVoter(l.name) && !l.core.changing() && l.core.commit >= l.core.office.start && l.propose(3) == nil
	})
	w.waitFor("the members have the same log", func() bool {
		l = w.leader()
		return l != nil && l.core.commit == l.core.last() && !slices.ContainsFunc(w.nodes, func(n *simNode) bool {
			return l.core.membership().Contains(n.name) && (n.applied != l.applied || !slices.Equal(n.terms, l.terms) || n.disk.last() != l.core.last())
		})
	})
	for _, p := range w.truth.acknowledged {
		if w.truth.entries[p.index-1].id != p.id {
			w.breaks("no acknowledged entry lost", "%d", p.index)
		}
	}
	w.rest(l)
}

// rest checks a cluster that works: a voter that does not hear the leader must not
// make it fall, nor one that was removed, nor when it hears the leader again. A
// transfer to such a voter does not block the leader for long.
func (w *simWorld) rest(l *simNode) {
	term, voters := l.core.term, l.core.membership().Voters
	deaf := w.byName(voters[w.rng.IntN(len(voters))])
	if deaf != l && len(voters) > 2 {
		w.loop.Cut(l.id, deaf.id)
	}
	w.pass(w.loop.Now() + 3*w.plan.election)
	if l.leads() {
		w.transferTo(l, deaf)
		w.pass(w.loop.Now() + 3*w.plan.election/2)
		if l.leads() && l.propose(1) != nil {
			w.breaks("liveness", "%s takes no command after a transfer to %s came to nothing; %s", l.name, deaf.name, w.describe())
		}
	}
	w.loop.Heal()
	w.pass(w.loop.Now() + 3*w.plan.election)
	if len(voters) > 2 && (!l.leads() || l.core.term != term) {
		w.breaks("nobody disrupts a working cluster", "%s no longer leads in term %d; %s", l.name, term, w.describe())
	}
}

// waitFor lets time pass until a condition holds, as it has to soon.
func (w *simWorld) waitFor(what string, ok func() bool) {
	for range simPatience {
		w.pass(w.loop.Now() + w.plan.election)
		if ok() {
			return
		}
	}
	w.breaks("liveness", "not within %d election times: %s; %s", simPatience, what, w.describe())
}

func (w *simWorld) describe() (s string) {
	for _, n := range w.nodes {
		if !n.up {
			s += fmt.Sprintf("%s down; ", n.name)
			continue
		}
		c := n.core
		s += fmt.Sprintf("%s %v term %d vote %q log %d commit %d stable %d membership %v newborn %v installing %v fetch %d peers", n.name, c.role, c.term, c.vote, c.last(), c.commit, c.disk.stable, *c.membership(), c.newborn, c.installing, c.fetch.Index)
		for _, p := range c.peers {
			s += fmt.Sprintf(" %s:%v/%d/%d", p.name, p.stance, p.match, p.next)
		}
		s += "; "
	}
	return s
}
