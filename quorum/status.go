package quorum

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/parley-go/parley/transport"
)

// Ready waits until this node counts for reads of all its keys: at once after a
// restart with its data, and otherwise when it has copied its keys from the
// other members. Before that it counts for those keys whose other owners it has
// copied. On the first start of a cluster all members have to be there once.
//
// It waits as long as ctx does. Errors: ErrClosed, or that of ctx.
func (s *Store) Ready(ctx context.Context) error {
	if s.standing.Load().complete {
		return nil
	}
	select {
	case <-s.ready:
		return nil
	case <-s.base.Done():
		return ErrClosed
	case <-ctx.Done():
		return transport.ContextError(ctx)
	}
}

// A Status says how far the recovery of a node has come.
type Status struct {
	Node        string
	Member      bool         // of the ring; others have nothing to recover
	Ready       bool         // counts for reads of all its keys
	Incarnation uint64       // the number of this life of the replica
	Peers       []PeerStatus // the other members, in the order of their names
}

// A PeerStatus says how a node stands with another.
type PeerStatus struct {
	Node        string
	Met         bool   // it has met the present life of this node
	Incarnation uint64 // its life that this node has met last; 0: none
	Copied      bool   // all that it had has been copied since this node lost its data
}

// Status returns how far the recovery has come.
func (s *Store) Status() Status {
	st := s.standing.Load()
	status := Status{Node: s.self, Member: s.member, Ready: st.complete, Incarnation: st.incarnation}
	for _, p := range st.peers {
		status.Peers = append(status.Peers, PeerStatus{Node: p.name, Met: p.met, Incarnation: p.known, Copied: p.copied != copiedNothing})
	}
	slices.SortFunc(status.Peers, func(a, b PeerStatus) int { return strings.Compare(a.Node, b.Node) })
	return status
}

// Stats counts what a store has done since Start.
type Stats struct {
	Reads       uint64 // Get
	Writes      uint64 // Put and Delete
	Failed      uint64 // reads and writes that asked other nodes and returned an error
	WrittenBack uint64 // reads that waited until more owners held what they found
	Repaired    uint64 // owners that were brought up to date in the background
	Copied      uint64 // records copied from other members
	Background  int    // calls or groups of calls that nobody waits for, now
}

type counters struct {
	reads, writes, failed, writtenBack, repaired, copied atomic.Uint64
}

// Stats returns the counts. Each is exact; together they are not of one moment.
func (s *Store) Stats() Stats {
	return Stats{
		Reads:       s.stats.reads.Load(),
		Writes:      s.stats.writes.Load(),
		Failed:      s.stats.failed.Load(),
		WrittenBack: s.stats.writtenBack.Load(),
		Repaired:    s.stats.repaired.Load(),
		Copied:      s.stats.copied.Load(),
		Background:  int(s.background.Load()),
	}
}
