package sim

import (
	"sync"
	"time"
)

// A signal wakes whoever waits for a state to change. Guarded by World.mu. The
// zero value is ready.
type signal struct{ changed chan struct{} }

// wait returns a channel that is closed at the next change.
func (s *signal) wait() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *signal) fire() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// A deadline is the one of reading or of writing. The zero value has none.
// Guarded by mu.
type deadline struct {
	timer  *time.Timer // while it lies ahead
	passed bool
	signal signal // fires when it passes
}

// set replaces the deadline. mu guards d and is not held.
func (d *deadline) set(mu *sync.Mutex, at time.Time) {
	mu.Lock()
	defer mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.passed = false
	if at.IsZero() {
		return
	}
	left := time.Until(at)
	if left <= 0 {
		d.passed = true
		d.signal.fire()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		mu.Lock()
		defer mu.Unlock()
		if d.timer == timer { // not replaced in the meantime
			d.timer, d.passed = nil, true
			d.signal.fire()
		}
	})
	d.timer = timer
}
