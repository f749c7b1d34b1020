package quorum

import "iter"

// Bounds of keys and values, in bytes. They keep every message, also a page of
// a copy, within 64 KiB, so that none stands in the way of others.
const (
	MaxKey   = 1 << 10  // longest key; the shortest is 1
	MaxValue = 60 << 10 // longest value; the shortest is 0
)

// A Record is what a replica holds of one key.
type Record struct {
	Version Version // zero: the key was never written
	Deleted bool    // a tombstone, with no Value
	Value   []byte  // not to be changed by whoever holds it
}

// An Entry is one key of a Storage with its record.
type Entry struct {
	Key    string
	Record Record
}

// A Storage keeps the records of one replica. Implement it to keep them
// elsewhere than in memory. All methods are called concurrently, never under a
// lock of the store.
//
// What Put and SaveState have returned from must be there after a crash, or
// else everything must be gone, the state too: a store that finds its state
// trusts that it has every record it ever acknowledged, and one that finds none
// copies its records from the other replicas before it answers reads. A Storage
// that may lose its last writes must lose its state as well.
type Storage interface {
	// Get returns the record of key, a zero Record if there is none. The caller
	// does not change its Value.
	Get(key string) (Record, error)

	// Put stores r unless it holds a record of key whose version is not lower,
	// and returns the version that it holds then. It compares and stores in
	// one step. It may keep r.Value, which never changes.
	Put(key string, r Record) (held Version, err error)

	// Scan yields all records, also tombstones, once each, in an order of its
	// own that does not change: first those after the key given, "" for the
	// beginning. What is put during the scan may be missing. An error is the
	// last that it yields.
	Scan(after string) iter.Seq2[Entry, error]

	// LoadState returns what SaveState was given last, nil at first. It is some
	// bytes a node, in which the store keeps what it must know after a restart.
	LoadState() ([]byte, error)

	// SaveState keeps state, in one step. It does not keep the slice.
	SaveState(state []byte) error
}
