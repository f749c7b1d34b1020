package wal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/wal/internal/disk"
)

// A recovered is what a directory holds. Finding out only reads.
type recovered struct {
	fs  disk.FS
	dir string

	segments  []segment
	spares    []string
	temps     []string       // what a process left behind that ended
	snapshots []snapshotFile // oldest first, without the damaged ones
	damaged   []snapshotFile
	report    Report

	hard    raft.HardState
	entries []raft.Entry
	next    uint64 // index that the next entry has at most
	tail    scanner
}

// inspect reads a directory. all says to check every snapshot, not only the newest.
func inspect(fs disk.FS, dir string, all bool) (*recovered, error) {
	r := &recovered{fs: fs, dir: dir, next: 1}
	if err := r.list(); err != nil {
		return nil, err
	}
	if err := r.readLog(); err != nil {
		return nil, err
	}
	if err := r.chooseSnapshot(all); err != nil {
		return nil, err
	}
	if err := r.checkStart(); err != nil {
		return nil, err
	}
	r.report.Hard = r.hard
	r.report.Segments = len(r.segments)
	if n := len(r.entries); n > 0 {
		r.report.First, r.report.Last = r.entries[0].Index, r.entries[n-1].Index
	}
	return r, nil
}

func (r *recovered) list() error {
	names, err := r.fs.List(r.dir)
	if err != nil {
		return err
	}
	var spares []string
	for _, name := range names {
		switch filepath.Ext(name) {
		case segmentEnding:
			if number, ok := numberOf(name, segmentEnding); ok {
				r.segments = append(r.segments, segment{number: number})
			}
		case spareEnding:
			if _, ok := numberOf(name, spareEnding); ok {
				spares = append(spares, name)
			}
		case tempEnding:
			if isTemp(name) {
				r.temps = append(r.temps, name)
			}
		case snapshotEnding:
			if s, ok := parseSnapshotName(name); ok {
				r.snapshots = append(r.snapshots, s)
			}
		}
	}
	slices.SortFunc(r.snapshots, snapshotFile.compare)
	slices.SortFunc(r.segments, func(a, b segment) int { return cmp.Compare(a.number, b.number) })
	if len(r.segments) == 0 && len(r.snapshots) > 0 {
		return r.corrupt(segmentName(1), 0, "there are snapshots, and no log at all")
	}
	// What lies before a gap is what a Compact left that a crash interrupted. Whether
	// anything that is needed is missing, the first index will show.
	for i := len(r.segments) - 1; i > 0; i-- {
		if r.segments[i-1].number+1 == r.segments[i].number {
			continue
		}
		for _, s := range r.segments[:i] {
			r.temps = append(r.temps, segmentName(s.number))
		}
		r.segments = r.segments[i:]
		break
	}
	for _, name := range spares {
		// One that has a number yet to come was not finished.
		if number, _ := numberOf(name, spareEnding); len(r.segments) > 0 && number <= r.segments[len(r.segments)-1].number {
			r.spares = append(r.spares, name)
		} else {
			r.temps = append(r.temps, name)
		}
	}
	return nil
}

// checkStart checks that nothing is missing between the newest snapshot and the log.
func (r *recovered) checkStart() error {
	first, newest := r.next, r.report.Snapshot.Index
	if len(r.entries) > 0 {
		first = r.entries[0].Index
	}
	if first <= newest+1 {
		return nil
	}
	missing := "a snapshot is missing"
	name := segmentName(r.segments[0].number)
	if number := r.segments[0].number; number > 1 {
		name, missing = segmentName(number-1), "the file is missing, or a snapshot"
	}
	return r.corrupt(name, 0, fmt.Sprintf("%s: the log begins with entry %d, the newest snapshot ends with %d", missing, first, newest))
}

func (r *recovered) corrupt(name string, offset int64, reason string) error {
	return &CorruptError{filepath.Join(r.dir, name), offset, reason}
}

// readLog reads all segments into hard and entries.
func (r *recovered) readLog() error {
	var data []byte
	var info segmentInfo
	var crc uint32
	for i := range r.segments {
		name := segmentName(r.segments[i].number)
		before := r.tail
		var err error
		if data, err = r.read(name, data); err != nil {
			return err
		}
		var wrong string
		if info, crc, wrong = decodeSegmentInfo(data, r.segments[i].number); wrong != "" {
			return r.corrupt(name, 0, wrong)
		}
		r.segments[i].size = int64(len(data))
		r.report.Bytes += int64(len(data))
		if i == 0 {
			r.hard, r.next = info.hard, info.next
		} else if err := r.joined(i-1, before, info); err != nil {
			return err
		}
		if err := r.readSegment(i, data, info, crc); err != nil {
			return err
		}
		r.report.Records += r.tail.count
	}
	r.tail.data = nil // lets the buffer go
	return nil
}

