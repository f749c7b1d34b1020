package quorum

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/parley-go/parley/transport"
)

// A Version orders the writes of a key. The store makes it; a program only
// keeps it, compares it and hands it back. The zero Version is older than every
// other and stands for a key that was never written. Versions are comparable
// with ==, and small enough to copy.
//
// It is a hybrid time (Kulkarni et al., "Logical Physical Clocks", 2014) made
// unique by the name of its node and by Run.
type Version struct {
	Time    int64  // physical part, in nanoseconds since 1970 UTC; 0 to 1<<62
	Logical uint32 // orders versions of the same Time
	Node    string // whose store made it
	Run     uint32 // tells apart the lives of a node, whose clock may repeat itself
}

// IsZero reports whether v stands for a key that was never written.
func (v Version) IsZero() bool { return v == Version{} }

// Compare returns -1, 0 or +1 as v is older than, equal to or newer than w.
func (v Version) Compare(w Version) int {
	return cmp.Or(
		cmp.Compare(v.Time, w.Time),
		cmp.Compare(v.Logical, w.Logical),
		strings.Compare(v.Node, w.Node),
		cmp.Compare(v.Run, w.Run),
	)
}

// String returns the version as time-logical-node-run, for people and logs. It
// is not a format to parse or to order by.
func (v Version) String() string {
	if v.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%d-%d-%s-%x", v.Time, v.Logical, v.Node, v.Run)
}

// maxTime, in the year 2116, is the latest Time. It leaves room to count on
// from.
const maxTime = 1 << 62

// versionFormat is the first byte of an encoded version.
const versionFormat = 1

// AppendBinary appends the encoding of v, at most 22 bytes and the name, to b.
// The error is ErrInvalid, for a Node longer than transport.MaxName or a
// Time out of its bounds, which no store makes.
func (v Version) AppendBinary(b []byte) ([]byte, error) {
	if len(v.Node) > transport.MaxName || v.Time < 0 || v.Time > maxTime {
		return b, fmt.Errorf("%w: version: Node has %d bytes, at most %d; Time is %d, 0 to %d", ErrInvalid, len(v.Node), transport.MaxName, v.Time, int64(maxTime))
	}
	return appendVersion(append(b, versionFormat), v), nil
}

// UnmarshalBinary sets v to what AppendBinary encoded; the error is ErrCorrupt.
// v does not refer to data afterwards.
func (v *Version) UnmarshalBinary(data []byte) error {
	r := reader{rest: data}
	if r.byte() != versionFormat {
		r.fail()
	}
	decoded := r.version()
	if err := r.end(); err != nil {
		return err
	}
	*v = decoded
	return nil
}

// appendVersion appends v without a format byte, as it travels inside messages.
func appendVersion(b []byte, v Version) []byte {
	b = binary.AppendUvarint(b, uint64(v.Time))
	b = binary.AppendUvarint(b, uint64(v.Logical))
	b = binary.AppendUvarint(b, uint64(v.Run))
	return appendString(b, v.Node)
}

// A clock makes the versions of one node. It is not safe for concurrent use.
type clock struct {
	node    string
	run     uint32
	last    Version // the newest that this run has made
	maxSkew time.Duration
	draw    func() uint64
}

func newClock(node string, maxSkew time.Duration, draw func() uint64) clock {
	return clock{node: node, maxSkew: maxSkew, draw: draw, run: uint32(draw())}
}

// next returns a version above floor and above all that this clock has made.
// Its Time is not below now, and ahead of it only if floor is or if the
// machine's clock went back.
func (c *clock) next(now int64, floor Version) Version {
	if ahead(c.last, now) > c.maxSkew {
		// Going on from there would have every version refused until the time
		// comes. Times may now repeat, so they get a run of their own.
		c.last = Version{}
		c.run = uint32(c.draw())
	}
	if floor.Compare(c.last) < 0 {
		floor = c.last
	}
	v := Version{Time: min(max(now, 0), maxTime), Node: c.node, Run: c.run}
	if v.Time <= floor.Time {
		v.Time, v.Logical = floor.Time, floor.Logical+1
		if v.Logical == 0 { // overflowed
			v.Time++
		}
	}
	c.last = v
	return v
}

// checkSkew refuses a version that is too far ahead of now.
func checkSkew(now int64, v Version, bound time.Duration) error {
	if d := ahead(v, now); d > bound {
		return &SkewError{Version: v, Ahead: d, Bound: bound}
	}
	return nil
}

// ahead returns how far a version is in the future, or 0.
func ahead(v Version, now int64) time.Duration {
	return time.Duration(max(v.Time-max(now, 0), 0))
}
