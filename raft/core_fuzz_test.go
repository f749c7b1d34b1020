package raft

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A mess gives one core whatever the bytes say: messages of any kind with any
// fields, as no server would send them, between inputs of its driver. The core may
// stop by itself; it may not panic, hang, take back a commit, change a committed
// entry or go back in its term.
type mess struct {
	t      *testing.T
	bytes  []byte
	c      *core
	now    time.Duration
	fresh  uint64 // number of the next read
	rested int    // heartbeats that told nothing new

	commit, term uint64
	committed    map[uint64]Entry
}

func (m *mess) byte() byte {
	if len(m.bytes) == 0 {
		return 0
	}
	b := m.bytes[0]
	m.bytes = m.bytes[1:]
	return b
}

// number returns something near one of the core's numbers, most of the time.
func (m *mess) number() uint64 {
	b := m.byte()
	near := [...]uint64{m.c.term, m.c.commit, m.c.last(), m.c.log.base, m.c.office.round, 0, math.MaxUint64, math.MaxInt64}[b&7]
	return near + uint64(b>>3)%9 - 4
}

func (m *mess) name() string { return string("abcdez"[m.byte()%6]) }

func (m *mess) message() message {
	kind, flags := m.byte(), m.byte()
	msg := message{
		Kind: messageKind(kind % 12), From: m.name(), To: m.c.id, Term: m.c.term + [...]uint64{0, 0, 0, 0, 0, 1, 9, math.MaxUint64}[flags>>5], // the last is one below
		Reject: flags&1 != 0, Force: flags&2 != 0, Index: m.number(), LogTerm: m.number(), Hint: m.number(), Commit: m.number(), Round: m.number(),
	}
	if flags&4 != 0 { // a log that fits
		msg.LogTerm, _ = m.c.log.term(msg.Index)
	}
	if msg.Kind == msgSnapshot {
		msg.Index %= 1 << 60 // of an index without a successor, nothing is promised
	}
	if msg.Kind != msgAppend {
		return msg
	}
	n := uint64(flags>>3) % 4
	if msg.Index > math.MaxUint64-n {
		n = 0 // the decoder refuses it
	}
	for i := range n {
		e := Entry{Index: msg.Index + i + 1, Term: min(msg.Term, m.number()), Kind: EntryKind(m.byte() % 5)}
		if e.Kind == EntryMembership {
			e.Data, _ = m.membership().AppendBinary(nil)
		}
		if i%3 == 2 {
			e.Data = []byte{m.byte()}
		}
		msg.Entries = append(msg.Entries, e)
	}
	return msg
}

func (m *mess) membership() (to Membership) {
	for i, b := 0, m.byte(); i < 5; i++ {
		name := string("abcde"[i])
		switch {
		case b&(1<<i) != 0:
			to.Voters = append(to.Voters, name)
		case b&0x80 != 0:
			to.Learners = append(to.Learners, name)
		case b&0x40 != 0:
			to.Outgoing = append(to.Outgoing, name)
		}
	}
	return to
}

// hear has the core take a message. If it says that nothing was to be done, doing it
// in full changes nothing, either.
func (m *mess) hear(msg *message) {
	if m.c.step(m.now, msg) {
		return
	}
	m.rested++
	rested := *m.c
	m.c.take(msg)
	require.Equal(m.t, rested, *m.c)
}

func (m *mess) input() {
	c := m.c
	switch b := m.byte(); b % 24 {
	default:
		msg := m.message()
		m.hear(&msg)
		if b%24 < 5 { // and heartbeats that tell nothing new
			m.hear(&message{Kind: msgHeartbeat, From: c.leader, Term: c.term, Commit: m.number(), Hint: m.number()})
		}
	case 10, 11:
		m.elect()
	case 12, 13:
		m.now = max(m.now, min(c.wake(), m.now+10*time.Second))
		c.tick(m.now)
	case 14:
		m.now += time.Duration(m.byte()) * 5 * time.Millisecond
		c.tick(m.now)
	case 15:
		_, _ = c.propose(m.now, []Entry{{Data: []byte{b}}, {}})
	case 16:
		_, _ = c.reconfigure(m.now, m.membership())
	case 17:
		m.fresh++
		_ = c.read(m.now, m.fresh)
	case 18:
		_ = c.transfer(m.now, m.name())
	case 19:
		if i := c.commit; i > c.log.base { // its own snapshot
			c.snapshotted(c.infoAt(i))
		}
		c.compact(m.number())
	case 20, 21:
		if c.fetch.Index == 0 {
			return
		}
		info := c.fetch
		info.Membership = Membership{Voters: []string{"a", "b", "c"}}
		if b&32 == 0 || !c.beginInstall(m.now, info) {
			c.fetchFailed(m.now)
			return
		}
		msg := m.message()
		c.step(m.now, &msg)
		c.installed(m.now, info)
	case 22:
		c.learn(m.now, m.number(), m.number())
	case 23:
		c.saved(m.now)
	}
}

