// Package parley is the map of a library of distributed-systems primitives.
// Each package stands alone; those that talk to other nodes share one seam,
// [github.com/parley-go/parley/transport].
package parley
