// Command kv is a replicated key-value server for clients that speak the Redis
// protocol, and a demonstration of it. README.md tells the life of one SET, and
// what is guaranteed.
//
//	kv demo                   three servers, two faults, one verdict
//	kv serve -name a ...      one server of a cluster
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is what INFO and HELLO tell.
const version = "0.1.0"

const usage = `kv is a replicated key-value server that Redis clients talk to.

	kv demo              starts three servers on this machine, kills them one
	                     after the other, and counts what is lost
	kv serve [flags]     runs one server of a cluster
	kv certify [flags]   makes the certificates of a cluster

kv COMMAND -h shows the flags.
`

// The exit status of the program.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// A usageError is a mistake in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	var err error
	switch name {
	case "serve":
		err = serve(ctx, args, stdin, stderr)
	case "certify":
		err = certify(args, stdout, stderr)
	case "demo":
		err = demo(ctx, args, stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
	case "":
		err = usageError{errors.New("say what to do: kv demo, or kv help")}
	default:
		err = usageError{fmt.Errorf("there is no command %q: see kv help", name)}
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "kv: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "kv: %v\n", err)
		return exitFailed
	}
}
