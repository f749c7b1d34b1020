// Package shared limits what several servers do together: each key has one token
// bucket, however many nodes take from it. A [Limiter] is one node's part.
//
// It is a ratelimit.Store, so it can stand behind ratelimit.Middleware as a
// ratelimit.Keyed does. Choose a Keyed if each server may allow the limit by
// itself, or if a balancer sends each key to one server; choose this package if
// the limit has to hold for all servers together. There is nothing else to run.
//
// # How it works
//
// The ring names an owner for each key, which holds the bucket. A node that wants
// tokens asks the owner for them, and for a batch in advance, sized by the pace at
// which the key is used: about what half a lease takes, at most an equal part of
// what is left. It uses the batch without the network, asks for more before it is
// used up, and gives back what it does not use for half a lease. What is denied is
// denied without asking again until the owner may have tokens.
//
// # Guarantees
//
// With burst B, limit R, lease L and N members of the ring, in any time t and for
// each key, all nodes together allow at most
//
//	B + R*t                     with FailClosed
//	B + R*t + max(B, N) + R*t   otherwise, and the second half only in what nodes
//	                            decide by their shares, while owners do not answer
//	+ C*B                       with Forgive, C being the starts of owners and
//	                            moves of the key in that time
//	+ 2*R*D                     where nodes disagree for the time D about who
//	                            owns the key
//
// for any loss, delay, repetition and order of messages, and any crash, restart,
// partition and change of owner. The first line is that of a single limiter in
// one process: batches cost no accuracy, since a token on lease keeps its place in
// the bucket until it is known to be used. (Forgive also adds what a node's
// own share holds, for each of its starts.) This rests on
//
//   - clocks whose rates differ by less than an eighth; what they show does not
//     matter, nor do jumps of the wall clock. R is measured by the owner's clock;
//   - the same Limit, Burst and Lease on all nodes, and a ring that does not
//     change while shares are in use;
//   - nodes that keep to the protocol: a peer is trusted to use what it was
//     granted and no more.
//
// An owner that starts, or to which a key moves, grants nothing for 9/8 L, until
// all leases that it cannot know of have ended, and begins with an empty bucket.
// So there is no moment at which restarting servers gets anybody more tokens.
//
// # What is lost
//
// Tokens that are on lease elsewhere are not to be had here, for up to L/2, and
// those of a node that crashed, or in a message that was lost, for up to 9/8 L,
// and then they have been used as far as anybody knows. Refills stop while the
// bucket and what is on lease make up the burst. With five nodes that want more
// than there is, round trips of 2.5 ms and a burst of 0.2 s, 97% of the limit is
// used. A burst below what the limit allows in a few round trips loses more.
//
// # Not here
//
// Waiting for tokens, and several limits taken together. Buckets that survive the
// owner: they are in memory alone. Protection against members that lie.
//
// # Cost
//
// What a lease covers takes some 85 ns, 30 of them to read the clock, and does not
// allocate; the same holds for a key that is known to be denied. An exchange takes
// a round trip, some 10 us on transport/mem, one goroutine and 20 allocations.
// There is one at a time for each key and node, and at most 256 from one node to
// another, while others wait for their turn. Each node holds Config.MaxKeys
// accounts and as many buckets, and one goroutine of its own.
//
// # Files
//
// bucket.go, ledger.go, tenure.go, account.go and wire.go are the core: what comes
// back with time, the books of an owner, since when it is one, what a lessee
// holds, and what travels; no goroutines, clocks or network. limiter.go is the
// node and Take, exchange.go what goes between nodes, peers.go keeps a silent one
// from delaying others, config.go and stats.go are what a program sees besides.
package shared
