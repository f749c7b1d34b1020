// Package draw makes random numbers that are named instead of taken in turn.
//
// A draw is hash(stream, n): the n-th number of a stream is the same however
// many numbers other streams gave out and in whatever order. A simulation gives
// each link and node a stream of its own, so that taking one fault away leaves
// the luck of everything else as it was.
//
// The numbers are those of SplitMix64 (Steele, Lea, Flood, "Fast splittable
// pseudorandom number generators", 2014), read at a position. They are the same
// on every machine and in every version of Go. They are not for secrets.
package draw

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Key returns the key of the stream that the names stand for under a seed.
// Names are told apart by their borders: ("ab", "c") is not ("a", "bc").
func Key(seed uint64, names ...string) uint64 {
	buf := binary.LittleEndian.AppendUint64(make([]byte, 0, 128), seed)
	for _, name := range names {
		buf = binary.AppendUvarint(buf, uint64(len(name)))
		buf = append(buf, name...)
	}
	return xxhash.Sum64(buf)
}

// At returns number n of the stream with the given key. It costs some 2 ns.
func At(key, n uint64) uint64 {
	z := key + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Float turns a draw into a number of [0, 1), evenly spread.
func Float(draw uint64) float64 { return float64(draw>>11) / (1 << 53) }

// A Stream reads a stream from its beginning, one number after the other. It is
// a rand.Source of math/rand/v2. It is not safe for concurrent use.
type Stream struct{ key, n uint64 }

// NewStream returns the stream that the names stand for under a seed.
func NewStream(seed uint64, names ...string) *Stream {
	return &Stream{key: Key(seed, names...)}
}

// Uint64 returns the next number.
func (s *Stream) Uint64() uint64 {
	u := At(s.key, s.n)
	s.n++
	return u
}
