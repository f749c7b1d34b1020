package wal

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft/wal/internal/disk"
	"github.com/parley-go/parley/raft/wal/internal/faultdisk"
)

var errRefused = errors.New("refused")

// An erring file system refuses one operation, whichever it is, and works again.
type erring struct {
	disk.FS
	in     int // operations until then; 0: all work
	opened int // files that are
}

func (e *erring) due() error {
	if e.in--; e.in == 0 {
		return errRefused
	}
	return nil
}

// do carries out an operation that returns something, unless it is refused.
func do[T any](e *erring, operation func() (T, error)) (result T, err error) {
	if err := e.due(); err != nil {
		return result, err
	}
	return operation()
}

func (e *erring) MakeDir(dir string) error {
	return errors.Join(e.due(), e.FS.MakeDir(dir))
}

func (e *erring) List(dir string) ([]string, error) {
	return do(e, func() ([]string, error) { return e.FS.List(dir) })
}

func (e *erring) Open(name string) (disk.File, error)      { return e.file(e.FS.Open, name) }
func (e *erring) OpenWrite(name string) (disk.File, error) { return e.file(e.FS.OpenWrite, name) }
func (e *erring) Create(name string) (disk.File, error)    { return e.file(e.FS.Create, name) }

func (e *erring) file(open func(string) (disk.File, error), name string) (disk.File, error) {
	return do(e, func() (disk.File, error) {
		f, err := open(name)
		if err == nil {
			e.opened++
		}
		return &erringFile{f, e}, err
	})
}

func (e *erring) Rename(from, to string) error {
	_, err := do(e, func() (any, error) { return nil, e.FS.Rename(from, to) })
	return err
}

func (e *erring) Remove(name string) error {
	_, err := do(e, func() (any, error) { return nil, e.FS.Remove(name) })
	return err
}

func (e *erring) SyncDir(dir string) error {
	_, err := do(e, func() (any, error) { return nil, e.FS.SyncDir(dir) })
	return err
}

func (e *erring) Lock(name string) (io.Closer, error) {
	return do(e, func() (io.Closer, error) { return e.FS.Lock(name) })
}

type erringFile struct {
	disk.File
	fs *erring
}

func (f *erringFile) ReadAt(p []byte, at int64) (int, error) {
	return do(f.fs, func() (int, error) { return f.File.ReadAt(p, at) })
}

func (f *erringFile) WriteAt(p []byte, at int64) (int, error) {
	return do(f.fs, func() (int, error) { return f.File.WriteAt(p, at) })
}

func (f *erringFile) Size() (int64, error) { return do(f.fs, f.File.Size) }

func (f *erringFile) Close() error {
	f.fs.opened--
	return errors.Join(f.fs.due(), f.File.Close())
}

func (f *erringFile) Allocate(size int64) error {
	_, err := do(f.fs, func() (any, error) { return nil, f.File.Allocate(size) })
	return err
}

func (f *erringFile) Sync() error {
	_, err := do(f.fs, func() (any, error) { return nil, f.File.Sync() })
	return err
}

// Whichever operation is refused, once, be it reading, naming or closing: nothing that
// was acknowledged is lost, be it that the log goes on, or that it is opened again.
func TestAnyRefusedOperationLosesNothing(t *testing.T) {
	seeds(t, 100, func(t *testing.T, seed uint64, r *rand.Rand) {
		d := faultdisk.New(seed)
		e := &erring{FS: d}
		m := newModel()
		for range 20 {
			e.in, e.opened = 1+r.IntN(120), 0
			w := &workload{Rand: r, model: m}
			var err error
			if w.log, err = open(e, dir, small); err != nil {
				require.ErrorIs(t, err, errRefused)
				require.Zero(t, e.opened, "files stay open")
				w.log = mustOpen(t, d) // the lock is free as well
				err = nil
			}
			in := e.in
			e.in = 0
			m.found(t, w.log)
			e.in = in
			for steps := 1 + r.IntN(40); steps > 0; steps-- {
				err = errors.Join(err, w.step())
			}
			if err != nil && !errors.Is(err, errRefused) || errors.Is(err, errBelieved) {
				t.Fatalf("unexpected: %v", err)
			}
			e.in = 0
			end(t, r, d, w, err)
		}
	})
}
