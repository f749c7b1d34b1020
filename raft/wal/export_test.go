package wal

import "github.com/parley-go/parley/raft/wal/internal/faultdisk"

// OpenOn is Open on a disk with faults, with the smallest segments.
func OpenOn(d *faultdisk.Disk, dir string) (*Log, error) { return open(d, dir, small) }
