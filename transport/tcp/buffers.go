package tcp

import "sync"

// A bufferPool lends byte slices for large payloads. Small ones live in what
// carries them, huge ones are left to the collector.
type bufferPool struct {
	pool sync.Pool // of *[]byte, each with a capacity of pooledSize
}

const pooledSize = 2 * (maxPart + 64)

// get returns an empty slice with room for n bytes.
func (p *bufferPool) get(n int) []byte {
	if n > pooledSize {
		return make([]byte, 0, n)
	}
	if b, ok := p.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, pooledSize)
}

// put takes back a slice that get returned, or any other.
func (p *bufferPool) put(b []byte) {
	if cap(b) == pooledSize {
		kept := b[:0] // b itself would escape on every call
		p.pool.Put(&kept)
	}
}
