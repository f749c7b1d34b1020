package raft

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A scene is a few cores on a stage without goroutines or clocks: a script says
// which message arrives, whose time passes, and when a disk is done. It writes
// down what each of them says, saves and commits, and checks after every step
// what the paper promises (figure 3.2), whatever the script does.
type scene struct {
	t       *testing.T
	config  coreConfig // of servers to come
	now     time.Duration
	names   []string
	servers map[string]*actor
	wire    []message // on their way, in the order in which they were sent
	cuts    map[string]bool
	terse   bool
	trace   strings.Builder
	line    string // of the script

	leaders   map[uint64]string // by term
	committed map[uint64]Entry
	reads     map[uint64]string // what became of them
	floors    map[uint64]uint64 // what was committed when they began
}

// An actor is a server of a scene: its core, and what its disk holds.
type actor struct {
	name    string
	config  coreConfig
	core    *core // nil: crashed
	disk    State
	manual  bool   // the script says when a batch is durable
	writing *Batch // is not durable yet

	// What was last told of it.
	said   string
	commit uint64
	fetch  SnapshotInfo
	failed bool
}

func newScene(t *testing.T) *scene {
	s := &scene{
		t: t, servers: map[string]*actor{}, cuts: map[string]bool{},
		config: coreConfig{
			heartbeat: 100 * time.Millisecond, election: time.Second, seed: 1,
			maxAppendBytes: 1 << 20, maxInflight: 8, maxInflightBytes: 8 << 20,
		},
		leaders: map[uint64]string{}, committed: map[uint64]Entry{}, reads: map[uint64]string{}, floors: map[uint64]uint64{},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("at %q, after\n%s", s.line, s.trace.String())
		}
	})
	return s
}

func (s *scene) sayf(format string, args ...any) {
	if !s.terse {
		fmt.Fprintf(&s.trace, "    "+format+"\n", args...)
	}
}

// actor returns a server by name.
func (s *scene) actor(name string) *actor {
	a := s.servers[name]
	require.NotNil(s.t, a, "no server %q", name)
	return a
}

// core returns a server that is up.
func (s *scene) core(name string) *core {
	c := s.actor(name).core
	require.NotNil(s.t, c, "server %q is down", name)
	return c
}

// add makes a server that starts from a state.
func (s *scene) add(name string, voters, learners []string, state State) *actor {
	config := s.config
	config.id, config.voters, config.learners = name, voters, learners
	a := &actor{name: name, config: config, disk: state}
	if s.servers[name] == nil {
		s.names = append(s.names, name)
	}
	s.servers[name] = a
	s.start(a)
	return a
}

func (s *scene) start(a *actor) {
	state := a.disk
	state.Entries = slices.Clone(state.Entries)
	c, err := newCore(a.config, state, s.now)
	require.NoError(s.t, err)
	a.core, a.writing, a.said, a.commit, a.fetch, a.failed = c, nil, "", c.commit, SnapshotInfo{}, false
	s.flush(a)
}

// flush does what a driver does after every input.
func (s *scene) flush(a *actor) {
	for c := a.core; ; {
		s.tell(a)
		for i := range c.messages {
			s.send(a, c.messages[i])
		}
		c.messages = c.messages[:0]
		for _, r := range c.reads {
			s.reads[r.id] = fmt.Sprint(r.index)
			require.GreaterOrEqual(s.t, r.index, s.floors[r.id], "read %d misses what was committed before it began", r.id)
			s.sayf("%s answers read %d from index %d on", a.name, r.id, r.index)
		}
		for _, id := range c.readsLost {
			s.reads[id] = "lost"
			s.sayf("%s gives up read %d", a.name, id)
		}
		c.reads, c.readsLost = c.reads[:0], c.readsLost[:0]
		if a.writing != nil {
			break
		}
		b, ok := c.takeBatch(nil)
		if !ok {
			break
		}
		a.writing = &b
		if a.manual {
			s.sayf("%s begins to save %s", a.name, showBatch(&b))
			break
		}
		s.sayf("%s saves %s", a.name, showBatch(&b))
		a.save(s.t)
		c.saved(s.now)
	}
	s.check()
}

