package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/parley-go/parley/breaker"
)

// What a service may answer.
var (
	errDown   = errors.New("connection refused")
	errFailed = errors.New("500 internal error")
	errBusy   = errors.New("503 come back later")
)

// A service works on some calls at a time and lets the others wait in line, as
// servers do that have no limit of their own. It does not know who has given up
// waiting: it works for them all the same.
type service struct {
	acts  []act
	limit *breaker.Adaptive // nil without one
	count *record

	mu   sync.Mutex
	free [workers]time.Time // when each worker has done all that is in line for it
	up   bool               // whether it was up at the last call
}

func newService(acts []act, g guards, count *record) (s *service, err error) {
	s = &service{acts: acts, count: count}
	if g.limit { // it finds out by itself what the service can do
		s.limit, err = breaker.NewAdaptive(breaker.AdaptiveConfig{})
	}
	return s, err
}

// act returns what the service is like now.
func (s *service) act() act { return at(s.acts, s.count.elapsed()) }

// call is one call over the network: one try of a request.
func (s *service) call(ctx context.Context, r *request) (int, error) {
	s.count.add(sent)
	if err := r.travel(ctx); err != nil {
		return 0, err
	}
	if s.act().down {
		return 0, errDown
	}
	if s.limit == nil {
		return s.handle(ctx, r)
	}
	value, err := breaker.Do(ctx, s.limit, func(ctx context.Context) (int, error) { return s.handle(ctx, r) })
	if errors.Is(err, breaker.ErrRejected) {
		s.count.add(shed)
		return 0, errBusy // the client sees a status code, not an error of Go
	}
	return value, err
}

// handle does the work of a call, when its turn comes.
func (s *service) handle(ctx context.Context, r *request) (int, error) {
	// It has to be read first. Of calls that the limit lets in together, none is
	// ahead of its turn by chance.
	if err := r.travel(ctx); err != nil {
		return 0, err
	}
	done, err := s.enqueue(time.Duration(r.random.ExpFloat64() * float64(workTime)))
	if err != nil {
		return 0, err
	}
	if err := r.sleep(ctx, time.Until(done)); err != nil {
		return 0, err
	}
	switch a := s.act(); {
	case a.down:
		return 0, errDown
	case r.random.Float64() < a.failing:
		return 0, errFailed
	}
	return 1, nil
}

// enqueue puts a call in line for the worker that is free first, and returns when
// it will be done.
func (s *service) enqueue(work time.Duration) (done time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if up := !s.act().down; up != s.up {
		s.free, s.up = [workers]time.Time{}, up // it starts with an empty line
	}
	first := 0
	for i, t := range s.free {
		if t.Before(s.free[first]) {
			first = i
		}
	}
	start := s.free[first]
	if start.Before(now) {
		start = now
	}
	if start.Sub(now) > backlog {
		s.count.add(shed)
		return done, errBusy
	}
	s.free[first] = start.Add(work)
	return s.free[first], nil
}
