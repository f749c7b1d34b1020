package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/parley-go/parley/raft"
)

// A segment is a file of the log: a head of 512 bytes, and records. The head repeats
// what the segments before it say in sum, so that they can be removed. What lies
// behind the end of a segment is not looked at once the next one says where that is.
const (
	segmentHead    = 512
	segmentMagic   = "parleyWL"
	segmentVersion = 1
)

// maxOffset is where a segment ends at the latest, which four bytes hold.
const maxOffset = 1<<32 - 1

// A segment is what is known of one in memory.
type segment struct {
	number uint64
	size   int64  // of the file
	last   uint64 // highest index of an entry in it; 0: none
}

// note records what a batch in the segment means for it, and returns the index that
// the next entry has at most.
func (s *segment) note(b *raft.Batch, next uint64) uint64 {
	if b.Restart != 0 {
		next = b.Restart
	}
	if n := len(b.Entries); n > 0 {
		next = b.Entries[n-1].Index + 1
		s.last = max(s.last, next-1)
	}
	return next
}

type segmentInfo struct {
	number  uint64
	prevEnd int64
	prevSum uint32
	salt    uint64
	next    uint64
	hard    raft.HardState
}

// encode returns the head and its crc.
func (s segmentInfo) encode() ([]byte, uint32) {
	b := make([]byte, segmentHead)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], segmentVersion)
	binary.LittleEndian.PutUint64(b[16:], s.number)
	binary.LittleEndian.PutUint64(b[24:], uint64(s.prevEnd))
	binary.LittleEndian.PutUint32(b[32:], s.prevSum)
	binary.LittleEndian.PutUint64(b[40:], s.salt)
	binary.LittleEndian.PutUint64(b[48:], s.next)
	appendHard(b[56:56], s.hard) // fits: see MaxName
	crc := crc32.Checksum(b[:segmentHead-4], castagnoli)
	binary.LittleEndian.PutUint32(b[segmentHead-4:], crc)
	return b, crc
}

// decodeSegmentInfo returns the head of a segment and its crc, or what is wrong.
func decodeSegmentInfo(b []byte, number uint64) (s segmentInfo, crc uint32, wrong string) {
	if len(b) < segmentHead {
		return s, 0, "the file is shorter than the head of a segment"
	}
	crc = crc32.Checksum(b[:segmentHead-4], castagnoli)
	if binary.LittleEndian.Uint32(b[segmentHead-4:]) != crc || string(b[:8]) != segmentMagic {
		return s, 0, "the checksum of the segment's head is wrong"
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion {
		return s, 0, fmt.Sprintf("the segment has version %d of the format, only %d is known", v, segmentVersion)
	}
	s = segmentInfo{
		number:  binary.LittleEndian.Uint64(b[16:]),
		prevEnd: int64(binary.LittleEndian.Uint64(b[24:])),
		prevSum: binary.LittleEndian.Uint32(b[32:]),
		salt:    binary.LittleEndian.Uint64(b[40:]),
		next:    binary.LittleEndian.Uint64(b[48:]),
	}
	p := payload{b: b[56 : segmentHead-4]}
	s.hard = p.hard()
	if p.bad || s.number != number || s.next == 0 {
		return s, 0, fmt.Sprintf("the head is that of segment %d", s.number)
	}
	return s, crc, ""
}

// The names of files. A spare is a segment to be: one that is not needed any more,
// or one whose head is being written.
const (
	segmentEnding  = ".wal"
	spareEnding    = ".spare"
	snapshotEnding = ".snap"
	tempEnding     = ".tmp"
	lockName       = "LOCK"
)

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentEnding) }
func spareName(number uint64) string   { return fmt.Sprintf("%016x%s", number, spareEnding) }

// numberOf returns the number in a name with this ending.
func numberOf(name, ending string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, ending)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil
}
