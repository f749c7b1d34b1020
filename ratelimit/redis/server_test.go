package redis_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// address is where the server of these tests listens; TestMain sets it.
var address string

// TestMain runs the tests against a redis-server of their own.
func TestMain(m *testing.M) {
	stop, err := startServer()
	if err != nil {
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
func startServer() (stop func(), err error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("these tests need redis-server: apt-get install redis-server: %w", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address = free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = free.Close()
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		return nil, err
	}
	server := exec.Command(binary, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "no")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return nil, err
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
			return nil, fmt.Errorf("%s does not answer on %s", binary, address)
		}
	}
	return stop, nil
}