// read returns the contents of a segment, in the buffer if it is large enough.
func (r *recovered) read(name string, buffer []byte) ([]byte, error) {
	f, err := r.fs.Open(filepath.Join(r.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > min(maxOffset, math.MaxInt) { // what an int holds on this machine
		return nil, r.corrupt(name, maxOffset, "the file is longer than a segment can be")
	}
	buffer = slices.Grow(buffer[:0], int(size))[:size]
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), buffer); err != nil {
		return nil, fmt.Errorf("wal: reading %s: %w", filepath.Join(r.dir, name), err)
	}
	return buffer, nil
}

// joined checks that a segment goes on where the one before ends.
func (r *recovered) joined(i int, before scanner, info segmentInfo) error {
	name := segmentName(r.segments[i].number)
	switch {
	case before.at < info.prevEnd:
		return r.corrupt(name, before.at, fmt.Sprintf("%s; but the next segment says that the records end at offset %d", before.why, info.prevEnd))
	case before.at > info.prevEnd || before.prev != info.prevSum:
		return r.corrupt(segmentName(info.number), 0, "it does not follow the segment before")
	}
	return nil
}

// readSegment reads the records of a segment and applies them.
func (r *recovered) readSegment(i int, data []byte, info segmentInfo, crc uint32) error {
	s := newScanner(data, info, crc)
	name := segmentName(info.number)
	for {
		at := s.at
		content, ok := s.next()
		if !ok {
			break
		}
		p := payload{b: bytes.Clone(content)} // entries keep it
		batch, ok := p.batch()
		if !ok {
			return r.corrupt(name, at, "the record cannot be read, though its checksum is right")
		}
		if len(batch.Entries) > 0 && batch.Entries[0].Index > cmp.Or(batch.Restart, r.next) {
			return r.corrupt(name, at, fmt.Sprintf("entry %d does not follow", batch.Entries[0].Index))
		}
		r.apply(i, batch)
	}
	if i == len(r.segments)-1 {
		torn, lost := s.rest()
		if lost != "" {
			return r.corrupt(name, s.at, lost)
		}
		r.report.Torn = torn
	}
	r.tail = *s
	return nil
}

// apply applies a batch that was found in a segment.
func (r *recovered) apply(i int, b raft.Batch) {
	r.hard = b.Hard
	r.next = r.segments[i].note(&b, r.next)
	if b.Restart != 0 {
		r.entries = nil
	}
	if len(b.Entries) == 0 {
		return
	}
	if first := b.Entries[0].Index; len(r.entries) > 0 && first >= r.entries[0].Index {
		keep := first - r.entries[0].Index
		clear(r.entries[keep:])
		r.entries = r.entries[:keep]
	} else {
		r.entries = nil
	}
	r.entries = append(r.entries, b.Entries...)
}

// chooseSnapshot finds the newest snapshot that is not damaged. If it is not the
// newest of all, the log has to hold everything that was in that one.
func (r *recovered) chooseSnapshot(all bool) error {
	var chosen bool
	var first error // what is wrong with the newest
	var needed uint64
	good := r.snapshots[:0:0]
	for _, s := range slices.Backward(r.snapshots) {
		if chosen && !all {
			good = append(good, s)
			continue
		}
		l, err := r.checkSnapshot(s)
		damage := new(CorruptError)
		switch {
		case errors.As(err, &damage):
			r.report.Damaged = append(r.report.Damaged, damage)
			r.damaged = append(r.damaged, s)
			if first == nil && !chosen {
				first, needed = err, s.index
			}
			continue
		case err != nil:
			return err
		}
		good = append(good, s)
		if !chosen {
			chosen, r.report.Snapshot = true, l.info
		}
	}
	slices.Reverse(good)
	r.snapshots = good
	if first != nil && !r.covers(r.report.Snapshot.Index+1, needed) {
		return fmt.Errorf("%w; the log does not hold what was in it", first)
	}
	return nil
}

// covers reports whether the log holds the entries from first to last.
func (r *recovered) covers(first, last uint64) bool {
	n := len(r.entries)
	return n > 0 && r.entries[0].Index <= first && last <= r.entries[n-1].Index
}

func (r *recovered) checkSnapshot(s snapshotFile) (*snapshotLayout, error) {
	name := filepath.Join(r.dir, s.name())
	reader, err := openSnapshot(r.fs, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reader.Close() }()
	l := reader.layout
	if l.info.Index != s.index || l.info.Term != s.term {
		return nil, &CorruptError{name, 0, fmt.Sprintf("it describes a snapshot at index %d and term %d", l.info.Index, l.info.Term)}
	}
	return l, l.check(reader.file, name)
}
