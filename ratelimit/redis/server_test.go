package redis_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// address is where the server of these tests listens; TestMain sets it.
var address string

// TestMain runs the tests against a redis-server of their own.
func TestMain(m *testing.M) {
	var stop func()
	var err error
	if address, stop, err = startServer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	stop()
	if err := goleak.Find(); status == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// startServer starts a redis-server on a free port of this machine, with nothing
// on disk, and waits until it answers.
func startServer(more ...string) (address string, stop func(), err error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, fmt.Errorf("these tests need redis-server: apt-get install redis-server: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		return "", nil, err
	}
	address = net.JoinHostPort("127.0.0.1", port)
	args := []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "no"}
	server := exec.Command(binary, append(args, more...)...)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		_ = os.RemoveAll(dir)
	}
	client := goredis.NewClient(&goredis.Options{Addr: address, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for client.Ping(ctx).Err() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			stop()
			return "", nil, fmt.Errorf("%s does not answer on %s", binary, address)
		}
	}
	return address, stop, nil
}

// freePort returns a port that is free, and leaves room above it for the port that
// the servers of a cluster talk on, which is 10,000 higher.
func freePort() (string, error) {
	for {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		port := free.Addr().(*net.TCPAddr).Port
		defer func() { _ = free.Close() }() // only then: or it is given out again
		if port+10_000 <= 65_535 {
			return strconv.Itoa(port), nil
		}
	}
}
