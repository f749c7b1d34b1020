package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/transport/sim"
)

// Whole nodes of package raft, with their drivers, in a simulated network: clients
// ask questions while links lose, repeat and reorder messages, nodes crash and
// come back from what they had saved, networks fall apart and leaders are asked to
// step down. A failure prints its seed, and the command that runs it again.

// registers is the state machine: some keys, each of which does what keyModel
// says.
type registers struct {
	mu     sync.Mutex
	values map[string]string
}

func (r *registers) Apply(commands []raft.Command) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range commands {
		words := strings.Split(string(commands[i].Data), "\x00")
		answer, after := sequential(r.values[words[0]], question{verb: words[1], value: words[2], equals: words[3]})
		r.values[words[0]] = after
		commands[i].Result = []byte(answer)
	}
	return nil
}

func (r *registers) Snapshot() (func(io.Writer) error, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	frozen := maps.Clone(r.values)
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(frozen) }, nil
}

func (r *registers) Restore(in io.Reader) error {
	values := map[string]string{}
	if err := json.NewDecoder(in).Decode(&values); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = values
	return nil
}

func (r *registers) answer(key string, q question) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer, _ := sequential(r.values[key], q)
	return answer
}

// A member is one node of the simulated cluster, from a start to a crash.
type member struct {
	node    *raft.Node
	machine *registers
}

// A simulation is one run.
type simulation struct {
	w        *sim.World
	config   simulationConfig
	sessions bool // every client proposes in a session, and not only one in two
	names    []string
	history  *history
	keys     *keyring
	clock    atomic.Int64 // counts what happens: calls and returns, in the order of real time
	random   *rand.Rand   // of the faults

	mu    sync.Mutex
	up    map[string]*member // guarded by mu
	disks map[string]*raft.MemoryStorage
	boots int
}

type simulationConfig struct {
	leases   bool
	careless bool          // clients read without asking whether the node is up to date
	time     time.Duration // of faults
}

const (
	simulatedKeys    = 6
	simulatedClients = 8
	simulatedTimeout = time.Second
)

// simulate runs one seed and returns the history.
func simulate(t *testing.T, seed uint64, config simulationConfig) (h *history) {
	t.Helper()
	chance := []float64{0.01, 0.001, 0.05}[seed%3]
	faults := sim.Faults{Drop: chance, Reorder: chance}
	repeats := seed/2%2 == 0
	if repeats {
		// This runs the handlers of calls twice, which no transport may do, and
		// without a session a command that was forwarded could be done twice.
		faults.Duplicate = chance
	}
	sim.Run(t, sim.Config{Seed: seed, Faults: faults}, func(w *sim.World) {
		s := &simulation{
			w: w, config: config, sessions: repeats, names: []string{"a", "b", "c", "d", "e"}[:3+2*(seed%2)],
			history: newHistory(), keys: newKeyring(simulatedKeys), random: w.Rand("faults"), up: map[string]*member{}, disks: map[string]*raft.MemoryStorage{},
		}
		h = s.history
		for _, name := range s.names {
			s.disks[name] = raft.NewMemoryStorage()
			s.boot(w.Join(name))
		}
		ctx, cancel := context.WithCancel(w.T().Context())
		var clients sync.WaitGroup
		for n := range simulatedClients {
			clients.Go(func() { s.client(ctx, n) })
		}
		s.harm()
		time.Sleep(5 * time.Second)
		cancel()
		clients.Wait()
		s.readEverything()
		for _, m := range s.up {
			require.NoError(w.T(), m.node.Close())
		}
	})
	return h
}

// boot starts a node from its disk.
func (s *simulation) boot(t *sim.Transport) {
	name := t.Local()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boots++
	m := &member{machine: &registers{values: map[string]string{}}}
	var err error
	m.node, err = raft.Start(raft.Config{
		Transport: t, Storage: s.disks[name], StateMachine: m.machine, Voters: s.names,
		Heartbeat: 50 * time.Millisecond, Election: 300 * time.Millisecond, LeaseReads: s.config.leases,
		SnapshotEntries: 300, KeepEntries: 50, Seed: 1 + s.w.Rand(name, fmt.Sprint(s.boots)).Uint64()>>1,
	})
	if err != nil {
		s.w.T().Errorf("%s does not start: %v", name, err)
		return
	}
	s.up[name] = m
}

