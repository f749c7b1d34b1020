package tcp

import (
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	// maxStreams is how many fragmented payloads of one connection and direction
	// may be under way at once, which bounds the memory of reassembly to
	// maxStreams largest messages a peer.
	maxStreams = 16
	// firstAlloc is the most that the first fragment of a payload makes us
	// allocate: more memory is for who sends more, at most four times as much as
	// came.
	firstAlloc = 128 << 10
)

// appendFragments appends the payload that header and body make up, as
// fragments of one stream.
func appendFragments(b []byte, stream uint32, h header, body []byte, sums bool) []byte {
	total := len(h) + len(body)
	for offset := 0; offset < total; {
		part := min(maxPart, total-offset)
		start := len(b)
		b = append(begin(b), byte(kindFragment))
		b = binary.LittleEndian.AppendUint32(b, stream)
		b = binary.LittleEndian.AppendUint32(b, uint32(total))
		b = binary.LittleEndian.AppendUint32(b, uint32(offset))
		if offset == 0 {
			b = append(b, h...)
			b = append(b, body[:part-len(h)]...)
		} else {
			b = append(b, body[offset-len(h):offset-len(h)+part]...)
		}
		b = seal(b, start, sums)
		offset += part
	}
	return b
}

// fragmentStride is the size of a full fragment on the wire; only the last of a
// payload is shorter.
func fragmentStride(sums bool) int {
	n := lengthSize + fragmentSize + maxPart
	if sums {
		n += checksumSize
	}
	return n
}

// fragmentedSize is what appendFragments appends for a payload of n bytes.
func fragmentedSize(n int, sums bool) int {
	parts := (n + maxPart - 1) / maxPart
	return parts*(fragmentStride(sums)-maxPart) + n
}

// An assembly puts fragmented payloads together.
type assembly struct {
	limit   int // largest payload
	buffers *bufferPool
	streams []partial
}

type partial struct {
	stream uint64
	total  int
	data   []byte
}

// add takes one fragment. It returns the payload when that is whole; payload
// then belongs to the caller, and is from the pool unless it is a response,
// whose body goes to the user.
func (a *assembly) add(f *frame) (payload []byte, err error) {
	i := slices.IndexFunc(a.streams, func(p partial) bool { return p.stream == f.id })
	if i < 0 {
		if i, err = a.open(f); err != nil {
			return nil, err
		}
	}
	p := &a.streams[i]
	if int(f.offset) != len(p.data) || int(f.total) != p.total || len(f.body) > p.total-len(p.data) {
		return nil, fmt.Errorf("%w: fragment %d+%d of %d does not continue %d of %d",
			errFrame, f.offset, len(f.body), f.total, len(p.data), p.total)
	}
	if need := len(p.data) + len(f.body); need > cap(p.data) {
		grown := make([]byte, len(p.data), min(p.total, max(need, 4*cap(p.data))))
		copy(grown, p.data)
		p.data = grown
	}
	p.data = append(p.data, f.body...)
	if len(p.data) < p.total {
		return nil, nil
	}
	payload = p.data
	a.streams = slices.Delete(a.streams, i, i+1)
	return payload, nil
}

func (a *assembly) open(f *frame) (int, error) {
	switch {
	case f.offset != 0:
		return 0, fmt.Errorf("%w: fragment of an unknown stream", errFrame)
	case int64(f.total) > int64(a.limit):
		return 0, fmt.Errorf("%w: payload of %d bytes, the limit is %d", errFrame, f.total, a.limit)
	case len(a.streams) == maxStreams:
		return 0, fmt.Errorf("%w: more than %d streams", errFrame, maxStreams)
	}
	total := int(f.total)
	p := partial{stream: f.id, total: total}
	if kind(f.body[0]) == kindResponse {
		p.data = make([]byte, 0, min(total, firstAlloc))
	} else {
		p.data = a.buffers.get(min(total, firstAlloc))
	}
	a.streams = append(a.streams, p)
	return len(a.streams) - 1, nil
}

// drop forgets a stream whose sender gave up.
func (a *assembly) drop(stream uint64) {
	a.streams = slices.DeleteFunc(a.streams, func(p partial) bool { return p.stream == stream })
}
