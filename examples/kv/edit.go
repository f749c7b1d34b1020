package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// An edit is one write to one key. What becomes of it depends on what is there,
// and so it travels to where that is decided: with quorums to the key's decider,
// with consensus through the log.
type edit struct {
	verb       verb
	key        string
	only       condition
	equals     []byte // ifEqual: the value that must be there
	keepExpiry bool   // put: the new item expires when the old one would have
	wantsOld   bool   // the outcome is to hold what was there
	by         int64  // add: how much
	item       item   // what to put; its value to extend by; its expiry to set
}

type verb byte

const (
	put    verb = 1
	remove verb = 2
	add    verb = 3 // to a number
	extend verb = 4 // a value at its end
	expire verb = 5 // at another time, or never
)

type condition byte

const (
	always    condition = 0
	ifAbsent  condition = 1
	ifPresent condition = 2
	ifEqual   condition = 3
)

// An outcome is what became of an edit.
type outcome struct {
	done     bool       // the condition held and the write was acknowledged
	existed  bool       // there was something, and the edit wanted to know
	before   item       // what was there, if existed
	number   int64      // add: the sum; extend: the length
	repeated bool       // done by an earlier decider: what was there before is not known
	failure  replyError // why nothing was done, where it was not the condition; "" if there is no reason
}

// blind reports whether an edit can be carried out without looking at what is
// there.
func (e edit) blind() bool {
	return e.verb == put && e.only == always && !e.keepExpiry && !e.wantsOld
}

// check finds a key or a value that is out of bounds.
func (e edit) check() error {
	if len(e.item.value) > maxValue {
		return replyError(fmt.Sprintf("ERR a value has at most %d bytes, this one has %d", maxValue, len(e.item.value)))
	}
	return checkKey(e.key)
}

func checkKey(key string) error {
	if len(key) == 0 || len(key) > maxKey {
		return replyError(fmt.Sprintf("ERR a key has 1 to %d bytes, this one has %d", maxKey, len(key)))
	}
	return nil
}

// apply decides an edit against what is there, which may be nothing: what becomes
// of the edit if it is carried out, and what is there after it.
//
// The same edit may come twice: its first decider fell silent, and the next one
// was asked. What the first has written then carries the edit's tag, and is not
// what the condition is about.
func (e edit) apply(now time.Time, before item) (o outcome, after item) {
	existed := !before.expired(now)
	if existed && e.item.tag != 0 && e.item.tag == before.tag {
		return outcome{done: true, repeated: true}, before
	}
	if !existed {
		before = nothing
	}
	if e.wantsOld && existed {
		o.existed, o.before = true, before
	}
	if !e.holds(before, existed) {
		return o, before
	}
	after = before
	switch e.verb {
	case put:
		after = e.item
		if e.keepExpiry && existed {
			after.expires = before.expires
		}
	case remove:
		after = nothing
	case add:
		o.number, o.failure = sum(before.value, existed, e.by)
		after = live(before, existed, strconv.AppendInt(nil, o.number, 10))
	case extend:
		o.number = int64(len(before.value) + len(e.item.value))
		after = live(before, existed, bytes.Join([][]byte{before.value, e.item.value}, nil))
		if o.number > maxValue {
			o.failure = replyError(fmt.Sprintf("ERR a value has at most %d bytes, this one would have %d", maxValue, o.number))
		}
	case expire:
		after.expires = e.item.expires
	}
	if o.failure != "" {
		return o, before
	}
	o.done = true
	return o, after
}

// holds reports whether the condition of an edit is true.
func (e edit) holds(before item, existed bool) bool {
	switch {
	case e.verb == expire && e.item.expires == never && before.expires == never:
		return false // there is no expiry to take away
	case e.only == ifAbsent:
		return !existed
	case e.only == ifPresent:
		return existed
	case e.only == ifEqual:
		return existed && bytes.Equal(before.value, e.equals)
	}
	return true
}

// live returns an item with another value, which expires as it did.
func live(before item, existed bool, value []byte) item {
	if !existed {
		return item{value: value}
	}
	before.value = value
	return before
}

// sum adds to a number as Redis writes them; where there is none, to 0.
func sum(value []byte, existed bool, by int64) (int64, replyError) {
	n := int64(0)
	if existed {
		var err error
		if n, err = strconv.ParseInt(string(value), 10, 64); err != nil || strconv.FormatInt(n, 10) != string(value) {
			return 0, errInteger
		}
	}
	if by > 0 && n > math.MaxInt64-by || by < 0 && n < math.MinInt64-by {
		return 0, "ERR increment or decrement would overflow"
	}
	return n + by, ""
}
