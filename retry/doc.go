// Package retry makes calls to other services succeed more often without making
// their outages worse: retries, hedges, budgets and idempotency keys.
//
//	profile, err := retry.Do(ctx, retry.Policy{}, func(ctx context.Context) (Profile, error) {
//		return client.Profile(ctx, id)
//	})
//
// # Which one to use
//
//   - [Do] repeats a function that fails. [Attempts] is the same as a loop.
//   - [Hedge] makes a call a second time when the first takes long, and takes
//     the faster answer: for reads where the slowest few matter.
//   - [RoundTripper] and [HedgeRoundTripper] do both for an http.Client: they
//     know which requests are safe to repeat, send bodies again, and read
//     Retry-After.
//   - [Budget] is shared by all of them for one service. Without it every caller
//     multiplies an outage by its attempts; with it, by 1.1.
//   - [WithKey] gives an operation a key that all its attempts bear, and
//     [Deduplicate] is the server's side, which does each key once. Together
//     they make it safe to repeat what is not idempotent, such as a payment.
//
// A function says what it knows about its error with [Permanent] (do not try
// again) and [After] (not before). Everything else is tried again unless
// Policy.Retryable says no.
//
// # Guarantees
//
//   - Every series is bounded: in attempts, in each wait, and by the context. No
//     wait begins that the deadline would cut short.
//   - The error of the last attempt is never lost: it is joined with the reason
//     for giving up in an [ExhaustedError].
//   - Policies are values without state. What a policy allows does not depend on
//     what it was used for before; only Budget and Latency remember.
//   - A Budget is never overdrawn, with any number of goroutines.
//   - Contexts of attempts are released however an attempt ends, by panic and
//     runtime.Goexit, too. No goroutine is started but the calls of Hedge.
//   - No delay is negative or above its Max, whatever the configuration.
//
// # What it does not do
//
// It has no circuit breaker and no concurrency limit: see package breaker; put
// the retry outside and the breaker inside. It keeps no metrics: use OnRetry,
// OnHedge, OnPanic and the Stats methods. Deduplicate remembers in one process;
// several servers behind a balancer need requests of one client to come to the
// same one. Retries of one layer multiply with those of the next: retry in one
// layer only.
//
// # Cost
//
// On two shared virtual CPUs: Do of a function that succeeds adds about 10 ns and
// no allocation; two retries without wait take about 50 ns and no allocation. A
// Policy with Elapsed reads the clock; one with AttemptTimeout makes a context
// for each attempt. Budget.Deposit takes 2 to 10 ns, Budget.Allow about 60. A
// Hedge takes 1 to 2 us. A deduplicated request takes two SHA-256 hashes, of its
// key and of its body.
//
// # Files
//
// policy.go, backoff.go and errors.go hold what a policy is made of; do.go
// decides about every retry and attempts.go is its iterator form; budget.go;
// hedge.go, and race.go, which runs one; latency.go; key.go; roundtrip.go and
// status.go are for HTTP clients; deduplicate.go, memory.go, record.go and quota.go
// for servers.
package retry
