// Package rafttest is the conformance suite of raft.Storage: what a node relies on,
// as checks that any implementation can be put through.
//
//	func TestStorage(t *testing.T) {
//		rafttest.Run(t, func(dir string) (raft.Storage, error) {
//			return wal.Open(dir, wal.Config{})
//		})
//	}
//
// open is called with a directory that is new and empty, and again with the same one
// when the node is to find what it had saved. In between, the suite closes the
// Storage if it has a method Close() error. One that does not use directories takes
// the name for a key.
//
// # Not here
//
// What only a fault shows: whether what Save returned for is on the disk, what is
// left after a crash or a full disk, and what becomes of damage. Package raft/wal
// shows how that can be tested. Nor what the contract forbids nodes to do: gaps
// between entries, snapshots of the future, methods called in another order.
//
// # Files
//
// rafttest.go holds Case and Run, check.go what all cases use. The cases are in
// log.go (Save, Load and Compact), snapshot.go, and random.go (everything against a
// simple model).
package rafttest
