package breaker

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// How the callers of an Adaptive share its limit. A slot that becomes free goes
// to the waiting caller with the fewest calls running for its share, which is
// max-min fairness: nobody gets more than a fair share while another who gets
// less waits. Of equal ones, it is the turn of the one who was served the longest
// ago. Within a caller, first come, first served.
//
// The methods of this file are called with mu held, but for enter and wait.

// enter lets a call of the named caller in, or returns a waiter that stands in
// its queue.
func (a *Adaptive) enter(name string, now int64) (*caller, *waiter, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.caller(name)
	if a.queued == 0 && a.inUse < int(a.limit) {
		a.admit(c)
		return c, nil, nil
	}
	if a.queued >= a.config.Waiting && !a.shedFor(c) {
		a.stats.Rejected++
		a.forget(c)
		return nil, nil, ErrFull
	}
	if c.queue.n == 0 {
		c.waitsSince = now
		a.waiting = append(a.waiting, c)
	}
	patience := a.config.WaitFor
	if now-c.waitsSince >= int64(a.config.WaitFor) {
		patience = a.config.WaitTarget
	}
	a.turn++
	w := &waiter{turn: a.turn, ready: make(chan error, 1), caller: c, patience: patience}
	c.queue.push(w)
	a.queued++
	a.stats.Waited++
	return c, w, nil
}

// wait waits until w is answered, its patience ends, or ctx does.
func (a *Adaptive) wait(ctx context.Context, w *waiter) error {
	timer := time.NewTimer(w.patience)
	defer timer.Stop()
	select {
	case err := <-w.ready:
		return err
	case <-timer.C:
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.leave(w) {
			a.stats.Shed++
			return ErrShed
		}
		return <-w.ready
	case <-ctx.Done():
	}
	end := contextError(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.leave(w) {
		if err := <-w.ready; err != nil {
			return err
		}
		a.release(w.caller, a.now()) // it was let in in this very moment
	}
	a.stats.GaveUp++
	return end
}

// release takes back the slot of one call and serves those who wait.
func (a *Adaptive) release(c *caller, now int64) {
	a.inUse--
	c.running--
	a.forget(c)
	for a.inUse < int(a.limit) && a.queued > 0 {
		w := a.poorest().queue.first
		a.admit(w.caller) // before leave, which forgets callers without calls
		w.start = now
		a.leave(w)
		w.ready <- nil
	}
}

// admit gives a slot to a call of c.
func (a *Adaptive) admit(c *caller) {
	a.inUse++
	c.running++
	a.turn++
	c.served = a.turn
}

// poorest returns the waiting caller whose turn it is.
func (a *Adaptive) poorest() *caller {
	return slices.MinFunc(a.waiting, func(x, y *caller) int {
		return cmp.Or(
			cmp.Compare(float64(x.running)/x.share, float64(y.running)/y.share),
			cmp.Compare(x.served, y.served),
			cmp.Compare(x.queue.first.turn, y.queue.first.turn),
		)
	})
}

// shedFor makes room in a full queue for a call of c, if another caller has more
// calls waiting, for its share, than c would then have: the newest goes of the
// caller with the most.
func (a *Adaptive) shedFor(c *caller) bool {
	var longest *caller
	most := float64(c.queue.n+1) / c.share
	for _, other := range a.waiting {
		length := float64(other.queue.n) / other.share
		tie := longest != nil && length == most && other.queue.last.turn > longest.queue.last.turn
		if length > most || tie {
			longest, most = other, length
		}
	}
	if longest == nil {
		return false
	}
	w := longest.queue.last
	a.leave(w)
	a.stats.Shed++
	w.ready <- ErrShed
	return true
}

// leave takes w out of its queue; false if it has been answered.
func (a *Adaptive) leave(w *waiter) bool {
	if !w.remove() {
		return false
	}
	a.queued--
	if c := w.caller; c.queue.n == 0 {
		i := slices.Index(a.waiting, c)
		last := len(a.waiting) - 1
		a.waiting[i], a.waiting[last] = a.waiting[last], nil
		a.waiting = a.waiting[:last]
		a.forget(c)
	}
	return true
}

// caller returns the caller of a name.
func (a *Adaptive) caller(name string) *caller {
	if name == "" {
		return &a.plain
	}
	c := a.callers[name]
	if c == nil {
		c = &caller{adaptive: a, name: name, share: a.config.share(name)}
		a.callers[name] = c
	}
	return c
}

// forget drops a caller with no call.
func (a *Adaptive) forget(c *caller) {
	if c.running == 0 && c.queue.n == 0 {
		c.served = 0
		delete(a.callers, c.name)
	}
}
