package raft

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Bounds of sessions. They are a part of the replicated state: every node has
// the same.
const (
	// MaxSessions is how many sessions a group keeps. The one that was used the
	// longest ago, by the order of the log, makes room for a new one.
	MaxSessions = 4096
	// MaxOutstanding is how many commands of one session may be under way at a
	// time, and so how many results it keeps.
	MaxOutstanding = 64
	// MaxSessionBytes is how many bytes of results one session keeps, and so all
	// together 256 MiB at most. If there are more, those of the lowest numbers are
	// dropped, and one that is larger by itself is never kept: the session then
	// knows that the command was applied, and no more. See ErrResultDropped.
	MaxSessionBytes = 64 << 10
)

// A sessionTable is what makes commands of sessions apply once (section 6.3). It
// is a part of the replicated state: equal logs give equal tables.
type sessionTable struct {
	sessions map[uint64]*sessionState
	oldest   *sessionState // in order of last use
	newest   *sessionState
	most     int
}

// A sessionState is one session.
type sessionState struct {
	id       uint64 // index of the entry that opened it
	lowest   uint64 // commands below are answered and forgotten
	answers  []answer
	previous *sessionState // used before this one
	next     *sessionState // used after it
}

// An answer is the result of a command. Those of one session are in order of
// seq, all of lowest and above.
type answer struct {
	seq     uint64
	pending bool // it is being applied
	dropped bool // the result: it is one too many
	result  []byte
}

func newSessionTable(most int) *sessionTable {
	return &sessionTable{sessions: map[uint64]*sessionState{}, most: most}
}

// A sessionEntry is the content of an entry of kind EntrySession.
type sessionEntry struct {
	open    bool   // a new session, and nothing else
	id      uint64 // of the session
	seq     uint64 // of the command in the session, from 1
	lowest  uint64 // the session's commands below have been answered
	command []byte
}

const (
	sessionOpen    = 1
	sessionCommand = 2

	sessionHead = 1 + 3*10 // at most this stands before a command
)

func appendSessionOpen(b []byte) []byte { return append(b, sessionOpen) }

func appendSessionCommand(b []byte, id CommandID, command []byte) []byte {
	b = append(b, sessionCommand)
	b = binary.AppendUvarint(b, id.Session)
	b = binary.AppendUvarint(b, id.Seq)
	b = binary.AppendUvarint(b, id.Lowest)
	return append(b, command...)
}

// decode reads the data of an entry. The command is a part of it.
func (e *sessionEntry) decode(data []byte) error {
	r := reader{rest: data}
	switch r.byte() {
	case sessionOpen:
		e.open = true
	case sessionCommand:
		e.id, e.seq, e.lowest = r.uvarint(), r.uvarint(), r.uvarint()
		if e.seq == 0 || e.lowest == 0 || e.lowest > e.seq || e.seq-e.lowest >= MaxOutstanding {
			r.fail()
		}
	default:
		r.fail()
	}
	e.command = r.rest
	if e.open && len(r.rest) > 0 {
		r.fail()
	}
	return r.err
}

// open begins the session that the entry at index asks for.
func (t *sessionTable) open(index uint64) {
	if len(t.sessions) >= t.most {
		delete(t.sessions, t.oldest.id)
		t.unlink(t.oldest)
	}
	s := &sessionState{id: index, lowest: 1}
	t.sessions[index] = s
	t.link(s)
}

// A verdict says what is to become of a session's command.
type verdict uint8

const (
	applyIt   verdict = iota
	answered          // it was applied before; the result is known
	unknown           // it was applied before; the result was dropped
	beingDone         // it is among those that are being applied
	expired           // the session is gone, or the command was answered and forgotten
)

// admit decides about a command, and takes it for applied if that is the verdict:
// keep has to follow with the result.
func (t *sessionTable) admit(e *sessionEntry) (v verdict, result []byte) {
	s := t.sessions[e.id]
	if s == nil {
		return expired, nil
	}
	t.unlink(s)
	t.link(s)
	s.forget(e.lowest)
	if e.seq < s.lowest || e.seq-s.lowest >= MaxOutstanding {
		return expired, nil
	}
	i, found := s.find(e.seq)
	switch {
	case !found:
		s.answers = slices.Insert(s.answers, i, answer{seq: e.seq, pending: true})
		return applyIt, nil
	case s.answers[i].pending:
		return beingDone, nil
	case s.answers[i].dropped:
		return unknown, nil
	}
	return answered, s.answers[i].result
}

