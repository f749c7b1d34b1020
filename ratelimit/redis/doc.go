// Package redis keeps rate limits in a Redis server, so that all servers that use
// it share them. A [Store] is a ratelimit.Store and stands behind
// ratelimit.Middleware as it is.
//
// Choose it where a Redis is there already and a round trip for each decision is
// no trouble. Package ratelimit/shared needs no server and decides most requests
// without the network; package ratelimit limits each process by itself.
//
// # Guarantees
//
// Each key has one token bucket. In any time t at most burst + limit*t tokens are
// taken, by all clients together: one script does all of a decision, atomically,
// in whole numbers, by the server's clock. The clocks of the clients do not
// matter. A refusal writes nothing. A bucket expires when it is full, never
// before, so nothing that expires is forgiven. If the limit is changed, buckets
// keep the tokens that they hold, as far as the new burst has room for them.
//
// What the server forgets is forgiven: a restart without persistence, eviction
// under a maxmemory policy, and a failover to a replica that had not seen the last
// writes each give up to burst more for a key. If the server's clock is set
// forward, buckets fill by as much; if it is set back, or a replica whose clock is
// behind takes over, nothing comes back for that step and the rest goes on as
// before.
//
// # Cost
//
// One round trip, one EVALSHA of some 10 us on the server, and some 60 to 100
// bytes for each key that is not full. It works with a single server, Sentinel
// and Cluster: a decision has one key. It needs Redis 5 or newer, or Valkey.
//
// # Files
//
// store.go is the Store, take.lua what it runs on the server.
package redis
