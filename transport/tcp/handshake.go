package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/parley-go/parley/transport"
)

// A hello is what each side says first. On the wire, integers in little-endian
// order:
//
//	0  4  "PRLY"
//	4  1  the newest version of the protocol that the sender speaks
//	5  1  the oldest
//	6  2  length of the fields
//	8  n  fields: tag 1, length 2, value; unknown tags are skipped
//	   4  CRC32C of everything before it
//
// The dialer speaks first, and the acceptor answers with its own hello or one
// that holds a refusal. If the dialer's name is the greater one, it then sends a
// confirm frame, see peer.go.
type hello struct {
	newest, oldest byte

	name        string // who speaks
	target      string // whom the dialer wants
	refused     string // why there will be no connection
	incarnation uint64 // drawn at random by each Transport
	sequence    uint64 // counts the sender's hellos
	maxMessage  uint64
	maxCalls    uint64
	keepAlive   time.Duration
}

const (
	helloMagic   = "PRLY"
	helloPrefix  = 8
	maxHello     = 4 << 10 // bytes of fields
	protoVersion = 1
)

const (
	tagName byte = iota + 1
	tagTarget
	tagRefused
	tagIncarnation
	tagSequence
	tagMaxMessage
	tagMaxCalls
	tagKeepAlive
)

var errHello = errors.New("malformed hello")

func appendHello(b []byte, h *hello) []byte {
	start := len(b)
	b = append(b, helloMagic...)
	b = append(b, protoVersion, protoVersion, 0, 0)
	for _, f := range []struct {
		tag  byte
		text string
	}{{tagName, h.name}, {tagTarget, h.target}, {tagRefused, h.refused}} {
		if f.text != "" {
			b = appendField(b, f.tag, []byte(f.text))
		}
	}
	for _, f := range []struct {
		tag    byte
		number uint64
	}{
		{tagIncarnation, h.incarnation},
		{tagSequence, h.sequence},
		{tagMaxMessage, h.maxMessage},
		{tagMaxCalls, h.maxCalls},
		{tagKeepAlive, uint64(h.keepAlive)},
	} {
		b = appendField(b, f.tag, binary.LittleEndian.AppendUint64(nil, f.number))
	}
	binary.LittleEndian.PutUint16(b[start+6:], uint16(len(b)-start-helloPrefix))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func appendField(b []byte, tag byte, value []byte) []byte {
	b = append(b, tag)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// readHello reads exactly one hello.
func readHello(r io.Reader) (*hello, error) {
	b := make([]byte, helloPrefix)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	n, err := helloRest(b)
	if err != nil {
		return nil, err
	}
	b = append(b, make([]byte, n)...)
	if _, err := io.ReadFull(r, b[helloPrefix:]); err != nil {
		return nil, err
	}
	return parseHello(b)
}

// helloRest returns how many bytes follow a prefix.
func helloRest(prefix []byte) (int, error) {
	if string(prefix[:len(helloMagic)]) != helloMagic {
		return 0, fmt.Errorf("%w: not this protocol, or not the same TLS setting", errHello)
	}
	n := int(binary.LittleEndian.Uint16(prefix[6:]))
	if n > maxHello {
		return 0, fmt.Errorf("%w: %d bytes of fields, the limit is %d", errHello, n, maxHello)
	}
	return n + checksumSize, nil
}

func parseHello(b []byte) (*hello, error) {
	if len(b) < helloPrefix {
		return nil, fmt.Errorf("%w: too short", errHello)
	}
	rest, err := helloRest(b)
	if err != nil {
		return nil, err
	}
	if len(b) != helloPrefix+rest {
		return nil, fmt.Errorf("%w: %d bytes, not %d", errHello, len(b), helloPrefix+rest)
	}
	end := len(b) - checksumSize
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, fmt.Errorf("%w: checksum does not match", errHello)
	}
	h := &hello{newest: b[4], oldest: b[5]}
	for f := b[helloPrefix:end]; len(f) > 0; {
		if len(f) < 3 || len(f) < 3+int(binary.LittleEndian.Uint16(f[1:])) {
			return nil, fmt.Errorf("%w: a field is cut off", errHello)
		}
		n := 3 + int(binary.LittleEndian.Uint16(f[1:]))
		if err := h.set(f[0], f[3:n]); err != nil {
			return nil, err
		}
		f = f[n:]
	}
	return h, nil
}

func (h *hello) set(tag byte, value []byte) error {
	var n uint64
	if tag >= tagIncarnation && tag <= tagKeepAlive {
		if len(value) != 8 {
			return fmt.Errorf("%w: field %d has %d bytes, not 8", errHello, tag, len(value))
		}
		n = binary.LittleEndian.Uint64(value)
	}
	switch tag {
	case tagName:
		h.name = string(value)
	case tagTarget:
		h.target = string(value)
	case tagRefused:
		h.refused = string(value)
	case tagIncarnation:
		h.incarnation = n
	case tagSequence:
		h.sequence = n
	case tagMaxMessage:
		h.maxMessage = n
	case tagMaxCalls:
		h.maxCalls = n
	case tagKeepAlive:
		h.keepAlive = time.Duration(n)
	}
	return nil
}

// check says whether a connection can be made with the sender of h.
func (h *hello) check() error {
	switch {
	case h.oldest > protoVersion || h.newest < protoVersion:
		return fmt.Errorf("peer speaks versions %d to %d of the protocol, this node %d", h.oldest, h.newest, protoVersion)
	case h.refused != "":
		return &refusedError{h.refused}
	case h.maxMessage == 0 || h.maxCalls == 0 || h.keepAlive <= 0:
		return fmt.Errorf("%w: a limit is missing", errHello)
	}
	return transport.CheckName("node", h.name)
}

// A refusedError is what the acceptor said instead of accepting.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return "refused: " + e.reason }
