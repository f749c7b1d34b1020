package faultdisk_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/raft/wal/internal/disk"
	"github.com/parley-go/parley/raft/wal/internal/faultdisk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// after writes a file, lets the disk crash, and returns what is left.
func after(t *testing.T, seed uint64, write func(*faultdisk.Disk, disk.File)) (content []byte, there bool) {
	d := faultdisk.New(seed)
	f, err := d.Create("d/f")
	require.NoError(t, err)
	write(d, f)
	d.Crash()
	b, err := d.ReadFile("d/f")
	return b, err == nil
}

func put(t *testing.T, f disk.File, at int64, c byte, n int) {
	_, err := f.WriteAt(bytes.Repeat([]byte{c}, n), at)
	require.NoError(t, err)
}

func TestWhatIsSyncedStays(t *testing.T) {
	for seed := range uint64(100) {
		b, there := after(t, seed, func(d *faultdisk.Disk, f disk.File) {
			put(t, f, 0, 'a', 2000)
			require.NoError(t, f.Sync())
			require.NoError(t, d.SyncDir("d"))
			put(t, f, 2000, 'b', 2000)
		})
		require.True(t, there)
		require.Equal(t, bytes.Repeat([]byte{'a'}, 2000), b[:2000])
	}
}

// All kinds of loss occur: nothing, everything, a prefix, some sectors, a torn one,
// and a name whose directory was not synced.
func TestWhatIsNotSyncedIsLostInEveryWay(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		b, there := after(t, seed, func(d *faultdisk.Disk, f disk.File) {
			put(t, f, 0, 'a', 2048)
			require.NoError(t, f.Sync())
			if seed%4 > 0 {
				require.NoError(t, d.SyncDir("d"))
			}
			put(t, f, 0, 'b', 1024)
			put(t, f, 1024, 'b', 1024)
		})
		if !there {
			seen["name"] = true
			continue
		}
		n := bytes.Count(b, []byte{'b'})
		prefix := bytes.HasPrefix(b, bytes.Repeat([]byte{'b'}, n))
		seen["nothing"] = seen["nothing"] || n == len(b)
		seen["everything"] = seen["everything"] || n == 0
		seen["prefix"] = seen["prefix"] || prefix && n > 0 && n < len(b)
		seen["sectors"] = seen["sectors"] || !prefix && n%512 == 0
		seen["torn"] = seen["torn"] || !prefix && n%512 != 0
	}
	require.Len(t, seen, 6)
	for way, happened := range seen {
		require.True(t, happened, way)
	}
}

// What a failed sync forgot is read as if it were there, is not written by the next
// sync, and is gone after a crash.
func TestFailedSyncForgets(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		b, _ := after(t, seed, func(d *faultdisk.Disk, f disk.File) {
			require.NoError(t, f.Allocate(512))
			require.NoError(t, f.Sync())
			require.NoError(t, d.SyncDir("d"))
			put(t, f, 0, 'x', 512)
			d.FailSync(1)
			require.ErrorIs(t, f.Sync(), faultdisk.ErrSync)
			require.NoError(t, f.Sync())
			p := make([]byte, 512)
			_, err := f.ReadAt(p, 0)
			require.NoError(t, err)
			require.Equal(t, byte('x'), p[511])
		})
		if b[511] != 'x' {
			lost++
		}
	}
	require.Positive(t, lost)
}

func TestLieLosesWhatWasSynced(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		if _, there := after(t, seed, func(d *faultdisk.Disk, f disk.File) {
			d.Lie(true)
			require.NoError(t, f.Sync())
			require.NoError(t, d.SyncDir("d"))
		}); !there {
			lost++
		}
	}
	require.Positive(t, lost)
}

func TestFullDisk(t *testing.T) {
	d := faultdisk.New(1)
	d.SetCapacity(1000)
	f, err := d.Create("d/f")
	require.NoError(t, err)
	require.NoError(t, f.Allocate(600))
	require.ErrorIs(t, f.Allocate(1001), faultdisk.ErrFull)
	put(t, f, 0, 'x', 600)
	n, err := f.WriteAt(make([]byte, 500), 600)
	require.ErrorIs(t, err, faultdisk.ErrFull)
	require.Equal(t, 400, n)
	require.NoError(t, d.Remove("d/f"))
}

func TestCrashEndsHandlesAndLocks(t *testing.T) {
	d := faultdisk.New(1)
	f, err := d.Create("d/f")
	require.NoError(t, err)
	_, err = d.Lock("d/lock")
	require.NoError(t, err)
	_, err = d.Lock("d/lock")
	require.ErrorIs(t, err, disk.ErrLocked)
	d.CrashIn(2)
	put(t, f, 0, 'x', 10)
	_, err = f.WriteAt([]byte("y"), 0)
	require.ErrorIs(t, err, faultdisk.ErrCrashed)
	_, err = d.Open("d/f")
	require.ErrorIs(t, err, faultdisk.ErrCrashed)
	d.Crash()
	require.Error(t, f.Sync())
	held, err := d.Lock("d/lock")
	require.NoError(t, err)
	require.NoError(t, held.Close())
}

// The same seed and the same calls leave the same.
func TestSeedRepeats(t *testing.T) {
	run := func(seed uint64) []byte {
		b, _ := after(t, seed, func(d *faultdisk.Disk, f disk.File) {
			require.NoError(t, d.SyncDir("d"))
			for i := range int64(20) {
				put(t, f, i*100, byte(i), 300)
			}
		})
		return b
	}
	for seed := range uint64(20) {
		require.Equal(t, run(seed), run(seed))
	}
}
