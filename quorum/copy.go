package quorum

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/parley-go/parley/internal/draw"
)

// This file drives the recovery: one goroutine for each other member meets it
// and copies from it until there is nothing left to do.

// Copies that run at the same time, and the delays between attempts at a peer.
const (
	copiesAtOnce = 4
	minRetry     = 20 * time.Millisecond
	maxRetry     = time.Second
)

// errAgain says that there is more to do with a peer, but not at once.
var errAgain = errors.New("the other replica is recovering itself")

// change makes one step of the recovery. What must outlive a crash is saved
// before anyone can act on it. Steps are made one at a time, by whoever holds
// the token; the storage is user code, and no lock is held.
func (s *Store) change(ctx context.Context, step func(r *recovery)) error {
	select {
	case <-s.token:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.token <- struct{}{} }()
	step(s.recovery)
	if state := s.recovery.encode(); s.member && !bytes.Equal(state, s.saved) {
		s.unsaved = true
		if err := s.config.Storage.SaveState(state); err != nil {
			return err
		}
		s.saved, s.unsaved = state, false
	}
	s.standing.Store(s.recovery.standing())
	close(s.changed)
	s.changed = make(chan struct{})
	if s.recovery.complete {
		s.readyOnce.Do(func() { close(s.ready) })
	}
	return nil
}

// look returns what there is to do with a peer, and a channel that is closed
// when that may have changed.
func (s *Store) look(name string) (e errand, finished bool, changed <-chan struct{}) {
	select {
	case <-s.token:
	case <-s.base.Done():
		return rest, true, nil
	}
	defer func() { s.token <- struct{}{} }()
	if s.unsaved {
		return save, false, s.changed
	}
	return s.recovery.next(name), s.recovery.finished(), s.changed
}

// accompany does what there is to do with one peer until the recovery is
// finished or the store is closed.
func (s *Store) accompany(name string) {
	defer s.wg.Done()
	random := draw.NewStream(s.config.Seed, "quorum", s.self, name)
	failures := 0
	for {
		e, finished, changed := s.look(name)
		if finished {
			return
		}
		var err error
		var wait <-chan time.Time
		switch e {
		case meet:
			err = s.meet(name)
		case copyPage:
			err = s.copyPage(name)
		case save:
			err = s.change(s.base, func(*recovery) {})
		case rest:
			err = errAgain
		}
		if err == nil {
			failures = 0
			continue
		}
		if e != rest {
			s.config.Logger.Debug("quorum: recovery has to wait", "node", s.self, "peer", name, "err", err)
			timer := time.NewTimer(retryDelay(failures, random.Uint64()))
			failures++
			changed, wait = nil, timer.C
		}
		select {
		case <-wait:
		case <-changed:
		case <-s.base.Done():
			return
		}
	}
}

// meet introduces this node to a peer.
func (s *Store) meet(name string) error {
	st := s.standing.Load()
	p := st.peers[name]
	r, err := s.callPeer(name, &request{op: opMeet, incarnation: st.incarnation, previous: p.knows})
	if err != nil {
		return err
	}
	got := readStatus(&r)
	if got == statusNoMember {
		return errNoMember
	}
	number := r.uint64()
	if err := r.end(); err != nil {
		return err
	}
	met := false
	switch got {
	case statusMet:
		err = s.change(s.base, func(r *recovery) { met = r.metBy(name, number, p.known) })
	case statusOutlived:
		err = s.change(s.base, func(r *recovery) { r.find(name).knows = number })
		met = number != p.knows // tell it again, at once
	default:
		return ErrCorrupt
	}
	if err == nil && !met {
		return errAgain
	}
	return err
}

// copyPage copies the next page of a peer's records.
func (s *Store) copyPage(name string) error {
	select {
	case s.copying <- struct{}{}:
		defer func() { <-s.copying }()
	case <-s.base.Done():
		return ErrClosed
	}
	st := s.standing.Load()
	r, err := s.callPeer(name, &request{op: opCopy, incarnation: st.incarnation, key: st.peers[name].cursor})
	if err != nil {
		return err
	}
	switch readStatus(&r) {
	case statusUnmet:
		return s.change(s.base, func(r *recovery) { r.unmet(name) })
	case statusPage:
	default:
		return ErrCorrupt
	}
	p := readPage(&r)
	if err := r.end(); err != nil {
		return err
	}
	for _, e := range p.entries {
		if _, err := s.config.Storage.Put(e.Key, e.Record); err != nil {
			return err
		}
	}
	s.stats.copied.Add(uint64(len(p.entries)))
	state := copiedNothing
	err = s.change(s.base, func(r *recovery) {
		r.page(name, p.source, p.complete, p.cursor, p.last)
		state = r.find(name).copied
	})
	if err == nil && p.last && state == copiedPartly {
		return errAgain
	}
	return err
}

// callPeer makes one call of the recovery.
func (s *Store) callPeer(name string, q *request) (reader, error) {
	ctx, cancel := context.WithTimeout(s.base, s.config.Timeout)
	defer cancel()
	response, err := s.config.Transport.Call(ctx, name, s.config.Service, q.append(nil))
	return reader{rest: response}, err
}

// retryDelay grows twofold from minRetry to maxRetry; a random half of it keeps
// nodes that failed together from coming back together.
func retryDelay(failures int, random uint64) time.Duration {
	d := min(minRetry<<min(failures, 16), maxRetry)
	return d/2 + time.Duration(random%uint64(d/2+1))
}
