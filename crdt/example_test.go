package crdt_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parley-go/parley/crdt"
	"github.com/parley-go/parley/vclock"
)

// Two replicas count page views on their own. It does not matter what arrives, how
// often, and in which order.
func ExampleGCounter() {
	a, b := crdt.NewGCounter("a"), crdt.NewGCounter("b")
	a.Add(3)
	delta := a.Add(2) // has the 3 as well
	b.Add(10)
	fmt.Println(b.Merge(delta), b.Merge(delta), b.Value())
	// Output: true false 15
}

func ExamplePNCounter() {
	likes := crdt.NewPNCounter("a")
	likes.Add(3)
	likes.Add(-1)
	fmt.Println(likes.Value())
	// Output: 2
}

// Ten seats, sold at two counters that cannot always reach each other.
func ExampleBoundedCounter() {
	a, b := crdt.NewBoundedCounter("a"), crdt.NewBoundedCounter("b")
	b.Merge(a.Add(10))
	_, err := b.Take(2)
	fmt.Println(err, errors.Is(err, crdt.ErrRights))

	gift, err := a.Give("b", 4)
	b.Merge(gift)
	fmt.Println(err, a.Rights("a"), b.Rights("b"))
	sold, err := b.Take(2)
	a.Merge(sold)
	fmt.Println(err, a.Value())
	// Output:
	// crdt: not enough rights: "b" has 0 of 2 true
	// <nil> 6 4
	// <nil> 8
}

// Both wrote; the later stamp wins on both sides.
func ExampleLWWRegister() {
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	a, b := crdt.NewLWWRegister[string]("a"), crdt.NewLWWRegister[string]("b")
	first := a.Set(vclock.NewStamp(noon, 0), "draft")
	second := b.Set(vclock.NewStamp(noon, 1), "final")
	fmt.Println(a.Merge(second), b.Merge(first))
	value, found := a.Get()
	fmt.Println(value, found)
	// Output:
	// true false
	// final true
}

// Both wrote; both values are kept until somebody has read them and writes again.
func ExampleMVRegister() {
	a, b := crdt.NewMVRegister[string]("a"), crdt.NewMVRegister[string]("b")
	first, second := a.Set("Ann"), b.Set("Anne")
	a.Merge(second)
	b.Merge(first)
	fmt.Println(slices.Collect(a.All()))
	b.Merge(a.Set("Anna"))
	fmt.Println(slices.Collect(b.All()))
	// Output:
	// [Ann Anne]
	// [Anna]
}

func ExampleEWFlag() {
	a, b := crdt.NewEWFlag("a"), crdt.NewEWFlag("b")
	b.Merge(a.Enable())
	off, again := a.Disable(), b.Enable() // concurrently
	a.Merge(again)
	b.Merge(off)
	fmt.Println(a.Enabled(), b.Enabled())
	// Output: true true
}

func ExampleDWFlag() {
	a, b := crdt.NewDWFlag("a"), crdt.NewDWFlag("b")
	b.Merge(a.Enable())
	off, again := a.Disable(), b.Enable() // concurrently
	a.Merge(again)
	b.Merge(off)
	fmt.Println(a.Enabled(), b.Enabled())
	// Output: false false
}

func ExampleGSet() {
	var seen, other crdt.GSet[string]
	delta := seen.Add("a", "b")
	fmt.Println(other.Merge(delta), other.Len(), other.Contains("b"))
	// Output: true 2 true
}

func ExampleTwoPhaseSet() {
	var sessions crdt.TwoPhaseSet[string]
	sessions.Add("s-1")
	sessions.Remove("s-1")
	sessions.Add("s-1") // too late
	fmt.Println(sessions.Contains("s-1"), sessions.Removed("s-1"))
	// Output: false true
}

func ExampleLWWSet() {
	var s crdt.LWWSet[string]
	s.Remove(20, "x")
	s.Add(10, "x") // an older addition arrives
	fmt.Println(s.Contains("x"))
	s.Add(30, "x")
	fmt.Println(s.Contains("x"), s.Stamp("x") == 30)
	// Output:
	// false
	// true true
}

// The removal takes away the milk that it has seen, and not what is put in
// meanwhile.
func ExampleORSet() {
	a, b := crdt.NewORSet[string]("a"), crdt.NewORSet[string]("b")
	b.Merge(a.Add("milk"))
	b.Merge(a.Add("bread"))

	a.Remove("bread")
	a.Remove("milk")
	b.Add("milk")
	a.Merge(b)
	b.Merge(a)
	for e := range a.All() {
		fmt.Println(e, b.Contains(e), b.Len())
	}
	// Output: milk true 1
}

