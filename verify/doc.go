// Package verify checks what needs more than the library may import: real
// processes, real clients, real faults, and a checker of histories. Most of its
// tests run examples/kv as a program, in both of its modes.
//
// They need redis-cli and redis-benchmark (Debian: redis-tools) and a system on
// which a process can be stopped and continued.
//
//   - cluster_test.go starts, kills, pauses and cuts off servers; proxy_test.go
//     is the network between them.
//   - load_test.go keeps writing and reading while that happens, and knows what
//     every read may return.
//   - history_test.go takes down what clients were told; porcupine looks for an
//     order of their commands that explains the answers. If there is none, a file
//     shows it.
//   - linear_test.go and faults_test.go hold the schedules for servers without a
//     leader, strict_test.go those for servers with one, simulation_test.go those
//     for whole nodes of package raft in a simulated network:
//     go test -run Simulated -sim.seeds=1000 runs more of them.
//   - clients_test.go has the clients, hostile_test.go those that mean harm,
//     demo_test.go the demos.
//
// With -race the servers are watched, too; that takes some minutes.
package verify
