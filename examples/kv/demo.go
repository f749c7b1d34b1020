package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// demoTime is how long the demo may take. It needs a small part of it.
const demoTime = 30 * time.Second

// demo is the command of that name: it tells a story, and fails if the story did
// not come out.
func demo(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	mode := flags.String("mode", modeAP, "ap: servers without a leader, in memory; cp: with a leader, on disk")
	record := flags.String("history", "", "with cp: `file` for the history that was checked, one call a line")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "kv demo: starts three servers on this machine, writes to them, kills them one after the other, and counts what is lost")
		flags.PrintDefaults()
	}
	if err := parseFlags(flags, args, stderr); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return usageError{fmt.Errorf("demo takes no argument %q", flags.Arg(0))}
	case *mode != modeAP && *mode != modeCP:
		return usageError{fmt.Errorf("-mode is %q, it must be ap or cp", *mode)}
	case *record != "" && *mode != modeCP:
		return usageError{errors.New("-history goes with -mode cp")}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, demoTime, fmt.Errorf("the demo took longer than %v", demoTime))
	defer cancel()
	tell, extra := tellQuorum, []string(nil)
	if *mode == modeCP {
		tell = func(ctx context.Context, t *teller) error { return tellStrict(ctx, t, *record) }
		extra = strictFlags()
	}
	servers, err := prepare(*mode == modeCP, extra, "a", "b", "c")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	t := &teller{out: stdout, began: time.Now(), servers: servers}
	if err := tell(ctx, t); err != nil {
		fmt.Fprintf(stdout, "\nVERDICT: FAILED after %s.\n", t.elapsed())
		return err
	}
	return nil
}

// A teller tells a story of some servers. What it says is meant for somebody who
// has never seen the library.
type teller struct {
	out     io.Writer
	began   time.Time
	servers *processes
	step    int
}

func (t *teller) headline(format string, args ...any) {
	t.step++
	fmt.Fprintf(t.out, "\n%d. %s\n", t.step, fmt.Sprintf(format, args...))
}

func (t *teller) say(format string, args ...any) {
	fmt.Fprintf(t.out, "   "+format+"\n", args...)
}

func (t *teller) elapsed() string { return seconds(time.Since(t.began)) }

// startAll starts all servers and waits until they are ready.
func (t *teller) startAll(ctx context.Context) error {
	for _, p := range t.servers.all {
		if err := t.servers.start(p); err != nil {
			return err
		}
	}
	for _, p := range t.servers.all {
		if _, err := t.servers.ready(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// introduce tells where the servers are.
func (t *teller) introduce() {
	for _, p := range t.servers.all {
		t.say("  server %s, process %d, Redis clients at %s", p.name, p.cmd.Process.Pid, p.clients)
	}
}

func since(t time.Time) string { return "(" + seconds(time.Since(t)) + ")" }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// count writes a number with commas between the thousands.
func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
