package verify

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Malformed and oversized requests get an error and lose their connection, at
// most; the server lives and serves the next client.
func TestMalformedRequests(t *testing.T) {
	c := startCluster(t)
	s := c.server("a")
	other := mustDial(t, s.clients)
	for _, request := range []string{
		"*1\r\n$9223372036854775807\r\n",
		"*1\r\n$9223372036854775806\r\nx\r\n",
		"*9223372036854775807\r\n",
		"*1000000\r\n",
		"*1\r\n$-1\r\n",
		"*-1\r\n",
		"*2\r\n$3\r\nGET\r\n:1\r\n",
		"*1\r\n$3\r\nGETX\r\n",
		"$3\r\nGET\r\n*1\r\n*1\r\n",
		"GET \"unbalanced\r\n",
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000000\r\n",
		strings.Repeat("*1\r\n", 1000),
		strings.Repeat("x", 1<<20),
		strings.Repeat("\x00", 1<<16),
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", // as TLS begins
	} {
		w := mustDial(t, s.clients)
		require.NoError(t, w.SetDeadline(time.Now().Add(patience)))
		go func() { _, _ = io.WriteString(w, request) }() // the server may hang up in the middle
		line, err := w.in.ReadString('\n')
		require.NoError(t, err, "%.40q", request)
		require.True(t, strings.HasPrefix(line, "-ERR "), "%.40q was answered with %q", request, line)
		_ = w.Close()
		text, err := other.do("PING")
		require.NoError(t, err, "after %.40q", request)
		require.Equal(t, "PONG", text)
	}
}

// Bytes at random, and good commands with some bytes changed: the server lives.
func TestRandomRequests(t *testing.T) {
	c := startCluster(t)
	s := c.server("b")
	const seed = 42
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 300 {
		request := bytes.Repeat([]byte("*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n"), 3)
		for range 1 + random.IntN(6) {
			at := random.IntN(len(request))
			switch random.IntN(3) {
			case 0:
				request[at] = byte(random.Uint32())
			case 1:
				request = append(request[:at:at], request[min(at+1+random.IntN(8), len(request)):]...)
			case 2:
				request[at] = "*$\r\n-0123456789"[random.IntN(15)]
			}
			if len(request) == 0 {
				request = []byte("*")
			}
		}
		w, err := dial(s.clients)
		require.NoError(t, err, "seed %d, request %d", seed, i)
		_, _ = w.Write(request)
		_ = w.Close()
	}
	require.Eventually(t, func() bool { return s.info(t, "connected_clients") == 1 }, patience, 10*time.Millisecond)
	_, err := once(s, "SET", "alive", "1")
	require.NoError(t, err)
}

// Clients that ask for much and read nothing, and clients that say half a
// command, keep nobody waiting and cost a bounded amount of memory.
func TestClientsThatStandStill(t *testing.T) {
	c := startCluster(t)
	s := c.server("a")
	_, err := once(s, "SET", "large", strings.Repeat("v", 50_000))
	require.NoError(t, err)
	for range 20 {
		greedy := mustDial(t, s.clients)
		_, err := io.WriteString(greedy, strings.Repeat("GET large\r\n", 5000)) // 250 MB of replies
		require.NoError(t, err)
		half := mustDial(t, s.clients)
		_, err = io.WriteString(half, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$50000\r\nhalf of it")
		require.NoError(t, err)
	}
	worst := time.Duration(0)
	w := mustDial(t, s.clients)
	for i := range 500 {
		began := time.Now()
		_, err := w.do("SET", fmt.Sprint("key ", i), "v")
		require.NoError(t, err)
		worst = max(worst, time.Since(began))
	}
	require.Less(t, worst, callTimeout)
	memory := s.info(t, "memory_bytes")
	t.Logf("%d MiB with %d clients; the slowest SET took %v", memory>>20, s.info(t, "connected_clients"), worst)
	require.Less(t, memory, 128<<20)
}

// The port for nodes lets nobody in without a certificate of the cluster.
func TestNodesKnowEachOther(t *testing.T) {
	c := startCluster(t)
	a := c.server("a")
	stranger := filepath.Join(t.TempDir(), "certs")
	runProgram(t, "certify", "-dir", stranger, "b")
	pair, err := tls.LoadX509KeyPair(filepath.Join(stranger, "b", "node.crt"), filepath.Join(stranger, "b", "node.key"))
	require.NoError(t, err)
	for name, config := range map[string]*tls.Config{
		"no certificate":                     {InsecureSkipVerify: true},
		"a certificate of another authority": {InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}},
	} {
		raw, err := net.Dial("tcp", a.nodes)
		require.NoError(t, err)
		require.NoError(t, raw.SetDeadline(time.Now().Add(patience)))
		conn := tls.Client(raw, config)
		_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the refusal comes after the client's handshake
		require.ErrorContains(t, err, "remote error: tls", name)
		require.NoError(t, raw.Close())
	}
	raw, err := net.Dial("tcp", a.nodes)
	require.NoError(t, err)
	defer raw.Close()
	require.NoError(t, raw.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(raw, "*1\r\n$4\r\nPING\r\n")
	require.NoError(t, err)
	answer, _ := io.ReadAll(raw)
	require.NotContains(t, string(answer), "PONG")
	_, err = once(a, "SET", "still", "here")
	require.NoError(t, err)
}

// A node whose certificate names another does not become a member. With the
// right one, it does.
func TestCertificateOfAnotherNode(t *testing.T) {
	c := startCluster(t)
	a, b := c.server("a"), c.server("b")
	b.kill()
	certs := 1 + slices.Index(b.args, "-certs")
	own := b.args[certs]
	b.args[certs] = filepath.Join(filepath.Dir(own), "c")
	b.start(t)
	require.Eventually(t, func() bool {
		info, err := once(b, "INFO")
		failures, _ := strconv.Atoi(field(info, "dial_failures"))
		return err == nil && failures >= 4
	}, patience, 10*time.Millisecond)
	require.False(t, a.sees(t, b))
	require.False(t, b.sees(t, a))
	_, err := once(b, "GET", "k")
	require.ErrorContains(t, err, "NOQUORUM")

	b.kill()
	b.args[certs] = own
	b.start(t)
	b.waitReady(t)
}
