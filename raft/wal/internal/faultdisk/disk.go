package faultdisk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// The errors of faults.
var (
	ErrCrashed = errors.New("faultdisk: the machine has crashed")
	ErrSync    = errors.New("faultdisk: sync failed")
	ErrWrite   = errors.New("faultdisk: write failed")
	ErrFull    = errors.New("faultdisk: no space left")
)

// A Disk is one disk with one directory tree. All methods are safe for concurrent
// use; what a seed does is the same again only if the order of calls is.
type Disk struct {
	mu   sync.Mutex
	rand *rand.Rand

	names   map[string]*node // what programs see
	durable map[string]*node // what a crash leaves, at least
	pending []naming         // changes of names since the last SyncDir, in order
	locks   map[string]bool

	life  int // counts Kill and Crash: what was opened before is closed
	down  bool
	fault faults
}

// A naming is one change of names: name stands for node from then on, or for
// nothing, and was is given up.
type naming struct {
	name string
	node *node
	was  string
}

// New returns an empty disk without faults.
func New(seed uint64) *Disk {
	return &Disk{
		rand:    rand.New(draw.NewStream(seed, "disk")),
		names:   map[string]*node{},
		durable: map[string]*node{},
		locks:   map[string]bool{},
	}
}

// MakeDir does nothing: directories are but parts of names.
func (d *Disk) MakeDir(string) error { return d.reads() }

func (d *Disk) reads() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return ErrCrashed
	}
	return nil
}

// List returns the names in a directory.
func (d *Disk) List(dir string) (list []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, ErrCrashed
	}
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if filepath.Dir(name) == filepath.Clean(dir) {
			list = append(list, filepath.Base(name))
		}
	}
	return list, nil
}

// Open opens a file that exists.
func (d *Disk) Open(name string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, ErrCrashed
	}
	n := d.names[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{disk: d, node: n, life: d.life}, nil
}

// OpenWrite is Open.
func (d *Disk) OpenWrite(name string) (disk.File, error) { return d.Open(name) }

// Create makes a file.
func (d *Disk) Create(name string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] != nil && !d.down {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	n := &node{}
	return &file{disk: d, node: n, life: d.life}, d.rename(naming{name: name, node: n})
}

// Rename gives a file another name.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[from] == nil && !d.down {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	return d.rename(naming{name: to, node: d.names[from], was: from})
}

// Remove removes a name.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil && !d.down {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	return d.rename(naming{was: name})
}

func (d *Disk) rename(c naming) error {
	crash := d.step()
	if d.down && !crash {
		return ErrCrashed
	}
	c.apply(d.names)
	d.pending = append(d.pending, c)
	if crash {
		return ErrCrashed
	}
	return nil
}

func (c naming) apply(names map[string]*node) {
	delete(names, c.was)
	if c.name != "" {
		names[c.name] = c.node
	}
}

// SyncDir makes all names durable.
func (d *Disk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.step() || d.down {
		return ErrCrashed
	}
	if d.fault.failsSync() {
		return ErrSync
	}
	if !d.fault.lies {
		d.durable = maps.Clone(d.names)
		d.pending = nil
	}
	return nil
}

// Lock takes a lock, which Kill and Crash end.
func (d *Disk) Lock(name string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, ErrCrashed
	}
	if d.locks[name] {
		return nil, fmt.Errorf("%w: %s", disk.ErrLocked, name)
	}
	d.locks[name] = true
	return &held{d, name, d.life}, nil
}

type held struct {
	disk *Disk
	name string
	life int
}

func (h *held) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.life == h.disk.life {
		delete(h.disk.locks, h.name)
	}
	return nil
}

// used returns how much space is taken.
func (d *Disk) used() (bytes int64) {
	counted := map[*node]bool{}
	for _, names := range []map[string]*node{d.names, d.durable} {
		for _, n := range names { // any order: a sum
			if !counted[n] {
				counted[n] = true
				bytes += int64(len(n.cache))
			}
		}
	}
	return bytes
}

// room fails if the disk cannot take more bytes.
func (d *Disk) room(more int64) error {
	if d.fault.capacity > 0 && d.used()+more > d.fault.capacity {
		return ErrFull
	}
	return nil
}
