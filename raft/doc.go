// Package raft keeps copies of a state machine on several nodes equal, by having
// them agree on a log of commands: the consensus algorithm Raft.
//
//	node, err := raft.Start(raft.Config{
//		Transport: t, Storage: log, StateMachine: kv,
//		Voters: []string{"a", "b", "c"},
//	})
//	result, err := node.Propose(ctx, command) // on any node
//	err = node.Barrier(ctx)                   // now this node's reads are linearizable
//
// What to bring: a transport.Transport; a [Storage], which package raft/wal keeps
// on disk; and a [StateMachine] of three methods. A group of three nodes goes on
// when one is down, one of five when two are.
//
// # Which call to use
//
//   - [Node.Propose] to change the state. It returns the state machine's result,
//     and otherwise says whether the command is certain not to be applied
//     ([ErrDropped]) or may be ([ErrUncertain]).
//   - [Session.Propose] where a command must not be applied twice and its sender
//     wants to go on after an ErrUncertain: it is applied once, however often it
//     has to be sent. [Node.ProposeOnce] does the same for a client elsewhere, who
//     may turn to another node.
//   - [Node.Barrier] before reading from the local state machine, on any node.
//     Without it, a read may be a little behind. Config.LeaseReads makes it free of
//     messages on the leader, if the clocks can be trusted.
//   - [Node.Reconfigure] to change who takes part, [Node.TransferLeadership] before
//     a leader is shut down, [Node.Ready] after a node was started, [Node.Leaders]
//     to follow who leads.
//   - [Host] for many groups on one node: shards, each with a leader of its own.
//
// # Guarantees
//
//   - What Propose acknowledged is in the log of a majority, durable there as far
//     as Storage is, and is applied on every node, in the same order everywhere.
//   - After ErrDropped the command is never applied; after a nil error it was
//     applied once. Only ErrUncertain leaves it open. It holds on a network that
//     loses, delays, reorders and repeats messages, and for crashes of any number
//     of nodes whose Storage keeps what it said it saved. If the transport carries
//     out a Call twice, which its contract excludes, a forwarded command is safe in
//     a Session only.
//   - A command of a Session is applied at most once, across crashes and new
//     leaders, and exactly once if Propose returned nil.
//   - After Barrier, the state machine of this node holds whatever had been
//     acknowledged to anyone when Barrier was called.
//   - Memory is bounded by Config: what waits for disks and followers, and what
//     waits for the state machine. Beyond, Propose answers [ErrOverloaded] at once.
//     Sessions keep [MaxSessionBytes] of results each, and [MaxSessions] are kept.
//   - A node whose Storage or StateMachine fails stops taking part, hands the
//     leadership over and says why in its [Status]. It does not believe a retry.
//     Only a snapshot of its own may fail: that is logged, and the log grows on.
//   - A node that learned that it was removed from the group says so, by
//     [ErrRemoved], to whoever asks it for something.
//   - A snapshot is checked against a checksum that was made where it was written,
//     before it takes the place of anything.
//
// # Snapshots on their way
//
// A node that needs what the leader's log no longer holds fetches its snapshot, in
// pieces of 60 KiB. As many are on their way as the link carries without delay, up to
// 64 (3.75 MiB), and about 512 for all groups of a host together; they are written in
// order, and what is lost is asked for again. So 100 MiB take 0.3 s at a round trip of
// 10 ms, and heartbeats beside them come in time, also where the link is thin: it has
// to carry 60 KiB in an election time. The leader answers each piece by itself, in a
// handler of the transport.
//
// If the source refuses, or is silent for two election times, or for one when another
// leader is known, the node goes on with any member that holds the very same snapshot.
// If there is none, it gives up after a refusal, as soon as another leader is known,
// and after ten election times in any case; then it fetches what the leader of that
// time offers. What was fetched does not outlive a restart of the node.
//
// # What it does not do
//
// It does not defend against nodes that lie, or against two that bear one name.
// It does not create nodes or find them: names are the transport's. A command of a
// single Propose has a few hundred bytes to some kilobytes; what is larger than
// Config.MaxCommand belongs elsewhere, with a reference in the log. Sessions do
// not order concurrent commands. A state machine that panics ends the process.
// Forwarded commands and reads are taken from every node that the transport lets
// in, so let in only who may propose.
//
// # Cost
//
// A command costs one message to each follower, one back, and one write to each
// disk; what is proposed while they are under way goes together in the next.
// Propose on the leader and its way through the log allocate nothing. On two
// cores, three nodes in one process with their logs in memory, one command takes
// some 5 µs from end to end; with 64 callers and more, each costs 1.2 to 1.6 µs of
// processor time on all three nodes together. An entry is held in memory until a
// snapshot covers it and KeepEntries more have come. An idle group costs about 5
// KiB and no goroutine a node, and 1,000 of them, three nodes in one process, some
// 4% of a core. BenchmarkPropose and BenchmarkIdleGroups print the figures for your
// machine, bench/raft those of other packages beside them.
//
// # How it is made
//
// The core is a function: told the time, messages and what was saved, it says what
// to send, save and apply. It has no clock, goroutine, lock or I/O, and is what the
// simulation tests run, under faults of the network and of disks, millions of
// events a second. A [Node] is the driver around it, a monitor: whoever brings news
// takes the lock, tells the core, carries out what it wants, and leaves. Storage
// and the state machine run outside of the lock.
//
// # Files
//
// The core: core.go, election.go, leader.go, replicate.go, reads.go, membership.go,
// log.go, progress.go and durable.go; message.go and entry.go are what it speaks
// of. The driver: node.go the monitor, propose.go, waiter.go and watch.go the way
// into the log, frame.go what commands travel in, apply.go the way out of it,
// disk.go Storage, barrier.go reads, change.go what happens on the leader for
// others, standing.go who was removed, snapshot.go, transfer.go, fetch.go, source.go
// and pace.go snapshots, taken, served and fetched, sessions.go and session.go exactly once,
// replay.go requests that come again, host.go, timer.go and outbox.go many groups,
// wire.go what travels, slab.go memory, status.go and config.go. storage.go and
// machine.go are what users implement, memory.go a Storage in memory, errors.go the
// errors.
//
// Sources: Ongaro, "Consensus: Bridging Theory and Practice", dissertation,
// Stanford 2014, whose sections the code names; Ongaro and Ousterhout, "In Search
// of an Understandable Consensus Algorithm", 2014; Ongaro, "Bug in single-server
// membership changes", 2015.
package raft
