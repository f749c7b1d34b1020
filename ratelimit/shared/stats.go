package shared

// Stats counts what a Limiter has done since its start.
type Stats struct {
	// Allowed and Denied are how many requests were decided, and Alone how many
	// of those allowed were so by this node's own share.
	Allowed, Denied, Alone uint64
	// Unavailable is how many requests failed with ErrUnavailable, or with ErrFull
	// by the owner.
	Unavailable uint64
	// Requests is how many requests to owners were sent over the network.
	Requests uint64
	// Returned is how many tokens were given back unused, other than with a
	// request for more.
	Returned uint64
	// Keys is how many keys are in use on this node, and Owned how many that it
	// owns are in its books.
	Keys, Owned int
}

// Stats returns a snapshot. It locks one part after the other.
func (l *Limiter) Stats() Stats {
	var sum Stats
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		sum.Allowed += s.stats.Allowed
		sum.Denied += s.stats.Denied
		sum.Alone += s.stats.Alone
		sum.Unavailable += s.stats.Unavailable
		sum.Requests += s.stats.Requests
		sum.Returned += s.stats.Returned
		sum.Keys += len(s.accounts)
		s.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sum.Owned = len(l.ledger.order)
	return sum
}
