package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What travels. Everything begins with wireVersion. Numbers are uvarints,
// strings follow their length.
//
// A one-way body is a sequence of items: the group, the kind, flags, the term,
// then index, log term, hint, commit and round, of which the flags tell which
// are there, because they are not 0. An append goes on with the number of its
// entries and the length of all that follow. Each entry is a number that holds
// the length of its data, its kind and whether a new term comes after it, that
// term, and the data; its index is one above the last.
const (
	wireVersion = 1

	// An append holds at most this many entries, so that what is decoded never
	// takes much more memory than what was received.
	maxEntries = 1 << 16
)

const (
	flagReject = 1 << iota
	flagForce
	flagIndex
	flagLogTerm
	flagHint
	flagCommit
	flagRound
	flagNewborn
)

var errMalformed = errors.New("raft: malformed message")

// appendMessage appends an item to a body.
func appendMessage(b []byte, group string, m *message) []byte {
	b = appendHead(b, group, m)
	if m.Kind != msgAppend {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(m.Entries)))
	return appendEntries(b, m.Entries, m.Term)
}

// appendHead appends an item but for the entries.
func appendHead(b []byte, group string, m *message) []byte {
	b = appendString(b, group)
	var flags byte
	if m.Reject {
		flags |= flagReject
	}
	if m.Force {
		flags |= flagForce
	}
	if m.Newborn {
		flags |= flagNewborn
	}
	at := len(b) + 1
	b = append(b, byte(m.Kind), 0)
	b = binary.AppendUvarint(b, m.Term)
	for i, v := range [...]uint64{m.Index, m.LogTerm, m.Hint, m.Commit, m.Round} {
		if v != 0 {
			flags |= flagIndex << i
			b = binary.AppendUvarint(b, v)
		}
	}
	b[at] = flags
	return b
}

func appendEntries(b []byte, entries []Entry, term uint64) []byte {
	if len(entries) == 0 {
		return b
	}
	size := 0
	for i, last := 0, term; i < len(entries); i++ {
		e := &entries[i]
		size += entryHead(e, last) + len(e.Data)
		last = e.Term
	}
	b = binary.AppendUvarint(b, uint64(size))
	for i := range entries {
		e := &entries[i]
		head := entryHeadOf(e.Kind, len(e.Data))
		if e.Term == term {
			b = binary.AppendUvarint(b, head)
		} else {
			term = e.Term
			b = binary.AppendUvarint(b, head|1)
			b = binary.AppendUvarint(b, term)
		}
		b = append(b, e.Data...)
	}
	return b
}

// entryHeadOf returns the number that an entry of the same term as the one before
// begins with.
func entryHeadOf(kind EntryKind, size int) uint64 { return uint64(size)<<3 | uint64(kind)<<1 }

