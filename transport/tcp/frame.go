package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/parley-go/parley/transport"
)

// A frame on the wire, integers in little-endian order:
//
//	0  4  length of all that follows, checksum included
//	4  1  kind
//	5  n  the fields of the kind, then the body
//	   4  CRC32C of everything before it; absent under TLS, whose records are
//	      authenticated
//
// The payload of a frame is what stands between length and checksum.
type kind byte

const (
	kindMessage  kind = iota + 1 // name length 1, name, body
	kindRequest                  // call 8, time left in ns 8 (0: no deadline), name length 1, name, body
	kindResponse                 // call 8, status 1, body
	kindCancel                   // call 8
	kindPing                     // token 8
	kindPong                     // token 8
	kindFragment                 // stream 4, total 4, offset 4, part of a payload
	kindAbort                    // stream 4
	kindConfirm                  // nothing
	// Kinds from kindOptional on may be skipped by who does not know them; an
	// unknown kind below it breaks the connection.
	kindOptional kind = 128
)

// A status says what became of a request.
type status byte

const (
	statusOK status = iota
	statusError
	statusNoService
	statusTooLarge
	statusOverflow
)

const (
	lengthSize   = 4
	checksumSize = 4
	requestSize  = 1 + 8 + 8 + 1 // the fields of a request before its name
	messageSize  = 1 + 1
	responseSize = 1 + 8 + 1
	fragmentSize = 1 + 4 + 4 + 4

	// maxHeader is the most that stands in a payload before the body.
	maxHeader = requestSize + transport.MaxName
	// frameOverhead is the most that a frame has beside name and body.
	frameOverhead = lengthSize + requestSize + checksumSize

	// maxPart is the most of a payload that travels in one frame: bodies of up
	// to 32 KiB in one piece, and 64 KiB in two.
	maxPart = 32<<10 + maxHeader
	// maxFrame bounds the length field: nothing longer is ever buffered.
	maxFrame = fragmentSize + maxPart + checksumSize
)

var errFrame = errors.New("malformed frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // constant: a table

// A frame is a decoded payload. name and body are parts of it.
type frame struct {
	kind    kind
	status  status
	id      uint64 // of a call or a stream, or the token of a ping
	timeout uint64
	total   uint32
	offset  uint32
	name    []byte
	body    []byte
}

// cut returns the payload of the first frame in b and the frame's whole size. A
// size of 0 says that more bytes are needed.
func cut(b []byte, sums bool) (payload []byte, size int, err error) {
	if len(b) < lengthSize {
		return nil, 0, nil
	}
	length := int(binary.LittleEndian.Uint32(b))
	least := 1
	if sums {
		least += checksumSize
	}
	if length < least || length > maxFrame {
		return nil, 0, fmt.Errorf("%w: length %d is not in [%d, %d]", errFrame, length, least, maxFrame)
	}
	size = lengthSize + length
	if len(b) < size {
		return nil, 0, nil
	}
	if !sums {
		return b[lengthSize:size], size, nil
	}
	end := size - checksumSize
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, 0, fmt.Errorf("%w: checksum does not match", errFrame)
	}
	return b[lengthSize:end], size, nil
}