// save makes the batch durable.
func (a *actor) save(t *testing.T) {
	b, d := a.writing, &a.disk
	a.writing = nil
	require.GreaterOrEqual(t, b.Hard.Term, d.Hard.Term, "%s saves an older term", a.name)
	if b.Hard.Term == d.Hard.Term && d.Hard.Vote != "" {
		require.Equal(t, d.Hard.Vote, b.Hard.Vote, "%s changes its vote in term %d", a.name, b.Hard.Term)
	}
	d.Hard = b.Hard
	if b.Restart != 0 {
		require.Equal(t, d.Snapshot.Index+1, b.Restart, "%s restarts its log elsewhere than behind the snapshot", a.name)
		d.Entries = nil
	}
	if len(b.Entries) == 0 {
		return
	}
	first := b.Entries[0].Index
	d.Entries = slices.DeleteFunc(d.Entries, func(e Entry) bool { return e.Index >= first })
	end := d.Snapshot.Index
	if n := len(d.Entries); n > 0 {
		end = d.Entries[n-1].Index
	}
	require.GreaterOrEqual(t, end+1, first, "%s leaves a gap in the saved log", a.name)
	d.Entries = append(d.Entries, b.Entries...)
}

// holds reports whether the disk has an entry, itself or in the snapshot.
func (a *actor) holds(index, term uint64) bool {
	return index <= a.disk.Snapshot.Index || slices.ContainsFunc(a.disk.Entries, func(e Entry) bool { return e.Index == index && e.Term == term })
}

// send puts a message on the wire, and holds its sender to its promises: what it
// grants or acknowledges is on its disk (figure 3.1: "updated on stable storage
// before responding").
func (s *scene) send(a *actor, m message) {
	s.sayf("%s -> %s: %s", a.name, m.To, showMessage(&m))
	hard := a.disk.Hard
	require.Equal(s.t, a.name, m.From)
	switch {
	case m.Kind == msgPreVote || m.Kind == msgPreVoteReply:
	case m.Kind == msgVoteReply && !m.Reject && hard.Term == m.Term:
		require.Equal(s.t, m.To, hard.Vote, "%s granted a vote that it has not saved", a.name)
	case m.Kind == msgVote && hard.Term == m.Term:
		require.Equal(s.t, a.name, hard.Vote, "%s asks for votes before it has saved its own", a.name)
	default:
		require.GreaterOrEqual(s.t, hard.Term, m.Term, "%s speaks of a term that it has not saved", a.name)
	}
	if m.Kind == msgAppendReply && !m.Reject && m.Term == a.core.term {
		if term, held := a.core.log.term(m.Index); held {
			require.True(s.t, a.holds(m.Index, term), "%s acknowledged entry %d/%d, which it has not saved", a.name, m.Index, term)
		}
	}
	if s.servers[m.To] != nil && !s.cuts[m.From+">"+m.To] {
		s.wire = append(s.wire, m)
	}
}

// take takes the first message that fits off the wire, if there is one. Empty
// names fit all.
func (s *scene) take(from, to string) (m message, ok bool) {
	i := slices.IndexFunc(s.wire, func(m message) bool { return (from == "" || m.From == from) && (to == "" || m.To == to) })
	if i < 0 {
		return message{}, false
	}
	m = s.wire[i]
	s.wire = slices.Delete(s.wire, i, i+1)
	return m, true
}

func (s *scene) drop(from, to string) bool {
	_, ok := s.take(from, to)
	return ok
}

// deliver hands over the first message that fits, and reports whether there was
// one.
func (s *scene) deliver(from, to string) bool {
	m, ok := s.take(from, to)
	if !ok {
		return false
	}
	a := s.servers[m.To]
	if a.core == nil || s.cuts[m.From+">"+m.To] {
		return true
	}
	if !s.terse {
		fmt.Fprintf(&s.trace, "  %s gets %s of %s\n", a.name, m.Kind, m.From)
	}
	a.core.step(s.now, &m)
	s.flush(a)
	return true
}

func (s *scene) deliverAll() {
	for range 20_000 {
		if !s.deliver("", "") {
			return
		}
	}
	require.Fail(s.t, "messages without end")
}

