package event

import "fmt"

// Set gives the link from one node to another other faults, for what is sent
// from now on.
func (l *Loop[M]) Set(from, to int, f Faults) error {
	if err := f.Validate(); err != nil {
		return err
	}
	l.link(from, to).faults = f
	return nil
}

// Partition puts nodes into groups: no message passes from one group to
// another, and what is on the way there is lost. Nodes in no group reach all.
// It takes the place of an earlier partition.
func (l *Loop[M]) Partition(groups ...[]int) error {
	of := make([]int, len(l.nodes))
	for g, members := range groups {
		for _, i := range members {
			if of[i] != 0 && of[i] != g+1 {
				return fmt.Errorf("node %q is in two groups of the partition", l.nodes[i].name)
			}
			of[i] = g + 1
		}
	}
	for i, n := range l.nodes {
		n.group = of[i]
	}
	l.grouped = len(groups) > 0
	for k := range l.links {
		was := k.blocked()
		k.split = l.separate(k.from, k.to)
		if !was {
			l.sever(k)
		}
	}
	return nil
}

func (l *Loop[M]) separate(from, to int) bool {
	a, b := l.nodes[from].group, l.nodes[to].group
	return l.grouped && a != 0 && b != 0 && a != b
}

// Cut cuts the link from one node to another, in this direction only. What is on
// it is lost, and so is what is sent on it until Heal.
func (l *Loop[M]) Cut(from, to int) {
	k := l.link(from, to)
	was := k.blocked()
	k.cut = true
	if !was {
		l.sever(k)
	}
}

// Mend undoes Cut on one link.
func (l *Loop[M]) Mend(from, to int) { l.link(from, to).cut = false }

// Heal ends the partition and all cuts. What was lost stays lost.
func (l *Loop[M]) Heal() {
	l.grouped = false
	for _, n := range l.nodes {
		n.group = 0
	}
	for k := range l.links {
		k.cut, k.split = false, false
	}
}

// sever loses what is on a link that has just been blocked.
func (l *Loop[M]) sever(k *link[M]) {
	if !k.blocked() {
		return
	}
	k.era++
	l.release(&k.parked)
}

// Hold keeps the messages on a link from arriving until Release.
func (l *Loop[M]) Hold(from, to int) { l.link(from, to).held = true }

// Release ends Hold. What was due in the meantime arrives now, in order.
func (l *Loop[M]) Release(from, to int) {
	k := l.link(from, to)
	k.held = false
	l.release(&k.parked)
}

// Crash takes a node down. Its timers are void. What is on the way to it is
// refused when it arrives; what it has sent goes on, unless it was paused.
func (l *Loop[M]) Crash(node int) {
	n := l.nodes[node]
	n.life++
	n.alarm = alarm{}
	n.down, n.paused = true, false
	for _, o := range n.outbox {
		p := l.push(l.now, o.lane, o.n, false)
		p.kind, p.sent, p.body = Severed, l.now, o.body
	}
	n.outbox = nil
	l.release(&n.inbox)
}

// Restart brings a node up again. A message on the way to its former life
// arrives at the new one.
func (l *Loop[M]) Restart(node int) { l.nodes[node].down = false }

// Pause stops a node: what arrives and what it sends waits for Resume, and so do
// its timers.
func (l *Loop[M]) Pause(node int) { l.nodes[node].paused = true }

// Resume ends Pause. What waited arrives now, in order, and leaves now.
func (l *Loop[M]) Resume(node int) {
	n := l.nodes[node]
	n.paused = false
	l.release(&n.inbox)
	waiting := n.outbox
	n.outbox = nil
	for _, o := range waiting {
		l.SendOn(o.lane, o.n, o.size, o.body)
	}
}

// release lets parcels that waited arrive now.
func (l *Loop[M]) release(waiting *[]parcel[M]) {
	for _, p := range *waiting {
		*l.push(l.now, p.lane, p.n, p.copy) = p
	}
	*waiting = nil
}

// links visits every link in use, in a stable order.
func (l *Loop[M]) links(yield func(*link[M]) bool) {
	for _, n := range l.nodes {
		for _, k := range n.links {
			if k != nil && !yield(k) {
				return
			}
		}
	}
}
