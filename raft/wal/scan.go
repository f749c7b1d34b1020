package wal

import (
	"fmt"
	"hash/crc32"
)

// A scanner goes through the records of one segment.
type scanner struct {
	salt   uint64
	data   []byte // the whole file
	at     int64  // where the next record begins
	prev   uint32 // crc of the one before
	synced int64  // up to where the records so far say that everything was synced
	count  int
	why    string // no record follows
	place  [placeSize]byte
}

func newScanner(data []byte, info segmentInfo, crc uint32) *scanner {
	return &scanner{salt: info.salt, data: data, at: segmentHead, prev: crc, synced: segmentHead}
}

// head returns the head of a record at an offset, if there is one.
func (s *scanner) head(at int64) (recordInfo, bool) {
	if at+recordHead > int64(len(s.data)) {
		return recordInfo{}, false
	}
	b := s.data[at:][:recordHead]
	r := readInfo(b)
	// The checks that cost little go first: this runs over whole files.
	if r.synced < segmentHead || r.synced > at || at+recordHead+r.size > int64(len(s.data)) {
		return r, false
	}
	putPlace(s.place[:], s.salt, at)
	return r, placedSum(s.place[:], b) == r.crc
}

// next returns the payload of the next record, or sets why.
func (s *scanner) next() (payload []byte, ok bool) {
	r, ok := s.head(s.at)
	switch {
	case !ok:
		s.why = "no record begins here"
		return nil, false
	case r.prev != s.prev:
		s.why = "the record here does not follow the one before"
		return nil, false
	}
	payload = s.data[s.at+recordHead:][:r.size]
	if crc32.Checksum(payload, castagnoli) != r.sum {
		s.why = "the checksum of the record is wrong"
		return nil, false
	}
	s.at = min(s.at+r.length(), int64(len(s.data)))
	s.prev = r.crc
	s.synced = max(s.synced, r.synced)
	s.count++
	return payload, true
}

// rest judges what lies behind the last record that next returned. Writes that were
// not synced may be there in part and in any order, and are cut off. But a record
// says how far the segment was synced when it was written: if that is beyond the
// end, something has been lost that was there. torn tells writes of the last process
// from remains of earlier ones.
func (s *scanner) rest() (torn bool, lost string) {
	for at := s.at; at+recordHead <= int64(len(s.data)); at += recordAlign {
		r, ok := s.head(at)
		if !ok {
			continue
		}
		if r.synced > s.at {
			return true, fmt.Sprintf("%s; but up to offset %d all was synced, as the record at offset %d says", s.why, r.synced, at)
		}
		torn = torn || r.synced > s.synced || at == s.at && r.prev == s.prev
	}
	return torn, ""
}
