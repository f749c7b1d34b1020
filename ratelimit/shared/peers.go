package shared

import (
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
	flights  int
	failures int           // in a row
	again    time.Duration // when to try again
}

const (
	maxFlights  = 256 // to one owner
	maxFailures = 3   // in a row, after which an owner is tried only now and then
)

// begin takes a place for a request to an owner.
func (p *peers) begin(now time.Duration, name string, pause time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.byName[name]
	if o == nil {
		o = &peer{}
		p.byName[name] = o
	}
	if o.flights >= maxFlights {
		return errBusy
	}
	if o.failures >= maxFailures {
		if now < o.again {
			return errSilent
		}
		o.again = now + pause // this one tries
	}
	o.flights++
	return nil
}

// end gives the place back.
func (p *peers) end(now time.Duration, name string, failed bool, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.byName[name]
	o.flights--
	if !failed {
		o.failures = 0
	} else if o.failures++; o.failures >= maxFailures {
		o.again = now + pause
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