// elect has the core win an election, if it may stand.
func (m *mess) elect() {
	c := m.c
	if c.role == leader {
		return
	}
	for range 2 { // a batch may be out, and then comes that with its own vote
		if c.role == follower {
			m.now = max(m.now, c.electionAt)
			c.tick(m.now)
		}
		for _, kind := range []messageKind{msgPreVoteReply, msgVoteReply} {
			term := c.term
			if kind == msgPreVoteReply {
				term++
			}
			for _, p := range c.peers {
				c.step(m.now, &message{Kind: kind, From: p.name, Term: term})
			}
			c.saved(m.now)
			c.takeBatch(nil)
			c.saved(m.now)
		}
	}
}

func (m *mess) check() {
	c := m.c
	require.GreaterOrEqual(m.t, c.term, m.term, "term")
	require.GreaterOrEqual(m.t, c.commit, m.commit, "commit")
	require.LessOrEqual(m.t, c.commit, c.last(), "commit beyond the log")
	require.GreaterOrEqual(m.t, c.commit+1, c.first(), "what is not committed was compacted")
	m.term, m.commit = c.term, c.commit
	for i, e := range m.committed {
		if i >= c.first() && !alike([]Entry{e}, []Entry{*c.log.at(i)}) {
			require.Fail(m.t, "a committed entry changed", "%v is %v", e, c.log.at(i))
		}
	}
	for _, e := range held(c, c.first(), c.commit) {
		m.committed[e.Index] = e
	}
	require.LessOrEqual(m.t, c.disk.stable, c.last())
	require.True(m.t, c.role != leader || c.leader == c.id)
	if m.byte()%3 > 0 {
		c.takeBatch(nil)
	}
	if m.byte()%2 > 0 {
		c.saved(m.now)
	}
	c.messages, c.reads, c.readsLost = c.messages[:0], c.reads[:0], c.readsLost[:0]
	require.LessOrEqual(m.t, len(c.disk.held), 60, "messages that wait are bounded by servers and kinds")
}

// makeAMess returns how many heartbeats told nothing new.
func makeAMess(t *testing.T, data []byte) (rested int) {
	m := &mess{t: t, bytes: data, now: time.Hour, committed: map[uint64]Entry{}}
	config := testConfig
	config.maxAppendBytes, config.maxInflight = 100, 3
	state := State{Hard: HardState{Term: 3, Commit: 1}, Entries: logOf(abc, 1, 2, 2)}
	switch b := m.byte(); {
	case b&1 != 0:
		config.lease = config.election / 2
		fallthrough
	case b&2 != 0:
		state, config.voters = State{}, abc
	case b&4 != 0:
		state = State{Hard: HardState{Term: 3, Commit: 1}, Snapshot: SnapshotInfo{Index: 4, Term: 2, Membership: Membership{Voters: abc}}}
	}
	c, err := newCore(config, state, m.now)
	require.NoError(t, err)
	m.c = c
	for len(m.bytes) > 0 && !c.failed {
		m.input()
		m.check()
	}
	return m.rested
}

func noise(seed uint64, size int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 9))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	return data
}

func TestArbitraryInputBreaksNoPromise(t *testing.T) {
	rested := 0
	for seed := range uint64(150) {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { rested += makeAMess(t, noise(seed, 1500)) }) {
			return
		}
	}
	require.NotZero(t, rested)
}

func FuzzCore(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(noise(seed, 300))
	}
	f.Fuzz(func(t *testing.T, data []byte) { makeAMess(t, data) })
}
