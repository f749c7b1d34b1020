package main

import (
	"fmt"
	"net"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/parley-go/parley/quorum"
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
func (n *node) info(name string, address net.Addr, c nodeConfig) func(section string) string {
	sections := []section{
		serverSection(address),
		n.clusterSection(name, c),
		{"Network", c.network},
		n.clientsSection(c.server.clients),
		n.replicationSection(),
		processSection(),
	}
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

// clusterSection tells who this node is and what may be expected of the cluster.
func (n *node) clusterSection(name string, c nodeConfig) section {
	state := func() any {
		if n.store.Status().Ready {
			return "ready"
		}
		return "recovering"
	}
	replicas := min(c.replicas, len(c.nodes))
	return section{"Cluster", []fact{
		is("node", name),
		{"state", state},
		is("nodes", strings.Join(c.nodes, ",")),
		is("replicas", replicas),
		is("replicas_that_must_answer", replicas/2+1),
		is("get_and_set", "linearizable for each key"),
		is("set_with_condition_and_del", "decided by one node: right while no node is down, paused or cut off, and no plain SET of the key is under way"),
		is("expiry", "by the clock of the node that answers"),
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

func (n *node) replicationSection() section {
	count := func(name string, pick func(quorum.Stats) uint64) fact {
		return fact{name, func() any { return pick(n.store.Stats()) }}
	}
	return section{"Replication", []fact{
		count("reads", func(s quorum.Stats) uint64 { return s.Reads }),
		count("writes", func(s quorum.Stats) uint64 { return s.Writes }),
		count("failed", func(s quorum.Stats) uint64 { return s.Failed }),
		count("written_back", func(s quorum.Stats) uint64 { return s.WrittenBack }),
		count("repaired", func(s quorum.Stats) uint64 { return s.Repaired }),
		count("copied", func(s quorum.Stats) uint64 { return s.Copied }),
	}}
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
