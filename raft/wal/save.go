package wal

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// keepBuffer is the largest buffer for records that is kept for the next one.
const keepBuffer = 4 << 20

// keepSpares is how many segments that are not needed any more are kept for the
// next ones: their blocks have been written before, so that a sync writes only data.
const keepSpares = 2

// Save writes the batch as one record, with one write and one sync: after a crash
// it is there as a whole or not at all. A Lazy batch is not synced, unless it has a
// new term or vote; the next one that is takes it along. A batch that changes
// nothing writes nothing.
//
// It allocates nothing once its buffer has grown to the size of the batches. The
// error is ErrInvalid, after which the Log goes on, or final: see Log.
func (l *Log) Save(b raft.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded = nil
	if l.err != nil {
		return l.err
	}
	sync := !b.Lazy || b.Hard.Term != l.hard.Term || b.Hard.Vote != l.hard.Vote
	if len(b.Entries) == 0 && b.Restart == 0 && b.Hard == l.hard {
		if sync {
			return l.fail(l.sync())
		}
		return nil
	}
	return l.write(&b, sync, maxState)
}

// write appends a record, in a new segment if this one has not room for it and for
// reserve bytes more. An error other than ErrInvalid is final.
func (l *Log) write(b *raft.Batch, sync bool, reserve int64) error {
	if b.Restart != 0 {
		if newest := l.snaps.newest(); b.Restart > newest+1 {
			return fmt.Errorf("%w: it restarts the log at %d, and the newest snapshot ends with %d", ErrInvalid, b.Restart, newest)
		}
	}
	buffer, err := appendBatch(append(l.buffer[:0], zeros[:placeSize+recordHead]...), b, cmp.Or(b.Restart, l.next))
	size := len(buffer) - placeSize - recordHead
	length := aligned(int64(recordHead + size))
	buffer = append(buffer, zeros[:length-int64(recordHead+size)]...)
	if l.buffer = buffer; cap(buffer) > keepBuffer {
		l.buffer = nil
	}
	if err != nil {
		return err
	}
	if l.end+length+reserve > l.last().size {
		if err := l.rotate(length + reserve); err != nil {
			return l.fail(err)
		}
	}
	l.marked = len(b.Entries) == 0 && b.Restart == 0 && b.Hard == l.hard && l.synced == l.end
	l.prev = seal(buffer, l.salt, l.end, size, l.prev, l.synced)
	if _, err := l.file.WriteAt(buffer[placeSize:], l.end); err != nil {
		return l.fail(err)
	}
	l.end += length
	l.hard = b.Hard
	l.next = l.last().note(b, l.next)
	if !sync {
		return nil
	}
	return l.fail(l.sync())
}

// zeros is what new records begin and end with. constant:
var zeros [placeSize + recordHead]byte

// sync makes all records durable.
func (l *Log) sync() error {
	if l.synced == l.end {
		return nil
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.synced = l.end
	return nil
}

// rotate begins a new segment with room for so many bytes of records. The old one
// is durable before, because nothing but its end says where it ends.
func (l *Log) rotate(room int64) error {
	if err := l.sync(); err != nil {
		return err
	}
	old := l.file
	err := l.begin(segmentInfo{
		number: l.last().number + 1, prevEnd: l.end, prevSum: l.prev, next: l.next, hard: l.hard,
	}, room)
	if err != nil {
		return err
	}
	return old.Close()
}

// begin makes a segment the last one. Only with its space allocated and its head
// durable it gets its name: a segment is never there in part, and a full disk shows
// before anything is written to the log.
func (l *Log) begin(info segmentInfo, room int64) error {
	info.salt = rand.Uint64()
	size := max(l.config.SegmentSize, segmentHead+room)
	name := spareName(info.number)
	open := l.fs.Create
	if n := len(l.spares); n > 0 {
		name, open = l.spares[n-1], l.fs.OpenWrite
		l.spares = l.spares[:n-1]
	}
	f, err := open(l.path(name))
	if err != nil {
		return err
	}
	head, crc := info.encode()
	if err := errors.Join(prepare(f, head, size), f.Close()); err != nil {
		// The disk may be full: what was allocated is of use to others.
		return errors.Join(err, l.fs.Remove(l.path(name)))
	}
	if err := l.fs.Rename(l.path(name), l.path(segmentName(info.number))); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	if f, err = l.fs.OpenWrite(l.path(segmentName(info.number))); err != nil {
		return err
	}
	if size, err = f.Size(); err != nil { // a spare may be larger
		return errors.Join(err, f.Close())
	}
	l.segments = append(l.segments, segment{number: info.number, size: size})
	l.file, l.salt, l.end, l.synced, l.prev = f, info.salt, segmentHead, segmentHead, crc
	return nil
}

func prepare(f disk.File, head []byte, size int64) error {
	if err := f.Allocate(size); err != nil {
		return err
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	return f.Sync()
}

// Compact frees segments that hold nothing but entries up to index, oldest first. It
// keeps what no snapshot covers, and what follows the older of the two snapshots
// that are kept, too, because that one is worth nothing without. It takes a rename
// or a removal for each segment, and one sync of the directory.
func (l *Log) Compact(index uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	index = min(index, l.snaps.oldest())
	n := 0
	var err error
	for n < len(l.segments)-1 && l.segments[n].last <= index && err == nil {
		if err = l.free(l.segments[n]); err == nil {
			n++
		}
	}
	if n == 0 {
		return err
	}
	l.segments = append(l.segments[:0], l.segments[n:]...)
	// Before a spare is written to: its old name must not come back. If this fails,
	// the names on the disk are not known any more.
	return errors.Join(err, l.fail(l.fs.SyncDir(l.dir)))
}

// free removes a segment, or keeps it as a spare.
func (l *Log) free(s segment) error {
	name := l.path(segmentName(s.number))
	if len(l.spares) >= keepSpares || s.size > 2*l.config.SegmentSize {
		return l.fs.Remove(name)
	}
	spare := spareName(s.number)
	if err := l.fs.Rename(name, l.path(spare)); err != nil {
		return err
	}
	l.spares = append(l.spares, spare)
	return nil
}
