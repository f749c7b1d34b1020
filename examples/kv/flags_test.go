package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const somePeers = "a=127.0.0.1:7001,b=127.0.0.1:7002,c=[::1]:7003"

func TestServeFlags(t *testing.T) {
	c, err := parseServe([]string{"-name", "b", "-peers", somePeers, "-certs", "dir", "-replicas", "2", "-timeout", "500ms"}, nil)
	require.NoError(t, err)
	require.Equal(t, "b", c.name)
	require.Equal(t, []string{"a", "b", "c"}, c.peers.names())
	require.Equal(t, "[::1]:7003", c.peers.address("c"))
	require.Equal(t, somePeers, c.peers.String())
	require.Equal(t, 2, c.replicas)
	require.Equal(t, "127.0.0.1:6379", c.listen)
}

func TestServeFlagsOfConsensus(t *testing.T) {
	c, err := parseServe([]string{"-name", "b", "-peers", somePeers, "-insecure", "-mode", "cp", "-data", "dir", "-reads", "lease", "-election", "2s"}, nil)
	require.NoError(t, err)
	config := c.node(nil, nil)
	require.Equal(t, &replicaConfig{dir: "dir", leases: true, heartbeat: 100 * time.Millisecond, election: 2 * time.Second, snapshot: 100_000}, config.strict)

	c, err = parseServe([]string{"-name", "b", "-peers", somePeers, "-insecure"}, nil)
	require.NoError(t, err)
	require.Nil(t, c.node(nil, nil).strict)
}

// A mistake ends the program with status 2 and words that help.
func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "kv help"},
		{"sevre", `no command "sevre"`},
		{"serve", "-name and -peers, for example"},
		{"serve -name d -insecure -peers " + somePeers, `an entry for -name, "d"`},
		{"serve -name a -peers " + somePeers, "give -certs FOLDER (kv certify makes one), or -insecure"},
		{"serve -name a -insecure -certs dir -peers " + somePeers, "contradict"},
		{"serve -name a -insecure -peers a", `"a" is not name=host:port`},
		{"serve -name a -insecure -peers a=1", "address of node"},
		{"serve -name a -insecure -peers a=:1,a=:2", `"a" is named twice`},
		{"serve -name a -insecure -peers =:1", "name"},
		{"serve -name a -insecure -replicas 0 -peers " + somePeers, "-replicas is 0, it must be from 1 to 9"},
		{"serve -name a -insecure -clients 0 -peers " + somePeers, "-clients is 0, it must be from 1 to 100000"},
		{"serve -name a -insecure -timeout 1ms -peers " + somePeers, "-timeout is 1 ms, it must be from 10 to 60000"},
		{"serve -name a -insecure -keepalive 1h -peers " + somePeers, "-keepalive is 3600000 ms, it must be from 10 to 60000"},
		{"serve -name a -insecure -mode both -peers " + somePeers, `-mode is "both", it must be ap or cp`},
		{"serve -name a -insecure -mode cp -peers " + somePeers, "give -data FOLDER"},
		{"serve -name a -insecure -data x -reads lease -peers " + somePeers, "-data goes with -mode cp\n-reads goes with -mode cp"},
		{"serve -name a -insecure -mode cp -data x -replicas 3 -peers " + somePeers, "-replicas goes with -mode ap"},
		{"serve -name a -insecure -mode cp -data x -reads stale -peers " + somePeers, `-reads is "stale", it must be index or lease`},
		{"serve -name a -insecure -mode cp -data x -heartbeat 200ms -election 300ms -peers " + somePeers, "-election is 300 ms, it must be from 400 to 60000"},
		{"serve -name a -insecure -mode cp -data x -snapshot 0 -peers " + somePeers, "-snapshot is 0, it must be from 1 to"},
		{"serve -nmae a", "see kv serve -h"},
		{"serve -name a -insecure -peers " + somePeers + " more", `takes no argument "more"`},
		{"certify a b", "needs -dir FOLDER"},
		{"certify -dir x", "the names of the nodes"},
		{"demo fast", `takes no argument "fast"`},
		{"demo -mode fast", `-mode is "fast", it must be ap or cp`},
		{"demo -history x", "-history goes with -mode cp"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), strings.Fields(c.args), strings.NewReader(""), &out, &errs)
		require.Equal(t, exitUsage, status, c.args)
		require.Contains(t, errs.String(), c.want, c.args)
		require.Empty(t, out.String(), c.args)
	}
}

func TestHelpIsNoMistake(t *testing.T) {
	for _, args := range []string{"help", "-h", "serve -h", "certify -h", "demo -h"} {
		var out, errs bytes.Buffer
		require.Equal(t, exitOK, run(t.Context(), strings.Fields(args), strings.NewReader(""), &out, &errs), args)
		require.Contains(t, out.String()+errs.String(), "kv", args)
	}
}

func TestCertify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	var out, errs bytes.Buffer
	require.Equal(t, exitOK, run(t.Context(), []string{"certify", "-dir", dir, "a", "b"}, nil, &out, &errs), errs.String())
	for _, name := range []string{"a", "b"} {
		config, err := loadTLS(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Len(t, config.Certificates, 1)
		for _, file := range []string{authorityFile, certificateFile, keyFile} {
			info, err := os.Stat(filepath.Join(dir, name, file))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode())
		}
	}
	// The authority's key is nowhere: each key is that of its node.
	authority, err := os.ReadFile(filepath.Join(dir, "a", authorityFile))
	require.NoError(t, err)
	require.NotContains(t, string(authority), "PRIVATE KEY")

	require.Equal(t, exitFailed, run(t.Context(), []string{"certify", "-dir", dir, "a"}, nil, &out, &errs), "files are not replaced")
	require.Equal(t, exitFailed, run(t.Context(), []string{"certify", "-dir", dir, "../x"}, nil, &out, &errs))
	_, err = loadTLS(t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "kv certify")
}
