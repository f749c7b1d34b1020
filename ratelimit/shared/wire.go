package shared

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// What travels: a request in a call or, to give a lease back, in a one-way
// message; a response in answer to a call. Both begin with wireFormat; numbers
// are uvarints, a life, which is random, eight bytes. A message is at most
// MaxKey and 80 bytes long.
const wireFormat = 1

// MaxKey is the longest key in bytes.
const MaxKey = 1024

// A request is a lessee's report on its lease of one key, and what it asks for.
type request struct {
	life     uint64 // of the lessee: another after each start
	number   uint64 // of the request, ascending
	key      string
	held     int64 // tokens that it keeps for use
	returned int64 // tokens that it gives back
	need     int64 // fewer are of no use
	wanted   int64 // to be used at once
	batch    int64 // to be used later
}

// A status is the kind of a response.
type status byte

const (
	statusGranted  status = iota + 1 // perhaps nothing
	statusNotOwner                   // the key is not of this node
	statusWarming                    // it is, but others' leases may not have ended
	statusFull                       // no room for another key
	statusStale                      // a later request has been there
	statusEnd
)

// A response is the owner's answer.
type response struct {
	status  status
	kept    int64         // how many of the tokens held may be kept
	granted int64         // tokens to be added to them
	left    int64         // tokens in the owner's bucket
	retry   time.Duration // when what was needed will be there, or the owner be ready
	lease   time.Duration // from when the request was sent
}

var errMalformed = errors.New("shared: malformed message")

func (q *request) append(b []byte) []byte {
	b = append(b, wireFormat)
	b = binary.LittleEndian.AppendUint64(b, q.life)
	b = binary.AppendUvarint(b, q.number)
	b = binary.AppendUvarint(b, uint64(len(q.key)))
	b = append(b, q.key...)
	for _, n := range [...]int64{q.held, q.returned, q.need, q.wanted, q.batch} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func (q *request) decode(data []byte) error {
	r := reader{rest: data}
	r.format()
	q.life = r.uint64()
	q.number = r.uvarint(math.MaxUint64)
	q.key = string(r.take(r.uvarint(MaxKey)))
	for _, n := range [...]*int64{&q.held, &q.returned, &q.need, &q.wanted, &q.batch} {
		*n = int64(r.uvarint(maxTokens))
	}
	return r.end()
}

// maxTokens bounds a number of tokens on the wire, so that sums of a few do not
// overflow.
const maxTokens = math.MaxInt64 / 8

func (p *response) append(b []byte) []byte {
	b = append(b, wireFormat, byte(p.status))
	for _, n := range [...]int64{p.kept, p.granted, p.left, int64(p.retry), int64(p.lease)} {
		b = binary.AppendUvarint(b, uint64(min(n, maxTokens)))
	}
	return b
}

func (p *response) decode(data []byte) error {
	r := reader{rest: data}
	r.format()
	if s := r.take(1); s != nil {
		p.status = status(s[0])
	}
	if p.status < statusGranted || p.status >= statusEnd {
		r.bad = true
	}
	for _, n := range [...]*int64{&p.kept, &p.granted, &p.left, (*int64)(&p.retry), (*int64)(&p.lease)} {
		*n = int64(r.uvarint(maxTokens))
	}
	return r.end()
}

// A reader takes a message apart. After the first mistake it yields zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) format() {
	if f := r.take(1); f == nil || f[0] != wireFormat {
		r.bad = true
	}
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	part := r.rest[:n]
	r.rest = r.rest[n:]
	return part
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// uvarint returns a number of at most limit.
func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// end returns an error unless all was read, and without mistake.
func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return errMalformed
	}
	return nil
}
