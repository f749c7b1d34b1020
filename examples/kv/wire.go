package main

import (
	"encoding/binary"
	"errors"
)

// Between nodes, and in the log, an edit is a version byte, a byte for each of
// verb, condition and flags, the number, key and comparand with their lengths,
// and the item. An outcome is a version byte, what it says in bits, the number,
// and the item or the text of a failure.
const (
	editVersion     = 1
	outcomeOverhead = 1 + 1 + 8
)

const (
	flagKeepExpiry = 1
	flagWantsOld   = 2
)

var errEdit = errors.New("a message between nodes is not in the format of this version")

func (e edit) append(b []byte) []byte {
	flags := byte(0)
	if e.keepExpiry {
		flags |= flagKeepExpiry
	}
	if e.wantsOld {
		flags |= flagWantsOld
	}
	b = append(b, editVersion, byte(e.verb), byte(e.only), flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.by))
	b = appendSized(b, []byte(e.key))
	b = appendSized(b, e.equals)
	return e.item.append(b)
}

// decodeEdit reads an edit, whose values stay parts of b. Key and values are
// within their bounds.
func decodeEdit(b []byte) (e edit, err error) {
	if len(b) < 12 || b[0] != editVersion || b[3] > flagKeepExpiry|flagWantsOld {
		return edit{}, errEdit
	}
	e = edit{
		verb:       verb(b[1]),
		only:       condition(b[2]),
		keepExpiry: b[3]&flagKeepExpiry != 0,
		wantsOld:   b[3]&flagWantsOld != 0,
		by:         int64(binary.BigEndian.Uint64(b[4:])),
	}
	key, rest, ok := cutSized(b[12:])
	if !ok || e.verb < put || e.verb > expire || e.only > ifEqual {
		return edit{}, errEdit
	}
	if e.equals, rest, ok = cutSized(rest); !ok {
		return edit{}, errEdit
	}
	e.key = string(key)
	if e.item, err = decodeItem(rest); err != nil || e.check() != nil {
		return edit{}, errEdit
	}
	return e, nil
}

// appendSized appends a string of bytes behind its length in four.
func appendSized(b, s []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// cutSized takes what appendSized wrote from the beginning of b.
func cutSized(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if rest = b[4:]; uint64(n) > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:n:n], rest[n:], true
}

// What an outcome says, as bits of a byte.
const (
	outcomeDone     = 1
	outcomeExisted  = 2 // the rest is what was there
	outcomeRepeated = 4
	outcomeFailed   = 8 // the rest is the text of the failure
)

func (o outcome) append(b []byte) []byte {
	kind := byte(0)
	for _, bit := range []struct {
		is   bool
		flag byte
	}{{o.done, outcomeDone}, {o.existed, outcomeExisted}, {o.repeated, outcomeRepeated}, {o.failure != "", outcomeFailed}} {
		if bit.is {
			kind |= bit.flag
		}
	}
	if o.failure != "" {
		kind = outcomeFailed // nothing else is of interest
	}
	b = append(b, editVersion, kind)
	b = binary.BigEndian.AppendUint64(b, uint64(o.number))
	switch {
	case o.failure != "":
		return append(b, o.failure...)
	case o.existed:
		return o.before.append(b)
	default:
		return b
	}
}

// decodeOutcome reads an outcome, whose value stays a part of b.
func decodeOutcome(b []byte) (o outcome, err error) {
	if len(b) < outcomeOverhead || b[0] != editVersion || b[1] > outcomeFailed {
		return outcome{}, errEdit
	}
	kind, rest := b[1], b[outcomeOverhead:]
	o = outcome{
		done:     kind&outcomeDone != 0,
		existed:  kind&outcomeExisted != 0,
		repeated: kind&outcomeRepeated != 0,
		number:   int64(binary.BigEndian.Uint64(b[2:])),
	}
	switch {
	case kind == outcomeFailed && len(rest) > 0:
		o.failure = replyError(rest)
	case o.existed:
		o.before, err = decodeItem(rest)
	case kind == outcomeFailed || len(rest) > 0:
		err = errEdit
	}
	if err != nil {
		return outcome{}, errEdit
	}
	return o, nil
}
