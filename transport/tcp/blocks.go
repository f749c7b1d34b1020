package tcp

import "sync"

// blockSize is the capacity of a block; every frame fits in one.
const blockSize = 64 << 10

// A block holds frames for the wire, one behind the other.
type block struct{ bytes []byte }

// A blockList is a queue of frames in blocks. They come from a pool and go back
// when they are written, so that an idle connection holds none.
type blockList struct {
	pool   *sync.Pool // of *block
	blocks []*block
	size   int // in bytes
}

// add appends a frame of at most n bytes with appendFrame.
func (l *blockList) add(n int, appendFrame func(b []byte) []byte) {
	var last *block
	if i := len(l.blocks) - 1; i >= 0 {
		last = l.blocks[i]
	}
	if last == nil || len(last.bytes)+n > cap(last.bytes) {
		last = l.grow()
	}
	before := len(last.bytes)
	last.bytes = appendFrame(last.bytes)
	l.size += len(last.bytes) - before
}

func (l *blockList) grow() *block {
	b, ok := l.pool.Get().(*block)
	if !ok {
		b = &block{make([]byte, 0, blockSize)}
	}
	l.blocks = append(l.blocks, b)
	return b
}

// recycle gives blocks back.
func recycle(pool *sync.Pool, blocks []*block) {
	for i, b := range blocks {
		b.bytes = b.bytes[:0]
		pool.Put(b)
		blocks[i] = nil
	}
}
