package rafttest

import (
	"io"
	"testing"

	"github.com/parley-go/parley/raft"
)

// A Case is one check of the suite.
type Case struct {
	// Name says what is checked, in the form of a test's name.
	Name string

	run func(*check)
}

// Run runs the case on a Storage in a temporary directory of its own. See the
// package's comment for open.
func (c Case) Run(t testing.TB, open func(dir string) (raft.Storage, error)) {
	t.Helper()
	ck := &check{TB: t, start: open, dir: t.TempDir()}
	ck.open()
	defer ck.close()
	c.run(ck)
}

// Cases returns all cases, in the order of the contract.
func Cases() []Case {
	return []Case{
		{"NothingSavedIsTheZeroState", nothingSaved},
		{"HardStateIsKept", hardStateKept},
		{"EntriesAreKept", entriesKept},
		{"LargeBatchIsKept", largeBatch},
		{"ManyBatchesAreKept", manyBatches},
		{"BatchStaysTheCallers", batchStaysCallers},
		{"HardStateComesWithEntries", hardStateWithEntries},
		{"EntriesReplaceWhatTheyConflictWith", conflict},
		{"EntriesReplaceTheWholeLog", conflictWithAll},
		{"RestartDropsTheLog", restart},
		{"RestartWithEntries", restartWithEntries},
		{"LazyBatchesKeepTheirOrder", lazyOrder},
		{"CompactKeepsWhatFollows", compactKeeps},
		{"CompactKeepsTheHardState", compactKeepsHardState},
		{"CompactOfEverythingGoesOn", compactAll},
		{"CompactMayBeRepeated", compactRepeated},

		{"NoSnapshotAtFirst", noSnapshot},
		{"SnapshotIsKept", snapshotKept},
		{"SnapshotOfAnySize", snapshotSizes},
		{"SnapshotReadsAnywhere", snapshotReadsAnywhere},
		{"SnapshotReadConcurrently", snapshotConcurrentReads},
		{"SnapshotInfoIsTheStoragesOwn", snapshotInfoOwn},
		{"SnapshotIsThereAfterCommit", snapshotUncommitted},
		{"SnapshotAborted", snapshotAborted},
		{"AbortAfterCommitDoesNothing", abortAfterCommit},
		{"OlderSnapshotDoesNotReplaceNewer", olderSnapshot},
		{"ReaderStaysValid", readerStaysValid},
		{"SnapshotsBesideSaves", snapshotsBesideSaves},

		{"RandomOperations", randomOperations},
	}
}

// Run runs every case as a subtest.
func Run(t *testing.T, open func(dir string) (raft.Storage, error)) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, open) })
	}
}

// close closes a Storage that can be closed.
func (c *check) close() {
	c.Helper()
	if closer, ok := c.storage.(io.Closer); ok {
		if err := closer.Close(); err != nil {
			c.Errorf("Close: %v", err)
		}
	}
	c.storage = nil
}
