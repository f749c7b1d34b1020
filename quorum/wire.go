package quorum

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/parley-go/parley/transport"
)

// What travels, all of it bounded: requests and responses begin with
// wireFormat and a byte for the kind. Numbers are uvarints or, where they are
// random, eight bytes; strings follow their length. TestMessagesFitIntoACall
// holds the bound of 64 KiB.
const (
	wireFormat  = 1
	stateFormat = 1
	maxMessage  = 64 << 10
	maxName     = transport.MaxName
)

// An op is the kind of a request.
type op byte

const (
	opVersion op = iota + 1 // which version of the key is held
	opGet                   // which record of the key is held
	opPut                   // take a record, unless it is too far in the future
	opRepair                // take a record that is no further ahead than one that some replica holds
	opMeet                  // I am in this life
	opCopy                  // the records that I own, a page at a time
)

// A request is what one node asks another; which fields count depends on op.
type request struct {
	op          op
	key         string // opVersion, opGet, opPut, opRepair; opCopy: the cursor
	record      Record // opPut, opRepair
	incarnation uint64 // opMeet, opCopy: of the one who asks
	previous    uint64 // opMeet: the life of theirs that the other is thought to know
}

func (q *request) append(b []byte) []byte {
	b = append(b, wireFormat, byte(q.op))
	switch q.op {
	case opMeet:
		b = binary.LittleEndian.AppendUint64(b, q.incarnation)
		return binary.LittleEndian.AppendUint64(b, q.previous)
	case opCopy:
		b = binary.LittleEndian.AppendUint64(b, q.incarnation)
		return appendString(b, q.key)
	}
	b = appendString(b, q.key)
	if q.op == opPut || q.op == opRepair {
		b = appendRecord(b, q.record)
	}
	return b
}

// decode reads a request; the record's value is a part of data.
func (q *request) decode(data []byte) error {
	r := reader{rest: data}
	if r.byte() != wireFormat {
		r.fail()
	}
	switch q.op = op(r.byte()); q.op {
	case opMeet:
		q.incarnation = r.uint64()
		q.previous = r.uint64()
	case opCopy:
		q.incarnation = r.uint64()
		q.key = r.string(MaxKey)
	case opVersion, opGet:
		q.key = r.key()
	case opPut, opRepair:
		q.key = r.key()
		q.record = r.record()
		if r.err == nil && q.record.Version.IsZero() {
			r.fail()
		}
	default:
		r.fail()
	}
	return r.end()
}

// A status is the kind of a response.
type status byte

const (
	statusAck      status = iota + 1 // to opVersion, opGet, opPut, opRepair
	statusSkew                       // to opPut: refused, the version is in the future
	statusMet                        // to opMeet: incarnation is the life of the one who answers
	statusOutlived                   // to opMeet: incarnation is a later life of the one who asks
	statusUnmet                      // to opCopy: introduce yourself first
	statusPage                       // to opCopy
	statusNotOwner                   // the key is not of this node
	statusNoMember                   // to opMeet: the one who asks or who answers is not in the ring
)

func appendStatus(b []byte, s status) []byte { return append(b, wireFormat, byte(s)) }

// readStatus reads the beginning of a response, 0 if it is not one.
func readStatus(r *reader) status {
	if r.byte() != wireFormat {
		r.fail()
	}
	return status(r.byte())
}

func appendIncarnation(b []byte, s status, incarnation uint64) []byte {
	return binary.LittleEndian.AppendUint64(appendStatus(b, s), incarnation)
}

// appendAck appends the response to a question about a key. The owners are
// those that the replica sees, with the lives it has met.
func appendAck(b []byte, owners []string, s *standing, readable bool, record Record) []byte {
	b = appendIncarnation(b, statusAck, s.incarnation)
	b = append(b, boolByte(readable), byte(len(owners)))
	for _, owner := range owners {
		b = appendString(b, owner)
		b = binary.LittleEndian.AppendUint64(b, s.peers[owner].known)
	}
	return appendRecord(b, record)
}

