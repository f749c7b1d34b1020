package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/transport"
)

// parseFlags reads the flags of a command. It shows them when asked to, and says
// nothing of mistakes, which it returns as a usageError.
func parseFlags(flags *flag.FlagSet, args []string, stderr io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stderr)
		flags.Usage()
		return err
	default:
		return usageError{fmt.Errorf("%w: see kv %s -h", err, flags.Name())}
	}
}

// A serveConfig is the command line of kv serve.
type serveConfig struct {
	name      string
	listen    string
	peers     peerList
	certs     string
	insecure  bool
	replicas  int
	clients   int
	timeout   time.Duration
	keepAlive time.Duration
	withStdin bool
}

func parseServe(args []string, stderr io.Writer) (serveConfig, error) {
	var c serveConfig
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&c.name, "name", "", "`name` of this node, one of -peers")
	flags.StringVar(&c.listen, "listen", "127.0.0.1:6379", "`address` for Redis clients; port 0 takes a free one")
	flags.Var(&c.peers, "peers", "`nodes` of the cluster, this one too, the same on all: a=host:port,b=host:port,c=host:port;\n"+
		"the addresses are for each other, apart from that for clients")
	flags.StringVar(&c.certs, "certs", "", "`folder` with authority.crt, node.crt and node.key, as kv certify makes one for each node")
	flags.BoolVar(&c.insecure, "insecure", false, "nodes talk without encryption and believe every name; instead of -certs")
	flags.IntVar(&c.replicas, "replicas", 3, "`nodes` that hold a key, the same on all; a majority of them answers every command")
	flags.IntVar(&c.clients, "clients", defaultServer().clients, "clients at the same time")
	flags.DurationVar(&c.timeout, "timeout", defaultServer().command, "`time` after which a command fails")
	flags.DurationVar(&c.keepAlive, "keepalive", 2*time.Second, "`time` of silence after which another node is given up")
	flags.BoolVar(&c.withStdin, "with-stdin", false, "end when standard input ends: for a program that starts servers and must leave none behind")
	if err := parseFlags(flags, args, stderr); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, usageError{fmt.Errorf("serve takes no argument %q", flags.Arg(0))}
	}
	return c, c.check()
}

// check finds what the flag package cannot.
func (c serveConfig) check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.name == "" && len(c.peers) == 0:
		fail("serve needs -name and -peers, for example: -name a -peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003")
	case c.peers.address(c.name) == "":
		fail("-peers is %q, it must have an entry for -name, %q", c.peers.String(), c.name)
	}
	switch {
	case c.certs == "" && !c.insecure:
		fail("nodes know each other by certificates: give -certs FOLDER (kv certify makes one), or -insecure where every machine on the network may be trusted")
	case c.certs != "" && c.insecure:
		fail("-certs and -insecure contradict each other")
	}
	bounds := []struct {
		flag             string
		got, least, most int64
	}{
		{"replicas", int64(c.replicas), 1, quorum.MaxReplicas},
		{"clients", int64(c.clients), 1, 100_000},
		{"timeout", c.timeout.Milliseconds(), 10, 60_000},
		{"keepalive", c.keepAlive.Milliseconds(), 10, 60_000},
	}
	for i, b := range bounds {
		if b.got < b.least || b.got > b.most {
			unit := ""
			if i >= 2 {
				unit = " ms"
			}
			fail("-%s is %d%s, it must be from %d to %d", b.flag, b.got, unit, b.least, b.most)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}

// A peerList is the value of -peers.
type peerList []peerAddress

type peerAddress struct{ name, address string }

// String returns the list as Set takes it.
func (p *peerList) String() string {
	var entries []string
	for _, peer := range *p {
		entries = append(entries, peer.name+"="+peer.address)
	}
	return strings.Join(entries, ",")
}

// Set reads name=host:port,... and replaces what was there.
func (p *peerList) Set(s string) error {
	var list peerList
	for entry := range strings.SplitSeq(s, ",") {
		name, address, ok := strings.Cut(strings.TrimSpace(entry), "=")
		if !ok {
			return fmt.Errorf("%q is not name=host:port", entry)
		}
		if err := transport.CheckName("node", name); err != nil {
			return err
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("address of node %q: %w", name, err)
		}
		if list.address(name) != "" {
			return fmt.Errorf("node %q is named twice", name)
		}
		list = append(list, peerAddress{name, address})
	}
	*p = list
	return nil
}

// address returns the address of a node, "" if there is none of that name.
func (p *peerList) address(name string) string {
	for _, peer := range *p {
		if peer.name == name {
			return peer.address
		}
	}
	return ""
}

func (p *peerList) names() []string {
	var names []string
	for _, peer := range *p {
		names = append(names, peer.name)
	}
	slices.Sort(names)
	return names
}
