// Package vclock tells which of two events came first, on machines whose clocks
// disagree: vector clocks, sets of concurrent values, Lamport clocks and hybrid
// logical clocks.
//
//	var c, d vclock.Clock
//	c.Tick("a")               // an event on a
//	d.Merge(c)                // b hears of it,
//	d.Tick("b")               // and does something
//	fmt.Println(c.Compare(d)) // before
//
// # Which one to use
//
//   - [Clock], a vector clock, when it matters whether two events were
//     concurrent: neither knew of the other. Its size grows with the nodes.
//   - [Siblings], a dotted version vector set, for the values of one key of a
//     replicated store: a write replaces what its writer had read, and keeps
//     beside itself what the writer had not.
//   - [Hybrid], a hybrid logical clock, for stamps of eight bytes that respect
//     cause and effect and stay close to the time of day: versions, snapshots,
//     last writer wins. It does not see concurrency.
//   - [Durable], the same with a bound on disk, when stamps must not go back even
//     though the process restarts on a machine whose clock was set back.
//   - [Lamport], the smallest of them, where an order that respects cause and
//     effect is all, and no relation to time is needed.
//
// # Guarantees
//
//   - a.Compare(b) is Before exactly when the event of a happened before that of
//     b, as long as each node ticks its own name only, and no clock was pruned.
//   - A Clock and a Siblings are values: assigning one copies it, in constant
//     time, and what is done to the copy never shows in the original. The arrays
//     beneath are shared and never written to.
//   - However they interleave, a Siblings holds no more values than there are
//     writers, if each reads again after it wrote and before it writes again, or
//     gives the dots of its own writes.
//   - The stamps of one Hybrid always rise: across clocks that are set back,
//     across more events than the logical part can count, and in any number of
//     goroutines. A stamp from the far future is refused and leaves no trace.
//   - A Durable never issues a stamp that is not covered by what was saved.
//   - Equal values have equal binary encodings, and decoders accept nothing else.
//     They never panic, and allocate at most a small multiple of their input.
//
// # What it does not do
//
// It defends against bad clocks, not against nodes that lie: a counter or a
// stamp within the bounds is believed. It does not make node names unique: two
// nodes of one name, or one that lost its counters and goes on under its old
// name, give different events the same dot, and one of them is lost. Hybrid stamps
// and Lamport times of different nodes may be equal: compare the names next.
//
// # Cost
//
// With n entries: Compare is O(n), about 25 ns for eight and no allocation, and
// three times that where the names differ. Clone and assignment are O(1). Tick and
// a Merge of concurrent clocks take a new array of n counters: one allocation,
// about 75 ns for eight; a node that joins takes new names as well. Other merges
// allocate nothing. Hybrid.Now adds about 10 ns to a reading of the time, Lamport
// takes 5 to 10 ns. bench/vclock prints the figures.
//
// # Files
//
// clock.go holds the vector clock, names.go the names that clocks share, order.go
// the comparison, prune.go what makes clocks smaller, and the price; dot.go the
// single event; siblings.go the set of concurrent values; lamport.go, stamp.go,
// hybrid.go and durable.go the scalar clocks. binary.go, text.go and
// siblings_codec.go are the stored forms; errors.go holds errors and bounds.
//
// Sources: Lamport, "Time, Clocks, and the Ordering of Events in a Distributed
// System", 1978; Mattern, "Virtual Time and Global States of Distributed Systems",
// 1989; Almeida et al., "Scalable and Accurate Causality Tracking for Eventually
// Consistent Stores", 2014; Kulkarni et al., "Logical Physical Clocks", 2014.
package vclock