// readAck reads the rest of a statusAck. The lives met are put in the order of
// owners; those of other nodes are dropped. The record's value is a part of the
// response.
func readAck(r *reader, owners []string) ack {
	var a ack
	a.incarnation = r.uint64()
	a.readable = r.bool()
	n := r.byte()
	if n > MaxReplicas {
		r.fail()
	}
	for range n {
		name, known := r.bytes(maxName), r.uint64()
		if r.err != nil {
			return ack{}
		}
		for i, owner := range owners {
			if owner == string(name) {
				a.known[i] = known
			}
		}
	}
	a.record = r.record()
	return a
}

// A page is a part of what one node copies from another.
type page struct {
	source   uint64 // life of the source
	complete bool   // whether the source is
	last     bool   // no page follows
	cursor   string // where the next page begins
	entries  []Entry
}

// pageRoom is what the entries of a page may take, beside its head.
const pageRoom = maxMessage - 64 - MaxKey

func (p *page) append(b []byte) []byte {
	b = appendIncarnation(b, statusPage, p.source)
	b = append(b, boolByte(p.complete), boolByte(p.last))
	b = appendString(b, p.cursor)
	b = binary.AppendUvarint(b, uint64(len(p.entries)))
	for _, e := range p.entries {
		b = appendString(b, e.Key)
		b = appendRecord(b, e.Record)
	}
	return b
}

// readPage reads the rest of a statusPage; values are parts of the response.
func readPage(r *reader) page {
	var p page
	p.source = r.uint64()
	p.complete, p.last = r.bool(), r.bool()
	p.cursor = r.string(MaxKey)
	for range r.uvarint() {
		e := Entry{Key: r.key(), Record: r.record()}
		if e.Record.Version.IsZero() {
			r.fail()
		}
		if r.err != nil {
			return page{}
		}
		p.entries = append(p.entries, e)
	}
	return p
}

// entrySize bounds what an entry takes in a page.
func entrySize(e Entry) int {
	return len(e.Key) + len(e.Record.Value) + len(e.Record.Version.Node) + entryOverhead
}

const entryOverhead = 40

func appendRecord(b []byte, r Record) []byte {
	b = appendVersion(b, r.Version)
	b = append(b, boolByte(r.Deleted))
	return appendString(b, r.Value)
}

func appendString[S string | []byte](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// A reader takes values off the front of an encoding. After a failure it
// returns zeros. It allocates no more than it has bytes to read.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = fmt.Errorf("%w, %d bytes before its end", ErrCorrupt, len(r.rest))
	}
	r.rest = nil
}

// end returns the first failure; bytes left over are one.
func (r *reader) end() error {
	if len(r.rest) > 0 {
		r.fail()
	}
	return r.err
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bool() bool {
	b := r.byte()
	if b > 1 {
		r.fail()
	}
	return b == 1
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// bytes returns a string of at most limit bytes, as a part of the encoding.
func (r *reader) bytes(limit int) []byte {
	n := r.uvarint()
	if n > uint64(limit) {
		r.fail()
		return nil
	}
	return r.take(n)
}

func (r *reader) string(limit int) string { return string(r.bytes(limit)) }

func (r *reader) key() string {
	key := r.string(MaxKey)
	if key == "" {
		r.fail()
	}
	return key
}

func (r *reader) version() Version {
	t, logical, run := r.uvarint(), r.uvarint(), r.uvarint()
	v := Version{Node: r.string(maxName)}
	if t > maxTime || logical > 1<<32-1 || run > 1<<32-1 {
		r.fail()
	}
	if r.err != nil {
		return Version{}
	}
	v.Time, v.Logical, v.Run = int64(t), uint32(logical), uint32(run)
	return v
}

func (r *reader) record() Record {
	record := Record{Version: r.version(), Deleted: r.bool()}
	value := r.bytes(MaxValue)
	if record.Deleted && len(value) > 0 {
		r.fail()
	}
	if r.err != nil {
		return Record{}
	}
	record.Value = value
	return record
}

// appendSkew appends the refusal of a version.
func appendSkew(b []byte, e *SkewError) []byte {
	b = appendVersion(appendStatus(b, statusSkew), e.Version)
	b = binary.AppendUvarint(b, uint64(e.Ahead))
	return binary.AppendUvarint(b, uint64(e.Bound))
}

func readSkew(r *reader) *SkewError {
	duration := func() time.Duration { return time.Duration(r.uvarint() & math.MaxInt64) }
	return &SkewError{Version: r.version(), Ahead: duration(), Bound: duration()}
}
