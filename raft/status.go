package raft

import "iter"

// A Status is what a node knows of itself and its group at one moment.
type Status struct {
	Node  string
	Group string
	// Role is "follower", "pre-candidate", "candidate" or "leader".
	Role   string
	Term   uint64
	Leader string // empty while unknown

	First   uint64 // of the entries that are held in memory
	Last    uint64 // of the log
	Commit  uint64 // highest that is known to be committed
	Applied uint64 // by the state machine

	// Uncommitted and Unapplied are what waits, in bytes: see Config.
	Uncommitted int
	Unapplied   int

	// Membership is the one in force: the latest in the log.
	Membership Membership
	// Peers are the other nodes, in order of their names. What it says of them
	// only a leader knows.
	Peers []PeerStatus
	// Failure is why the node has stopped taking part; nil while it does.
	Failure error
}

// A PeerStatus is what a leader knows of another node.
type PeerStatus struct {
	Node  string
	Match uint64 // known to be durable there
	Next  uint64 // sent next
	// State is "probing" until the leader knows where the logs agree,
	// "replicating", or "restoring" while the node needs a snapshot.
	State string
	// Active says whether it has answered within the last election time.
	Active bool
}

// Status returns what the node knows now. It takes the node's lock for some
// hundred nanoseconds. It works on a node that has closed or failed, too.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.core
	s := Status{
		Node: n.local, Group: n.config.Group, Role: c.role.String(), Term: c.term, Leader: c.leader,
		First: c.first(), Last: c.last(), Commit: c.commit, Applied: n.apply.index,
		Uncommitted: n.uncommitted, Unapplied: n.unapplied,
		Membership: c.membership().clone(), Failure: n.failure,
	}
	if c.role != leader {
		s.Uncommitted = 0
	}
	for _, p := range c.peers {
		peer := PeerStatus{Node: p.name}
		if c.role == leader {
			peer = PeerStatus{p.name, p.match, p.next, p.stance.String(), n.host.now()-p.activeAt <= n.config.Election}
		}
		s.Peers = append(s.Peers, peer)
	}
	return s
}

// Stats counts what a node has done since it was started.
type Stats struct {
	Elected    uint64 // times it became the leader
	Proposed   uint64 // commands that it put into the log as the leader
	Forwarded  uint64 // commands and reads that it sent to the leader
	Asked      uint64 // requests that other nodes sent
	Overloaded uint64 // commands that it refused because too much waited
	Refused    uint64 // appends that it refused because its state machine lagged
	Applied    uint64 // entries
	Reads      uint64 // that it answered as the leader
	Saves      uint64 // batches given to Storage
	Snapshots  uint64 // taken
	Fetched    uint64 // snapshots fetched from others
	Sent       uint64 // messages to other nodes
	SentBytes  uint64 // of them
	Lost       uint64 // messages that the transport refused
}

// Stats returns the counters. It takes the node's lock for a moment.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// count1 counts one.
func (n *Node) count1(counter *uint64) {
	n.mu.Lock()
	*counter++
	n.mu.Unlock()
}

// Nodes yields the nodes of the host, one for each group, in no given order.
func (h *Host) Nodes() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		h.mu.RLock()
		nodes := h.all()
		h.mu.RUnlock()
		for _, n := range nodes {
			if !yield(n) {
				return
			}
		}
	}
}