// parse decodes a payload into f. It keeps parts of b.
func parse(b []byte, f *frame) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: empty", errFrame)
	}
	*f = frame{kind: kind(b[0])}
	ok := true
	switch f.kind {
	case kindMessage:
		f.name, f.body, ok = splitName(b[1:])
	case kindRequest:
		if len(b) < requestSize {
			return errShort(f.kind)
		}
		f.id = binary.LittleEndian.Uint64(b[1:])
		f.timeout = binary.LittleEndian.Uint64(b[9:])
		f.name, f.body, ok = splitName(b[17:])
	case kindResponse:
		if len(b) < responseSize {
			return errShort(f.kind)
		}
		f.id = binary.LittleEndian.Uint64(b[1:])
		f.status = status(b[9])
		f.body = b[responseSize:]
	case kindCancel, kindPing, kindPong:
		if len(b) < 1+8 {
			return errShort(f.kind)
		}
		f.id = binary.LittleEndian.Uint64(b[1:])
	case kindFragment:
		if len(b) <= fragmentSize {
			return errShort(f.kind)
		}
		f.id = uint64(binary.LittleEndian.Uint32(b[1:]))
		f.total = binary.LittleEndian.Uint32(b[5:])
		f.offset = binary.LittleEndian.Uint32(b[9:])
		f.body = b[fragmentSize:]
	case kindAbort:
		if len(b) < 1+4 {
			return errShort(f.kind)
		}
		f.id = uint64(binary.LittleEndian.Uint32(b[1:]))
	case kindConfirm:
	default:
		if f.kind < kindOptional {
			return fmt.Errorf("%w: unknown kind %d", errFrame, f.kind)
		}
	}
	if !ok {
		return fmt.Errorf("%w: bad service name in kind %d", errFrame, f.kind)
	}
	return nil
}

func errShort(k kind) error { return fmt.Errorf("%w: kind %d is too short", errFrame, k) }

func splitName(b []byte) (name, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	if n == 1 || len(b) < n {
		return nil, nil, false
	}
	return b[1:n], b[n:], true
}

// A header is the part of a payload before its body.
type header []byte

func appendMessageHeader(b []byte, service string) header {
	b = append(b, byte(kindMessage), byte(len(service)))
	return append(b, service...)
}

func appendRequestHeader(b []byte, id, timeout uint64, service string) header {
	b = append(b, byte(kindRequest))
	b = binary.LittleEndian.AppendUint64(b, id)
	b = binary.LittleEndian.AppendUint64(b, timeout)
	b = append(b, byte(len(service)))
	return append(b, service...)
}

func appendResponseHeader(b []byte, id uint64, s status) header {
	b = append(b, byte(kindResponse))
	b = binary.LittleEndian.AppendUint64(b, id)
	return append(b, byte(s))
}

// begin starts a frame at the end of b; seal ends the one that began at start.
func begin(b []byte) []byte { return append(b, 0, 0, 0, 0) }

func seal(b []byte, start int, sums bool) []byte {
	length := len(b) - start - lengthSize
	if sums {
		length += checksumSize
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(length))
	if sums {
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	}
	return b
}

func appendMessage(b []byte, service string, body []byte, sums bool) []byte {
	start := len(b)
	b = appendMessageHeader(begin(b), service)
	return seal(append(b, body...), start, sums)
}

func appendRequest(b []byte, id, timeout uint64, service string, body []byte, sums bool) []byte {
	start := len(b)
	b = appendRequestHeader(begin(b), id, timeout, service)
	return seal(append(b, body...), start, sums)
}

func appendResponse(b []byte, id uint64, s status, body []byte, sums bool) []byte {
	start := len(b)
	b = appendResponseHeader(begin(b), id, s)
	return seal(append(b, body...), start, sums)
}

// appendWord appends a frame that holds one number: cancel, ping or pong.
func appendWord(b []byte, k kind, word uint64, sums bool) []byte {
	start := len(b)
	b = append(begin(b), byte(k))
	return seal(binary.LittleEndian.AppendUint64(b, word), start, sums)
}

func appendAbort(b []byte, stream uint32, sums bool) []byte {
	start := len(b)
	b = append(begin(b), byte(kindAbort))
	return seal(binary.LittleEndian.AppendUint32(b, stream), start, sums)
}

func appendConfirm(b []byte, sums bool) []byte {
	start := len(b)
	return seal(append(begin(b), byte(kindConfirm)), start, sums)
}

// confirmSize is the whole size of a confirm frame.
func confirmSize(sums bool) int {
	if sums {
		return lengthSize + 1 + checksumSize
	}
	return lengthSize + 1
}
