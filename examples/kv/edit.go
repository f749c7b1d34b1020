package main

import (
	"encoding/binary"
	"errors"
	"time"
)

// An edit is a write that depends on what is there. It is decided in one place,
// by the key's decider, and so travels between nodes.
type edit struct {
	verb       verb
	only       condition
	keepExpiry bool // put: the new item expires when the old one would have
	item       item // put: what to store; its tag names this edit
}

type verb byte

const (
	put    verb = 1
	remove verb = 2
)

type condition byte

const (
	always    condition = 0
	ifAbsent  condition = 1
	ifPresent condition = 2
)

// An outcome is what became of an edit.
type outcome struct {
	done     bool // the condition held and the write was acknowledged
	before   item // what was there, if existed
	existed  bool
	repeated bool // done by an earlier decider: what was there before is not known
}

// apply decides an edit against what is there: what becomes of it if it is
// carried out, and what is then to be stored. An expired item is not there.
//
// The same edit may come twice: its first decider fell silent, and the next one
// was asked. What the first has written then carries the edit's tag, and is not
// what the condition is about.
func (e edit) apply(now time.Time, before item, found bool) (o outcome, after item) {
	existed := found && !before.expired(now)
	if existed && e.item.tag != 0 && e.item.tag == before.tag {
		return outcome{done: true, repeated: true}, before
	}
	after = e.item
	if existed {
		o.before, o.existed = before, true
		if e.keepExpiry {
			after.expires = before.expires
		}
	}
	o.done = e.only == always || existed == (e.only == ifPresent)
	return o, after
}

// Between nodes an edit is a version byte, a byte for each field, the length of
// the key, the key and the item; an outcome is a version byte, a kind, and the
// item or the text of an error.
const (
	editVersion  = 1
	editOverhead = 1 + 1 + 1 + 1 + 4 + itemOverhead
)

var errEdit = errors.New("a message between nodes is not in the format of this version")

func (e edit) append(b []byte, key string) []byte {
	keep := byte(0)
	if e.keepExpiry {
		keep = 1
	}
	b = append(b, editVersion, byte(e.verb), byte(e.only), keep)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	b = append(b, key...)
	return e.item.append(b)
}

// decodeEdit reads an edit, whose value stays a part of b.
func decodeEdit(b []byte) (key string, e edit, err error) {
	if len(b) < editOverhead || b[0] != editVersion || b[3] > 1 {
		return "", edit{}, errEdit
	}
	e = edit{verb: verb(b[1]), only: condition(b[2]), keepExpiry: b[3] == 1}
	n := binary.BigEndian.Uint32(b[4:])
	rest := b[8:]
	if uint64(n) > uint64(len(rest)) || e.verb != put && e.verb != remove || e.only > ifPresent {
		return "", edit{}, errEdit
	}
	if e.item, err = decodeItem(rest[n:]); err != nil {
		return "", edit{}, errEdit
	}
	return string(rest[:n]), e, nil
}

// What an answer to an edit says, as bits of a byte.
const (
	answerDone     = 1
	answerExisted  = 2 // the rest is what was there
	answerRepeated = 4
	answerFailed   = 8 // alone; the rest is the text of a replyError
)

func appendOutcome(b []byte, o outcome, failure error) []byte {
	if failure != nil {
		return append(append(b, editVersion, answerFailed), errorText(failure)...)
	}
	kind := byte(0)
	if o.done {
		kind |= answerDone
	}
	if o.repeated {
		kind |= answerRepeated
	}
	if !o.existed {
		return append(b, editVersion, kind)
	}
	return o.before.append(append(b, editVersion, kind|answerExisted))
}

// decodeOutcome reads an outcome, whose value stays a part of b, or the error
// that the decider had.
func decodeOutcome(b []byte) (o outcome, err error) {
	if len(b) < 2 || b[0] != editVersion || b[1] > answerFailed {
		return outcome{}, errEdit
	}
	kind, rest := b[1], b[2:]
	if kind == answerFailed {
		return outcome{}, replyError(rest)
	}
	o = outcome{done: kind&answerDone != 0, existed: kind&answerExisted != 0, repeated: kind&answerRepeated != 0}
	switch {
	case o.existed:
		o.before, err = decodeItem(rest)
	case len(rest) > 0:
		err = errEdit
	}
	if err != nil {
		return outcome{}, errEdit
	}
	return o, nil
}
