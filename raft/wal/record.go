package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/parley-go/parley/raft"
)

// A record holds one batch: all of it is there, or nothing. doc.go has the format.
//
// The crc of its head binds a record to its place, so that one is recognised without
// those before it, and never in another place, or for what the file held as an
// earlier segment; nor can data that somebody made up pass for one, without the salt.
// prev binds it to its past: remains of what was cut off do not fit to what was
// written in its stead. That is never the same again, because Open writes a record
// first that changes nothing, and Save none.
const (
	recordHead  = 20
	recordAlign = 8
	// maxState is the most that a record without entries takes.
	maxState = recordHead + 5*binary.MaxVarintLen64 + MaxName + recordAlign
)

// minEntry is the least that an entry takes in a payload.
const minEntry = 3

// castagnoli is the table of CRC-32C. constant:
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A recordInfo is the head of a record.
type recordInfo struct {
	crc, prev, sum uint32
	size           int64
	synced         int64
}

func readInfo(b []byte) recordInfo {
	return recordInfo{
		crc:    binary.LittleEndian.Uint32(b),
		prev:   binary.LittleEndian.Uint32(b[4:]),
		sum:    binary.LittleEndian.Uint32(b[8:]),
		size:   int64(binary.LittleEndian.Uint32(b[12:])),
		synced: int64(binary.LittleEndian.Uint32(b[16:])),
	}
}

// length returns what the record takes in the file.
func (r recordInfo) length() int64 { return aligned(recordHead + r.size) }

func aligned(n int64) int64 { return (n + recordAlign - 1) &^ (recordAlign - 1) }

// placeSize is the length of what goes into crc before the head.
const placeSize = 16

// seal fills in the head of the record in b, which begins with room for the place
// that goes into crc, and returns crc.
func seal(b []byte, salt uint64, offset int64, size int, prev uint32, synced int64) uint32 {
	head, payload := b[placeSize:placeSize+recordHead], b[placeSize+recordHead:][:size]
	putPlace(b, salt, offset)
	binary.LittleEndian.PutUint32(head[4:], prev)
	binary.LittleEndian.PutUint32(head[8:], crc32.Checksum(payload, castagnoli))
	binary.LittleEndian.PutUint32(head[12:], uint32(size))
	binary.LittleEndian.PutUint32(head[16:], uint32(synced))
	crc := placedSum(b[:placeSize], head)
	binary.LittleEndian.PutUint32(head, crc)
	return crc
}

func putPlace(b []byte, salt uint64, offset int64) {
	binary.LittleEndian.PutUint64(b, salt)
	binary.LittleEndian.PutUint64(b[8:], uint64(offset))
}

// placedSum returns the crc of a head at a place.
func placedSum(place, head []byte) uint32 {
	return crc32.Update(crc32.Checksum(place, castagnoli), castagnoli, head[4:recordHead])
}

// appendHard appends a hard state.
func appendHard(b []byte, h raft.HardState) []byte {
	b = binary.AppendUvarint(b, h.Term)
	b = binary.AppendUvarint(b, h.Commit)
	b = binary.AppendUvarint(b, uint64(len(h.Vote)))
	return append(b, h.Vote...)
}

// appendBatch appends the payload of a record: the hard state, Restart, the number
// of entries, the index of the first if there is one, and for each entry its kind,
// term, length and data. next is what the index of the first may be at most.
func appendBatch(b []byte, batch *raft.Batch, next uint64) ([]byte, error) {
	if n := len(batch.Hard.Vote); n > MaxName {
		return b, fmt.Errorf("%w: a vote of %d bytes, at most %d", ErrInvalid, n, MaxName)
	}
	b = appendHard(b, batch.Hard)
	b = binary.AppendUvarint(b, batch.Restart)
	b = binary.AppendUvarint(b, uint64(len(batch.Entries)))
	if len(batch.Entries) == 0 {
		return b, nil
	}
	first := batch.Entries[0].Index
	if first == 0 || first > next {
		return b, fmt.Errorf("%w: it begins with entry %d, where %d is the next", ErrInvalid, first, next)
	}
	b = binary.AppendUvarint(b, first)
	begin := len(b)
	for i := range batch.Entries {
		e := &batch.Entries[i]
		if e.Index != first+uint64(i) {
			return b, fmt.Errorf("%w: entry %d stands where %d belongs", ErrInvalid, e.Index, first+uint64(i))
		}
		b = append(b, byte(e.Kind))
		b = binary.AppendUvarint(b, e.Term)
		b = binary.AppendUvarint(b, uint64(len(e.Data)))
		b = append(b, e.Data...)
		if len(b)-begin > MaxBatch {
			return b, fmt.Errorf("%w: over %d bytes", ErrInvalid, MaxBatch)
		}
	}
	return b, nil
}

// A payload is read from its front. After a failure it gives zeros.
type payload struct {
	b   []byte
	bad bool
}

func (p *payload) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad = true
		p.b = nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *payload) take(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.bad = true
		p.b = nil
		return nil
	}
	taken := p.b[:n:n]
	p.b = p.b[n:]
	return taken
}

func (p *payload) hard() raft.HardState {
	h := raft.HardState{Term: p.uvarint(), Commit: p.uvarint()}
	h.Vote = string(p.take(min(p.uvarint(), MaxName+1)))
	if len(h.Vote) > MaxName {
		p.bad = true
	}
	return h
}

// batch reads what appendBatch wrote. Data of the entries refers to the payload.
func (p *payload) batch() (b raft.Batch, ok bool) {
	b.Hard = p.hard()
	b.Restart = p.uvarint()
	count := p.uvarint()
	if p.bad || count > uint64(len(p.b))/minEntry {
		return b, false
	}
	if count > 0 {
		first := p.uvarint()
		if first == 0 || first+count < first {
			return b, false
		}
		b.Entries = make([]raft.Entry, count)
		for i := range b.Entries {
			e := &b.Entries[i]
			e.Index = first + uint64(i)
			if kind := p.take(1); len(kind) == 1 {
				e.Kind = raft.EntryKind(kind[0])
			}
			e.Term = p.uvarint()
			e.Data = p.take(p.uvarint())
		}
	}
	return b, !p.bad && len(p.b) == 0
}
