package main

import (
	"context"
	"log/slog"
	"net"

	"github.com/parley-go/parley/transport"
)

// A nodeConfig says what is the same on every transport.
type nodeConfig struct {
	nodes    []string       // the names of all members
	replicas int            // that hold a key, without a leader
	strict   *replicaConfig // with a leader; nil: without
	server   serverConfig
	network  []fact // of the transport, for INFO
	log      *slog.Logger
}

// A backend is what holds the data: a database or a replica.
type backend interface {
	store
	// awaitReady returns when the node has what it should have.
	awaitReady(ctx context.Context) error
	// sections is what INFO says of it.
	sections() []section
	close() error
}

// A node is one member of the cluster: a share of the data, and a server for
// clients that reach all of it.
type node struct {
	data   backend
	server *server
}

// startNode puts the parts together: what keeps the data on all nodes, and the
// server that clients reach it through. The caller closes t after the node; the
// node closes the listener.
func startNode(t transport.Transport, clients net.Listener, c nodeConfig) (*node, error) {
	n := &node{server: newServer(c.server)}
	var err error
	if c.strict != nil {
		n.data, err = startReplica(t, c.nodes, *c.strict, c.log)
	} else {
		n.data, err = startDatabase(t, c)
	}
	if err != nil {
		return nil, err
	}
	settings := map[string]string{"save": "", "appendonly": "no"} // what redis-benchmark asks for
	n.server.start(clients, newCommands(n.data, c.strict != nil, settings, n.info(clients.Addr(), c)))
	return n, nil
}

// close stops serving clients first, then the rest, and waits for everything.
func (n *node) close() error {
	n.server.close()
	return n.data.close()
}
