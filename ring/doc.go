// Package ring decides which node holds which key, and what has to move when the
// nodes change.
//
// # Which type
//
//   - [Ring]: nodes come and go, keys are data, some nodes are larger, some share
//     a rack. Consistent hashing with virtual nodes; n owners of a key over
//     different zones. When in doubt, this one.
//   - [Maglev]: balancing requests over a few hundred backends; the most even, and
//     it may move a few keys more than it must.
//   - [Jump]: numbered shards that only grow or shrink at the end; no memory.
//   - [Rendezvous]: about ten nodes, no tables.
//   - [Modulo]: the number of parts never changes.
//   - [Range]: scans over neighbouring keys; splits by hand.
//   - [Directory]: single keys on a node of choice, the rest by another scheme.
//
// All are [Partitioner]. On top of a Ring,
//
//   - [Bounded] gives no node more than, say, 1.25 times its fair part of what is
//     held at the moment;
//   - [Spread] finds hot keys and spreads them over several owners;
//   - [Diff] and [DiffOwners] list the ranges of keys that change hands between
//     two states, and a [Plan] carries the change out, with bounded concurrency,
//     while it knows who answers for each key.
//
// # How keys are placed
//
// A key's place is its [Hash], XXH64; a node of weight 1 has 128 places of its
// own, which depend on its name alone. A key belongs to the node with the place
// next to it, on either side; its further owners are the nodes that come next by
// distance. The rings of most libraries give a key to the place that follows it;
// to look both ways makes the shares as even as twice the number of points would:
// max/mean is about 1.1 for 10 nodes, 1.15 for 100, 1.2 for 1,000, and 1.25 for
// 10,000.
//
// # Guarantees
//
//   - Placement depends on names, weights, zones (for the further owners) and
//     Config.VirtualNodes alone: not on order, history, process or architecture.
//     It is frozen by golden files and will not change within a major version.
//   - A node that joins takes keys and gives none; a node that leaves gives its
//     keys and none others move. Each change of one node changes at most one of
//     any key's n owners, with zones, too.
//   - Look-ups take no lock and see one state, whole. They go on while it changes.
//   - Any string is a key, the empty one and those with NUL included.
//   - Nothing panics on bad values: the error names the field, the node and the
//     bounds.
//
// # Not here
//
// Membership and failure detection (see package gossip), the moving of data
// itself, replication (see package quorum), and any network. Who can choose keys
// freely can aim them at one node: XXH64 is not keyed. Bounded and Spread limit
// the harm.
//
// # Cost
//
// With n nodes of weight 1 on a server of 2020: Owner 14 ns for 10 nodes, 22 ns
// for 1,000, 50 ns for 10,000, which is the wait for memory; three Owners 40 ns;
// no allocation. A change is one pass over the ring, O(n x VirtualNodes): 1 ms at
// 1,000 nodes. Building sorts in linear time: 55 ms for 10,000. A ring takes 12 to
// 16 bytes a point, 2 MB for 1,000 nodes, and as much again for each old state
// that somebody holds.
//
// # Files
//
// ring.go holds the Ring and snapshot.go its states; config.go bounds and checks
// them, build.go makes their tables, circle.go searches them, owners.go finds n
// nodes, hash.go places keys and points. diff.go compares states; plan.go and
// run.go carry a change out. bounded.go, hotkeys.go and spread.go keep load from
// one node. partitioner.go, maglev.go, range.go and directory.go are the other
// schemes.
package ring
