package raft

import "errors"

// The errors of this package, matched with errors.Is.
var (
	// ErrDropped says that a command was not applied and never will be: it is safe
	// to propose it again.
	ErrDropped = errors.New("raft: command dropped")
	// ErrUncertain says that a command may have been applied, or may still be.
	// Propose it again only in a session, or if it does no harm twice.
	ErrUncertain = errors.New("raft: outcome of the command unknown")
	// ErrOverloaded says that a bound on what waits was reached: the disk, the
	// state machine or the followers lag behind. It comes with ErrDropped.
	ErrOverloaded = errors.New("raft: overloaded")
	// ErrTooLarge says that a command is over Config.MaxCommand.
	ErrTooLarge = errors.New("raft: command too large")
	// ErrClosed says that the node was closed.
	ErrClosed = errors.New("raft: closed")
	// ErrFailed says that the node's storage or state machine failed, and that it
	// has stopped taking part. Status has the cause.
	ErrFailed = errors.New("raft: node failed")
	// ErrNotLeader says that this node does not lead, or stopped to.
	ErrNotLeader = errors.New("raft: not the leader")
	// ErrBusy says that a change of the membership, or a transfer of the
	// leadership, is under way already.
	ErrBusy = errors.New("raft: another change is under way")
	// ErrMembership says that a membership cannot be: it has no voters, or a name
	// twice, or the node that is to lead is none of its voters.
	ErrMembership = errors.New("raft: invalid membership")
	// ErrSessionExpired says that a session was dropped because newer ones took
	// its place. The command was not applied by this call, unless it comes with
	// ErrUncertain.
	ErrSessionExpired = errors.New("raft: session expired")
	// ErrResultDropped says that a command of a session was applied, once, and that
	// its result is no longer kept: it came again after the session's results had
	// got too large. See MaxSessionBytes.
	ErrResultDropped = errors.New("raft: command applied, its result dropped")
	// ErrRemoved says that this node was removed from its group, and has not heard
	// from a leader for two election times since. It comes with ErrDropped from
	// Propose, and ends when the node is named again. A node that was cut off while
	// it was removed does not know: there, calls wait until their contexts end.
	ErrRemoved = errors.New("raft: node removed from its group")
	// ErrNoSnapshot says that a Storage holds no snapshot.
	ErrNoSnapshot = errors.New("raft: no snapshot")
)
