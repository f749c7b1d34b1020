package raft

import "io"

// A StateMachine is what the log is for: the same commands in the same order
// give every node the same state. It must not depend on clocks, random numbers
// or the order of maps. Its methods are never called concurrently; the function
// that Snapshot returns may run beside them.
//
// After a restart, the node restores the newest snapshot and applies the log
// from there again.
type StateMachine interface {
	// Apply applies the commands in order, and may set the Result of each. An
	// error stops the node: a state machine that left out a command is no copy
	// any more.
	Apply(commands []Command) error

	// Snapshot captures the present state without delay, for instance by marking
	// it copy-on-write, and returns a function that writes it while Apply goes
	// on. The function is called at most once.
	Snapshot() (write func(w io.Writer) error, err error)

	// Restore replaces the state by one that such a function wrote. If it fails,
	// the node stops.
	Restore(r io.Reader) error
}

// A Command is one committed command on its way through a StateMachine.
type Command struct {
	Index uint64 // its place in the log; rises, with gaps
	// Data is what was given to Propose. It is valid during Apply, and shared: do
	// not write to it, and copy what you keep.
	Data []byte
	// Result is what Propose returns on the node that proposed it. It is not
	// written to after Apply returned. Results of sessions are kept, as they are, and
	// are part of snapshots: keep them small (see MaxSessionBytes), and no part of a
	// large buffer.
	Result []byte
}
