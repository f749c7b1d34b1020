package sim

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// A record is one line of the trace.
type record struct {
	at       time.Duration
	what     string // "message", "dropped", "crash", ...
	from, to string // nodes; both empty for what concerns the world
	packet   label
	n        uint64
}

// A label says what a packet is, for the trace and the hash.
type label struct {
	verb    string // "send", "call", "response", ...
	service string
	body    []byte
	size    int // of body, which is not kept
}

func (r record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%12.6fs  ", r.at.Seconds())
	if r.from == "" {
		b.WriteString(r.what)
		return b.String()
	}
	fmt.Fprintf(&b, "%-8s %s->%s", r.what, r.from, r.to)
	if r.packet.verb != "" {
		fmt.Fprintf(&b, " %s", r.packet.verb)
	}
	if r.packet.service != "" {
		fmt.Fprintf(&b, " %s", r.packet.service)
	}
	if r.n < 1<<32 { // the numbers of streams are draws
		fmt.Fprintf(&b, " #%d", r.n)
	}
	if r.packet.size > 0 {
		fmt.Fprintf(&b, " %d B", r.packet.size)
	}
	return b.String()
}

// A trace keeps the last records and a hash of all.
type trace struct {
	last   []record // a ring once it is full
	total  int
	digest xxhash.Digest
	buf    []byte
}

func newTrace(size int) trace {
	t := trace{last: make([]record, 0, min(size, 1024))}
	t.digest.Reset()
	return t
}

func (t *trace) add(r record, size int) {
	buf := binary.LittleEndian.AppendUint64(t.buf[:0], uint64(r.at))
	buf = binary.LittleEndian.AppendUint64(buf, r.n)
	for _, s := range []string{r.what, r.from, r.to, r.packet.verb, r.packet.service} {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	buf = binary.AppendUvarint(buf, uint64(len(r.packet.body)))
	_, _ = t.digest.Write(buf) // a hash takes everything
	_, _ = t.digest.Write(r.packet.body)
	t.buf = buf

	r.packet.size, r.packet.body = len(r.packet.body), nil
	if len(t.last) < size {
		t.last = append(t.last, r)
	} else {
		t.last[t.total%size] = r
	}
	t.total++
}

// String returns the records kept, one on a line, the oldest first.
func (t *trace) String() string {
	var b strings.Builder
	if left := t.total - len(t.last); left > 0 {
		fmt.Fprintf(&b, "... %d earlier events\n", left)
	}
	for i := range t.last {
		b.WriteString(t.last[(t.total+i)%len(t.last)].String())
		b.WriteByte('\n')
	}
	return b.String()
}