// entryHead returns how many bytes stand before the data of an entry.
func entryHead(e *Entry, term uint64) int {
	n := uvarintLen(uint64(len(e.Data)) << 3)
	if e.Term != term {
		n += uvarintLen(e.Term)
	}
	return n
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// message reads an item, after its group. The entries use the memory of those
// that m had before; their data is cut from the slab, or with a nil slab refers to
// what is read.
func (r *reader) message(m *message, s *slab) {
	*m = message{Kind: messageKind(r.byte()), Entries: m.Entries[:0]}
	flags := r.byte()
	m.Reject, m.Force, m.Newborn = flags&flagReject != 0, flags&flagForce != 0, flags&flagNewborn != 0
	m.Term = r.uvarint()
	for i, v := range [...]*uint64{&m.Index, &m.LogTerm, &m.Hint, &m.Commit, &m.Round} {
		if flags&(flagIndex<<i) != 0 {
			*v = r.uvarint()
		}
	}
	switch {
	case m.Kind < msgAppend || m.Kind > msgSnapshot:
		r.fail()
	case m.Kind == msgAppend:
		m.Entries = r.entries(m.Entries, m.Index, m.Term, s)
	}
}

func (r *reader) entries(entries []Entry, index, term uint64, s *slab) []Entry {
	n := r.uvarint()
	if r.err != nil || n == 0 {
		return entries
	}
	size := r.uvarint()
	if n > maxEntries || n > size || size > uint64(len(r.rest)) || index+n < index {
		r.fail()
		return entries
	}
	body := reader{rest: r.rest[:size]}
	if s != nil {
		body.rest = s.copy(body.rest)
	}
	r.rest = r.rest[size:]
	for range n {
		head := body.uvarint()
		if head&1 != 0 {
			term = body.uvarint()
		}
		index++
		entries = append(entries, Entry{Index: index, Term: term, Kind: EntryKind(head >> 1 & 3), Data: body.take(head >> 3)})
	}
	if body.err != nil || len(body.rest) > 0 {
		r.fail()
	}
	return entries
}

// An op says what a request asks for.
type op byte

const (
	opPropose     op = 1 // kind, term, life, seq, data: the result
	opRead        op = 2 // the index that a read has to wait for; term and commit index
	opTransfer    op = 3 // the node that is to lead
	opReconfigure op = 4 // a membership
	opSnapshot    op = 5 // a piece of the snapshot: index, term, offset
)

// A request is what one node asks another, of a group.
type request struct {
	op    op
	group []byte
	data  []byte // opPropose, opTransfer, opReconfigure
	term  uint64 // opPropose: of the leader that is meant; opSnapshot

	kind EntryKind // opPropose
	life uint64    // opPropose: of the node that asks
	seq  uint64    // opPropose: number of the request, in that life

	index uint64 // opSnapshot
	from  uint64 // opSnapshot: offset
}

func (q *request) append(b []byte) []byte {
	b = append(b, wireVersion, byte(q.op))
	b = binary.AppendUvarint(b, uint64(len(q.group)))
	b = append(b, q.group...)
	switch q.op {
	case opPropose:
		b = append(b, byte(q.kind))
		b = binary.AppendUvarint(b, q.term)
		b = binary.LittleEndian.AppendUint64(b, q.life)
		b = binary.AppendUvarint(b, q.seq)
	case opSnapshot:
		b = binary.AppendUvarint(b, q.index)
		b = binary.AppendUvarint(b, q.term)
		b = binary.AppendUvarint(b, q.from)
	}
	return append(b, q.data...)
}

// decode reads a request; its bytes are parts of body.
func (q *request) decode(body []byte) error {
	r := reader{rest: body}
	if r.byte() != wireVersion {
		r.fail()
	}
	q.op = op(r.byte())
	q.group = r.string(MaxGroup)
	switch q.op {
	case opPropose:
		if q.kind = EntryKind(r.byte()); q.kind != EntryCommand && q.kind != EntrySession {
			r.fail()
		}
		q.term, q.life, q.seq = r.uvarint(), r.uint64(), r.uvarint()
	case opSnapshot:
		q.index, q.term, q.from = r.uvarint(), r.uvarint(), r.uvarint()
	case opRead, opTransfer, opReconfigure:
	default:
		r.fail()
	}
	if (q.op == opRead || q.op == opSnapshot) && len(r.rest) > 0 {
		r.fail()
	}
	q.data = r.rest
	return r.err
}

// wireErrors are the errors that keep their identity from node to node; a
// response names them by their places, which do not change. What is true of a
// node alone, that it is closed or failed, is not among them. constant: a table
var wireErrors = [...]error{
	ErrDropped, ErrUncertain, ErrOverloaded, ErrTooLarge,
	ErrNotLeader, ErrBusy, ErrMembership, ErrSessionExpired, ErrResultDropped, errNotYet,
}

// appendResponse appends the outcome of a request: which errors, then the
// result or the text of the error.
func appendResponse(b, result []byte, err error) []byte {
	b = append(b, wireVersion)
	if err == nil {
		return append(append(b, 0), result...)
	}
	var mask uint64 = 1
	for i, e := range wireErrors {
		if errors.Is(err, e) {
			mask |= 2 << i
		}
	}
	b = binary.AppendUvarint(b, mask)
	return append(b, err.Error()...)
}

// readResponse returns the outcome that a node sent. The result is a part of
// body.
func readResponse(node string, body []byte) (result []byte, err error) {
	r := reader{rest: body}
	if r.byte() != wireVersion {
		r.fail()
	}
	mask := r.uvarint()
	if r.err != nil || mask>>1 >= 1<<len(wireErrors) {
		return nil, fmt.Errorf("%w: response of %s", errMalformed, node)
	}
	if mask == 0 {
		return r.rest, nil
	}
	e := &remoteError{node: node, text: string(r.rest)}
	for i := range wireErrors {
		if mask&(2<<i) != 0 {
			e.is = append(e.is, wireErrors[i])
		}
	}
	return nil, e
}

// A remoteError is an error that another node returned.
type remoteError struct {
	node, text string
	is         []error
}

func (e *remoteError) Error() string   { return e.text + " (on " + e.node + ")" }
func (e *remoteError) Unwrap() []error { return e.is }

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// A reader takes values off the front of what it reads. After a failure it
// returns zero values.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errMalformed
	}
	r.rest = nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 {
		return uint64(r.byte())
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uint64() uint64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// take returns the next n bytes, a part of what is read; nil for none.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) string(most int) []byte {
	n := r.uvarint()
	if n > uint64(most) {
		r.fail()
		return nil
	}
	return r.take(n)
}
