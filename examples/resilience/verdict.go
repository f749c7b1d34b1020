package main

import (
	"errors"
	"fmt"
	"io"
)

// A check is one sentence of the verdict.
type check struct {
	promise string
	got     float64
	bound   float64
	least   bool   // the bound is the least that is right, not the most
	format  string // how fmt prints it
}

func (c check) held() bool {
	if c.least {
		return c.got >= c.bound
	}
	return c.got <= c.bound
}

// The promises of the guards.
const (
	fewTries     = "tries for each request, in the outage"
	fewTriesEver = "tries for each request, over all"
	leftAlone    = "calls sent for each request, in the outage"
	noHerd       = "calls sent in the busiest 0.1 s of the recovery"
	backSoon     = "seconds of the recovery until 95% are answered"
	busy         = "answers for each call it can do, in the overload"
)

// judge measures a run.
func judge(acts []act, r *record) []check {
	down, back, over := during(acts, outage), during(acts, recovery), during(acts, overload)
	return []check{
		{promise: fewTries, got: r.amplification(down), bound: 1.1, format: "%.3f"},
		{promise: fewTriesEver, got: r.amplification(span{0, len(r.slots) / tenths}), bound: 1.1, format: "%.3f"},
		{promise: leftAlone, got: ratio(r.total(sent, down), r.total(asked, down)), bound: 0.2, format: "%.3f"},
		{promise: noHerd, got: float64(r.peak(sent, back)), bound: float64(capacity / tenths), format: "%.0f"},
		{promise: backSoon, got: float64(recovered(r, back)), bound: 3, format: "%.0f"},
		{promise: busy, got: ratio(r.total(answered, over), capacity*(over.end-over.begin)), bound: 0.9, least: true, format: "%.3f"},
	}
}

func ratio(part, whole int) float64 { return float64(part) / float64(max(1, whole)) }

// recovered returns after how many seconds nearly all requests are answered, and
// go on to be until the end of the span; all of its seconds, if they never are.
func recovered(r *record, s span) int {
	for second := s.end - 1; second >= s.begin; second-- {
		now := span{second, second + 1}
		if ratio(r.total(answered, now), r.total(asked, now)) < 0.95 {
			return second + 1 - s.begin
		}
	}
	return 0
}

// writeVerdict prints what each run came to. The error names what the guards did
// not hold.
func writeVerdict(out io.Writer, guarded, bare []check) error {
	fmt.Fprintf(out, "\n  %-49s  %-15s  %11s  %14s\n", "", "right is", "with guards", "without guards")
	var errs []error
	for i, c := range guarded {
		relation := "at most "
		if c.least {
			relation = "at least "
		}
		show := func(v float64) string { return fmt.Sprintf(c.format, v) }
		fmt.Fprintf(out, "  %-49s  %-15s  %11s  %14s\n", c.promise, relation+show(c.bound), show(c.got), show(bare[i].got))
		if !c.held() {
			errs = append(errs, fmt.Errorf("%s: %s, and not %s", c.promise, show(c.got), relation+show(c.bound)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprint(out, "\nVERDICT: FAILED: the guards did not hold what they promise.\n")
		return err
	}
	_, err := fmt.Fprint(out, "\nVERDICT: the guards held. What they are and how they work: examples/resilience/README.md\n")
	return err
}
