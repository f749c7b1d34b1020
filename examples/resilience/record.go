package main

import (
	"sync"
	"time"
)

// An event is what is counted.
type event int

const (
	asked    event = iota // requests
	answered              // requests that got their answer in time
	retried               // tries after the first of a request
	stopped               // tries that the breaker did not let out of the client
	sent                  // tries that went to the service
	shed                  // calls that the service turned away
	events                // how many events there are
)

// tenths is how many slots there are in a second.
const tenths = 10

// A record counts events in each tenth of a second of the script. What happens
// after its end is not counted.
type record struct {
	began time.Time

	mu    sync.Mutex
	slots [][events]int
}

func newRecord(d time.Duration) *record {
	return &record{began: time.Now(), slots: make([][events]int, tenths*int(d/time.Second))}
}

// elapsed returns how long the script has been going on.
func (r *record) elapsed() time.Duration { return time.Since(r.began) }

func (r *record) add(e event) {
	slot := int(r.elapsed() / (time.Second / tenths))
	r.mu.Lock()
	defer r.mu.Unlock()
	if slot < len(r.slots) {
		r.slots[slot][e]++
	}
}

// total returns how often something happened in a span.
func (r *record) total(e event, s span) (n int) {
	for _, slot := range r.slots[s.begin*tenths : s.end*tenths] {
		n += slot[e]
	}
	return n
}

// peak returns the most of it in one tenth of a second.
func (r *record) peak(e event, s span) (n int) {
	for _, slot := range r.slots[s.begin*tenths : s.end*tenths] {
		n = max(n, slot[e])
	}
	return n
}

// amplification returns how many tries there were for each request of a span,
// those included that a breaker stopped.
func (r *record) amplification(s span) float64 {
	requests := r.total(asked, s)
	return ratio(requests+r.total(retried, s), requests)
}
