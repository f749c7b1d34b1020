package quorum

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parley-go/parley/transport"
)

// This file is the replica: what a node answers about its own records, to
// itself and to others.

// askOwner puts a request about a key to the owner at position i, over the
// network unless that is this node.
func (s *Store) askOwner(ctx context.Context, owners []string, i int, q *request, body []byte) (ack, error) {
	if owners[i] == s.self {
		select {
		case s.local <- struct{}{}:
			defer func() { <-s.local }()
			return s.localAck(owners, q)
		case <-ctx.Done():
			return ack{}, transport.ContextError(ctx)
		}
	}
	response, err := s.config.Transport.Call(ctx, owners[i], s.config.Service, body)
	if err != nil {
		return ack{}, err
	}
	r := reader{rest: response}
	switch readStatus(&r) {
	case statusAck:
		a := readAck(&r, owners)
		return a, r.end()
	case statusSkew:
		skew := readSkew(&r)
		return ack{}, errors.Join(r.end(), skew)
	case statusNotOwner:
		return ack{}, errNotOwner
	}
	r.fail()
	return ack{}, r.end()
}

// localAck answers a request of this node about a key that it owns.
func (s *Store) localAck(owners []string, q *request) (ack, error) {
	before, record, after, err := s.apply(q)
	if err != nil {
		return ack{}, err
	}
	a := ack{incarnation: after.incarnation, readable: before.readable(s.self, owners), record: record}
	for i, owner := range owners {
		a.known[i] = after.peers[owner].known
	}
	return a, nil
}

// apply does to the storage what a request says, and returns what the storage
// holds then, after a put without the value. A replica that is complete only
// after a record was read may not have had it: whether it counts for reads is to
// be taken from its standing before. Which lives of others it has met is to be
// taken from that after; see recovery.go.
func (s *Store) apply(q *request) (before *standing, record Record, after *standing, err error) {
	before = s.standing.Load()
	switch q.op {
	case opVersion, opGet:
		record, err = s.config.Storage.Get(q.key)
	case opPut, opRepair:
		if q.op == opPut {
			err = checkSkew(s.now(), q.record.Version, s.config.MaxSkew)
		}
		if err == nil {
			record.Version, err = s.config.Storage.Put(q.key, q.record)
		}
	}
	return before, record, s.standing.Load(), err
}

// serve answers the requests of other nodes.
func (s *Store) serve(ctx context.Context, from string, body []byte) ([]byte, error) {
	var q request
	if err := q.decode(body); err != nil {
		return nil, err
	}
	switch q.op {
	case opMeet:
		return s.serveMeet(ctx, from, q.incarnation, q.previous)
	case opCopy:
		return s.serveCopy(from, q.incarnation, q.key)
	}
	return s.serveKey(&q)
}

func (s *Store) serveKey(q *request) ([]byte, error) {
	var buf [MaxReplicas]string
	owners := s.owners(buf[:0], q.key)
	if !slices.Contains(owners, s.self) {
		return appendStatus(nil, statusNotOwner), nil
	}
	q.record.Value = bytes.Clone(q.record.Value) // the request is only lent
	before, record, after, err := s.apply(q)
	var skew *SkewError
	if errors.As(err, &skew) {
		return appendSkew(nil, skew), nil
	}
	if err != nil {
		return nil, err
	}
	if q.op != opGet {
		record.Value, record.Deleted = nil, false
	}
	room := 64 + len(record.Value) + 32*len(owners)
	return appendAck(make([]byte, 0, room), owners, after, before.readable(s.self, owners), record), nil
}

// serveMeet takes the introduction of another node.
func (s *Store) serveMeet(ctx context.Context, from string, incarnation, previous uint64) ([]byte, error) {
	if _, member := s.table.Node(from); !member || !s.member {
		return appendStatus(nil, statusNoMember), nil
	}
	met := false
	err := s.change(ctx, func(r *recovery) { met = r.introduced(from, incarnation, previous) })
	if err != nil {
		return nil, fmt.Errorf("quorum: saving the state: %w", err)
	}
	st := s.standing.Load()
	if !met {
		return appendIncarnation(nil, statusOutlived, st.peers[from].known), nil
	}
	return appendIncarnation(nil, statusMet, st.incarnation), nil
}

// scanLimit is how many records are looked through for one page, so that a
// node that owns few of them is not kept waiting for its time to run out.
const scanLimit = 4096

// serveCopy answers with a page of the records that the asking node owns.
func (s *Store) serveCopy(from string, incarnation uint64, after string) ([]byte, error) {
	st := s.standing.Load()
	if !s.member || incarnation == 0 || st.peers[from].known != incarnation {
		return appendStatus(nil, statusUnmet), nil
	}
	p := page{source: st.incarnation, complete: st.complete, last: true, cursor: after}
	var buf [MaxReplicas]string
	room, scanned := pageRoom, 0
	for e, err := range s.config.Storage.Scan(after) {
		if err != nil {
			return nil, fmt.Errorf("quorum: scanning the storage: %w", err)
		}
		owned := slices.Contains(s.owners(buf[:0], e.Key), from)
		if owned {
			room -= entrySize(e)
		}
		if room < 0 || scanned == scanLimit {
			p.last = false
			break
		}
		if owned {
			p.entries = append(p.entries, e)
		}
		p.cursor = e.Key
		scanned++
	}
	return p.append(make([]byte, 0, maxMessage)), nil
}
