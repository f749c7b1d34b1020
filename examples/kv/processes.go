package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A server process of the demo.
type process struct {
	name    string
	clients string // address
	nodes   string // address
	cmd     *exec.Cmd
	stdin   io.Closer     // open as long as the process shall live
	ended   chan struct{} // closed when the process is gone
}

func (p *process) alive() bool { return p.cmd != nil }

// processes are the servers of the demo and the folder that they need.
type processes struct {
	program string
	dir     string
	flags   []string // of all servers, besides those that each has
	strict  bool     // each has a folder for its data
	all     []*process
}

// prepare makes a folder with certificates and chooses addresses.
func prepare(strict bool, flags []string, names ...string) (_ *processes, err error) {
	ps := &processes{strict: strict, flags: flags}
	if ps.program, err = os.Executable(); err != nil {
		return nil, err
	}
	if ps.dir, err = os.MkdirTemp("", "parley-kv-"); err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, name := range names {
		p := &process{name: name}
		for _, address := range []*string{&p.clients, &p.nodes} {
			if *address, err = freeAddress(taken); err != nil {
				return nil, errors.Join(err, ps.close())
			}
		}
		ps.all = append(ps.all, p)
	}
	if err := issue(ps.dir, names); err != nil {
		return nil, errors.Join(err, ps.close())
	}
	return ps, nil
}

// freeAddress finds a port below those that the system gives to outgoing
// connections: one of these could take it between a server's end and its return.
func freeAddress(taken map[string]bool) (string, error) {
	const first, count = 20_000, 12_000
	var err error
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(count)))
		if taken[address] {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			taken[address] = true
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no free port found: %w", err)
}

// start runs a server, with nothing in its memory, and on its disk what its
// predecessor has left.
func (ps *processes) start(p *process) error {
	var peers []string
	for _, other := range ps.all {
		peers = append(peers, other.name+"="+other.nodes)
	}
	log, err := os.OpenFile(ps.logFile(p), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	args := []string{
		"serve", "-with-stdin", "-name", p.name, "-listen", p.clients,
		"-peers", strings.Join(peers, ","), "-certs", filepath.Join(ps.dir, p.name),
	}
	if ps.strict {
		args = append(args, "-data", filepath.Join(ps.dir, p.name+".data"))
	}
	cmd := exec.Command(ps.program, append(args, ps.flags...)...)
	cmd.Stderr = log
	// The server ends when its input does: it cannot outlive this process,
	// however that ends.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("server %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	p.cmd, p.stdin, p.ended = cmd, stdin, ended
	return nil
}

// kill ends a server as a power cut would, and waits until it is gone.
func (p *process) kill() {
	if !p.alive() {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
	_ = p.stdin.Close()
	p.cmd = nil
}

// ready waits until a server has all that it should have, and returns what it
// says of itself.
func (ps *processes) ready(ctx context.Context, p *process) (info string, err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		info, _, err := fetch(ctx, p.clients, "INFO")
		if err == nil && infoField(info, "state") == "ready" {
			return info, nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return "", fmt.Errorf("server %s has ended; its last words:\n%s", p.name, ps.lastWords(p))
		case <-ctx.Done():
			return "", fmt.Errorf("server %s is not ready (%v); its last words:\n%s", p.name, context.Cause(ctx), ps.lastWords(p))
		}
	}
}

// infoField returns the value of a line of INFO.
func infoField(info, name string) string {
	_, rest, _ := strings.Cut(info, "\r\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

func (ps *processes) logFile(p *process) string { return filepath.Join(ps.dir, p.name+".log") }

func (ps *processes) lastWords(p *process) []byte {
	content, err := os.ReadFile(ps.logFile(p))
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-6):], nil)
}

// close ends all servers and removes the folder.
func (ps *processes) close() error {
	for _, p := range ps.all {
		p.kill()
	}
	return os.RemoveAll(ps.dir)
}
