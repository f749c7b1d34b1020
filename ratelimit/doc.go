// Package ratelimit decides how many events may happen in a time: it refuses what
// is too much, or makes it wait, for one limit, for a limit a key, and for HTTP.
//
//	l, err := ratelimit.New(ratelimit.Per(100, time.Second), 20) // 100 a second, 20 at once
//	if !l.Allow() { ... }                                        // refuse
//	if err := l.Wait(ctx); err != nil { ... }                    // or slow down
//
// # Which one to use
//
//   - [Limiter] is a token bucket, and the one to begin with: it allows a rate on
//     average, and a burst after a rest. [NewWarm] makes one that begins slowly.
//   - [Keyed] is a Limiter for each user, address or tenant, in bounded memory.
//   - [AllowAll] asks several limits together, all or none: the user's, the
//     tenant's, the whole service's.
//   - [Window] is a sliding-window counter: at most so many events in any hour,
//     to the letter.
//   - [Leaky] is a queue that events leave evenly spaced: for what can do only one
//     thing after the other.
//   - [Middleware] puts a Keyed, or any [Store], in front of an http.Handler:
//     429, Retry-After, and the RateLimit fields. [ByClientIP] and
//     [ByForwardedFor] say who the client is.
//
// # Guarantees
//
//   - Never over: in any time t a Limiter lets at most burst + limit*t events
//     happen, a Window at most its limit in any period. That holds for any number
//     of goroutines, and through refunds and changes of the limit. A Limiter and
//     a Keyed keep to it for times out of order, too, but for those of CancelAt; a
//     Window counts an earlier time as its latest.
//   - Hardly under: within 0.1% of the limit and of the burst, from one a year to 10^12 a second.
//     Nothing is rounded to whole nanoseconds.
//   - Time is monotonic: a wall clock that is set moves nothing.
//   - Those who wait are served in their order. Nobody overtakes them; who gives
//     up leaves the place to those behind.
//   - A change of the limit, a refund and an eviction mint no tokens: what is
//     lacking in a bucket stays lacking.
//   - All is bounded: keys, and how far ahead a turn is planned. A queue of
//     waiters is as long as there are callers, or as a Leaky allows. There is no
//     goroutine behind any of it, so nothing to close.
//   - Configurations that make no sense are errors that name the field. Nothing
//     panics.
//
// Methods that need the time read the clock, or, with N in their name, are told
// it: tests of those who use a limiter need not sleep.
//
// # Which burst
//
// A bucket that is full forgets what comes on top: whoever asks for nothing for
// longer than burst/limit falls behind the limit by the rest of that time. Callers
// pause without knowing it, when the garbage is collected, or when the operating
// system or the hypervisor gives the processor to others: 3 ms on an idle machine
// and 30 to 180 ms on a busy one, as measured. A tenth of a second's worth of burst
// outlasts nearly all of that: of 30 million events in three seconds, one was
// missing. A hundredth is enough on a machine that does little else.
//
// At 10 million a second, choose a burst of a million for that, and for speed: all
// processors together have 100 ns for an event, and goroutines that meet at every
// one take 60 to 75 of them. From a burst of 65,536 for each two processors on, they
// meet only once in many events as long as there are tokens left, so that those who
// are behind catch up. No burst helps callers that lack the processor time to ask:
// 36 ns for an event.
//
// # What it does not do
//
// Share limits between processes: each server allows what its own limiter says;
// a [Store] that shares them takes its place in [Middleware]. Limit how many run
// at one time, which is what protects a server whose calls become slow: see
// breaker.Bulkhead and breaker.Adaptive. Count what it allowed: the caller sees
// each answer.
//
// # Cost
//
// On two shared virtual CPUs, where reading the clock takes 29 ns: Limiter.Allow 8
// ns more, a refusal 3 ns more, and no allocation. Goroutines on two processors
// that meet at one limiter take 60 to 75 ns for each event that is allowed, and 7 to
// 15 where the burst is large (65,536 or more for each two processors) and not used
// up. Keyed.Allow among a million random keys takes 400 ns, nearly all of it
// cache misses, and 48 bytes a key beside its text; Window.Allow 20 ns more than
// the clock; Middleware 1 to 2 us.
// The benchmarks in bench/ratelimit compare them with other libraries.
//
// # Files
//
// limit.go: Limit and Decision; gcra.go: the arithmetic of a token bucket;
// limiter.go, till.go, reserve.go, wait.go and warm.go: Limiter, its meetings of
// many goroutines, reservations, waiters and warm-up; errors.go. keyed.go: Keyed; shard.go and table.go: its
// memory; own.go: keys that have a Limiter, and waiting; levels.go: AllowAll.
// window.go; leaky.go. http.go: Middleware and header fields; client.go: whose
// request it is.
package ratelimit
