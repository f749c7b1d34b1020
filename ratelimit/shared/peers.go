package shared

import (
	"errors"
	"sync"
	"time"
)

// peers bounds what is under way to each owner, so that one that does not answer
// takes nothing from the others, and keeps the requests for its keys from waiting
// for it one by one.
type peers struct {
	mu     sync.Mutex
	byName map[string]*peer // those with anything to remember; guarded by mu
}

type peer struct {
	flights  int           // under way, or waiting for a place
	places   chan struct{} // holds one for each that is under way
	failures int           // in a row
	again    time.Duration // when to try again
}

const (
	maxFlights  = 256 // to one owner
	maxFailures = 3   // in a row, after which an owner is tried only now and then
)

// begin announces a request to an owner, unless that is known not to answer.
func (p *peers) begin(now time.Duration, name string, pause time.Duration) (places chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.byName[name]
	if o == nil {
		o = &peer{places: make(chan struct{}, maxFlights)}
		p.byName[name] = o
	}
	if o.failures >= maxFailures {
		if now < o.again {
			return nil, errSilent
		}
		o.again = now + pause // this one tries
	}
	o.flights++
	return o.places, nil
}

// end says how the request went. One that found no place says nothing of the
// owner.
func (p *peers) end(now time.Duration, name string, err error, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.byName[name]
	o.flights--
	switch {
	case err == nil:
		o.failures = 0
	case errors.Is(err, errBusy):
	default:
		if o.failures++; o.failures >= maxFailures {
			o.again = now + pause
		}
	}
	if o.flights == 0 && o.failures == 0 {
		delete(p.byName, name)
	}
}

// forget drops the failures of nodes that are out of the ring.
func (p *peers) forget(member func(name string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, o := range p.byName {
		if o.flights == 0 && !member(name) {
			delete(p.byName, name)
		}
	}
}