// crash ends a node. What it had saved by then is what it will find.
func (s *simulation) crash(name string) {
	s.w.Crash(name)
	s.mu.Lock()
	m := s.up[name]
	delete(s.up, name)
	s.disks[name] = s.disks[name].Clone()
	s.mu.Unlock()
	require.NoError(s.w.T(), m.node.Close())
}

// harm does harm for the time of the run, and then repairs everything.
func (s *simulation) harm() {
	down := map[string]bool{}
	for end := s.w.Elapsed() + s.config.time; s.w.Elapsed() < end; {
		time.Sleep(time.Duration(100+s.random.IntN(900)) * time.Millisecond)
		name, other := s.draw(), s.draw()
		switch s.random.IntN(11) {
		case 0:
			s.w.Partition([]string{name}, slices.DeleteFunc(slices.Clone(s.names), func(n string) bool { return n == name }))
		case 1:
			if name != other {
				s.w.Cut(name, other)
			}
		case 2, 3:
			s.w.Heal()
		case 4:
			if len(down) < len(s.names)/2 && !down[name] {
				down[name] = true
				s.crash(name)
			}
		case 5:
			if names := slices.Sorted(maps.Keys(down)); len(names) > 0 {
				delete(down, names[0])
				s.w.Restart(names[0], s.boot)
			}
		case 6:
			s.handOver(other)
		case 7: // it hears and says nothing for a while, and goes on
			if !down[name] {
				s.w.Pause(name)
				time.Sleep(time.Duration(s.random.IntN(1500)) * time.Millisecond)
				s.w.Resume(name)
			}
		case 8:
			s.reconfigure()
		case 9:
			s.depose(other)
		case 10: // the power fails
			if len(down) == 0 && s.random.IntN(4) == 0 {
				for _, name := range s.names {
					s.crash(name)
				}
				for _, name := range s.names {
					s.w.Restart(name, s.boot)
				}
			}
		}
	}
	s.w.Heal()
	for _, from := range s.names {
		for _, to := range s.names {
			if from != to {
				s.w.Link(from, to).Set(sim.Faults{})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(down)) {
		s.w.Restart(name, s.boot)
	}
}

func (s *simulation) draw() string { return s.names[s.random.IntN(len(s.names))] }

// handOver asks for another leader, and does not wait for long.
func (s *simulation) handOver(to string) {
	ctx, cancel := context.WithTimeout(s.w.T().Context(), 100*time.Millisecond)
	defer cancel()
	for _, m := range s.members() {
		_ = m.node.TransferLeadership(ctx, to) // it may fail in many ways
		return
	}
}

// depose has another node elected and the leader not hear of it, which goes on
// leading for as long as it would without any answer.
func (s *simulation) depose(to string) {
	for _, m := range s.members() {
		status := m.node.Status()
		if status.Role != "leader" || status.Node == to {
			continue
		}
		ctx, cancel := context.WithTimeout(s.w.T().Context(), 50*time.Millisecond)
		var asked sync.WaitGroup
		asked.Go(func() { _ = m.node.TransferLeadership(ctx, to) }) // it learns nothing of what has become of it
		time.Sleep(time.Duration(s.random.IntN(5000)) * time.Microsecond)
		for _, p := range status.Peers {
			s.w.Cut(p.Node, status.Node)
		}
		asked.Wait()
		cancel()
	}
}

// reconfigure makes three nodes voters, and the others learners.
func (s *simulation) reconfigure() {
	ctx, cancel := context.WithTimeout(s.w.T().Context(), time.Second)
	defer cancel()
	names := slices.Clone(s.names)
	s.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, m := range s.members() {
		_ = m.node.Reconfigure(ctx, raft.Membership{Voters: names[:3], Learners: names[3:]}) // as above
		return
	}
}

func (s *simulation) members() (members []*member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.up)) {
		members = append(members, s.up[name])
	}
	return members
}