// keep notes the result of a command that was admitted, unless it is not wanted
// any more.
func (t *sessionTable) keep(id, seq uint64, result []byte) {
	s := t.sessions[id]
	if s == nil {
		return
	}
	if i, found := s.find(seq); found {
		s.answers[i] = answer{seq: seq, result: result}
		s.trim()
	}
}

// trim drops the results that are too many: of two, that of the lower number. It is
// the same on every node, wherever batches end: results come in the order of the
// log, and what a batch forgets or begins ahead of them has lower numbers, or no
// result yet.
func (s *sessionState) trim() {
	size := 0
	for i := range slices.Backward(s.answers) {
		if a := &s.answers[i]; size+len(a.result) > MaxSessionBytes {
			a.dropped, a.result = true, nil
		} else {
			size += len(a.result)
		}
	}
}

func (s *sessionState) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(s.answers, seq, func(a answer, seq uint64) int { return cmp.Compare(a.seq, seq) })
}

// forget drops the answers below lowest.
func (s *sessionState) forget(lowest uint64) {
	if lowest <= s.lowest {
		return
	}
	s.lowest = lowest
	n, _ := s.find(lowest)
	s.answers = slices.Delete(s.answers, 0, n)
}

// link makes s the one that was used last.
func (t *sessionTable) link(s *sessionState) {
	s.previous, s.next = t.newest, nil
	if t.newest == nil {
		t.oldest = s
	} else {
		t.newest.next = s
	}
	t.newest = s
}

func (t *sessionTable) unlink(s *sessionState) {
	if s.previous == nil {
		t.oldest = s.next
	} else {
		s.previous.next = s.next
	}
	if s.next == nil {
		t.newest = s.previous
	} else {
		s.next.previous = s.previous
	}
}

// append appends the stored form of the table: the number of sessions, then
// each, in order of last use: id, lowest, number of answers, then their seq and
// result; noResult in place of the length of one that was dropped. Nothing is
// pending between batches.
func (t *sessionTable) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.sessions)))
	for s := t.oldest; s != nil; s = s.next {
		b = binary.AppendUvarint(b, s.id)
		b = binary.AppendUvarint(b, s.lowest)
		b = binary.AppendUvarint(b, uint64(len(s.answers)))
		for _, a := range s.answers {
			b = binary.AppendUvarint(b, a.seq)
			if a.dropped {
				b = binary.AppendUvarint(b, noResult)
				continue
			}
			b = binary.AppendUvarint(b, uint64(len(a.result)))
			b = append(b, a.result...)
		}
	}
	return b
}

// noResult is the length of no result.
const noResult = math.MaxUint64

// decode reads what append wrote, into an empty table. Results are copied: one would
// hold on to all of data. Those that are too many, because they were written before
// there was a bound, are dropped.
func (t *sessionTable) decode(data []byte) error {
	r := reader{rest: data}
	n := r.uvarint()
	if n > uint64(t.most) {
		r.fail()
	}
	for range n {
		s := &sessionState{id: r.uvarint(), lowest: r.uvarint()}
		answers := r.uvarint()
		if answers > MaxOutstanding || t.sessions[s.id] != nil || s.lowest == 0 {
			r.fail()
		}
		for last := s.lowest - 1; r.err == nil && answers > 0; answers-- {
			a := answer{seq: r.uvarint()}
			size := r.uvarint()
			if a.dropped = size == noResult; !a.dropped {
				a.result = bytes.Clone(r.take(size))
			}
			if a.seq <= last || a.seq-s.lowest >= MaxOutstanding {
				r.fail()
			}
			last = a.seq
			s.answers = append(s.answers, a)
		}
		if r.err != nil {
			break
		}
		s.trim()
		t.sessions[s.id] = s
		t.link(s)
	}
	if r.err != nil || len(r.rest) > 0 {
		return fmt.Errorf("%w: sessions", errMalformed)
	}
	return nil
}
