package disk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/raft/wal/internal/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAllocateGrowsWithZerosAndNeverShrinks(t *testing.T) {
	f, err := disk.OS{}.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("abc"), 0)
	require.NoError(t, err)
	for _, size := range []int64{1000, 300_000, 10} {
		require.NoError(t, f.Allocate(size))
	}
	require.NoError(t, f.Sync())
	size, err := f.Size()
	require.NoError(t, err)
	require.EqualValues(t, 300_000, size)
	got := make([]byte, size)
	_, err = f.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, append([]byte("abc"), make([]byte, size-3)...), got)
}

func TestCreateRefusesWhatExists(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := disk.OS{}.Create(name)
	require.NoError(t, err)
	defer f.Close()
	_, err = disk.OS{}.Create(name)
	require.ErrorIs(t, err, os.ErrExist)
	_, err = disk.OS{}.OpenWrite(name + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestLockIsExclusiveUntilClosed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	held, err := disk.OS{}.Lock(name)
	require.NoError(t, err)
	_, err = disk.OS{}.Lock(name)
	require.ErrorIs(t, err, disk.ErrLocked)
	require.NoError(t, held.Close())
	again, err := disk.OS{}.Lock(name)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

// A directory that is there may be below one that knows no syncs.
func TestMakeDirBelowWhatCannotBeSynced(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("no /proc here")
	}
	require.Error(t, disk.OS{}.SyncDir("/proc"))
	require.NoError(t, disk.OS{}.MakeDir("/proc/self"))
}

func TestMakeDirMakesParents(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b", "c")
	require.NoError(t, disk.OS{}.MakeDir(dir))
	require.NoError(t, disk.OS{}.MakeDir(dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	names, err := disk.OS{}.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"f"}, names)
	require.Error(t, disk.OS{}.MakeDir(filepath.Join(dir, "f")))
}
