package lb

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// A Backend is one server that calls can be sent to.
type Backend struct {
	// Name identifies the backend and must not be empty. RoundTripper takes it
	// for the address, host:port.
	Name string
	// Zone is where the backend is; see Config.Zone.
	Zone string
	// Weight is the backend's share of the calls relative to the others: 1 to
	// MaxWeight, and 0 means 1.
	Weight int
}

// State is whether a backend is chosen, and if not, why.
type State uint8

// The states of a backend.
const (
	Available State = iota // may be chosen
	Unhealthy              // SetHealth said so, as a Checker does
	Ejected                // out for a while because of its calls
	Draining               // gets no new calls until Resume
)

// String returns "available", "unhealthy", "ejected" or "draining".
func (s State) String() string {
	switch s {
	case Available:
		return "available"
	case Unhealthy:
		return "unhealthy"
	case Ejected:
		return "ejected"
	case Draining:
		return "draining"
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// MarshalText returns String, for JSON and the like.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Status is how a backend stands at a moment.
type Status struct {
	Backend
	// State is whether it is chosen. If nearly none are Available, those that are
	// Unhealthy or Ejected are used, too: see Config.PanicThreshold.
	State State
	// Share is the part of the calls that it would get if all backends fared
	// alike, from 0 to 1: its weight, less for slow start and another zone.
	Share float64
	// InFlight is the number of calls under way, if they are counted.
	InFlight int
	// Latency and Success are what LatencyAware expects of a call, and 0 with
	// another policy or before the first call.
	Latency time.Duration
	Success float64
	// Ejections counts the times that it was ejected.
	Ejections int
}

// A host is what a Balancer knows of a backend, for as long as it has it.
type host struct {
	// What calls change, on a cache line that nothing else is on.
	inFlight atomic.Int64
	estimate estimate
	failures atomic.Uint32 // in a row
	since    atomic.Uint64 // version of the snapshot from which on calls count: the last return from ejection
	window   window        // of Ejection.Interval
	_        [64]byte

	owner *Balancer
	info  atomic.Pointer[Backend]
	name  string
	place uint64 // on the circle of subsets

	// Guarded by owner.mu.
	ill       bool
	draining  bool
	ejection  ejection
	warmSince int64         // when the slow start began; 0: warm
	idle      chan struct{} // closed when there are no calls in flight; nil: nobody waits
	waited    atomic.Bool   // whether idle is there; written with owner.mu held
}

func (h *host) state() State {
	switch {
	case h.draining:
		return Draining
	case h.ill:
		return Unhealthy
	case h.ejection.out():
		return Ejected
	}
	return Available
}

// checkBackends returns copies with weights filled in, or what is wrong.
func checkBackends(backends []Backend) ([]Backend, error) {
	if len(backends) > MaxBackends {
		return nil, fmt.Errorf("%w: %d backends: must be at most %d", ErrInvalid, len(backends), MaxBackends)
	}
	checked := make([]Backend, len(backends))
	seen := make(map[string]bool, len(backends))
	for i, be := range backends {
		switch {
		case be.Name == "":
			return nil, fmt.Errorf("%w: Backend.Name of backend %d is empty", ErrInvalid, i)
		case seen[be.Name]:
			return nil, fmt.Errorf("%w: Backend.Name %q stands twice", ErrInvalid, be.Name)
		case be.Weight < 0 || be.Weight > MaxWeight:
			return nil, fmt.Errorf("%w: Backend.Weight of %q is %d: must be from 1 to %d, or 0 for 1", ErrInvalid, be.Name, be.Weight, MaxWeight)
		}
		seen[be.Name] = true
		be.Weight = max(be.Weight, 1)
		checked[i] = be
	}
	return checked, nil
}
