package faultdisk

import (
	"io/fs"
	"maps"
	"slices"
)

type faults struct {
	crashIn  int   // changes until the machine crashes; 0: it does not
	syncIn   int   // syncs until one fails; 0: none does
	writeIn  int   // writes until one fails; 0: none does
	lies     bool  // syncs do nothing
	capacity int64 // bytes; 0: no bound
}

func (f *faults) failsSync() bool  { return due(&f.syncIn) }
func (f *faults) failsWrite() bool { return due(&f.writeIn) }

// due counts down to the one that fails.
func due(in *int) bool {
	if *in == 0 {
		return false
	}
	*in--
	return *in == 0
}

// step counts one change, and reports whether the machine crashes in its midst.
// Everything fails from then on, until Crash says what is left.
func (d *Disk) step() (crash bool) {
	if d.fault.crashIn == 0 || d.down {
		return false
	}
	d.fault.crashIn--
	d.down = d.fault.crashIn == 0
	return d.down
}

// CrashIn lets the machine crash in the midst of the n-th change from now; 0: not
// at all. Changes are writes, allocations, syncs and changes of names.
func (d *Disk) CrashIn(n int) { d.with(func() { d.fault.crashIn = n }) }

// FailSync lets the n-th sync from now fail: of a file, or of a directory.
func (d *Disk) FailSync(n int) { d.with(func() { d.fault.syncIn = n }) }

// FailWrite lets the n-th write to a file from now fail after some of its bytes.
func (d *Disk) FailWrite(n int) { d.with(func() { d.fault.writeIn = n }) }

// Lie lets syncs return nil and do nothing.
func (d *Disk) Lie(lies bool) { d.with(func() { d.fault.lies = lies }) }

// SetCapacity bounds the space on the disk, in bytes; 0: no bound.
func (d *Disk) SetCapacity(bytes int64) { d.with(func() { d.fault.capacity = bytes }) }

// Used returns how many bytes all files take.
func (d *Disk) Used() (bytes int64) {
	d.with(func() { bytes = d.used() })
	return bytes
}

func (d *Disk) with(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// Rot inverts one bit of a file, for good.
func (d *Disk) Rot(name string, at int64, bit int) {
	d.with(func() {
		n := d.names[name]
		n.cache[at] ^= 1 << bit
		if at < int64(len(n.platter)) {
			n.platter[at] = n.cache[at]
		}
	})
}

// ReadFile returns the contents of a file.
func (d *Disk) ReadFile(name string) (b []byte, err error) {
	d.with(func() {
		n := d.names[name]
		if n == nil {
			err = fs.ErrNotExist
			return
		}
		b = slices.Clone(n.cache)
	})
	return b, err
}

// WriteFile makes a file with this content, durably.
func (d *Disk) WriteFile(name string, content []byte) {
	d.with(func() {
		n := &node{cache: slices.Clone(content), platter: slices.Clone(content)}
		d.names[name], d.durable[name] = n, n
	})
}

// Files returns the names of all files, sorted.
func (d *Disk) Files() (names []string) {
	d.with(func() { names = slices.Sorted(maps.Keys(d.names)) })
	return names
}
