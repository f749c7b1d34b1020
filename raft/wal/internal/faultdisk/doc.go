// Package faultdisk is a disk in memory that fails like real ones, reproducibly
// from a seed: it loses what was not synced, by prefix, by sector or in the middle
// of a sector; loses names whose directory was not synced; forgets dirty pages
// after a failed sync; says that it synced when it did not; is full; rots.
//
// It has two layers. What programs read is the cache of the operating system, and
// survives Kill. What a crash of the machine leaves is the platter, and in part what
// was written since the last sync. The seed decides which part, each crash anew.
//
// disk.go holds files and names, file.go one file's two layers, crash.go what a
// crash leaves, faults.go the verbs of tests.
package faultdisk
