// Package breaker guards calls to services: it stops calls to one that fails,
// bounds how many run at a time, and sheds what is too much, early and cheaply.
//
// A [Guard] decides whether a call may run, and learns how it went. [Do] puts a
// call through a guard:
//
//	profile, err := breaker.Do(ctx, b, func(ctx context.Context) (Profile, error) {
//		return client.Profile(ctx, user)
//	})
//	if errors.Is(err, breaker.ErrOpen) { ... } // not called: fall back
//
// # Which guard
//
//   - [Breaker]: the service is down or failing, and calls only add to its
//     trouble and to ours. It opens after failures in a row, or at a rate of
//     failures or slow calls over a window; rejects calls for a while; and lets a
//     few probes through to find out. [Keyed] holds one for each host or tenant.
//   - [Bulkhead]: one service must not take all of our goroutines or connections,
//     and we know how many it may take.
//   - [Adaptive]: we do not know, or it changes. It finds the limit from latency
//     and overload, sheds calls that have waited too long, and shares the limit
//     fairly between callers.
//
// They compose by nesting, and share Do, [Fallback], [RoundTripper] for clients
// and [Middleware] for servers. Put the breaker outside: what a bulkhead inside
// rejects is Ignored by the breaker around it, because it never reached the
// service.
//
// # Guarantees
//
//   - A call whose context has ended is not made. The caller's own cancellation
//     is never the service's failure; a deadline that passes is.
//   - A panic and runtime.Goexit count as failures and give the permit back.
//   - A result counts only in the state in which its call began: a slow call from
//     before the breaker opened can neither close it nor open it again.
//   - Half-open always ends: probes are bounded in number and in time, and one
//     that is Ignored makes room for another.
//   - Nobody is called back under a lock. [Breaker.Changes] hands out the changes
//     of state in order, at the reader's pace.
//   - All is bounded: windows, queues, keys, changes, open times. There is no
//     goroutine and no timer behind a guard, so nothing to close.
//   - Time is monotonic: a wall clock that jumps moves nothing.
//
// Every rejection matches [ErrRejected], and means that the call was not made, so
// that it is safe to make it elsewhere.
//
// # What it does not do
//
// Share state between processes: each finds out for itself, within a few calls.
// Limit rates (package ratelimit), retry (package retry), or time out: give the
// call a context with a deadline.
//
// # Cost
//
// In nanoseconds on a 2-core server, nothing allocated: a success through a closed
// Breaker 13, with a window of calls 16, of time 50; a rejection 40, most of it the
// reading of a clock; a Bulkhead's permit taken and returned 20; an Adaptive's 100;
// a look-up in a Keyed 35. bench/breaker compares them with other libraries.
//
// # Files
//
// do.go: Guard, Permit, Do, Fallback. breaker.go: Breaker and its Stats;
// config.go: its Config; generation.go: its state machine; window.go: what it
// remembers of calls; changes.go: how changes are handed out; counters.go:
// counts without contention; keyed.go: Keyed. bulkhead.go: Bulkhead; queue.go:
// who waits. adaptive.go: Adaptive; algorithm.go: how it finds the limit; fair.go:
// how callers share it. http.go: RoundTripper and Middleware. errors.go: the
// errors.
//
// After M. Nygard, Release It! (2007), for circuit breaker and bulkhead; the
// sources of the algorithms stand with them.
package breaker
