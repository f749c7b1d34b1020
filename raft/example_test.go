package raft_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport/mem"
)

// A register is a state machine: the last value of each of its names.
type register struct {
	mu     sync.Mutex
	values map[string]string
}

// Apply takes commands of the form name=value, and returns the value before.
func (r *register) Apply(commands []raft.Command) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range commands {
		name, value, _ := strings.Cut(string(commands[i].Data), "=")
		commands[i].Result = []byte(r.values[name])
		r.values[name] = value
	}
	return nil
}

func (r *register) Snapshot() (write func(w io.Writer) error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer // captured at once: the state is small
	for name, value := range r.values {
		fmt.Fprintf(&b, "%s=%s\n", name, value)
	}
	return func(w io.Writer) error { _, err := b.WriteTo(w); return err }, nil
}

func (r *register) Restore(source io.Reader) error {
	content, err := io.ReadAll(source)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = map[string]string{}
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		r.values[name] = value
	}
	return nil
}

func (r *register) Get(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.values[name]
}

// startThree starts three nodes in this process. stop ends them.
func startThree() (nodes map[string]*raft.Node, states map[string]*register, stop func()) {
	network := mem.NewNetwork()
	nodes, states = map[string]*raft.Node{}, map[string]*register{}
	names := []string{"a", "b", "c"}
	var closers []io.Closer
	for _, name := range names {
		transport, err := network.Join(name)
		if err != nil {
			panic(err)
		}
		states[name] = &register{values: map[string]string{}}
		nodes[name], err = raft.Start(raft.Config{
			Transport:    transport,
			Storage:      raft.NewMemoryStorage(), // for more than an example: wal.Open
			StateMachine: states[name],
			Voters:       names,
			Heartbeat:    10 * time.Millisecond, // all in one process
			Election:     100 * time.Millisecond,
		})
		if err != nil {
			panic(err)
		}
		closers = append(closers, nodes[name], transport)
	}
	return nodes, states, func() {
		for _, c := range closers {
			c.Close()
		}
	}
}

func Example() {
	nodes, states, stop := startThree()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	_, err := nodes["a"].Propose(ctx, []byte("colour=red")) // on any node
	fmt.Println(err)
	before, err := nodes["b"].Propose(ctx, []byte("colour=blue"))
	fmt.Printf("%s, %v\n", before, err)

	err = nodes["c"].Barrier(ctx) // after it, reads on c are linearizable
	fmt.Println(states["c"].Get("colour"), err)
	// Output:
	// <nil>
	// red, <nil>
	// blue <nil>
}

