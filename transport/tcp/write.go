package tcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"

	"github.com/parley-go/parley/transport"
)

const (
	// maxBlocks bounds one write, so that progress can be seen.
	maxBlocks = 4
	// maxControl is by how much pings, pongs, cancels and refusals may exceed
	// MaxQueue before the connection is given up.
	maxControl = 1 << 20
)

// A batch is what the writer takes at once.
type batch struct {
	small  []*block
	part   []byte // one frame of a large payload, so that small ones never wait long
	of     *bulk  // the payload
	vector net.Buffers
}

// write is the writer's goroutine.
func (c *conn) write() {
	var b batch
	for c.await() {
		// Who can run now may have something to send, too: let it be one write.
		runtime.Gosched()
		if !c.fill(&b) {
			return
		}
		if err := c.writeBatch(&b); err != nil {
			c.fail(err)
			return
		}
		c.written(&b)
	}
}

// await waits until there is something to write. It returns false when the
// connection is over.
func (c *conn) await() bool {
	for {
		c.mu.Lock()
		if c.err != nil {
			c.mu.Unlock()
			return false
		}
		if c.small.size > 0 || !c.bulk.empty() {
			c.mu.Unlock()
			return true
		}
		if c.draining {
			c.setDrained()
		}
		c.sleeping = true
		c.mu.Unlock()
		<-c.wakeup
	}
}

// fill takes what is to be written next.
func (c *conn) fill(b *batch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	if b.part, b.of = c.bulk.take(); b.of != nil && b.part == nil {
		c.small.add(frameOverhead, func(to []byte) []byte { return appendAbort(to, b.of.stream, c.sums) })
	}
	c.writing = c.small.size + len(b.part)
	b.small, c.small.blocks, c.small.size = c.small.blocks, b.small[:0], 0
	c.peer.count.addOut(&c.sent)
	return true
}

// written gives back what fill took.
func (c *conn) written(b *batch) {
	if b.part != nil && b.of.done() {
		c.t.buffers.put(b.of.wire)
	}
	recycle(&c.t.blocks, b.small)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = 0
	c.space.Broadcast()
}

func (c *conn) writeBatch(b *batch) error {
	small := b.small
	for len(small) > maxBlocks {
		if err := c.writePiece(b, small[:maxBlocks], nil); err != nil {
			return err
		}
		small = small[maxBlocks:]
	}
	return c.writePiece(b, small, b.part)
}

// writePiece writes small and part in one go.
func (c *conn) writePiece(b *batch, small []*block, part []byte) error {
	b.vector = b.vector[:0]
	for _, block := range small {
		b.vector = append(b.vector, block.bytes)
	}
	if part != nil {
		b.vector = append(b.vector, part)
	}
	c.life.blocking.Store(true)
	var err error
	switch {
	case c.link.tls != nil:
		err = c.writeRecords(b.vector)
	case len(b.vector) == 1:
		_, err = c.link.raw.Write(b.vector[0])
	default:
		whole := b.vector // WriteTo consumes the slice
		_, err = b.vector.WriteTo(c.link.raw)
		b.vector = whole
	}
	c.life.blocking.Store(false)
	c.life.writes.Add(1)
	if err != nil {
		return fmt.Errorf("write: %w", closedByUs(err))
	}
	return nil
}

func (c *conn) writeRecords(pieces [][]byte) (err error) {
	c.link.cork.setCorked()
	for _, piece := range pieces {
		if err == nil {
			_, err = c.link.tls.Write(piece)
		}
	}
	return errors.Join(err, c.link.cork.uncork())
}

// control queues a frame that must not wait for space, for the reader is who
// sends it: two readers that waited for each other's queues would wait for ever.
func (c *conn) control(appendFrame func(b []byte) []byte) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if c.queued() > c.t.config.MaxQueue+maxControl {
		c.mu.Unlock()
		c.fail(errors.New("peer does not read what it asks for"))
		return
	}
	c.small.add(frameOverhead, appendFrame)
	c.unlockAndWake()
}

// respond queues a response. Where the queue is full it waits: the handler's
// place among the peer's requests stays taken meanwhile.
func (c *conn) respond(id uint64, s status, body []byte) {
	if len(body) > c.limit {
		s, body = statusTooLarge, fmt.Appendf(nil, "%d bytes, the limit is %d", len(body), c.limit)
	}
	c.mu.Lock()
	for c.err == nil && c.queued() > 0 && c.queued()+len(body) > c.t.config.MaxQueue {
		c.space.Wait()
	}
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.sent.responses++
	c.sent.bytes += uint64(len(body))
	if responseSize+len(body) > maxPart {
		var space [maxHeader]byte
		c.queueBulk(&bulk{}, appendResponseHeader(space[:0], id, s), body)
		return
	}
	c.small.add(frameOverhead+len(body), func(b []byte) []byte { return appendResponse(b, id, s, body, c.sums) })
	c.unlockAndWake()
}

// closedByUs keeps the text of an error of our own closing out of causes.
func closedByUs(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		return transport.ErrClosed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("closed by the peer")
	}
	return err
}
