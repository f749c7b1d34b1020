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
//   - [crdt] holds values that replicas change without asking each other,
//   - [lb] chooses a backend, and knows which ones are well,
//   - [breaker] stops calling what fails, and bounds what runs at once,
//   - [retry] tries again, within a budget,
//   - [ratelimit] says when something may happen; [ratelimit/shared] says it
//     for many servers together.
//
// Protocols are pure state machines with a driver around them:
//
//   - [quorum] takes the first answers of several nodes, and replicates a store,
//   - [raft] has nodes agree on one order of commands; [raft/wal] is its log on
//     disk.
//
// Start with the demonstrations in examples/kv, which put ring, quorum, raft and
// transport/tcp together:
//
//	go -C examples run ./kv demo
//	go -C examples run ./kv demo -mode cp
//
// [transport.Transport]: https://pkg.go.dev/github.com/parley-go/parley/transport#Transport
// [transport/mem]: https://pkg.go.dev/github.com/parley-go/parley/transport/mem
// [transport/tcp]: https://pkg.go.dev/github.com/parley-go/parley/transport/tcp
// [transport/sim]: https://pkg.go.dev/github.com/parley-go/parley/transport/sim
// [ring]: https://pkg.go.dev/github.com/parley-go/parley/ring
// [vclock]: https://pkg.go.dev/github.com/parley-go/parley/vclock
// [crdt]: https://pkg.go.dev/github.com/parley-go/parley/crdt
// [lb]: https://pkg.go.dev/github.com/parley-go/parley/lb
// [raft]: https://pkg.go.dev/github.com/parley-go/parley/raft
// [raft/wal]: https://pkg.go.dev/github.com/parley-go/parley/raft/wal
// [breaker]: https://pkg.go.dev/github.com/parley-go/parley/breaker
// [retry]: https://pkg.go.dev/github.com/parley-go/parley/retry
// [ratelimit]: https://pkg.go.dev/github.com/parley-go/parley/ratelimit
// [ratelimit/shared]: https://pkg.go.dev/github.com/parley-go/parley/ratelimit/shared
// [quorum]: https://pkg.go.dev/github.com/parley-go/parley/quorum
package parley
