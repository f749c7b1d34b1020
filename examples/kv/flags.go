package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
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
	mode      string
	replicas  int
	strict    replicaConfig
	reads     string
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
	flags.StringVar(&c.mode, "mode", modeAP, "`kind` of replication, the same on all nodes: ap, without a leader, in memory, where what needs\n"+
		"no agreement is right under faults; or cp, with a leader and a log on disk, where every command is")
	flags.IntVar(&c.replicas, "replicas", 3, "with ap: `nodes` that hold a key, the same on all; a majority of them answers every command")
	flags.StringVar(&c.strict.dir, "data", "", "with cp: `folder` for the log and the snapshots of this node")
	flags.StringVar(&c.reads, "reads", readsIndex, "with cp: `how` a leader knows that it still leads, the same on all nodes: index, it asks a majority;\n"+
		"or lease, it relies on their patience, which is right while clocks run evenly")
	flags.DurationVar(&c.strict.heartbeat, "heartbeat", 100*time.Millisecond, "with cp: `time` between two heartbeats of the leader, the same on all nodes")
	flags.DurationVar(&c.strict.election, "election", time.Second, "with cp: `time` without one after which another leader is elected, the same on all nodes")
	flags.IntVar(&c.strict.snapshot, "snapshot", 100_000, "with cp: `entries` of the log after which a snapshot takes their place")
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
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return c, c.check(given)
}

// What -mode and -reads may be.
const (
	modeAP     = "ap"
	modeCP     = "cp"
	readsIndex = "index"
	readsLease = "lease"
)

// ofMode says which flags go with one mode only.
var ofMode = map[string]string{ // constant:
	"replicas": modeAP, "data": modeCP, "reads": modeCP, "heartbeat": modeCP, "election": modeCP, "snapshot": modeCP,
}

// check finds what the flag package cannot. given are the flags that were set.
func (c serveConfig) check(given map[string]bool) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.name == "" && len(c.peers) == 0:
		fail("serve needs -name and -peers, for example: -name a -peers a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003")
	case c.peers.address(c.name) == "":
		fail("-peers is %q, it must have an entry for -name, %q", c.peers.String(), c.name)
	}
	if c.mode != modeAP && c.mode != modeCP {
		fail("-mode is %q, it must be ap or cp", c.mode)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if of := ofMode[name]; of != "" && of != c.mode {
			fail("-%s goes with -mode %s", name, of)
		}
	}
	if c.mode == modeCP && c.strict.dir == "" {
		fail("-mode cp keeps its log on disk: give -data FOLDER, one for each node")
	}
	if c.reads != readsIndex && c.reads != readsLease {
		fail("-reads is %q, it must be index or lease", c.reads)
	}
	switch {
	case c.certs == "" && !c.insecure:
		fail("nodes know each other by certificates: give -certs FOLDER (kv certify makes one), or -insecure where every machine on the network may be trusted")
	case c.certs != "" && c.insecure:
		fail("-certs and -insecure contradict each other")
	}
	for _, b := range []struct {
		flag             string
		got, least, most int64
		unit             string
	}{
		{"replicas", int64(c.replicas), 1, quorum.MaxReplicas, ""},
		{"clients", int64(c.clients), 1, 100_000, ""},
		{"snapshot", int64(c.strict.snapshot), 1, 1e9, ""},
		{"timeout", c.timeout.Milliseconds(), 10, 60_000, " ms"},
		{"keepalive", c.keepAlive.Milliseconds(), 10, 60_000, " ms"},
		{"heartbeat", c.strict.heartbeat.Milliseconds(), 1, 10_000, " ms"},
		{"election", c.strict.election.Milliseconds(), 2 * c.strict.heartbeat.Milliseconds(), 60_000, " ms"},
	} {
		if b.got < b.least || b.got > b.most {
			fail("-%s is %d%s, it must be from %d to %d", b.flag, b.got, b.unit, b.least, b.most)
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