// Access is revoked while somebody grants it again: it stays revoked.
func ExampleRWSet() {
	a, b := crdt.NewRWSet[string]("a"), crdt.NewRWSet[string]("b")
	b.Merge(a.Add("ann"))
	revoked, granted := a.Remove("ann"), b.Add("ann")
	a.Merge(granted)
	b.Merge(revoked)
	fmt.Println(a.Contains("ann"), b.Contains("ann"))
	// Output: false false
}

func ExampleLWWMap() {
	clock := vclock.NewHybrid(vclock.HybridConfig{})
	settings := crdt.NewLWWMap[string, int]("a")
	settings.Set(clock.Now(), "volume", 3)
	settings.Set(clock.Now(), "volume", 5)
	settings.Set(clock.Now(), "bass", 1)
	settings.Remove(clock.Now(), "bass")
	volume, found := settings.Get("volume")
	fmt.Println(volume, found, settings.Len())
	// Output: 5 true 1
}

// One removes the milk from the cart while the other takes one more: what was seen is
// gone, what was not is there.
func ExampleORMap() {
	type cart = crdt.ORMap[string, *crdt.PNCounter]
	a, b := crdt.NewORMap[string, *crdt.PNCounter]("a"), crdt.NewORMap[string, *crdt.PNCounter]("b")
	b.Merge(a.Update("milk", func(n *crdt.PNCounter) { n.Add(2) }))

	removed := a.Remove("milk")
	added := b.Update("milk", func(n *crdt.PNCounter) { n.Add(1) })
	a.Merge(added)
	b.Merge(removed)
	for _, m := range []*cart{a, b} {
		inJSON, err := json.Marshal(m)
		fmt.Println(string(inJSON), err)
	}
	milk, found := a.Get("milk")
	fmt.Println(milk.Value(), found)
	// Output:
	// {"milk":1} <nil>
	// {"milk":1} <nil>
	// 1 true
}

// load takes in what was stored, whatever type it is.
func load[S crdt.State[S]](into, stored S, data []byte) error {
	if err := stored.UnmarshalBinary(data); err != nil {
		return err
	}
	into.Merge(stored)
	return nil
}

// A replica starts again. What was saved may not be the newest that it let out, so
// it goes on under a name of its own.
func ExampleState() {
	set := crdt.NewORSet[string]("a#1")
	set.Add("x")
	saved, err := set.AppendBinary(nil)
	fmt.Println(len(saved), "bytes", err)

	set = crdt.NewORSet[string](crdt.Incarnation("a", 2))
	err = load(set, new(crdt.ORSet[string]), saved)
	set.Add("y")
	fmt.Println(set.Seen(), set.Len(), err)
	// Output:
	// 17 bytes <nil>
	// "a#1"=1,"a#2"=1 2 <nil>
}

// removeAll works on maps of any type of values.
func removeAll[V crdt.Nestable[V]](m *crdt.ORMap[string, V], keys ...string) *crdt.ORMap[string, V] {
	delta := new(crdt.ORMap[string, V])
	for _, key := range keys {
		delta.Merge(m.Remove(key))
	}
	return delta
}

func ExampleNestable() {
	tags := crdt.NewORMap[string, *crdt.ORSet[string]]("a")
	tags.Update("photo", func(s *crdt.ORSet[string]) { s.Add("sea"); s.Add("sun") })
	tags.Update("video", func(s *crdt.ORSet[string]) { s.Add("sea") })
	removeAll(tags, "photo", "letter")
	fmt.Println(tags.Contains("photo"), tags.Contains("video"))
	// Output: false true
}

// A replica goes on under its old name from a state that is too old.
func ExampleReuseError() {
	a, peer := crdt.NewORSet[string]("a"), crdt.NewORSet[string]("peer")
	peer.Merge(a.Add("x"))
	peer.Merge(a.Add("y"))

	a = crdt.NewORSet[string]("a") // all is lost, and the name is used again
	a.Add("z")                     // looks like the addition of x
	a.Merge(peer)
	if reuse := new(crdt.ReuseError); errors.As(a.Err(), &reuse) {
		fmt.Println(reuse.Name, "was at", reuse.Had, "and has been at", reuse.Received)
	}
	// Output: a was at 1 and has been at 2
}
