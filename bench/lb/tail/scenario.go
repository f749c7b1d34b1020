package main

import "time"

// A scenario is what is wrong with the servers.
type scenario struct {
	name       string
	slow       int           // every so many-th server takes slowBy as long; 0: none
	fails      bool          // server 0 fails at once from the end of the warm-up on
	hangs      bool          // server 0 does not answer from the end of the warm-up on
	stallEvery time.Duration // mean time between a server's stalls; 0: none
	joins      time.Duration // when the last server joins, cold; 0: it is there
}

const (
	slowBy   = 4
	stallFor = 300 * time.Millisecond
	coldBy   = 10              // how many times as long a cold server takes at first
	coldFor  = 4 * time.Second // until it is warm
)

// The names of the scenarios.
const (
	well   = "all well"
	slow   = "1 in 5 slow"
	stalls = "stalls"
	fails  = "1 fails fast"
	hangs  = "1 hangs"
	joins  = "1 joins cold"
)

// scenarios are those of the table.
func scenarios() []scenario {
	return []scenario{
		{name: well},
		{name: slow, slow: 5},
		{name: stalls, stallEvery: 5 * time.Second},
		{name: fails, fails: true},
		{name: hangs, hangs: true},
		{name: joins, joins: warmUp},
	}
}

func (s scenario) failing(server int, at time.Duration) bool {
	return s.fails && server == 0 && at >= warmUp
}

func (s scenario) hanging(server int, at time.Duration) bool {
	return s.hangs && server == 0 && at >= warmUp
}

// slowness is how many times as long as usual a server takes.
func (s scenario) slowness(server int, at time.Duration) float64 {
	switch {
	case s.slow > 0 && server%s.slow == 0:
		return slowBy
	case s.joins > 0 && server == servers-1:
		cold := 1 - float64(at-s.joins)/float64(coldFor)
		return 1 + (coldBy-1)*max(0, cold)
	}
	return 1
}
