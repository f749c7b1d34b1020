// Package quorum asks several nodes and goes on with enough answers: [Gather]
// does that for any call, and [Store] keeps keys and values on it that survive
// nodes.
//
// Use Gather where nodes are equal and some may be slow or down: it returns the
// first need answers and cancels the rest. Use a Store for a replicated map
// that every node can read and write while a minority is down. Where an update
// depends on what it replaces (compare-and-set, locks, counters), there has to
// be consensus: use package raft.
//
// # Store
//
// The ring names N owners of every key. Any node coordinates: a write is
// acknowledged when W owners hold it, a read is answered by R of them. The
// newest version wins; the store makes the versions. There is no leader, and
// nothing to fail over.
//
// With R+W > N, which is enforced unless Config.DisableOverlap is set, and
// except where a [Read] asks for less:
//
//   - Reads and writes of one key are linearizable (ABD: Attiya, Bar-Noy,
//     Dolev 1995; for several writers Lynch, Shvartsman 1997), whatever the
//     clocks of the nodes say and however messages are delayed or lost.
//   - An acknowledged write survives as long as fewer than W owners lose their
//     data at a time: until one that did has copied it back ([Store.Ready]).
//   - A write that fails is never acknowledged. If the error matches
//     [ErrUncertain], it was sent and may be found later, or never.
//   - Reads work while R owners can be reached that are not recovering and W
//     in all, writes while N-W+1 that are not recovering and W in all: with
//     N=3 and the defaults, while any two can.
//
// A version is above all that were acknowledged because a write first asks
// N-W+1 owners which there are. A proposal that replicas refuse and the
// coordinator repeats would save that round trip, but a write that was tried
// under two versions can be read, overwritten, and read again.
//
// # A node without its data
//
// A node whose [Storage] is empty takes part in writes, and in reads only when
// it has copied its keys from the other owners, in pages of at most 64 KiB. A
// key is there again when it was copied from N-W+1 owners that are complete, or
// from all others whatever their state. So a cluster that starts for the first
// time is ready when all members have been there once. recovery.go has the
// argument why nothing acknowledged is lost in between.
//
// # Not here
//
// Transactions over several keys, conditional writes, listing keys, expiry.
// Values over [MaxValue]. A change of members while nodes run: the ring is read
// at Start, and all nodes have to be started with the same; a node that is
// started with another one copies its keys anew. Tombstones are never removed:
// what is deleted keeps costing the size of its key. A node that is down for a
// while and keeps its data learns what it missed when keys are read, not
// otherwise: hinted hand-off, Merkle trees and siblings belong to a later
// version of the store.
//
// # Cost
//
// Get takes one round trip to the owners, two if it has to write back; Put and
// Delete take two. All N owners are asked, each by a goroutine, this node
// without the network. On transport/mem with N=3 a Get costs some 20 us and 30
// allocations, a Put 25 us and 55, Gather from three nodes 3 us and 11, all
// replicas on the same two cores. Every message is at most 64 KiB.
//
// # Files
//
// gather.go is Gather. version.go, tally.go, recovery.go and wire.go are the
// core: versions and the clock that makes them, when answers are enough,
// who is complete, and what travels; no goroutines, clocks or network.
// store.go, operations.go, round.go, replica.go and copy.go drive it: the
// node, reads and writes, one question to all owners, the answers to it, and
// recovery. config.go, storage.go, memory.go, status.go and errors.go are what
// a program sees besides.
package quorum
