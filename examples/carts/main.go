// Command carts shows what a conflict-free replicated data type (CRDT) is for.
//
// Ann and Ben share a shopping cart. Each has it on a phone, and a kitchen tablet
// has it too. Phones lose their connection, and people do not wait for it: they go
// on changing the cart they see. When the phones meet again, there are three carts
// that differ. Who is right?
//
// One answer is to ask one machine before each change; then nobody can shop in a
// tunnel. Another is that the last cart wins; then Ben's bread is lost because Ann
// counted eggs a second later. The third is a type whose copies can always be merged,
// in any order and any number of times, and come out the same everywhere, with every
// change in it that nobody meant to undo: a CRDT.
//
// Here the cart is a crdt.ORMap from goods to crdt.PNCounters. Changes are sent as
// deltas, some bytes each. The network loses some, repeats some and reorders all of
// them; now and then two devices send each other all they have, which repairs what was
// lost. Run it:
//
//	go -C examples run ./carts
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/parley-go/parley/crdt"
)

type cart = crdt.ORMap[string, *crdt.PNCounter]

// A device has a cart and the deltas that are on their way to it.
type device struct {
	name  string
	cart  *cart
	inbox [][]byte
}

// A shop is the devices, and a network that is bad the same way each time.
type shop struct {
	out     io.Writer
	random  *rand.Rand
	devices []*device
	sent    int // bytes
	lost    int // deltas
}

func main() {
	if !run(os.Stdout) {
		os.Exit(1)
	}
}

func run(out io.Writer) (ok bool) {
	s := &shop{out: out, random: rand.New(rand.NewPCG(2, 0))}
	for _, name := range []string{"ann", "ben", "kitchen"} {
		s.devices = append(s.devices, &device{name: name, cart: crdt.NewORMap[string, *crdt.PNCounter](name)})
	}
	ann, ben := s.devices[0], s.devices[1]

	s.add(ann, "milk", 2)
	s.add(ann, "eggs", 6)
	s.meet()
	s.show("Ann fills the cart; all three are together.")

	s.send(ann, ann.cart.Remove("milk"))
	s.add(ann, "eggs", 4)
	s.add(ben, "milk", 1)
	s.add(ben, "bread", 1)
	s.add(ben, "eggs", -2)
	s.show("In the tunnel: Ann takes the milk out; Ben wants one more, and bread.")

	s.deliver()
	s.show("The network is back, and bad: deltas come late, twice or never.")

	s.meet()
	s.show("They meet, and send one another all that they have.")

	// The two milk that Ann took out are gone, the one that Ben wanted meanwhile is
	// there; and the carts are the same to the byte.
	ok = true
	for _, d := range s.devices {
		ok = ok && d.text() == `{"bread":1,"eggs":8,"milk":1}` && bytes.Equal(encode(d.cart), encode(ann.cart))
	}
	fmt.Fprintf(out, "Deltas: %d bytes sent, %d lost. A whole cart has %d bytes.\n", s.sent, s.lost, len(encode(ann.cart)))
	if !ok {
		fmt.Fprintln(out, "FAILED: the carts are not what they should be.")
		return false
	}
	fmt.Fprintln(out, "OK: three carts, one content, nothing lost that nobody took out.")
	return true
}

func (s *shop) add(d *device, what string, n int64) {
	s.send(d, d.cart.Update(what, func(c *crdt.PNCounter) { c.Add(n) }))
}

// send puts a delta on its way to the other devices. One of four is lost, and one of
// four comes twice.
func (s *shop) send(from *device, delta *cart) {
	data := encode(delta)
	for _, d := range s.devices {
		if d == from {
			continue
		}
		s.sent += len(data)
		switch s.random.IntN(4) {
		case 0:
			s.lost++
		case 1:
			d.inbox = append(d.inbox, data, data)
		default:
			d.inbox = append(d.inbox, data)
		}
	}
}

// deliver hands over what is on its way, in any order.
func (s *shop) deliver() {
	for _, d := range s.devices {
		for _, i := range s.random.Perm(len(d.inbox)) {
			d.cart.Merge(decode(d.inbox[i]))
		}
		d.inbox = nil
	}
}

// meet has all devices send one another all that they have.
func (s *shop) meet() {
	for _, d := range s.devices {
		for _, other := range s.devices {
			d.cart.Merge(decode(encode(other.cart)))
		}
	}
}

func (s *shop) show(what string) {
	fmt.Fprintln(s.out, what)
	for _, d := range s.devices {
		fmt.Fprintf(s.out, "  %-8s %s\n", d.name, d.text())
	}
}

func (d *device) text() string { return string(must(json.Marshal(d.cart))) }

func encode(c *cart) []byte { return must(c.AppendBinary(nil)) }

func decode(data []byte) *cart {
	c := new(cart)
	return must(c, c.UnmarshalBinary(data))
}

// must stops a program in which only itself can be wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
