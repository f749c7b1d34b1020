// Package transporttest is the conformance suite of package transport: what
// transport.Transport promises, as checks that any implementation can be put
// through.
//
// In the tests of an implementation:
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, func(t *testing.T) transporttest.Network {
//			network := mem.NewNetwork()
//			return transporttest.Network{Join: func(name string) transport.Transport {
//				node, err := network.Join(name)
//				require.NoError(t, err)
//				return node
//			}}
//		})
//	}
//
// Run takes real time and looks for goroutines left behind. An implementation
// whose nodes live in a testing/synctest bubble, where subtests are forbidden,
// makes a bubble for each of [Cases] and runs the case inside it. The cases wait
// on channels, calls and timers only, so that they work in both; what would hang
// for ever fails after [Network.Patience].
//
// # What the suite takes for granted
//
// The network must be without faults while the suite runs: the contract lets a
// message be lost, but the suite waits for every one that was accepted, except
// where a node closes. Nodes may close and a node of the same name may join
// again.
//
// # Not here
//
// What an implementation promises beyond the contract: resolving, encryption,
// reconnecting, faults, speed.
//
// # Files
//
// transporttest.go holds Network, Case and Run; check.go what all cases use. The
// cases are in send.go (one-way messages), share.go (those that are not copied),
// call.go (requests and responses), context.go (deadlines and cancellation),
// limits.go (names, sizes, queues), stop.go (replacing and removing handlers) and
// close.go.
package transporttest
