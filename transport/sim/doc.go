// Package sim tests services that run on several nodes: over a simulated network,
// with faults, in virtual time, and so that a failure can be run again from its
// seed. It is what this library tests itself with.
//
// [Run] gives a test a [World] inside a testing/synctest bubble. Nodes Join it and
// get a [Transport], which is a transport.Transport like any other; code that
// speaks TCP instead gets listeners and connections from the same Transport, so
// that an unmodified net/http server runs there, too. Time moves on by itself when
// everybody waits: a minute of time-outs takes microseconds.
//
//	func TestSurvivesPartition(t *testing.T) {
//		sim.Seeds(t, 1000, func(t *testing.T, seed uint64) {
//			sim.Run(t, sim.Config{Seed: seed, Faults: sim.Faults{Drop: 0.01}}, func(w *sim.World) {
//				boot := func(node *sim.Transport) { startMyService(node.Context(), node) }
//				boot(w.Join("a"))
//				boot(w.Join("b"))
//				time.Sleep(10 * time.Second)
//				w.Partition([]string{"a"}, []string{"b"})
//				time.Sleep(10 * time.Second)
//				w.Crash("b")
//				w.Heal()
//				w.Restart("b", boot)
//				time.Sleep(10 * time.Second)
//				checkMyService(w.T())
//			})
//		})
//	}
//
// # What breaks
//
// Links are directed. Link.Set and Config.Faults give them a distribution of
// delays ([Constant], [Uniform], [Exponential], [LogNormal] or a function of your
// own), chances to drop, duplicate and reorder, and a bandwidth. Partition and Cut
// lose what is on a link and what is sent on it, and tell nobody; Heal ends them.
// Hold keeps messages on a link until Release. Crash takes a node down, Restart
// brings it up again, Pause hangs its network until Resume.
//
// One-way messages from one sender for one service arrive once and in order under
// any delay and loss, and nothing more is kept: messages for two services, and
// calls, overtake each other freely. Duplicate and Reorder break the promise on
// purpose. A lost request or response leaves its Call to the end of its context. A
// crash is noticed by others as with TCP: what they have under way there fails
// with transport.ErrUnreachable one delay later, unless the network hides it.
// A message finds whoever bears the name when it arrives, so that a restarted node
// may get what was sent to its former self.
//
// # What is reproducible
//
// One goroutine, the pump, owns all events. It carries out one, waits until
// everything that it set off has run out, and only then takes the next. What
// several goroutines hand to the network at the same instant is sorted before it
// is sent; events at the same time come in an order that the seed decides; a verb
// called while timers fire comes after all that they set off. Draws are keyed by
// link, service and number of the message, so that taking one fault away does not
// change what happens elsewhere. The same seed gives the same World.Hash, with any
// GOMAXPROCS, with the race detector and without.
//
// What is not in the hands of the World stays as random as Go makes it:
//
//   - a select of which several cases are ready, such as two timers that end at
//     the same instant; take times that do not coincide, or look at the cases in
//     an order of your own;
//   - two goroutines of a node that send to the same service of the same node at
//     the same instant: their messages go in the order in which they ran (calls
//     go in the order of their content); likewise two that dial the same port;
//   - the order in which goroutines get a mutex or a value from a channel at the
//     same instant, the order of maps, the global random source, crypto/rand;
//   - in a Delay that computes with floating point, the last bit on another
//     processor architecture.
//
// World.Rand gives random numbers that belong to the seed.
//
// # What it does not do
//
// Goroutines cannot be killed or stopped. A crashed node's go on until they notice
// that its Transport.Context has ended; a paused node's timers run on. Computing
// takes no time. All nodes see the same clock, which starts at midnight UTC of
// 2000-01-01. There are no disks. The seed decides what the network does, not how
// goroutines are scheduled. Nothing inside may wait for the outside: the real
// network, a process, or a goroutine of another bubble.
//
// # Data races
//
// Sleeping does not order memory. Wait, and every other verb, does: after it, the
// test may read what handlers wrote before it without a lock.
//
// # Cost
//
// A message costs some 2 to 3 microseconds of real time and 2 allocations, a call
// some 10 and 11; most of it is the runtime's bookkeeping for bubbles. A pure core
// does not need a bubble and runs 30 times faster in a loop of events.
//
// # Files
//
// run.go is Run and its report, seeds.go Seeds and the flags, config.go Config,
// Faults and the delays. world.go holds the verbs, pump.go the goroutine that moves
// the world, trace.go the trace and its hash. transport.go and call.go are the
// Transport; socket.go, conn.go, stream.go and signal.go listeners and connections.
package sim
