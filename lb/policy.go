package lb

import "fmt"

// A Policy says how a Balancer chooses among the backends that may be chosen. It
// is one of [RoundRobin], [Weighted], [Random], [LeastConnections], [PowerOfTwo],
// [LatencyAware], [ConsistentHash] and [Maglev]; nil in a Config means
// LatencyAware.
type Policy interface {
	fmt.Stringer
	kind() kind
}

// A kind is a Policy as the pick path sees it.
type kind uint8

const (
	roundRobin kind = iota
	weighted
	random
	leastConnections
	powerOfTwo
	latencyAware
	consistentHash
	maglev
)

// counts reports whether a policy goes by the calls in flight.
func (k kind) counts() bool {
	return k == leastConnections || k == powerOfTwo || k == latencyAware || k == consistentHash
}

// hashes reports whether a policy goes by the key of a request.
func (k kind) hashes() bool { return k == consistentHash || k == maglev }

// RoundRobin gives each backend its turn, in the order in which they were given.
// It is the cheapest and the most even in numbers, and blind to how backends
// fare. It leaves weights out of account, but not slow start.
type RoundRobin struct{}

// Weighted gives backends turns in proportion to their weights, exactly so in
// every round and spread evenly over it: a backend of weight 5 among ten gets
// every second turn or so, and not five in a row. A round has as many turns as
// the weights come to, divided by what they have in common; above 65,536 and 8 a
// backend, shares are rounded to that.
type Weighted struct{}

// Random chooses at random, in proportion to weights. Many clients that know
// nothing of each other spread their load no worse than with RoundRobin.
type Random struct{}

// LeastConnections chooses the backend with the fewest calls in flight for its
// weight, as this client sees it. It looks at all of them: about 2 ns a backend.
// With many backends PowerOfTwo does nearly as well for less. A backend that
// fails at once has few calls in flight: leave ejection on.
type LeastConnections struct{}

// PowerOfTwo draws two different backends, in proportion to weights, and takes
// the one with fewer calls in flight for its weight (Mitzenmacher, "The power of
// two choices in randomized load balancing", 2001). Clients do not herd, and
// the cost does not grow with the number of backends.
type PowerOfTwo struct{}

// LatencyAware draws two pairs of different backends, in proportion to weights, and
// takes of all four the one that will likely answer soonest: by the latency it has
// shown, the calls in flight there, and the share of its calls that succeed. It is
// the default, and what keeps the tail short when backends differ or one of them
// ails. It reads the clock twice a call.
//
// The idea is that of Finagle's peak EWMA, with two differences. An answer that
// took very long does not stand for the latency of a backend until it repeats,
// and a call that fails counts as one that has to be made again, so that a
// backend which fails fast is not the fastest of all. One that gets no calls because
// it was bad is forgiven with time, and so tried again within half a minute.
type LatencyAware struct{}

// ConsistentHash sends the requests of one key to one backend, by way of a ring
// with virtual nodes in proportion to weights; a change of backends moves only
// the keys it must. No backend gets more than LoadFactor times its fair part of
// the calls in flight: what is too much goes to the next on the ring (Mirrokni,
// Thorup and Zadimoghaddam, SODA 2018).
//
// Zones do not count here, so that clients in all zones agree on a key's backend.
type ConsistentHash struct {
	// LoadFactor is how many times its fair part of the calls in flight a
	// backend may have: above 1, to 1,000. The nearer to 1, the more requests
	// are sent past their own backend. Default 1.25.
	LoadFactor float64
}

// Maglev sends the requests of one key to one backend by a look-up table
// (Eisenbud et al., NSDI 2016). It is the most even of the hashing policies and
// the quickest to ask; a change of backends moves some more keys than it must.
// It leaves weights, zones and slow start out of account, and knows no bound on
// the load.
type Maglev struct{}

func (RoundRobin) kind() kind       { return roundRobin }
func (Weighted) kind() kind         { return weighted }
func (Random) kind() kind           { return random }
func (LeastConnections) kind() kind { return leastConnections }
func (PowerOfTwo) kind() kind       { return powerOfTwo }
func (LatencyAware) kind() kind     { return latencyAware }
func (ConsistentHash) kind() kind   { return consistentHash }
func (Maglev) kind() kind           { return maglev }

// String returns "round-robin".
func (RoundRobin) String() string { return "round-robin" }

// String returns "weighted".
func (Weighted) String() string { return "weighted" }

// String returns "random".
func (Random) String() string { return "random" }

// String returns "least-connections".
func (LeastConnections) String() string { return "least-connections" }

// String returns "power-of-two".
func (PowerOfTwo) String() string { return "power-of-two" }

// String returns "latency-aware".
func (LatencyAware) String() string { return "latency-aware" }

// String returns "consistent-hash".
func (ConsistentHash) String() string { return "consistent-hash" }

// String returns "maglev".
func (Maglev) String() string { return "maglev" }
