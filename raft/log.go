package raft

import "sort"

// A logbook is the part of the log that is held in memory: everything since the
// last compaction. Entries stand in chunks that are filled once and never
// written again, so that slices of them can be read by others at any time.
type logbook struct {
	base, baseTerm uint64 // the entry before the first one held
	end            uint64 // the last index; base if none is held
	chunks         []chunk
}

type chunk struct {
	first   uint64
	entries []Entry // at least one, but for the last chunk
}

// Chunks begin small, for the sake of a thousand idle groups, and grow.
const (
	minChunk = 16
	maxChunk = 1024
)

func (l *logbook) first() uint64 { return l.base + 1 }
func (l *logbook) last() uint64  { return l.end }

func (l *logbook) lastTerm() uint64 {
	t, _ := l.term(l.end)
	return t
}

// find returns the number of the chunk that holds index i.
func (l *logbook) find(i uint64) int {
	n := len(l.chunks) - 1
	if n >= 0 && i >= l.chunks[n].first { // nearly always
		return n
	}
	return sort.Search(n, func(k int) bool { return l.chunks[k+1].first > i })
}

// at returns the entry at index i, which is held.
func (l *logbook) at(i uint64) *Entry {
	c := &l.chunks[l.find(i)]
	return &c.entries[i-c.first]
}

// term returns the term of the entry at index i, and whether it is known.
func (l *logbook) term(i uint64) (uint64, bool) {
	switch {
	case i == l.base:
		return l.baseTerm, true
	case i < l.base || i > l.end:
		return 0, false
	}
	return l.at(i).Term, true
}

// agree returns the highest index not above i whose term is not above the given
// one: above it, a log that has that term at i cannot be equal to this one.
func (l *logbook) agree(i, term uint64) uint64 {
	i = min(i, l.end)
	if i <= l.base {
		return i
	}
	n := sort.Search(int(i-l.base), func(k int) bool {
		t, _ := l.term(l.first() + uint64(k))
		return t > term
	})
	return l.base + uint64(n)
}

// slice returns entries from index from on, at most up to index to, at least one
// and otherwise at most maxBytes of them. It may return fewer: it does not cross
// from one chunk into the next.
func (l *logbook) slice(from, to uint64, maxBytes int) []Entry {
	to = min(to, l.end)
	if from <= l.base || from > to {
		return nil
	}
	c := &l.chunks[l.find(from)]
	entries := c.entries[from-c.first:]
	if n := to - from + 1; n < uint64(len(entries)) {
		entries = entries[:n]
	}
	total := 0
	for i := range entries {
		total += entries[i].size()
		if total > maxBytes && i > 0 {
			return entries[:i:i]
		}
	}
	return entries[:len(entries):len(entries)]
}

// piece returns all entries that are held beside the one at index i; none if that is
// not held.
func (l *logbook) piece(i uint64) []Entry {
	if i <= l.base || i > l.end {
		return nil
	}
	c := &l.chunks[l.find(i)]
	return c.entries[max(c.first, l.first())-c.first : len(c.entries) : len(c.entries)]
}

// append adds entries that follow the last one.
func (l *logbook) append(entries []Entry) {
	for len(entries) > 0 {
		c := l.room()
		n := min(len(entries), cap(c.entries)-len(c.entries))
		c.entries = append(c.entries, entries[:n]...)
		entries = entries[n:]
		l.end += uint64(n)
	}
}

// adopt adds entries that follow the last one, without copying them: nobody writes
// to them any more.
func (l *logbook) adopt(entries []Entry) {
	if n := len(entries); n > 0 {
		l.chunks = append(l.chunks, chunk{first: l.end + 1, entries: entries[:n:n]})
		l.end += uint64(n)
	}
}

// room returns the last chunk, which has room for at least one entry.
func (l *logbook) room() *chunk {
	size := minChunk
	if n := len(l.chunks); n > 0 {
		c := &l.chunks[n-1]
		if len(c.entries) < cap(c.entries) {
			return c
		}
		size = min(2*max(cap(c.entries), minChunk), maxChunk)
	}
	l.chunks = append(l.chunks, chunk{first: l.end + 1, entries: make([]Entry, 0, size)})
	return &l.chunks[len(l.chunks)-1]
}

// truncate drops the entries from index i on, which is above the base. What
// takes their place is written elsewhere: somebody may still read them.
func (l *logbook) truncate(i uint64) {
	if i > l.end {
		return
	}
	n := l.find(i)
	c := &l.chunks[n]
	keep := i - c.first
	c.entries = c.entries[:keep:keep]
	if keep > 0 {
		n++
	}
	clear(l.chunks[n:])
	l.chunks = l.chunks[:n]
	l.end = i - 1
}

// compact drops the entries up to index i.
func (l *logbook) compact(i uint64) {
	term, ok := l.term(i)
	if !ok || i <= l.base {
		return
	}
	n := 0
	for n < len(l.chunks) && l.chunks[n].first+uint64(len(l.chunks[n].entries)) <= i+1 {
		n++
	}
	// A partly dropped chunk stays whole until its last entry goes.
	rest := copy(l.chunks, l.chunks[n:])
	clear(l.chunks[rest:])
	l.chunks = l.chunks[:rest]
	l.base, l.baseTerm = i, term
}

// restart empties the log: the next entry follows the given one.
func (l *logbook) restart(base, term uint64) {
	*l = logbook{base: base, baseTerm: term, end: base}
}
