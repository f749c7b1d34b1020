package main

import (
	"iter"
	"time"
)

// The service, and who calls it.
const (
	workers  = 20                                    // calls that the service works on at a time
	workTime = 20 * time.Millisecond                 // what a call takes on average, without waiting
	capacity = int(workers * time.Second / workTime) // calls a second
	backlog  = 2 * time.Second                       // the service refuses a call that would wait for longer

	clients  = 20                     // processes, each with guards of its own
	patience = time.Second            // how long somebody waits for an answer, all tries included
	timeout  = 300 * time.Millisecond // how long one try may take
	attempts = 4                      // tries for each request, at most
)

// An act is a part of the script: what the service is like, and how much is asked
// of it.
type act struct {
	name    string
	seconds int
	asked   int     // requests a second, of all clients together
	failing float64 // the share of calls that fail for no reason
	down    bool    // nothing listens
}

// The names that the verdict looks for.
const (
	outage   = "outage"
	recovery = "recovery"
	overload = "overload"
)

// script is the whole story; constant: never changed.
var script = []act{
	{name: "calm", seconds: 5, asked: 600, failing: 0.01},
	{name: "flaky", seconds: 5, asked: 600, failing: 0.2},
	{name: outage, seconds: 10, asked: 600, down: true},
	{name: recovery, seconds: 10, asked: 600, failing: 0.01},
	{name: overload, seconds: 10, asked: 3 * capacity, failing: 0.01},
	{name: "calm again", seconds: 10, asked: 600, failing: 0.01},
}

const introduction = `20 clients call one service, which can do 1,000 calls a second. They ask for 600, and for
3,000 in the overload. Who asks waits for a second; a try that has no answer after 300 ms is
given up, and there are up to 4 tries.

	with guards      clients have a retry budget and a circuit breaker, and the service
	                 an adaptive limit at its door
	without guards   the same clients, tries, back-off and time-outs, and nothing else
`

// length returns how long a script takes.
func length(acts []act) (d time.Duration) {
	for _, a := range acts {
		d += time.Duration(a.seconds) * time.Second
	}
	return d
}

// at returns the act that is on at a moment of the script; the last one after its
// end.
func at(acts []act, moment time.Duration) act {
	for _, a := range acts {
		if moment -= time.Duration(a.seconds) * time.Second; moment < 0 {
			return a
		}
	}
	return acts[len(acts)-1]
}

// spans yields each act with the seconds in which it begins and ends.
func spans(acts []act) iter.Seq2[act, span] {
	return func(yield func(act, span) bool) {
		begin := 0
		for _, a := range acts {
			if !yield(a, span{begin, begin + a.seconds}) {
				return
			}
			begin += a.seconds
		}
	}
}

// A span is the seconds from begin to before end.
type span struct{ begin, end int }

// during returns when the act of a name is on.
func during(acts []act, name string) span {
	for a, s := range spans(acts) {
		if a.name == name {
			return s
		}
	}
	return span{}
}
