// Package mem connects nodes within one process: for tests, examples, and
// services that keep several nodes in one program.
//
// A [Network] is a set of named nodes; [Network.Join] adds one and returns its
// [Transport], which implements transport.Transport. Nodes of different networks
// do not see each other. To test a protocol under loss, delay and partitions use
// transport/sim, to leave the process transport/tcp.
//
// # Guarantees
//
// All of package transport, [transport.Sharer] included, and more: a message that
// Send has accepted is handled, unless its receiver closes before or has no such
// service; that its sender closes does not matter. A node that joins under the name
// of one that has closed goes on where that ended: the messages of both are handled
// in order, one at a time.
//
// From one node to another 8,192 messages may wait, or 32 MiB of bodies, and 4,096
// calls be in flight, counting those given up whose handlers still run. Half of
// the messages and bytes may be with the handler while the other half waits, so
// that a receiver that blocks refuses more from half of the bound on. A body has
// at most transport.DefaultMaxMessage bytes.
//
// # Cost
//
// Messages from one node to another are handled by one goroutine, which is there
// while there are any, and cost about 100 ns each and no allocation below 4 KiB.
// A call takes about 1 µs, a goroutine, and two allocations: the context of the
// handler, whose channel is made only for who asks for Done, and the response. A
// node keeps up to 16 goroutines that are done for their next use, until Close.
//
// # Not here
//
// Configuration, faults, counters: a handler can count what reaches it.
//
// # Files
//
// network.go joins nodes and takes them apart, transport.go has the methods of a
// Transport, inbox.go the queue of one-way messages, call.go requests and
// responses, context.go the context of a handler, workers.go the goroutines.
package mem
