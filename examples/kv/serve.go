package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/parley-go/parley/transport/tcp"
)

// serve is the command of that name. It runs until ctx ends.
func serve(ctx context.Context, args []string, stdin io.Reader, stderr io.Writer) error {
	c, err := parseServe(args, stderr)
	if err != nil {
		return err
	}
	if c.withStdin {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() { // ends with the input, at the latest with the process
			_, _ = io.Copy(io.Discard, stdin)
			cancel()
		}()
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))

	clients, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	t, err := c.join(log)
	if err != nil {
		return errors.Join(err, clients.Close())
	}
	n, err := startNode(t, clients, c.node(t, log))
	if err != nil {
		return errors.Join(err, clients.Close(), t.Close())
	}
	log.Info("serving", "node", c.name, "clients", clients.Addr(), "nodes", c.peers.address(c.name), "mode", c.mode, "secure", !c.insecure)
	<-ctx.Done()
	log.Info("ending", "node", c.name)
	return errors.Join(n.close(), t.Close())
}

// join opens the transport to the other nodes.
func (c serveConfig) join(log *slog.Logger) (*tcp.Transport, error) {
	patience := max(c.keepAlive, time.Second) // with a node that does not answer yet, or no more
	config := tcp.Config{
		Plaintext:        c.insecure,
		Logger:           log,
		KeepAlive:        c.keepAlive,
		DialTimeout:      patience,
		HandshakeTimeout: patience,
		MaxBackoff:       patience,
		Resolve: func(name string) (string, error) {
			if address := c.peers.address(name); address != "" {
				return address, nil
			}
			return "", fmt.Errorf("-peers names no node %q", name)
		},
	}
	if !c.insecure {
		var err error
		if config.TLS, err = loadTLS(c.certs); err != nil {
			return nil, err
		}
	}
	return tcp.Listen(c.name, c.peers.address(c.name), config)
}

// node returns what the node is to be like.
func (c serveConfig) node(t *tcp.Transport, log *slog.Logger) nodeConfig {
	server := defaultServer()
	server.clients, server.command = c.clients, c.timeout
	n := nodeConfig{nodes: c.peers.names(), replicas: c.replicas, server: server, network: networkFacts(t), log: log}
	if c.mode == modeCP {
		n.strict = &c.strict
		n.strict.leases = c.reads == readsLease
	}
	return n
}

// networkFacts tells of the connections to the other nodes.
func networkFacts(t *tcp.Transport) []fact {
	sum := func(of func(tcp.PeerStats) uint64) func() any {
		return func() any {
			total := uint64(0)
			for _, p := range t.Stats().Peers {
				total += of(p)
			}
			return total
		}
	}
	return []fact{
		{"peers_up", func() any {
			var up []string
			for _, p := range t.Stats().Peers {
				if p.Up {
					up = append(up, p.Name)
				}
			}
			return strings.Join(up, ",")
		}},
		{"dial_failures", sum(func(p tcp.PeerStats) uint64 { return p.DialFailures })},
		{"bytes_sent", sum(func(p tcp.PeerStats) uint64 { return p.BytesSent })},
		{"bytes_received", sum(func(p tcp.PeerStats) uint64 { return p.BytesReceived })},
	}
}
