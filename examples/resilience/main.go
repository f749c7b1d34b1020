// Command resilience shows what a retry budget, a circuit breaker and an adaptive
// limit are for: the same clients call the same flaky service through the same
// troubles, once with these guards and once without. README.md explains them.
//
//	resilience                the script, twice, and a verdict
//	resilience -off limit     the same with one guard missing: see what it was for
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// The exit status of the program.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// main runs the script in virtual time: 50 seconds of it pass in a few of ours,
// with the real packages, and come out the same on a busy machine. Such time is to
// be had in a bubble of testing/synctest, and a bubble wants a *testing.T, which
// testing.Main hands to programs, too.
func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(exitOK)
	case err != nil:
		fmt.Fprintf(os.Stderr, "resilience: %v\n", err)
		os.Exit(exitUsage)
	}
	_ = flag.CommandLine.Parse(nil) // the flags are ours: testing gets none
	all := func(_, _ string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "resilience", F: func(t *testing.T) {
		if err := tell(t, o, script, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "resilience: %v\n", err)
			os.Exit(exitFailed)
		}
		os.Exit(exitOK)
	}}}, nil, nil)
}

// options is the command line.
type options struct {
	svg    string
	seed   uint64
	guards guards
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("resilience", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.svg, "svg", "", "`file` to draw the timeline into; without one, a new file in the folder for temporary ones")
	flags.Uint64Var(&o.seed, "seed", 1, "`number` that all chance is drawn from: the same seed, the same run")
	off := flags.String("off", "", "`guards` to do without, to see what they are for: budget,breaker,limit")
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "resilience: the same clients and the same flaky service, with and without guards")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w: see resilience -h", err)
	case flags.NArg() > 0:
		return o, fmt.Errorf("there is no argument %q: see resilience -h", flags.Arg(0))
	}
	o.guards, err = without(*off)
	return o, err
}

// guards says which of them are there.
type guards struct{ budget, breaker, limit bool }

// without returns all guards but those that are named.
func without(names string) (guards, error) {
	g := guards{true, true, true}
	for name := range strings.FieldsFuncSeq(names, func(r rune) bool { return r == ',' }) {
		switch name {
		case "budget":
			g.budget = false
		case "breaker":
			g.breaker = false
		case "limit":
			g.limit = false
		default:
			return g, fmt.Errorf("-off: there is no guard %q: they are budget, breaker and limit", name)
		}
	}
	return g, nil
}

// tell runs the script with the guards and without, and prints and draws both. The
// error says what the guards did not hold.
func tell(t *testing.T, o options, acts []act, out io.Writer) error {
	fmt.Fprint(out, introduction)
	guarded, bare := run(t, acts, o.seed, o.guards), run(t, acts, o.seed, guards{})
	writeTable(out, acts, guarded, bare)
	place, err := store(o.svg, draw(acts, guarded, bare))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe timeline as a picture: %s\n", place)
	return writeVerdict(out, judge(acts, guarded), judge(acts, bare))
}

// store writes the picture to a file, or to a new one if none is named, and returns
// which.
func store(name string, picture []byte) (string, error) {
	if name != "" {
		return name, os.WriteFile(name, picture, 0o644)
	}
	f, err := os.CreateTemp("", "resilience-*.svg")
	if err != nil {
		return "", err
	}
	_, err = f.Write(picture)
	return f.Name(), errors.Join(err, f.Close())
}
