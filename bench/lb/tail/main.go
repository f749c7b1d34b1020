// Command tail shows what each balancing policy makes of a fleet in which
// something is wrong: how long the slowest one in a hundred calls takes, and how
// many fail.
//
//	go -C bench run ./lb/tail                  the table
//	go -C bench run ./lb/tail -svg tail.svg    and as a picture
//	go -C bench run ./lb/tail -seed 7          another run; equal seeds give equal tables
//
// It is a simulation in virtual time of the library's own balancers: 50 servers
// that serve 8 calls at a time, 10 clients that know only of their own calls,
// exponential service times of 10 ms in the mean, and calls that arrive at random
// and would keep healthy servers busy for 70% of the time. The calls are the same
// for every policy, and each is followed to its end. What may be wrong:
//
//   - 1 in 5 slow: every fifth server takes four times as long, all the time;
//   - stalls: every server stops for 300 ms, once in 5 s in the mean;
//   - 1 fails fast: one server answers after 1 ms, with an error;
//   - 1 hangs: one server does not answer, and clients give up after 1 s;
//   - 1 joins cold: a new server takes ten times as long, and is warm after 4 s.
//
// Where servers are overloaded, as slow ones are by round-robin, the queue grows
// for as long as the run lasts, and so does the tail. The command ends with status
// 1 if a bound is not held that the library sets itself.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/parley-go/parley/lb"
)

func main() {
	seed := flag.Uint64("seed", 1, "of all random numbers")
	measured := flag.Duration("time", 10*time.Second, "virtual time that is measured")
	picture := flag.String("svg", "", "also draw to this `file`")
	flag.Parse()
	if err := show(os.Stdout, *seed, *measured, *picture); err != nil {
		fmt.Fprintln(os.Stderr, "tail:", err)
		os.Exit(1)
	}
}

// show plays everything, prints the table and draws the picture.
func show(out io.Writer, seed uint64, measured time.Duration, picture string) error {
	var rows []row
	for _, s := range setups() {
		r, err := s.play(seed, measured)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	if err := writeTable(out, rows); err != nil {
		return err
	}
	if picture != "" {
		if err := os.WriteFile(picture, drawPicture(rows), 0o644); err != nil {
			return err
		}
	}
	return judge(rows)
}

// A setup is one way to configure the clients.
type setup struct {
	name   string
	group  string
	config lb.Config
}

// The groups of setups.
const (
	alone = "The choice alone: no ejection, no slow start"
	whole = "As configured by default"
)

// setups are all policies, alone and with what is on by default.
func setups() (all []setup) {
	policies := []lb.Policy{
		lb.RoundRobin{},
		lb.Weighted{},
		lb.Random{},
		lb.Maglev{},
		lb.ConsistentHash{},
		lb.LeastConnections{},
		lb.PowerOfTwo{},
		lb.LatencyAware{},
	}
	for _, p := range policies {
		all = append(all, setup{p.String(), alone, lb.Config{Policy: p, DisableEjection: true, DisableSlowStart: true}})
	}
	for _, p := range policies {
		all = append(all, setup{p.String(), whole, lb.Config{Policy: p}})
	}
	return all
}

// A row is what a setup came to in each scenario.
type row struct {
	setup
	results []result
}

func (s setup) play(seed uint64, measured time.Duration) (row, error) {
	r := row{setup: s}
	for _, scenario := range scenarios() {
		result, err := run(scenario, s.config, seed, measured)
		if err != nil {
			return row{}, fmt.Errorf("%s, %s: %w", s.name, scenario.name, err)
		}
		r.results = append(r.results, result)
	}
	return r, nil
}

// A bound is what the library promises of a policy with its defaults.
type bound struct {
	policy   lb.Policy
	scenario string
	p99      time.Duration // at most; 0: none
	errors   float64       // share of calls, at most; 0: none
}

func bounds() []bound {
	return []bound{
		{policy: lb.LatencyAware{}, scenario: slow, p99: 75 * time.Millisecond},
		{policy: lb.LatencyAware{}, scenario: stalls, p99: 60 * time.Millisecond},
		{policy: lb.LatencyAware{}, scenario: fails, errors: 0.001},
		{policy: lb.LatencyAware{}, scenario: hangs, p99: 50 * time.Millisecond},
		{policy: lb.LatencyAware{}, scenario: joins, p99: 50 * time.Millisecond},
		{policy: lb.RoundRobin{}, scenario: joins, p99: 200 * time.Millisecond},
	}
}

// check returns in what way a result is out of bounds.
func (b bound) check(r *result) error {
	if p99 := r.quantile(0.99); b.p99 > 0 && p99 > b.p99 {
		return fmt.Errorf("%v, %s: p99 is %v, and not at most %v", b.policy, b.scenario, p99, b.p99)
	}
	if share := r.errorShare(); b.errors > 0 && share > b.errors {
		return fmt.Errorf("%v, %s: %.3f%% of calls fail, and not at most %.3f%%", b.policy, b.scenario, 100*share, 100*b.errors)
	}
	return nil
}

// judge holds the rows of the defaults against the bounds.
func judge(rows []row) error {
	var errs []error
	for _, b := range bounds() {
		for _, r := range rows {
			for i, s := range scenarios() {
				if r.group == whole && r.name == b.policy.String() && s.name == b.scenario {
					errs = append(errs, b.check(&r.results[i]))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// writeTable prints the rows as Markdown.
func writeTable(out io.Writer, rows []row) error {
	group := ""
	for _, r := range rows {
		if r.group != group {
			group = r.group
			fmt.Fprintf(out, "\n%s: p99 in ms; errors where there are any\n\n| |", group)
			var rule strings.Builder
			rule.WriteString("|---|")
			for _, s := range scenarios() {
				fmt.Fprintf(out, " %s |", s.name)
				rule.WriteString("---:|")
			}
			fmt.Fprintf(out, "\n%s\n", rule.String())
		}
		fmt.Fprintf(out, "| %s |", r.name)
		for i := range r.results {
			fmt.Fprintf(out, " %s |", cell(&r.results[i]))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprint(out, "\nBounds, of the defaults:")
	for _, b := range bounds() {
		if b.p99 > 0 {
			fmt.Fprintf(out, " %v, %s: %d ms;", b.policy, b.scenario, b.p99.Milliseconds())
		} else {
			fmt.Fprintf(out, " %v, %s: %.1f%% errors;", b.policy, b.scenario, 100*b.errors)
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}

func cell(r *result) string {
	text := fmt.Sprintf("%.1f", r.quantile(0.99).Seconds()*1000)
	if r.errors > 0 {
		text += fmt.Sprintf(", %.3f%%", 100*r.errorShare())
	}
	return text
}
