package main

import (
	"log/slog"
	"net"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
)

// A nodeConfig says what is the same on every transport.
type nodeConfig struct {
	nodes    []string // the names of all members
	replicas int
	server   serverConfig
	network  []fact // of the transport, for INFO
	log      *slog.Logger
}

// A node is one member of the cluster: a share of the data, and a server for
// clients that reach all of it.
type node struct {
	store    *quorum.Store
	database *database
	server   *server
}

// startNode puts the parts together: keys are placed by the ring, replicated by
// the quorum over the transport, and reached by clients through the server. The
// caller closes t after the node; the node closes the listener.
func startNode(t transport.Transport, clients net.Listener, c nodeConfig) (*node, error) {
	var members []ring.Node
	for _, name := range c.nodes {
		members = append(members, ring.Node{Name: name})
	}
	r, err := ring.New(ring.Config{}, members...)
	if err != nil {
		return nil, err
	}
	replicas := min(c.replicas, len(c.nodes))
	store, err := quorum.Start(quorum.Config{
		Transport: t,
		Ring:      r,
		Storage:   quorum.NewMemory(),
		N:         replicas,
		Timeout:   c.server.command,
		Logger:    c.log,
	})
	if err != nil {
		return nil, err
	}
	n := &node{store: store, database: newDatabase(t, r, store, replicas), server: newServer(c.server)}
	settings := map[string]string{"save": "", "appendonly": "no"} // what redis-benchmark asks for
	n.server.start(clients, newCommands(n.database, settings, n.info(t.Local(), clients.Addr(), c)))
	return n, nil
}

// close stops serving clients first, then the rest, and waits for everything.
func (n *node) close() error {
	n.server.close()
	n.database.close()
	return n.store.Close()
}
