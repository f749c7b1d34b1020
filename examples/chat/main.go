// Command chat shows what a vector clock is for.
//
// Three people chat. Each device sends its messages straight to the others, over
// connections of different speed, so that an answer can overtake its question: Cleo
// sees "Yes, at eight!" and has no idea what happens at eight. Sorting by the time of
// day does not help, for the devices' clocks disagree, and it would not tell that
// something is missing.
//
// What helps is to send with each message what its writer had seen: how many
// messages of Ann, of Ben, of Cleo. That list is a vector clock. A receiver holds a
// message back until it has shown everything that the writer had seen; then no answer
// comes before its question, on any screen. Two messages of which neither writer had
// seen the other are concurrent: screens may show them in different orders, and nobody
// can tell.
//
// This is causal broadcast (Birman, Schiper, Stephenson, 1991), on vclock.Clock. Run
// it:
//
//	go -C examples run ./chat
package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/parley-go/parley/vclock"
)

// A message carries what its writer had seen, with the message itself.
type message struct {
	from, text string
	clock      vclock.Clock
}

type device struct {
	name        string
	seen        vclock.Clock // what the screen has shown
	shown, held []message    // held came too early
	late        int          // how many had to wait
}

// write shows a message on the writer's own screen and returns it.
func (d *device) write(text string) message {
	d.seen.Tick(d.name)
	m := message{d.name, text, d.seen.Clone()}
	d.shown = append(d.shown, m)
	return m
}

// receive shows a message and all that have waited for it, or holds it back.
func (d *device) receive(m message) {
	waiting := len(d.held)
	d.held = append(d.held, m)
	for i := slices.IndexFunc(d.held, d.ready); i >= 0; i = slices.IndexFunc(d.held, d.ready) {
		d.seen.Merge(d.held[i].clock)
		d.shown = append(d.shown, d.held[i])
		d.held = slices.Delete(d.held, i, i+1)
	}
	if len(d.held) > waiting {
		d.late++
	}
}

// ready reports whether all that the writer had seen is on this screen, but for the
// message itself.
func (d *device) ready(m message) bool {
	for who, n := range m.clock.All() {
		if who == m.from {
			n--
		}
		if d.seen.Get(who) < n {
			return false
		}
	}
	return true
}

func main() {
	if !run(os.Stdout) {
		os.Exit(1)
	}
}

func run(out io.Writer) (ok bool) {
	ann, ben, cleo := &device{name: "ann"}, &device{name: "ben"}, &device{name: "cleo"}
	question := ann.write("Dinner tonight?")
	ben.receive(question) // fast
	answer := ben.write("Yes, at eight!")
	elsewhere := cleo.write("Who has seen my keys?") // concurrent with both
	ann.receive(answer)
	thanks := ann.write("Great, I cook.")

	fmt.Fprintln(out, "What was written, with what its writer had seen, and how it stands to the question:")
	for _, m := range []message{question, answer, elsewhere, thanks} {
		fmt.Fprintf(out, "  %-5s %-24q %-12v %v\n", m.from, m.text, m.clock, m.clock.Compare(question.clock))
	}
	fmt.Fprintln(out, "Cleo's connection turns the order around:")
	for _, m := range []message{thanks, answer, question} {
		before := len(cleo.shown)
		cleo.receive(m)
		fmt.Fprintf(out, "  arrives %-18q shown:", m.text)
		for _, s := range cleo.shown[before:] {
			fmt.Fprintf(out, " %q", s.text)
		}
		fmt.Fprintln(out)
	}

	runs, late, ok := 300, 0, inOrder(cleo)
	for seed := range uint64(runs) {
		n, right := scramble(rand.New(rand.NewPCG(seed, 0)))
		late, ok = late+n, ok && right
	}
	fmt.Fprintf(out, "%d chats of 60 messages in random order: %d arrivals had to wait.\n", runs, late)
	if !ok {
		fmt.Fprintln(out, "FAILED: an answer was shown before its question, or something is missing.")
		return false
	}
	fmt.Fprintln(out, "OK: every screen showed everything, and no answer before its question.")
	return true
}

// scramble has three devices write 60 messages that arrive in any order.
func scramble(random *rand.Rand) (late int, ok bool) {
	const messages = 60
	devices := []*device{{name: "ann"}, {name: "ben"}, {name: "cleo"}}
	coming := make([][]message, len(devices)) // on their way
	for written := 0; written < messages || slices.ContainsFunc(coming, func(c []message) bool { return len(c) > 0 }); {
		i := random.IntN(len(devices))
		if n := len(coming[i]); n > 0 && (written == messages || random.IntN(2) == 0) {
			k := random.IntN(n)
			devices[i].receive(coming[i][k])
			coming[i] = slices.Delete(coming[i], k, k+1)
		} else if written < messages {
			m := devices[i].write("")
			written++
			for j := range devices {
				if j != i {
					coming[j] = append(coming[j], m)
				}
			}
		}
	}
	ok = true
	for _, d := range devices {
		late += d.late
		ok = ok && len(d.shown) == messages && inOrder(d)
	}
	return late, ok
}

// inOrder reports whether no message on a screen comes before one that its writer
// had seen.
func inOrder(d *device) bool {
	for i, m := range d.shown {
		for _, later := range d.shown[i+1:] {
			if later.clock.Compare(m.clock) == vclock.Before {
				return false
			}
		}
	}
	return len(d.held) == 0
}
