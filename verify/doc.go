// Package verify checks what needs more than the library may import: real
// processes, real clients, real faults. Its tests run examples/kv as a program.
//
// They need redis-cli and redis-benchmark (Debian: redis-tools) and a system on
// which a process can be stopped and continued.
//
//   - cluster_test.go starts, kills, pauses and cuts off servers; proxy_test.go
//     is the network between them.
//   - load_test.go keeps writing and reading while that happens, and knows what
//     every read may return.
//   - linear_test.go asks whether any order of commands explains the answers.
//   - faults_test.go holds the schedules, clients_test.go the clients,
//     hostile_test.go those that mean harm, demo_test.go the demo.
//
// With -race the servers are watched, too; that takes two minutes instead of
// half of one.
package verify
