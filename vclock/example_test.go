package vclock_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/vclock"
)

// Two nodes write after the same event, not knowing of each other. Whoever merges
// both comes after both.
func ExampleClock() {
	var a vclock.Clock
	a.Tick("a")
	b := a.Clone() // a's message reaches b
	a.Tick("a")
	b.Tick("b")
	fmt.Println(a, "|", b, "|", a.Compare(b))

	c := a.Clone()
	c.Merge(b)
	c.Tick("c")
	fmt.Println(c, "|", b.Compare(c))
	for node, counter := range c.All() {
		fmt.Println(node, counter)
	}
	// Output:
	// a=2 | a=1,b=1 | concurrent
	// a=2,b=1,c=1 | before
	// a 2
	// b 1
	// c 1
}

// A receiver that decides what to do with a message by its clock.
func ExampleOrder() {
	var local, message vclock.Clock
	local.Tick("a")
	message.Tick("b")
	switch local.Compare(message) {
	case vclock.Before:
		fmt.Println("take it")
	case vclock.After, vclock.Equal:
		fmt.Println("known")
	case vclock.Concurrent:
		fmt.Println("conflict: resolve")
	}
	// Output: conflict: resolve
}

// A dot names one event: here, to say whether a write was seen.
func ExampleDot() {
	var c vclock.Clock
	c.Tick("a")
	seen := c.Tick("a")
	unseen := vclock.Dot{Node: "a", Counter: 3}
	fmt.Println(seen, c.Contains(seen))
	fmt.Println(unseen, c.Contains(unseen))
	// Output:
	// a=2 true
	// a=3 false
}

// Two shoppers change a cart that both read when it was empty. Neither change is
// lost; the next to write has both and resolves them.
func ExampleSiblings() {
	var cart vclock.Siblings[string]
	_, empty := cart.Get()
	cart.Put("a", empty, "milk")
	cart.Put("a", empty, "bread") // has not read milk
	values, context := cart.Get()
	fmt.Println(values, context)

	cart.Put("a", context, "milk and bread")
	values, _ = cart.Get()
	fmt.Println(values)
	// Output:
	// [milk bread] a=2
	// [milk and bread]
}

// Replicas that took writes on their own come to the same values.
func ExampleSiblings_Merge() {
	var a vclock.Siblings[string]
	a.Put("a", vclock.Clock{}, "old")
	b := a.Clone()
	_, read := b.Get()
	b.Put("b", read, "new")
	fmt.Println(a.Merge(b), b.Merge(a))
	values, _ := a.Get()
	fmt.Println(values)
	// Output:
	// true false
	// [new]
}

// A reply is later than its request, whatever the machines' clocks say.
func ExampleLamport() {
	var client, server vclock.Lamport
	sent := client.Tick()
	server.Tick()
	server.Tick()
	received, err := server.Observe(sent)
	fmt.Println(sent, received, err)
	replied := server.Tick()
	answered, err := client.Observe(replied)
	fmt.Println(replied, answered, err)
	// Output:
	// 1 3 <nil>
	// 4 5 <nil>
}

// The server's clock is 20 ms behind the client's. Its stamp is later all the same.
func ExampleHybrid() {
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	client := vclock.NewHybrid(vclock.HybridConfig{Now: func() time.Time { return noon }})
	server := vclock.NewHybrid(vclock.HybridConfig{Now: func() time.Time { return noon.Add(-20 * time.Millisecond) }})

	sent := client.Now()
	received, err := server.Observe(sent)
	fmt.Println(received, err)
	fmt.Println(received > sent, server.Ahead())
	// Output:
	// 2026-11-20T12:00:00.000000Z/0001 <nil>
	// true 20ms
}

// One machine's clock is a day ahead. It drags nobody along.
func ExampleOffsetError() {
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	h := vclock.NewHybrid(vclock.HybridConfig{MaxOffset: time.Second, Now: func() time.Time { return noon }})
	_, err := h.Observe(vclock.NewStamp(noon.Add(24*time.Hour), 0))
	if offset := new(vclock.OffsetError); errors.As(err, &offset) {
		fmt.Println(offset.Offset, "ahead of us, allowed is", offset.MaxOffset)
	}
	fmt.Println(h.Now())
	// Output:
	// 24h0m0s ahead of us, allowed is 1s
	// 2026-11-20T12:00:00.000000Z/0000
}

// The process restarts, and the machine's clock was set back an hour meanwhile.
func ExampleDurable() {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	config := vclock.HybridConfig{Now: func() time.Time { return now }}
	var file vclock.Stamp // instead of a file
	save := func(bound vclock.Stamp) error { file = bound; return nil }

	clock := vclock.NewDurable(file, config)
	if err := clock.Extend(200*time.Millisecond, save); err != nil {
		fmt.Println(err)
	}
	before, _ := clock.Now()

	now = now.Add(-time.Hour)
	clock = vclock.NewDurable(file, config)
	_, err := clock.Now()
	fmt.Println(errors.Is(err, vclock.ErrBound)) // nothing is saved for this run yet
	if err := clock.Extend(200*time.Millisecond, save); err != nil {
		fmt.Println(err)
	}
	after, _ := clock.Now()
	fmt.Println(before)
	fmt.Println(after, after > before)
	// Output:
	// true
	// 2026-11-20T12:00:00.000000Z/0000
	// 2026-11-20T12:00:00.200000Z/0001 true
}

// Stamps are eight bytes with an order, and are read as times.
func ExampleStamp() {
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	s := vclock.NewStamp(noon, 7)
	fmt.Println(s)
	fmt.Println(s.Time().Format(time.Kitchen), s.Logical(), s < vclock.NewStamp(noon, 8))
	// Output:
	// 2026-11-20T12:00:00.000000Z/0007
	// 12:00PM 7 true
}
