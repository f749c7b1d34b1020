package verify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a condition may take to come true before a test fails.
// Nothing waits for all of it when things go well.
const patience = 20 * time.Second

// The time-outs of the servers under test, short so that faults are noticed soon.
const (
	commandTimeout = time.Second
	keepAlive      = 500 * time.Millisecond
)

// A server is one process of examples/kv.
type server struct {
	name    string
	clients string // address for clients
	nodes   string // address for other nodes
	args    []string

	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}
	log   *tail
}

// A cluster is three servers and the wires between them.
type cluster struct {
	t     *testing.T
	all   []*server
	wires map[[2]string]*proxy // by who dials and who is dialled
}

// startCluster starts three servers that talk to each other through proxies, with
// further flags, and waits until they are ready.
func startCluster(t *testing.T, flags ...string) *cluster {
	t.Helper()
	return startServers(t, func(string) []string { return flags })
}

// startServers is startCluster with flags that differ from server to server.
func startServers(t *testing.T, flags func(name string) []string) *cluster {
	t.Helper()
	c := &cluster{t: t, wires: map[[2]string]*proxy{}}
	dir := filepath.Join(t.TempDir(), "certs")
	names := []string{"a", "b", "c"}
	runProgram(t, append([]string{"certify", "-dir", dir}, names...)...)
	for _, name := range names {
		c.all = append(c.all, &server{name: name, clients: freeAddress(t), nodes: freeAddress(t), log: &tail{}})
	}
	for _, s := range c.all {
		var peers []string
		for _, other := range c.all {
			address := other.nodes
			if other != s {
				wire := startProxy(t, other.nodes)
				c.wires[[2]string{s.name, other.name}] = wire
				address = wire.address()
			}
			peers = append(peers, other.name+"="+address)
		}
		s.args = append([]string{
			"serve", "-with-stdin", "-name", s.name, "-listen", s.clients, "-peers", strings.Join(peers, ","),
			"-certs", filepath.Join(dir, s.name),
		}, flags(s.name)...)
		s.start(t)
		t.Cleanup(s.kill)
	}
	t.Cleanup(func() {
		for _, s := range c.all {
			if s.log.crashed() {
				t.Errorf("%s has crashed, or raced", s.name)
			}
		}
		if t.Failed() {
			for _, s := range c.all {
				t.Logf("last words of %s:\n%s", s.name, s.log)
			}
		}
	})
	for _, s := range c.all {
		s.waitReady(t)
	}
	return c
}

// startQuickCluster starts servers that notice faults soon.
func startQuickCluster(t *testing.T) *cluster {
	t.Helper()
	return startCluster(t, "-timeout", commandTimeout.String(), "-keepalive", keepAlive.String())
}

func (c *cluster) server(name string) *server {
	for _, s := range c.all {
		if s.name == name {
			return s
		}
	}
	c.t.Fatalf("no server %q", name)
	return nil
}

// cut stops all bytes from one node to another; heal lets them flow again.
func (c *cluster) cut(from, to string)  { c.setWire(from, to, true) }
func (c *cluster) heal(from, to string) { c.setWire(from, to, false) }

func (c *cluster) setWire(from, to string, shut bool) {
	c.wires[[2]string{from, to}].there.set(shut)
	c.wires[[2]string{to, from}].back.set(shut)
}

// isolate cuts a node off from all others, both ways; rejoin ends that.
func (c *cluster) isolate(name string) { c.setAll(name, true) }
func (c *cluster) rejoin(name string)  { c.setAll(name, false) }

func (c *cluster) setAll(name string, shut bool) {
	for _, other := range c.all {
		if other.name != name {
			c.setWire(name, other.name, shut)
			c.setWire(other.name, name, shut)
		}
	}
}

// awaitEnd waits until all servers have ended by themselves, and without errors.
func (c *cluster) awaitEnd() {
	c.t.Helper()
	for _, s := range c.all {
		select {
		case <-s.ended:
			require.Zero(c.t, s.cmd.ProcessState.ExitCode(), "%s: %s", s.name, s.log)
		case <-time.After(patience):
			c.t.Fatalf("%s does not end", s.name)
		}
	}
}

// start runs the server with an empty memory.
func (s *server) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(program, s.args...)
	cmd.Stderr = s.log
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.cmd, s.stdin, s.ended = cmd, stdin, ended
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	_ = s.stdin.Close()
	s.cmd = nil
}

// pause stops the process where it stands; resume lets it go on.
func (s *server) pause(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
}

func (s *server) resume(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT))
}

// waitReady waits until the server counts for reads.
func (s *server) waitReady(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		info, err := once(s, "INFO")
		return err == nil && field(info, "state") == "ready"
	}, patience, 10*time.Millisecond, "%s is not ready", s.name)
}

// answers reports whether the server carries out a command.
func (s *server) answers(words ...string) bool {
	_, err := once(s, words...)
	return err == nil
}

// eventually repeats a command until the server carries it out.
func (s *server) eventually(t *testing.T, words ...string) (reply string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		reply, err = once(s, words...)
		return err == nil
	}, patience, 5*time.Millisecond, "%s: %q", s.name, words)
	return reply
}

// sees reports whether the server has a connection to another.
func (s *server) sees(t *testing.T, other *server) bool {
	t.Helper()
	info, err := once(s, "INFO")
	require.NoError(t, err)
	return slices.Contains(strings.Split(field(info, "peers_up"), ","), other.name)
}

// info returns a number from INFO.
func (s *server) info(t *testing.T, name string) int {
	t.Helper()
	info, err := once(s, "INFO")
	require.NoError(t, err)
	n, err := strconv.Atoi(field(info, name))
	require.NoError(t, err, "%s of %s", name, s.name)
	return n
}

// files counts the open file descriptors of the process.
func (s *server) files(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	require.NoError(t, err)
	return len(entries)
}

func field(info, name string) string {
	_, rest, _ := strings.Cut(info, "\r\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// freeAddress returns an address that no other test gets, with a port below those
// that the system gives to outgoing connections: these could take it while a
// server is down, as could a second cluster.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := firstPort + (portOffset+int(portsTaken.Add(1)))%portCount
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if l, err := net.Listen("tcp", address); err == nil {
			require.NoError(t, l.Close())
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

const firstPort, portCount = 12_000, 8_000

var (
	portOffset = rand.IntN(portCount) // another run of the tests may go on beside this one
	portsTaken atomic.Int64
)

// runProgram runs examples/kv to its end and returns what it printed.
func runProgram(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, program, args...)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s:\n%s", filepath.Base(name), strings.Join(args, " "), out)
	return string(out)
}

// A tail keeps the last of what is written to it, or the first of it that tells
// of a crash.
type tail struct {
	mu   sync.Mutex
	text []byte
	bad  bool
}

// crashed reports whether the Go runtime has complained.
func (l *tail) crashed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const least, most = 8 << 10, 64 << 10
	if len(l.text) < most {
		l.text = append(l.text, p...)
	}
	l.bad = l.bad || bytes.Contains(l.text, []byte("DATA RACE")) || bytes.Contains(l.text, []byte("goroutine "))
	if extra := len(l.text) - least; extra > 0 && !l.bad {
		l.text = bytes.Clone(l.text[extra:])
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
