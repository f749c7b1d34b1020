// Package lb chooses one of several backends for each call, learns from how calls
// fare, and finds out which backends are there and well.
//
//	balancer, err := lb.New(lb.Config{}, lb.Backend{Name: "10.0.0.1:80"}, lb.Backend{Name: "10.0.0.2:80"})
//	...
//	pick, err := balancer.Pick(lb.Request{})
//	err = call(pick.Backend().Name)
//	pick.Done(err)
//
// For net/http that is one line: &http.Client{Transport: lb.RoundTripper(balancer, nil)}.
//
// # Which policy
//
//   - [LatencyAware], the default: calls go where they will likely be answered
//     first, and not to who fails fast. Right nearly always.
//   - [PowerOfTwo]: by calls in flight alone, for calls so short that two readings
//     of the clock matter. [LeastConnections] is better with few backends and
//     calls of very different length.
//   - [RoundRobin], [Weighted], [Random]: blind to how backends fare. For equal
//     calls to equal backends, or exact shares, as for a canary.
//   - [ConsistentHash], [Maglev]: a key always to the same backend, for caches.
//     ConsistentHash bounds the load that one key brings.
//
// bench/lb/tail simulates them in a fleet with a slow, stalling, failing, hung or
// cold server.
//
// # Around the choice
//
// A [Balancer] holds all of this for every policy: backends and weights that
// change while calls go on; zones with spill-over; subsets of large fleets; a slow
// start for backends that join or recover; ejection of those whose calls fail
// ([EjectionConfig]); a panic threshold, so that nobody is left unserved because
// all seem ill; draining; and tries on different backends ([Tried]).
//
// A [Checker] checks backends actively, over HTTP, TCP, gRPC or by any function. A
// [Watcher] keeps them up to date with a [Resolver]: [Static], [DNS] or one of
// your own. A [Report] is the other side: it tells others how this service is.
//
// # Guarantees
//
//   - Pick takes no lock and allocates nothing, also while backends change; but
//     where time has changed something, as at the end of an ejection, one Pick
//     makes the state anew, and nobody waits for it. Done takes a lock only for
//     failures that may eject, once an Interval, and to end an Idle.
//   - Every available backend is picked in the long run, in proportion to its
//     weight as far as the policy goes by weights, however often backends and
//     weights change.
//   - A backend that stays keeps what is known of it; one that goes is forgotten.
//   - With any backend that does not drain, Pick returns one.
//   - Two choices are two different backends.
//   - A call that began before its backend was ejected does not eject it again.
//   - Time is monotonic, and there is no goroutine behind a Balancer; those of a
//     Checker, a Watcher and a Report end with Close.
//   - Equal seeds, clocks and calls give equal picks ([Config].Seed, Now).
//
// # What it does not do
//
// Retry (package retry), limit calls to one backend (package breaker), dial or
// keep connections, or share what it knows with other clients: each goes by its
// own calls, and so does not follow others into a herd.
//
// # Cost
//
// A Pick and its Done in nanoseconds on a 2-core server, of which an atomic
// addition is 9: RoundRobin, Weighted and Random 14; PowerOfTwo 35; LatencyAware
// 180, a third of it two readings of the clock; Maglev 31; ConsistentHash 57: all
// whether there are 10 backends or 1,000. LeastConnections 45 and 1,000. A change
// of backends makes the state anew, about 0.1 us a backend, with Weighted 1 us, with
// the hashing policies some ms for thousands. bench/lb compares them with
// other libraries.
//
// # Files
//
// policy.go: the policies. config.go: Config. balancer.go: Balancer, and how
// backends change; pick.go: Pick and Done; choose.go: how each policy chooses;
// latency.go: what LatencyAware expects of a call. snapshot.go: the state that
// picks go by; eligible.go: who is in it: zones, subsets, panic; schedule.go:
// turns by weight; alias.go: draws by weight; hashing.go: ring and table.
// backend.go: backends and their states; eject.go: ejection; tried.go: Tried.
// http.go: RoundTripper. check.go: Checker; checks.go: checks over HTTP, TCP and
// gRPC. resolve.go: resolvers and Watcher. report.go: Report. errors.go: the
// errors.
package lb
