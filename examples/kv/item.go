package main

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/parley-go/parley/quorum"
)

// The bounds of what a client can store.
const (
	maxKey   = quorum.MaxKey
	maxValue = quorum.MaxValue - itemOverhead
)

// An item is what is stored under a key.
type item struct {
	value   []byte
	expires int64  // Unix time in ms, or never
	tag     uint64 // which edit wrote it; 0 for none
}

const (
	never     = 0                   // an item that does not expire
	maxExpiry = math.MaxInt64 >> 16 // some 4,000 years, in ms: sums of two do not overflow
)

// nothing stands for what is under a key that is not there: an item that expired
// long ago.
var nothing = item{expires: 1} // constant: nobody writes to it

// expired reports whether the item is not there any more. What now means is the
// store's affair.
func (it item) expired(now time.Time) bool {
	return it.expires != never && it.expires <= now.UnixMilli()
}

// In storage and between nodes an item is a version byte, its expiry, its tag and
// its value.
const (
	itemVersion  = 1
	itemOverhead = 1 + 8 + 8
)

var errItem = errors.New("a stored item is not in the format of this version")

func (it item) append(b []byte) []byte {
	b = append(b, itemVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(it.expires))
	b = binary.BigEndian.AppendUint64(b, it.tag)
	return append(b, it.value...)
}

// decodeItem reads an item, whose value stays a part of b.
func decodeItem(b []byte) (item, error) {
	if len(b) < itemOverhead || b[0] != itemVersion {
		return item{}, errItem
	}
	it := item{
		value:   b[itemOverhead:],
		expires: int64(binary.BigEndian.Uint64(b[1:])),
		tag:     binary.BigEndian.Uint64(b[9:]),
	}
	if it.expires < 0 || it.expires > 2*maxExpiry {
		return item{}, errItem
	}
	return it, nil
}
