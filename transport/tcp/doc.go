// Package tcp is the transport between machines: one multiplexed connection a
// pair of nodes, over TCP with mutual TLS 1.3.
//
// [Listen] starts a node, which is a [Transport]. Certificates come from the
// cluster's own authority; [Authority] makes them for tests, demonstrations and
// small private clusters.
//
// # Life of a call
//
// Call finds the peer by name and its connection; where there is none it waits
// while one is made. It takes a slot, whose number is the call's, appends a
// frame to what is to be written and sleeps. The connection's writer takes all
// that has gathered and writes it in one system call. On the other side, the
// reader takes in many frames at once, and hands their requests to workers under
// one lock. A worker runs the handler and appends the response. The caller's reader
// finds the slot by the number and wakes the caller.
//
// A body over 32 KiB is cut into fragments, of which the writer takes one at a
// time, with all that is small before it: a message of 16 MiB never delays a
// heartbeat by more than what the network already has of it.
//
// # Guarantees
//
// Those of package transport, and:
//
//   - With TLS, the certificate of a peer must carry the name it goes by, in
//     both directions, and from is that name. TLS 1.3 and certificates from both
//     sides are required whatever the configuration says. Plain text has to be
//     asked for by name.
//   - Frames carry a CRC32C (under TLS the records do better). A frame that does
//     not match costs the connection and reaches no handler.
//   - Whoever dials, a pair of nodes uses one connection; both dialling at once
//     loses nothing. A lost connection is dialled again when something is to be
//     sent, after pauses that grow and are spread; meanwhile calls fail at once.
//     Nothing is ever sent twice.
//   - A peer that has fallen silent is noticed within Config.KeepAlive, one that
//     takes nothing within Config.StallTimeout. Neither delays another peer, or a
//     Send.
//   - Every queue is bounded: see [Config]. A connection at rest holds a read
//     buffer of 64 KiB, and with TLS a write buffer.
//   - A deadline or a cancelled context ends its own call and the handler's
//     context, and nothing else. A late response is dropped; the number of a
//     call is never used again on its connection.
//
// # Not here
//
// Discovery (see Config.Resolve), streams, compression, broadcast, revocation of
// certificates, more than one connection a pair.
//
// # Cost
//
// A call costs two allocations on both sides together, the handler's context and
// the response; a message none. On two shared virtual processors, client and
// server in one process, an echo of 16 bytes takes 10 µs alone and 1.4 µs of
// processor time with 64 callers. The module bench compares.
//
// # Files
//
// transport.go holds the Transport, config.go its Config. peer.go decides which
// connection counts, dial.go makes connections, handshake.go has the hello,
// tls.go and authority.go the security. conn.go is a connection and its calls
// (calls.go); write.go (blocks.go, bulk.go) and read.go (fragment.go) are its two
// directions, work.go and context.go the handlers of its requests. keep.go
// notices the dead. frame.go is the wire format. events.go and stats.go tell
// what happens. tune_linux.go sets what Linux offers.
package tcp