// run lets time pass by itself: messages arrive at once, clocks tick when due.
func (s *scene) run(d time.Duration) {
	end := s.now + d
	for range 20_000 {
		s.deliverAll()
		var next *actor
		for _, name := range s.names {
			a := s.servers[name]
			if a.core != nil && (next == nil || a.core.wake() < next.core.wake()) {
				next = a
			}
		}
		if next == nil || next.core.wake() > end {
			s.now = end
			return
		}
		s.now = max(s.now, next.core.wake())
		next.core.tick(s.now)
		s.flush(next)
	}
	require.Fail(s.t, "clocks that are always due")
}

// tell says what changed at a server.
func (s *scene) tell(a *actor) {
	c, terse := a.core, s.terse
	s.terse = false // changes are told even of a run
	defer func() { s.terse = terse }()
	said := fmt.Sprintf("%s in term %d", c.role, c.term)
	switch {
	case c.role == follower && c.leader != "":
		said = fmt.Sprintf("follower of %s in term %d", c.leader, c.term)
	case c.role == follower && c.vote != "":
		said += ", its vote is " + c.vote + "'s"
	}
	if said != a.said {
		a.said = said
		s.sayf("%s: %s", a.name, said)
	}
	if c.failed && !a.failed {
		a.failed = true
		s.sayf("%s stops", a.name)
	}
	if c.fetch.Index != a.fetch.Index {
		a.fetch = c.fetch
		if c.fetch.Index > 0 {
			s.sayf("%s is to fetch the snapshot at %d/%d", a.name, c.fetch.Index, c.fetch.Term)
		}
	}
	require.GreaterOrEqual(s.t, c.commit, a.commit, "%s lowers its commit index", a.name)
	require.LessOrEqual(s.t, c.commit, c.last(), "%s commits what it does not hold", a.name)
	if c.commit > a.commit {
		entries := held(c, a.commit+1, c.commit)
		a.commit = c.commit
		if len(entries) > 0 {
			s.sayf("%s commits %s", a.name, showEntries(entries))
		}
		for _, e := range entries {
			if known, ok := s.committed[e.Index]; ok {
				require.Equal(s.t, known, e, "State Machine Safety: %s commits another entry", a.name)
			}
			s.committed[e.Index] = e
		}
	}
}

// held returns what a core holds of the entries from one index to another.
func held(c *core, from, to uint64) (entries []Entry) {
	for i := max(from, c.first()); i <= min(to, c.last()); {
		piece := c.slice(i, to, 1<<20)
		entries = append(entries, piece...)
		i += uint64(len(piece))
	}
	return entries
}

// alike reports whether entries are equal. It is much quicker than require.Equal.
func alike(a, b []Entry) bool {
	return slices.EqualFunc(a, b, func(x, y Entry) bool {
		return x.Index == y.Index && x.Term == y.Term && x.Kind == y.Kind && bytes.Equal(x.Data, y.Data)
	})
}

// check holds the properties of figure 3.2 against all servers.
func (s *scene) check() {
	for _, name := range s.names {
		c := s.servers[name].core
		if c == nil {
			continue
		}
		if c.role == leader {
			known, ok := s.leaders[c.term]
			require.True(s.t, !ok || known == name, "Election Safety: %s and %s lead in term %d", known, name, c.term)
			s.leaders[c.term] = name
			for i, e := range s.committed {
				if term, _ := c.log.term(i); i >= c.first() && e.Term < c.term {
					require.Equal(s.t, e.Term, term, "Leader Completeness: %s leads term %d without entry %d/%d", name, c.term, i, e.Term)
				}
			}
		}
		for _, other := range s.names {
			if d := s.servers[other].core; d != nil && other > name {
				s.checkMatching(name, other, c, d)
			}
		}
	}
}

// checkMatching holds Log Matching against two logs: where they have an entry
// with the same index and term, they are the same up to there.
func (s *scene) checkMatching(name, other string, c, d *core) {
	from, to := max(c.first(), d.first()), min(c.last(), d.last())
	if from > to {
		return
	}
	a, b := held(c, from, to), held(d, from, to)
	for equal, i := false, len(a)-1; i >= 0; i-- {
		equal = equal || a[i].Term == b[i].Term
		if equal {
			require.True(s.t, alike(a[i:i+1], b[i:i+1]), "Log Matching: %s and %s have %v and %v below an entry that is the same", name, other, a[i], b[i])
		}
	}
}