// A command of a session is applied once, whatever is lost on the way.
func ExampleSession() {
	nodes, states, stop := startThree()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	session, err := nodes["a"].NewSession(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, command := range []string{"n=1", "n=2"} {
		before, err := session.Propose(ctx, []byte(command))
		fmt.Printf("%q, %v\n", before, err)
	}
	err = nodes["a"].Barrier(ctx)
	fmt.Println(states["a"].Get("n"), err)
	// Output:
	// "", <nil>
	// "1", <nil>
	// 2 <nil>
}

// A client that numbers its commands itself may repeat one on any node.
func ExampleCommandID() {
	nodes, _, stop := startThree()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	session, err := nodes["a"].NewSession(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	id := raft.CommandID{Session: session.ID(), Seq: 1, Lowest: 1}
	for _, name := range []string{"a", "b", "c"} {
		before, err := nodes[name].ProposeOnce(ctx, id, []byte("x=1"))
		fmt.Printf("%q, %v\n", before, err)
	}
	// Output:
	// "", <nil>
	// "", <nil>
	// "", <nil>
}

// What Propose returns says what is certain.
func ExampleNode_Propose() {
	network := mem.NewNetwork()
	transport, err := network.Join("a")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.Close()
	node, err := raft.Start(raft.Config{
		Transport: transport, Storage: raft.NewMemoryStorage(), StateMachine: &register{values: map[string]string{}},
		Voters: []string{"a", "b", "c"}, // the others never come
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = node.Propose(ctx, []byte("x=1"))
	fmt.Println(errors.Is(err, raft.ErrDropped), errors.Is(err, raft.ErrUncertain), errors.Is(err, context.DeadlineExceeded))
	// Output: true false true
}

func ExampleNode_Leaders() {
	nodes, _, stop := startThree()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	var changes iter.Seq[raft.LeaderChange] = nodes["a"].Leaders(ctx)
	for change := range changes {
		if change.Leader == "c" {
			fmt.Println("c leads")
			break
		}
		if change.Leader != "" {
			if err := nodes["a"].TransferLeadership(ctx, "c"); err != nil {
				fmt.Println(err)
			}
		}
	}
	// Output: c leads
}

func ExampleNode_Reconfigure() {
	nodes, _, stop := startThree()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	if err := nodes["a"].Ready(ctx); err != nil {
		fmt.Println(err)
	}
	err := nodes["a"].Reconfigure(ctx, raft.Membership{Voters: []string{"a", "b"}, Learners: []string{"c"}})
	fmt.Println(err)
	var status raft.Status = nodes["a"].Status()
	fmt.Println(status.Membership.Voters, status.Membership.Learners)
	// Output:
	// <nil>
	// [a b] [c]
}

// What a leader knows of the others, and what it has counted.
func ExampleNode_Status() {
	nodes, _, stop := startThree()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := nodes["a"].Propose(ctx, []byte("x=1")); err != nil {
		fmt.Println(err)
	}
	for _, node := range nodes {
		status := node.Status()
		if status.Role != "leader" {
			continue
		}
		behind := slices.DeleteFunc(status.Peers, func(p raft.PeerStatus) bool { return p.State == "replicating" })
		var stats raft.Stats = node.Stats()
		fmt.Println(len(behind) <= 1, stats.Proposed, stats.Elected)
	}
	// Output: true 1 1
}

// Two groups on one transport: each has a log, a leader and a state of its own.
func ExampleHost() {
	transport, err := mem.NewNetwork().Join("a")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.Close()
	host, err := raft.NewHost(raft.HostConfig{Transport: transport})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer host.Close() // and all its nodes

	for _, group := range []string{"users-1", "users-2"} {
		state := &register{values: map[string]string{}}
		node, err := host.Start(raft.Config{
			Group: group, Storage: raft.NewMemoryStorage(), StateMachine: state, Voters: []string{"a"},
			Heartbeat: 10 * time.Millisecond, Election: 20 * time.Millisecond,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = node.Propose(context.Background(), []byte("name="+group))
		fmt.Println(state.Get("name"), err)
	}
	// Output:
	// users-1 <nil>
	// users-2 <nil>
}

// A Storage is used by a node alone; this is how a tool would look into one.
func ExampleStorage() {
	var storage raft.Storage = raft.NewMemoryStorage() // a raft.MemoryStorage
	err := storage.Save(raft.Batch{
		Hard:    raft.HardState{Term: 1, Vote: "a"},
		Entries: []raft.Entry{{Index: 1, Term: 1, Kind: raft.EntryCommand, Data: []byte("x=1")}},
	})
	fmt.Println(err)

	info := raft.SnapshotInfo{Index: 1, Term: 1, Membership: raft.Membership{Voters: []string{"a"}}}
	var writer raft.SnapshotWriter
	if writer, err = storage.CreateSnapshot(info); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(writer, "content")
	fmt.Println(writer.Commit())

	var state raft.State
	if state, err = storage.Load(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(state.Hard.Term, state.Entries[0].Kind == raft.EntryKind(0), state.Snapshot.Index)
	var reader raft.SnapshotReader
	if reader, err = storage.OpenSnapshot(); err != nil {
		fmt.Println(err)
		return
	}
	defer reader.Close()
	fmt.Println(reader.Size(), reader.Info().Membership.Voters)
	// Output:
	// <nil>
	// <nil>
	// 1 true 1
	// 7 [a]
}

// The smallest state machine: it counts.
type count struct{ n int }

func (c *count) Apply(commands []raft.Command) error {
	for i := range commands {
		c.n++
		commands[i].Result = fmt.Append(nil, c.n)
	}
	return nil
}

func (c *count) Snapshot() (write func(w io.Writer) error, err error) {
	n := c.n
	return func(w io.Writer) error { _, err := fmt.Fprint(w, n); return err }, nil
}

func (c *count) Restore(r io.Reader) error { _, err := fmt.Fscan(r, &c.n); return err }

func ExampleStateMachine() {
	var machine raft.StateMachine = &count{}
	commands := []raft.Command{{Index: 7, Data: []byte("one")}, {Index: 9, Data: []byte("two")}}
	fmt.Println(machine.Apply(commands))
	fmt.Printf("%s, %s\n", commands[0].Result, commands[1].Result)

	write, err := machine.Snapshot()
	fmt.Println(err)
	var stored bytes.Buffer
	fmt.Println(write(&stored))
	again := &count{}
	fmt.Println(again.Restore(&stored), again.n)
	// Output:
	// <nil>
	// 1, 2
	// <nil>
	// <nil>
	// <nil> 2
}
