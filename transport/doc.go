// Package transport is the one seam of the library: the interface through which
// every protocol talks to other nodes, and its errors.
//
// A [Transport] belongs to one named node and has two verbs. Send and Receive
// carry one-way messages: cheap, unacknowledged, in order, perhaps lost.
// Call and Serve carry a request and its response, with a deadline. What is
// large is cut by the protocol into calls of at most 64 KiB, so that it never
// stands in the way of small messages.
//
// Choose an implementation by where the nodes live:
//
//   - transport/mem: in one process; for tests, examples and embedding.
//   - transport/tcp: over a network, one multiplexed connection a peer, mutual
//     TLS.
//   - transport/sim: simulated, with faults and virtual time, reproducible from
//     a seed; for tests of protocols and of whole services.
//
// A protocol written against this package runs unchanged on all three. To write
// a fourth, implement the interface and run transporttest.Run on it.
//
// # Guarantees
//
// From one sender, for one service, one-way messages arrive once and in the
// order of sending, or not at all; there is no order between services, between
// senders, or between messages and calls. from is the name that the
// implementation vouches for: with tcp and TLS, the authenticated one. Every
// queue is bounded and a full one answers at once with [ErrOverflow]; a peer
// that stops reading delays nobody else. Bodies are copied at the boundary: the
// sender may use its buffer again when Send or Call returns. Within one process a
// transport may also pass on what is never written to again: see [Sharer].
//
// # Not here
//
// Streams, broadcast, retries, discovery and encryption of single messages.
//
// # Files
//
// transport.go holds the contract, sharer.go what some can beyond it, errors.go the
// errors.
package transport
