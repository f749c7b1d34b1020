// Command balance shows what a load balancer is for, and why it should look at
// more than whose turn it is.
//
// A shop has four cash desks. If every customer just takes the next desk in turn, all
// is well until one cashier is slow: every fourth customer waits there, however free
// the others are. People do better: they look how long each queue is, and how fast it
// moves. And they learn that the desk without any queue may be the one whose till is
// broken, where everybody is sent away at once.
//
// Here the desks are servers and the customers are calls, 400 in a second. From act
// to act, server-3 is well, then slow, then fails every call at once, then does not
// answer at all, then is well again. Three clients go through the same acts, each
// with an lb.Balancer of its own:
//
//   - round-robin takes the next server in turn;
//   - least-connections takes the one with the fewest calls under way;
//   - latency-aware, the default, goes by how soon it may expect a good answer, and
//     leaves a server alone for a while that fails again and again (ejection), and
//     gives one that is back only a few calls at first (slow start).
//
// Time is simulated, so that every run is the same and takes no time. Run it:
//
//	go -C examples run ./balance
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/parley-go/parley/lb"
)

const (
	pause  = 2500 * time.Microsecond // between two calls
	giveUp = time.Second             // a client on a server that does not answer
	odd    = "server-3"
)

var errServer = errors.New("server failed")

// An act is what server-3 does to a call.
type act struct {
	name  string
	lasts time.Duration
	takes time.Duration
	err   error
}

var acts = []act{
	{"well", 20 * time.Second, 10 * time.Millisecond, nil},
	{"slow", 20 * time.Second, 100 * time.Millisecond, nil},
	{"fails at once", 20 * time.Second, time.Millisecond, errServer},
	{"does not answer", 20 * time.Second, giveUp, errServer},
	{"well again", 100 * time.Second, 10 * time.Millisecond, nil},
}

// A call is under way until its end.
type call struct {
	pick lb.Pick
	ends time.Duration
	err  error
}

// An outcome is what a client saw in one act.
type outcome struct {
	toOdd  float64 // share of calls sent to server-3
	failed float64 // share of calls that failed
	p99    time.Duration
}

func main() {
	if !run(os.Stdout) {
		os.Exit(1)
	}
}

func run(out io.Writer) (ok bool) {
	bare := func(p lb.Policy) lb.Config {
		return lb.Config{Policy: p, DisableEjection: true, DisableSlowStart: true}
	}
	clients := []lb.Config{bare(lb.RoundRobin{}), bare(lb.LeastConnections{}), {Policy: lb.LatencyAware{}}}
	var seen [][]outcome
	for _, config := range clients {
		outcomes, err := play(config)
		if err != nil {
			fmt.Fprintln(out, "balance:", err)
			return false
		}
		seen = append(seen, outcomes)
	}
	for i, a := range acts {
		fmt.Fprintf(out, "server-3 is %s:\n", describe(a))
		for j, config := range clients {
			o := seen[j][i]
			fmt.Fprintf(out, "  %-18v sends it %4.1f%% of its calls; %4.1f%% fail; the slowest of a hundred takes %v\n",
				config.Policy, 100*o.toOdd, 100*o.failed, o.p99)
		}
	}
	fmt.Fprintln(out)
	return judge(out, seen[2])
}

func describe(a act) string {
	if a.err != nil {
		return fmt.Sprintf("there, and %s", a.name)
	}
	return a.name
}

// play takes one client through all acts.
func play(config lb.Config) (outcomes []outcome, err error) {
	now := time.Duration(0)
	start := time.Unix(0, 0)
	config.Seed = 1
	config.Now = func() time.Time { return start.Add(now) }
	b, err := lb.New(config, lb.Backend{Name: "server-0"}, lb.Backend{Name: "server-1"}, lb.Backend{Name: "server-2"}, lb.Backend{Name: odd})
	if err != nil {
		return nil, err
	}
	var underWay []call // by their ends
	for _, a := range acts {
		var o outcome
		var latencies []time.Duration
		next := now
		for end := now + a.lasts; next < end; next += pause {
			for len(underWay) > 0 && underWay[0].ends <= next {
				now = underWay[0].ends
				underWay[0].pick.Done(underWay[0].err)
				underWay = underWay[1:]
			}
			now = next
			c := call{ends: now + 10*time.Millisecond}
			if c.pick, err = b.Pick(lb.Request{}); err != nil {
				return nil, err
			}
			if c.pick.Backend().Name == odd {
				c.ends, c.err = now+a.takes, a.err
				o.toOdd++
			}
			if c.err != nil {
				o.failed++
			}
			latencies = append(latencies, c.ends-now)
			at, _ := slices.BinarySearchFunc(underWay, c, func(x, y call) int { return cmp.Compare(x.ends, y.ends) })
			underWay = slices.Insert(underWay, at, c)
		}
		now = next
		slices.Sort(latencies)
		o.toOdd /= float64(len(latencies))
		o.failed /= float64(len(latencies))
		o.p99 = latencies[len(latencies)*99/100]
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// judge says whether the default did what it promises.
func judge(out io.Writer, o []outcome) (ok bool) {
	ok = true
	for _, check := range []struct {
		promise string
		held    bool
	}{
		{"A server that is well gets its part of the calls.", o[0].toOdd > 0.15 && o[0].toOdd < 0.35},
		{"One that is slow gets hardly any.", o[1].toOdd < 0.01 && o[1].p99 <= 10*time.Millisecond},
		{"One that fails is left alone.", o[2].failed < 0.005},
		{"One that does not answer is left alone.", o[3].failed < 0.005},
		{"Once it is well it gets calls again.", o[4].toOdd > 0.05},
	} {
		mark := "yes"
		if !check.held {
			mark, ok = "NO ", false
		}
		fmt.Fprintf(out, "%s  %s\n", mark, check.promise)
	}
	if ok {
		fmt.Fprintln(out, "\nVERDICT: nobody noticed that a server was ill.")
	} else {
		fmt.Fprintln(out, "\nVERDICT: FAILED.")
	}
	return ok
}