// client asks one question after the other, of any node.
func (s *simulation) client(ctx context.Context, n int) {
	random := s.w.Rand("client", fmt.Sprint(n))
	sessions := map[*member]*raft.Session{}
	for q := newQuestioner(everything, n, random, s.keys); ctx.Err() == nil; {
		time.Sleep(time.Duration(random.IntN(8000)) * time.Microsecond)
		members := s.members()
		if len(members) == 0 {
			continue
		}
		m := members[random.IntN(len(members))]
		propose := m.node.Propose
		if s.sessions || n%2 == 0 {
			if propose = s.session(sessions, m); propose == nil {
				continue
			}
		}
		q.next(func(key string, q question) string { return s.ask(n, m, propose, key, q) })
	}
}

// session returns how to propose in a session of this client with this node, nil
// if none can be opened.
func (s *simulation) session(open map[*member]*raft.Session, m *member) func(context.Context, []byte) ([]byte, error) {
	if open[m] == nil {
		ctx, cancel := context.WithTimeout(s.w.T().Context(), simulatedTimeout)
		defer cancel()
		session, err := m.node.NewSession(ctx)
		if err != nil {
			return nil
		}
		open[m] = session
	}
	return open[m].Propose
}

// ask puts a question to one node and takes down the answer.
func (s *simulation) ask(client int, m *member, propose func(context.Context, []byte) ([]byte, error), key string, q question) string {
	ctx, cancel := context.WithTimeout(s.w.T().Context(), simulatedTimeout)
	defer cancel()
	began := s.w.Elapsed()
	op := porcupine.Operation{ClientId: client, Input: q, Call: s.clock.Add(1)}
	answer, err := "", error(nil)
	if q.reads() {
		if !s.config.careless {
			err = m.node.Barrier(ctx)
		}
		answer = m.machine.answer(key, q)
	} else {
		var result []byte
		result, err = propose(ctx, []byte(strings.Join([]string{key, q.verb, q.value, q.equals}, "\x00")))
		answer = string(result)
	}
	op.Output, op.Return = answer, s.clock.Add(1)
	if took := s.w.Elapsed() - began; took > simulatedTimeout {
		s.w.T().Errorf("%v: %v with a context of %v", q, took, simulatedTimeout)
	}
	switch {
	case err == nil:
	case q.reads(), errors.Is(err, raft.ErrDropped):
		return "" // nothing was said, and nothing will be done: that is checked, too
	default:
		op.Output, op.Return = unknown, math.MaxInt64
	}
	s.history.note(key, op)
	return op.Output.(string)
}

// readEverything asks every node for every key that there has been. Nothing is
// broken any more: every node has to answer.
func (s *simulation) readEverything() {
	for _, m := range s.members() {
		for i := range s.keys.made {
			if s.ask(simulatedClients, m, nil, fmt.Sprint("key ", i), question{verb: "GET"}) == "" {
				s.w.T().Errorf("%+v answers nothing though all is well", m.node.Status())
				return
			}
		}
	}
}

func testSimulation(t *testing.T, leases bool) {
	total := 0
	sim.Seeds(t, 10, func(t *testing.T, seed uint64) {
		h := simulate(t, seed, simulationConfig{leases: leases, time: 25 * time.Second})
		all, open := h.answers()
		require.Greater(t, all, 1000, "the clients do not get on")
		total += all
		for key, operations := range h.byKey {
			requireLinearizable(t, key, operations)
		}
		t.Logf("%d operations on %d keys, %d of unknown outcome", all, len(h.byKey), open)
	})
	t.Logf("%d operations", total)
}

// All answers have an order, with reads by read index (section 6.4 of Ongaro's
// dissertation).
func TestSimulatedReadIndexIsLinearizable(t *testing.T) { testSimulation(t, false) }

// Also with reads by lease.
func TestSimulatedLeaseReadsAreLinearizable(t *testing.T) { testSimulation(t, true) }

// The checker has to be able to say no: reads that do not ask whether the node is
// up to date are stale, and it sees that.
func TestSimulatedStaleReadsAreFound(t *testing.T) {
	h := simulate(t, 1, simulationConfig{careless: true, time: 5 * time.Second})
	stale := 0
	for _, operations := range h.byKey {
		if !porcupine.CheckOperations(keyModel(), operations) {
			stale++
		}
	}
	require.Positive(t, stale, "among %d keys", len(h.byKey))
}
