// Package parley is the map of a library of distributed-systems primitives:
// small packages that work alone and fit together. It holds no code of its own.
//
// Those that talk to other nodes share one seam, a [transport.Transport], and run
// unchanged on each of its implementations:
//
//   - [transport/mem] connects nodes of one process,
//   - [transport/tcp] connects machines, with mutual TLS,
//   - [transport/sim] simulates a network with faults in virtual time, from a
//     seed; use it to test your own services, too.
//
// Values and policies need no network:
//
//   - [ring] says which node owns a key,
//   - [vclock] says what happened before what,
//   - [breaker] stops calling what fails, and bounds what runs at once,
//   - [retry] tries again, within a budget,
//   - [ratelimit] says when something may happen; [ratelimit/shared] says it
//     for many servers together.
//
// Protocols are pure state machines with a driver around them:
//
//   - [quorum] takes the first answers of several nodes, and replicates a store.
//
// Start with the demonstration in examples/kv, which puts ring, quorum and
// transport/tcp together:
//
//	go -C examples run ./kv demo
//
// [transport.Transport]: https://pkg.go.dev/github.com/parley-go/parley/transport#Transport
// [transport/mem]: https://pkg.go.dev/github.com/parley-go/parley/transport/mem
// [transport/tcp]: https://pkg.go.dev/github.com/parley-go/parley/transport/tcp
// [transport/sim]: https://pkg.go.dev/github.com/parley-go/parley/transport/sim
// [ring]: https://pkg.go.dev/github.com/parley-go/parley/ring
// [vclock]: https://pkg.go.dev/github.com/parley-go/parley/vclock
// [breaker]: https://pkg.go.dev/github.com/parley-go/parley/breaker
// [retry]: https://pkg.go.dev/github.com/parley-go/parley/retry
// [ratelimit]: https://pkg.go.dev/github.com/parley-go/parley/ratelimit
// [ratelimit/shared]: https://pkg.go.dev/github.com/parley-go/parley/ratelimit/shared
// [quorum]: https://pkg.go.dev/github.com/parley-go/parley/quorum
package parley
