package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"
)

// A call is one INCR or GET of a counter, as a client saw it.
type call struct {
	Client   int           `json:"client"`
	Key      string        `json:"key"`
	Incr     bool          `json:"incr"`     // or a GET, of which only the answered ones count
	Answered bool          `json:"answered"` // an INCR that was not may be done at any time after Begun, or never
	Number   int64         `json:"number"`   // the answer; 0 where there is no counter yet
	Begun    time.Duration `json:"begun"`    // since the first of all
	Ended    time.Duration `json:"ended"`
}

// place is where an answered call stands in the only order that its answers
// allow: INCR to 1, GETs of 1, INCR to 2 and so on.
func (c call) place() int64 {
	if c.Incr {
		return 2 * c.Number
	}
	return 2*c.Number + 1
}

// checkCounters reports whether the calls are linearizable: whether there is one
// order of all of them, each taking effect at a moment between its beginning and
// its end, in which a single counter for each key would have given the same
// answers. For counters this is decided in O(n log n), because an answer tells its
// place in the order. What is left is to compare that order with the clock.
func checkCounters(calls []call) error {
	byKey := map[string][]call{}
	for _, c := range calls {
		byKey[c.Key] = append(byKey[c.Key], c)
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if err := checkCounter(byKey[key]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func checkCounter(calls []call) error {
	var answered, unanswered []call
	for _, c := range calls {
		switch {
		case c.Answered:
			answered = append(answered, c)
		case c.Incr:
			unanswered = append(unanswered, c)
		}
	}
	missing, err := checkNumbers(answered, len(calls))
	if err != nil {
		return err
	}
	if err := checkRealTime(answered); err != nil {
		return err
	}
	return checkMissing(missing, answered, unanswered)
}

// checkNumbers finds numbers that were given out twice, and returns those that
// must have been and nobody was told of, in order.
func checkNumbers(answered []call, most int) (missing []int64, err error) {
	highest, given := int64(0), map[int64]bool{}
	for _, c := range answered {
		if c.Number < 0 || c.Incr && c.Number == 0 || c.Number > int64(most) {
			return nil, fmt.Errorf("the answer %d cannot be after %d calls", c.Number, most)
		}
		highest = max(highest, c.Number)
		if c.Incr && given[c.Number] {
			return nil, fmt.Errorf("two INCRs were told %d: an acknowledged one is lost", c.Number)
		}
		given[c.Number] = given[c.Number] || c.Incr
	}
	for n := int64(1); n <= highest; n++ {
		if !given[n] {
			missing = append(missing, n)
		}
	}
	return missing, nil
}

// checkRealTime finds a call that stands before another in the order though it
// began after that one had ended.
func checkRealTime(answered []call) error {
	byBegun := slices.SortedFunc(slices.Values(answered), func(a, b call) int { return cmp.Compare(a.Begun, b.Begun) })
	byEnded := slices.SortedFunc(slices.Values(answered), func(a, b call) int { return cmp.Compare(a.Ended, b.Ended) })
	var latest call // in the order, of those that have ended
	for _, c := range byBegun {
		for len(byEnded) > 0 && byEnded[0].Ended < c.Begun {
			if byEnded[0].place() > latest.place() {
				latest = byEnded[0]
			}
			byEnded = byEnded[1:]
		}
		if c.place() < latest.place() {
			return fmt.Errorf("client %d was told %d at %v, and then client %d, which asked at %v, %d", latest.Client, latest.Number, latest.Ended, c.Client, c.Begun, c.Number)
		}
	}
	return nil
}

// checkMissing gives every number that nobody was told of to an unanswered INCR,
// the lowest to the earliest. That INCR must have begun before anybody was told of
// the number or of a higher one.
func checkMissing(missing []int64, answered, unanswered []call) error {
	if len(missing) > len(unanswered) {
		return fmt.Errorf("%d numbers were counted that nobody was told of, and only %d INCRs had no answer: some were done twice", len(missing), len(unanswered))
	}
	slices.SortFunc(unanswered, func(a, b call) int { return cmp.Compare(a.Begun, b.Begun) })
	byNumber := slices.SortedFunc(slices.Values(answered), func(a, b call) int { return cmp.Compare(b.Number, a.Number) })
	known := time.Duration(math.MaxInt64) // when somebody was first told of the number or more
	for i, n := range slices.Backward(missing) {
		for len(byNumber) > 0 && byNumber[0].Number >= n {
			known = min(known, byNumber[0].Ended)
			byNumber = byNumber[1:]
		}
		if unanswered[i].Begun > known {
			return fmt.Errorf("%d was counted at %v, before the INCR that can have done it began at %v", n, known, unanswered[i].Begun)
		}
	}
	return nil
}

// writeHistory writes the calls as one line of JSON each.
func writeHistory(w io.Writer, calls []call) error {
	out := json.NewEncoder(w)
	for _, c := range calls {
		if err := out.Encode(c); err != nil {
			return err
		}
	}
	return nil
}
