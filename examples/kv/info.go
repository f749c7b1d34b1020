package main

import (
	"fmt"
	"net"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/raft"
)

// A fact is one line of INFO. Its value is found when a client asks.
type fact struct {
	name  string
	value func() any
}

// is makes a fact that does not change.
func is(name string, value any) fact { return fact{name, func() any { return value }} }

// A section of INFO is a headline and facts.
type section struct {
	name  string
	facts []fact
}

// info returns what INFO says of this node, by section, "" for all.
func (n *node) info(address net.Addr, c nodeConfig) func(section string) string {
	sections := append([]section{serverSection(address)}, n.data.sections()...)
	sections = append(sections, section{"Network", c.network}, n.clientsSection(c.server.clients), processSection())
	return func(section string) string { return renderInfo(sections, section) }
}

func renderInfo(sections []section, name string) string {
	var b strings.Builder
	for _, s := range sections {
		if name != "" && name != "all" && name != "default" && name != "everything" && name != strings.ToLower(s.name) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		fmt.Fprintf(&b, "# %s\r\n", s.name)
		for _, f := range s.facts {
			fmt.Fprintf(&b, "%s:%v\r\n", f.name, f.value())
		}
	}
	return b.String()
}

func serverSection(address net.Addr) section {
	began := time.Now()
	return section{"Server", []fact{
		is("server", "parley-kv"),
		is("version", version),
		is("address", address),
		{"uptime_in_seconds", func() any { return int(time.Since(began).Seconds()) }},
	}}
}

func (n *node) clientsSection(most int) section {
	s := n.server
	return section{"Clients", []fact{
		{"connected_clients", func() any { return s.clients.Load() }},
		is("maxclients", most),
		{"rejected_connections", func() any { return s.refused.Load() }},
		{"total_connections_received", func() any { return s.accepted.Load() }},
		{"total_commands_processed", func() any { return s.served.Load() }},
	}}
}

// sections tells who this node is and what may be expected of the cluster.
func (d *database) sections() []section {
	state := func() any {
		if d.store.Status().Ready {
			return "ready"
		}
		return "recovering"
	}
	var names []string
	for n := range d.ring.Nodes() {
		names = append(names, n.Name)
	}
	count := func(name string, pick func(quorum.Stats) uint64) fact {
		return fact{name, func() any { return pick(d.store.Stats()) }}
	}
	return []section{
		{"Cluster", []fact{
			is("node", d.transport.Local()),
			is("mode", "ap"),
			{"state", state},
			is("nodes", strings.Join(names, ",")),
			is("replicas", d.replicas),
			is("replicas_that_must_answer", d.replicas/2+1),
			is("get_and_set", "linearizable for each key"),
			is("set_with_condition_and_del", "decided by one node: right while no node is down, paused or cut off, and no plain SET of the key is under way"),
			is("expiry", "by the clock of the node that answers"),
		}},
		{"Replication", []fact{
			count("reads", func(s quorum.Stats) uint64 { return s.Reads }),
			count("writes", func(s quorum.Stats) uint64 { return s.Writes }),
			count("failed", func(s quorum.Stats) uint64 { return s.Failed }),
			count("written_back", func(s quorum.Stats) uint64 { return s.WrittenBack }),
			count("repaired", func(s quorum.Stats) uint64 { return s.Repaired }),
			count("copied", func(s quorum.Stats) uint64 { return s.Copied }),
		}},
	}
}

// sections tells who this node is, who leads, and how far its log is.
func (r *replica) sections() []section {
	status := func(name string, pick func(raft.Status) any) fact {
		return fact{name, func() any { return pick(r.node.Status()) }}
	}
	count := func(name string, pick func(raft.Stats) uint64) fact {
		return fact{name, func() any { return pick(r.node.Stats()) }}
	}
	members := r.node.Status().Membership.Voters
	reads := "by asking a majority who leads"
	if r.leases {
		reads = "by the leader's lease: right while clocks run evenly"
	}
	return []section{
		{"Cluster", []fact{
			status("node", func(s raft.Status) any { return s.Node }),
			is("mode", "cp"),
			status("state", func(s raft.Status) any { return r.state(s) }),
			is("nodes", strings.Join(members, ",")),
			is("replicas", len(members)),
			is("replicas_that_must_answer", len(members)/2+1),
			is("every_command", "linearizable, also with several keys; a write is done once"),
			is("reads", reads),
			is("expiry", "by the clock of the log"),
		}},
		{"Consensus", []fact{
			status("role", func(s raft.Status) any { return s.Role }),
			status("leader", func(s raft.Status) any { return s.Leader }),
			status("term", func(s raft.Status) any { return s.Term }),
			status("commit", func(s raft.Status) any { return s.Commit }),
			status("applied", func(s raft.Status) any { return s.Applied }),
			status("first", func(s raft.Status) any { return s.First }),
			status("last", func(s raft.Status) any { return s.Last }),
			count("snapshots_taken", func(s raft.Stats) uint64 { return s.Snapshots }),
			count("snapshots_fetched", func(s raft.Stats) uint64 { return s.Fetched }),
			count("saves", func(s raft.Stats) uint64 { return s.Saves }),
		}},
	}
}

// state sums a status up in a word.
func (r *replica) state(s raft.Status) string {
	switch {
	case s.Failure != nil:
		return "failed"
	case !r.ready.Load():
		return "recovering"
	case s.Leader == "":
		return "leaderless"
	default:
		return "ready"
	}
}

// processSection tells what the process costs.
func processSection() section {
	size := func(name, metric string) fact {
		return fact{name, func() any {
			sample := []metrics.Sample{{Name: metric}}
			metrics.Read(sample)
			return sample[0].Value.Uint64()
		}}
	}
	return section{"Process", []fact{
		{"goroutines", func() any { return runtime.NumGoroutine() }},
		size("heap_bytes", "/memory/classes/heap/objects:bytes"),
		size("memory_bytes", "/memory/classes/total:bytes"),
	}}
}
