package vclock

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// A Stamp is the time of an event by a hybrid clock, in 64 bits: microseconds since
// 1970 UTC in the upper 52, and in the lower 12 a logical part that orders the
// events of one microsecond. Stamps are ordered by <, comparable with ==, and
// may be keys of a map. The zero Stamp is before every event; the last is in the
// year 2112.
//
// A logical part that is full runs over into the microseconds, as the digits of a
// number do. The stamp is then ahead of the time by a microsecond for each 4,096
// events, which no machine can keep up for long. This is the compact form of
// section 6 of Kulkarni et al., "Logical Physical Clocks", 2014.
type Stamp uint64

const (
	logicalBits = 12
	// The last reading of a clock that is believed, about a year before stamps
	// end: events that are ahead of the time still have room.
	lastMicro = 1<<52 - 1<<45
)

// NewStamp returns the stamp of a time, without what is below a microsecond,
// with the lower 12 bits of logical. Times before 1970 count as 1970, and those
// after 2111 as the last that a clock can read.
func NewStamp(t time.Time, logical uint16) Stamp {
	return microStamp(t.UnixMicro()) | Stamp(logical&(1<<logicalBits-1))
}

func microStamp(micro int64) Stamp { return Stamp(min(max(micro, 0), lastMicro)) << logicalBits }

func (s Stamp) micro() int64 { return int64(s >> logicalBits) }

// Time returns the physical part, in UTC.
func (s Stamp) Time() time.Time { return time.UnixMicro(s.micro()).UTC() }

// Logical returns the logical part, 0 to 4,095.
func (s Stamp) Logical() uint16 { return uint16(s & (1<<logicalBits - 1)) }

// Compare returns -1, 0 or +1 as s is before, equal to or after t.
func (s Stamp) Compare(t Stamp) int { return cmp.Compare(s, t) }

// stampLayout is the physical part of the text form. Texts are in the order of
// the stamps.
const stampLayout = "2006-01-02T15:04:05.000000Z"

// String returns the text form, such as 2026-11-20T11:09:47.123456Z/0007: the time
// in UTC and the logical part.
func (s Stamp) String() string {
	text, _ := s.MarshalText() // never fails
	return string(text)
}

// MarshalText returns the text form; JSON has it as a string, for its numbers
// do not hold 64 bits everywhere. The error is always nil.
func (s Stamp) MarshalText() ([]byte, error) {
	b := make([]byte, 0, len(stampLayout)+5)
	b = s.Time().AppendFormat(b, stampLayout)
	return fmt.Appendf(b, "/%04d", s.Logical()), nil
}

// UnmarshalText sets s to what MarshalText encoded; the error is ErrCorrupt.
func (s *Stamp) UnmarshalText(text []byte) error {
	if len(text) != len(stampLayout)+5 || text[len(stampLayout)] != '/' {
		return fmt.Errorf("%w: a stamp looks like %s/0000", ErrCorrupt, stampLayout)
	}
	t, err := time.Parse(stampLayout, string(text[:len(stampLayout)]))
	if err != nil {
		return fmt.Errorf("%w: stamp: %w", ErrCorrupt, err)
	}
	logical, err := strconv.ParseUint(string(text[len(stampLayout)+1:]), 10, logicalBits)
	if err != nil {
		return fmt.Errorf("%w: stamp: %w", ErrCorrupt, err)
	}
	decoded := Stamp(t.UnixMicro())<<logicalBits | Stamp(logical)
	if decoded.String() != string(text) {
		return fmt.Errorf("%w: stamp %q is out of range", ErrCorrupt, text)
	}
	*s = decoded
	return nil
}

const (
	stampFormat = 1
	stampSize   = 9
)

// AppendBinary appends the encoding of s, 9 bytes, to b. Encodings are in the order
// of the stamps. The error is always nil.
func (s Stamp) AppendBinary(b []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(append(b, stampFormat), uint64(s)), nil
}

// UnmarshalBinary sets s to what AppendBinary encoded; the error is ErrCorrupt.
func (s *Stamp) UnmarshalBinary(data []byte) error {
	if len(data) != stampSize || data[0] != stampFormat {
		return fmt.Errorf("%w: a stamp has %d bytes and begins with %d", ErrCorrupt, stampSize, stampFormat)
	}
	*s = Stamp(binary.BigEndian.Uint64(data[1:]))
	return nil
}
