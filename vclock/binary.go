package vclock

import (
	"encoding/binary"
	"fmt"
)

// The binary forms begin with a byte for the format. Numbers are uvarints in
// their shortest form, names follow their length; entries are in the order of
// names, so that equal clocks have equal encodings.
const (
	clockFormat = 1
	dotFormat   = 1
)

// AppendBinary appends the encoding of c to b: for each entry its name and
// usually two or three bytes. Equal clocks have equal encodings. The error is
// ErrTooLarge, for a clock beyond MaxEntries, MaxName or MaxCounter.
func (c Clock) AppendBinary(b []byte) ([]byte, error) {
	if err := c.check(); err != nil {
		return b, err
	}
	return appendClock(append(b, clockFormat), c), nil
}

// UnmarshalBinary sets c to what AppendBinary encoded. The error is ErrCorrupt;
// c stays as it was then. It makes a handful of allocations, together at
// most some fifteen times the length of data, and does not refer to data afterwards.
func (c *Clock) UnmarshalBinary(data []byte) error {
	r := newReader(data, clockFormat)
	decoded := r.clock()
	if err := r.end(); err != nil {
		return err
	}
	*c = decoded
	return nil
}

// AppendBinary appends the encoding of d to b. The error is ErrTooLarge, for a
// dot beyond MaxName or MaxCounter.
func (d Dot) AppendBinary(b []byte) ([]byte, error) {
	if err := d.check(); err != nil {
		return b, err
	}
	b = appendString(append(b, dotFormat), d.Node)
	return binary.AppendUvarint(b, d.Counter), nil
}

// UnmarshalBinary sets d to what AppendBinary encoded. The error is ErrCorrupt;
// d stays as it was then. It does not refer to data afterwards.
func (d *Dot) UnmarshalBinary(data []byte) error {
	r := newReader(data, dotFormat)
	decoded := Dot{Node: r.name(), Counter: r.counter()}
	if err := r.end(); err != nil {
		return err
	}
	*d = decoded
	return nil
}

func (c Clock) check() error {
	if n := c.Len(); n > MaxEntries {
		return fmt.Errorf("%w: %d entries, at most %d", ErrTooLarge, n, MaxEntries)
	}
	for node, counter := range c.All() {
		if err := (Dot{node, counter}).check(); err != nil {
			return err
		}
	}
	return nil
}

func (d Dot) check() error {
	if n := len(d.Node); n > MaxName {
		return fmt.Errorf("%w: a name of %d bytes, at most %d", ErrTooLarge, n, MaxName)
	}
	if d.Counter > MaxCounter {
		return fmt.Errorf("%w: counter %v, at most %d", ErrTooLarge, d, uint64(MaxCounter))
	}
	return nil
}

func appendClock(b []byte, c Clock) []byte {
	b = binary.AppendUvarint(b, uint64(c.Len()))
	for node, counter := range c.All() {
		b = appendString(b, node)
		b = binary.AppendUvarint(b, counter)
	}
	return b
}

func appendString[S string | []byte](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// A reader takes values off the front of an encoding. After a failure it returns
// zeros. Names are parts of one string that is as long as the encoding, which is
// one allocation for all of them.
type reader struct {
	data string
	at   int
	bad  bool
}

func newReader(data []byte, format byte) *reader {
	r := &reader{data: string(data)}
	if first := r.take(1); r.bad || first[0] != format {
		r.bad = true
	}
	return r
}

// end returns the failure, if any; bytes left over are one.
func (r *reader) end() error {
	if r.bad || r.at < len(r.data) {
		return fmt.Errorf("%w, at byte %d of %d", ErrCorrupt, r.at, len(r.data))
	}
	return nil
}

func (r *reader) take(n uint64) string {
	if r.bad || n > uint64(len(r.data)-r.at) {
		r.bad = true
		return ""
	}
	taken := r.data[r.at:][:n]
	r.at += int(n)
	return taken
}

// uvarint reads a number of at most limit, in its shortest form.
func (r *reader) uvarint(limit uint64) (v uint64) {
	for shift := 0; ; shift += 7 {
		b := r.take(1)
		if b == "" || shift == 63 { // numbers are below 1<<63: nine bytes at most
			r.bad = true
			return 0
		}
		v |= uint64(b[0]&0x7f) << shift
		if b[0] >= 0x80 {
			continue
		}
		if v > limit || b[0] == 0 && shift > 0 {
			r.bad = true
			return 0
		}
		return v
	}
}

func (r *reader) name() string    { return r.take(r.uvarint(MaxName)) }
func (r *reader) counter() uint64 { return r.uvarint(MaxCounter) }

func (r *reader) clock() Clock {
	n := int(r.uvarint(MaxEntries))
	if n == 0 || n > (len(r.data)-r.at)/2 { // an entry has two bytes or more
		r.bad = r.bad || n > 0
		return Clock{}
	}
	list, counters := make([]string, n), make([]uint64, n)
	for i := range n {
		list[i], counters[i] = r.name(), r.counter()
		unordered := i > 0 && list[i] <= list[i-1]
		if r.bad || unordered || counters[i] == 0 {
			r.bad = true
			return Clock{}
		}
	}
	return Clock{newNames(list), counters}
}
