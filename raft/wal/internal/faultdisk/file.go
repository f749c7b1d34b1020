package faultdisk

import (
	"io"
	"io/fs"
	"slices"
)

// sector is what a disk writes at once, if it is a good one.
const sector = 512

// A node is one file.
type node struct {
	cache   []byte   // what is read
	platter []byte   // what was synced
	dirty   []change // what the cache has and the next sync will write, in order
}

// A change is a write, or with data nil a new length.
type change struct {
	at   int64 // or the length
	data []byte
}

func (n *node) apply(c change) {
	n.cache = changed(n.cache, c)
	n.dirty = append(n.dirty, c)
}

// changed returns b after the change.
func changed(b []byte, c change) []byte {
	if grow := int(c.at) + len(c.data) - len(b); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	copy(b[c.at:], c.data)
	return b
}

// sync writes what is dirty, and that only: see forget.
func (n *node) sync() {
	for _, c := range n.dirty {
		n.platter = changed(n.platter, c)
	}
	n.dirty = nil
}

// forget is what a failed sync does: the pages count as clean and are read as
// before, but only some of them reached the platter, and none will later.
func (n *node) forget(d *Disk) {
	n.platter = d.survivors(n)
	n.dirty = nil
}

type file struct {
	disk *Disk
	node *node
	life int
}

// usable reports what stands in the way of an operation on the file.
func (f *file) usable() error {
	if f.disk.down {
		return ErrCrashed
	}
	if f.life != f.disk.life || f.node == nil {
		return fs.ErrClosed
	}
	return nil
}

func (f *file) ReadAt(p []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(); err != nil {
		return 0, err
	}
	if at >= int64(len(f.node.cache)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.cache[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(); err != nil {
		return 0, err
	}
	c := change{at: at, data: slices.Clone(p)}
	var err error
	if more := at + int64(len(p)) - int64(len(f.node.cache)); more > 0 {
		if err = f.disk.room(more); err != nil { // as much as fits
			room := max(f.disk.fault.capacity-f.disk.used(), 0)
			c.data = c.data[:max(int64(len(p))-more+room, 0)]
		}
	}
	if f.disk.fault.failsWrite() {
		c.data, err = c.data[:f.disk.rand.IntN(len(c.data)+1)], ErrWrite
	}
	f.node.apply(c)
	if f.disk.step() {
		err = ErrCrashed
	}
	return len(c.data), err
}

func (f *file) Allocate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if more := size - int64(len(f.node.cache)); more > 0 {
		if err := f.disk.room(more); err != nil {
			return err
		}
		f.node.apply(change{at: size})
	}
	if f.disk.step() {
		return ErrCrashed
	}
	return nil
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(); err != nil {
		return 0, err
	}
	return int64(len(f.node.cache)), nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if f.disk.step() {
		return ErrCrashed // what was on its way may have arrived
	}
	if f.disk.fault.failsSync() {
		f.node.forget(f.disk)
		return ErrSync
	}
	if !f.disk.fault.lies {
		f.node.sync()
	}
	return nil
}

func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.node == nil {
		return fs.ErrClosed
	}
	f.node = nil
	return nil
}
