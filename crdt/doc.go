// Package crdt holds values that several replicas change at the same time, without
// asking one another, and that come out the same everywhere once all have heard of
// all changes: conflict-free replicated data types. They work while the network
// does not, and are merged when it does.
//
//	a, b := crdt.NewORSet[string]("a"), crdt.NewORSet[string]("b")
//	delta := a.Add("milk")   // a delta has the type of its state
//	b.Merge(delta)           // and is merged like one;
//	b.Merge(a)               // a whole state repairs whatever was lost
//
// # Which one to use
//
//   - [GCounter] counts up; [PNCounter] also down; [BoundedCounter] never below
//     0, whatever its replicas take concurrently.
//   - [LWWRegister] holds one value, the last by its stamp; [MVRegister] all values
//     that were written concurrently, for somebody to resolve.
//   - [EWFlag] is on, [DWFlag] off, after both concurrently.
//   - [ORSet] is the set to start with: what is added and removed concurrently is in
//     it, and nothing is kept of what was removed. In [RWSet] the removal wins,
//     and has to be remembered. [GSet] only grows; from [TwoPhaseSet] elements are
//     removed for ever; [LWWSet] goes by stamps.
//   - [ORMap] has CRDTs as its values, maps as well; [LWWMap] plain values by
//     stamps.
//
// # Replicas and their names
//
// A state made by New with a name belongs to that replica, which changes it; any
// other state, the zero value, a delta, one that was decoded, belongs to nobody: it is
// merged and read, and to change it ends the program. (The sets that need no name,
// [GSet], [TwoPhaseSet] and [LWWSet], have no New and may always be changed.)
//
// No two replicas may ever have the same name, and a replica must not go on from an
// older state than it has let out: two changes would be taken for one, and lost. After a restart, what was stored is decoded and merged into a New. The
// name is
//
//   - the old one, if every change was stored before its delta or state was let
//     out, by a write that survives a crash; or
//   - another one, never used before, if that is not certain: see [Incarnation].
//
// A replica that has lost everything is a new one and takes a new name. If it takes its
// old one all the same, it should merge from the others before its first change, which
// helps as far as they know. What can be noticed of a mistake is: a Merge that brings
// changes of the replica's own name that it does not know to have made goes on above
// them, and from then on Err returns a [ReuseError]. The LWW types need no more than
// stamps that rise across restarts, such as those of a vclock.Durable.
//
// # Deltas
//
// Every change returns its delta, which is independent of the state from then on. Deltas
// of one object may be merged into one before they are sent. In every type they may be
// repeated and come in any order. A lost one is made up for
//
//   - in the counters, by the next delta of the same replica, which has all that it
//     ever counted;
//   - in LWWRegister, LWWMap and LWWSet, by a later change of the same value, key or
//     element, or by a whole state;
//   - elsewhere, by a whole state, or a group of deltas that has it. A lost addition
//     leaves a gap, which shows in Seen while others come; a lost removal does
//     not.
//
// A whole state of any replica that had the change will do. So a system sends
// deltas at once and whole states now and then; Seen tells which ones are needed for
// additions. While something is missing a replica shows what follows from what it has:
// it may see an effect before its cause.
//
// States and deltas are of one object. To merge those of different ones, which may
// have the same dots, loses changes.
//
// # Guarantees
//
//   - Merge is commutative, associative and idempotent, and reports whether anything
//     changed. Replicas that have the same changes show the same.
//   - A removal removes what its replica had seen, and that stays removed, in
//     whatever order things come.
//   - States that hold the same have the same encoding. (That of a delta depends on
//     what it says it removes.) Decoders take nothing else, never panic, and allocate
//     in proportion to their input, some 10 to 70 times it.
//   - The states with a past, ORSet, MVRegister, EWFlag and ORMap, keep what is live and
//     an entry for each replica, nothing of what was removed. RWSet, DWFlag, LWWSet
//     and LWWMap keep removals until Compact, TwoPhaseSet for ever. Names that
//     were left can be dropped, see Prune; counters keep theirs.
//
// # What it does not do
//
// It sends nothing and stores nothing. It does not defend against replicas that lie.
// It has no transactions: invariants over several elements or objects do not hold by
// themselves, and of all types only BoundedCounter keeps one. Values are not safe for
// concurrent use, except that any number of goroutines may read one.
//
// # Elements, keys and values
//
// They may be strings, bytes, booleans, integers, floats, types based on these, empty
// structs, and types with AppendBinary or MarshalBinary, and UnmarshalBinary on the
// pointer. Equal ones must have equal encodings. With other types everything works
// but AppendBinary and UnmarshalBinary, which return ErrUnsupported. JSON is for
// people and goes one way.
//
// Elements and keys are found by ==. A NaN, which is not equal to itself, never gets
// into a set or a map; 0 and -0 are one. What would be decoded to something unequal,
// such as a pointer, or a time.Time with a zone or a monotonic reading, is not encoded:
// AppendBinary returns ErrUnsupported, for merged with its own copy it would be lost.
//
// # Cost
//
// GCounter.Add takes 4 ns and no allocation while the delta stays local; to merge 100
// replicas takes 1.5 us. ORSet.Add and Remove are two look-ups in a map, 0.1 to 0.25 us
// at 100,000 elements and no allocation while the delta stays local; encoded, the
// delta of one addition has some 20 bytes beside the name of the replica and the
// element. To merge a delta costs what is in it, to
// merge whole states what is in both. bench/crdt prints the figures.
//
// # Files
//
// gcounter.go, pncounter.go, on tally.go; bounded.go. lww.go holds the register and
// what decides between two writes, lwwmap.go and lwwset.go stand on it; gset.go and
// twophase.go. The types that know their past share causal.go: orset.go, rwset.go and
// flags.go on entries.go, mvregister.go on versions.go, ormap.go. Beneath them are
// context.go, the dots that were seen, and dots.go, those that are live, where
// removal without tombstones is decided; table.go is the map they all stand on. state.go
// has the constraints, value.go, wire.go and json.go the forms, errors.go errors and
// bounds.
//
// Sources: Shapiro, Preguiça, Baquero, Zawirski, "A comprehensive study of Convergent
// and Commutative Replicated Data Types", 2011; Bieniusa et al., "An optimized
// conflict-free replicated set", 2012; Almeida, Shoker, Baquero, "Delta state
// replicated data types", 2018; Balegas et al., 2015, for the bounded counter.
package crdt
