package shared

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport/sim"
)

// A model drives the cores of some nodes by hand, with the worst that the protocol
// allows: lessees that hoard tokens and spend them at the last moment, requests
// that arrive twice, late, in any order and at a later life, answers that come too
// late, clocks that run at different rates, owners that restart, move, and sleep
// while their keys move.
type model struct {
	t      *testing.T
	random *rand.Rand
	config Config
	ring   *ring.Ring
	now    time.Duration
	nodes  []*modelNode
	mail   []letter
	lives  uint64
	spent  map[string]*meter
	total  int64
	hoard  bool // nobody spends for now
}

type modelNode struct {
	name     string
	life     uint64
	start    time.Duration
	pace     float64       // of its clock
	asleep   time.Duration // until when it does nothing and sees nothing
	number   uint64
	accounts map[string]*account
	flights  map[string]*modelFlight
	ledger   *ledger
	tenure   *tenure
}

type modelFlight struct {
	sent    time.Duration // by the node's clock
	request request
}

// A letter is a request or a response under way.
type letter struct {
	due      time.Duration
	from, to *modelNode
	request  request
	response *response
}

// A meter is the definition of the bound: what a window of spending has more than
// the limit gives in its time.
type meter struct {
	lacking float64
	last    time.Duration
}

const fastest = 1.05 // the pace of a clock, and 1/fastest the slowest

func (m *model) chance(p float64) bool { return m.random.Float64() < p }

func (m *model) some(d time.Duration) time.Duration { return time.Duration(m.random.Int64N(int64(d))) }

func (n *modelNode) clock(now time.Duration) time.Duration {
	return time.Duration(float64(now-n.start) * n.pace)
}

// boot begins a new life of a node.
func (m *model) boot(n *modelNode) {
	m.lives++
	n.life, n.start, n.number = m.lives, m.now, 0
	n.pace = 1/fastest + m.random.Float64()*(fastest-1/fastest)
	n.accounts = map[string]*account{}
	n.flights = map[string]*modelFlight{}
	n.ledger = newLedger(&m.config)
	n.tenure = newTenure(n.name, &m.config, m.ring.Snapshot())
}

func (m *model) step() {
	m.now += m.some(m.config.Lease / 20)
	for i := 0; i < len(m.mail); i++ {
		if l := m.mail[i]; l.due <= m.now && l.to.asleep <= m.now {
			m.mail = slices.Delete(m.mail, i, i+1)
			i--
			m.deliver(l)
		}
	}
	for _, n := range m.nodes {
		if n.asleep <= m.now {
			n.tenure.observe(n.clock(m.now), m.ring.Snapshot())
		}
	}
	if m.chance(0.01) {
		m.hoard = !m.hoard
	}
	n := m.nodes[m.random.IntN(len(m.nodes))]
	if n.asleep > m.now {
		return
	}
	key := []string{"x", "y"}[m.random.IntN(2)]
	a := n.accounts[key]
	if a == nil {
		a = &account{key: key}
		n.accounts[key] = a
	}
	switch u := m.random.IntN(1000); {
	case u < 3:
		m.boot(n)
	case u < 5:
		if !m.ring.Remove(n.name) {
			require.NoError(m.t, m.ring.Add(ring.Node{Name: n.name}))
		}
	case u < 7:
		m.sleep(n)
	case u < 20:
		m.giveBack(n, a)
	case u < 60:
		if n.flights[key] != nil { // it takes too long
			delete(n.flights, key)
			a.flight = nil
			a.failed(errors.New("timeout"), 0)
		}
	case u < 300 || m.hoard:
		m.ask(n, a)
	case u < 400:
		m.spend(n, a, 1)
	case u < 800:
		m.spend(n, a, a.held)
	default: // up to the last nanosecond of the lease
		if left := a.until - n.clock(m.now); a.held > 0 && left > 0 && left < m.config.Lease/8 {
			m.now = max(m.now, n.start+time.Duration(float64(a.until-1)/n.pace))
			m.spend(n, a, a.held)
		}
	}
}

// sleep stops a node for a while, in which it is taken out of the ring and put back.
func (m *model) sleep(n *modelNode) {
	wake := m.now + 3*m.config.Lease + m.some(m.config.Lease)
	n.asleep = wake
	if m.ring.Remove(n.name) {
		for m.now < wake-m.config.Lease/20 {
			m.step()
		}
		_ = m.ring.Add(ring.Node{Name: n.name}) // or it is there again already
	}
}

// spend takes tokens and holds the spending against the bound.
func (m *model) spend(n *modelNode, a *account, tokens int64) {
	if tokens <= 0 || a.take(n.clock(m.now), tokens) != taken {
		return
	}
	s := m.spent[a.key]
	perSecond := float64(m.config.Limit.Events) * fastest
	s.lacking = max(0, s.lacking-perSecond*(m.now-s.last).Seconds()) + float64(tokens)
	s.last = m.now
	m.total += tokens
	if s.lacking > float64(m.config.Burst)+1e-3 {
		m.t.Fatalf("after %v, key %s: %.2f tokens above the limit, the burst is %d", m.now, a.key, s.lacking, m.config.Burst)
	}
}

func (m *model) ask(n *modelNode, a *account) {
	if a.flight != nil {
		return
	}
	now := n.clock(m.now)
	wants := int64(0)
	if !m.hoard || m.chance(0.05) {
		wants = m.random.Int64N(4)
	}
	if wants > 0 {
		a.join(wants)
	}
	q := a.request(now, m.config.Lease, int64(m.config.Burst))
	if wants > 0 {
		a.leave(wants)
	}
	q.batch = m.random.Int64N(int64(m.config.Burst)) // a hoarder
	n.number++
	q.life, q.number = n.life, n.number
	a.flight = &flight{}
	n.flights[a.key] = &modelFlight{now, q}
	m.send(n, q)
}

func (m *model) giveBack(n *modelNode, a *account) {
	if tokens := a.idle(n.clock(m.now), m.config.Lease/16); tokens > 0 {
		n.number++
		m.send(n, request{life: n.life, number: n.number, key: a.key, returned: tokens})
	}
}

// send puts a request into the mail: once, twice or never.
func (m *model) send(n *modelNode, q request) {
	owner, ok := m.ring.Owner(q.key)
	for ok && m.chance(0.8) {
		to := m.nodes[slices.IndexFunc(m.nodes, func(o *modelNode) bool { return o.name == owner })]
		delay := m.some(m.config.Lease / 20)
		if m.chance(0.1) {
			delay = m.some(2 * m.config.Lease)
		}
		m.mail = append(m.mail, letter{due: m.now + delay, from: n, to: to, request: q})
		ok = m.chance(0.2)
	}
}

func (m *model) deliver(l letter) {
	if l.response == nil {
		r := response{status: statusNotOwner}
		now := l.to.clock(m.now)
		l.to.tenure.observe(now, m.ring.Snapshot())
		if owner, nodes := l.to.tenure.owner(l.request.key); owner == l.to.name {
			r = l.to.ledger.exchange(now, l.to.tenure.safe(l.request.key), l.from.name, &l.request, nodes)
			m.checkBooks(l.to.ledger)
		}
		m.mail = append(m.mail, letter{m.now + m.some(m.config.Lease/20), l.to, l.from, l.request, &r})
		return
	}
	f := l.to.flights[l.request.key]
	if f == nil || l.request.life != l.to.life || l.request.number != f.request.number {
		return
	}
	delete(l.to.flights, l.request.key)
	a := l.to.accounts[l.request.key]
	a.flight = nil
	if l.response.status == statusGranted {
		a.granted(l.to.clock(m.now), f.sent, &f.request, l.response)
	}
}

// checkBooks looks at what must always hold inside a ledger.
func (m *model) checkBooks(l *ledger) {
	require.Len(m.t, l.order, len(l.keys))
	for _, e := range l.order {
		var out int64
		for i, lease := range e.leases {
			out += lease.tokens
			require.Positive(m.t, lease.tokens)
			require.True(m.t, i == 0 || e.leases[i-1].ends <= lease.ends)
		}
		require.Equal(m.t, e.out, out)
		require.GreaterOrEqual(m.t, e.tokens, int64(0))
		require.LessOrEqual(m.t, e.tokens+e.out, l.burst)
	}
}

// TestModelNeverOver is the promise of the core, with the worst that can come.
func TestModelNeverOver(t *testing.T) {
	sim.Seeds(t, 30, func(t *testing.T, seed uint64) {
		m := &model{
			t: t, random: rand.New(rand.NewPCG(seed, 1)), spent: map[string]*meter{"x": {}, "y": {}},
			config: Config{Limit: ratelimit.Per([]int{10, 40, 150}[seed%3], time.Second), Burst: 20, Lease: 200 * time.Millisecond, MaxKeys: 10},
		}
		var err error
		m.ring, err = ring.New(ring.Config{}, ring.Node{Name: "a"}, ring.Node{Name: "b"}, ring.Node{Name: "c"}, ring.Node{Name: "d"})
		require.NoError(t, err)
		for node := range m.ring.Nodes() {
			m.nodes = append(m.nodes, &modelNode{name: node.Name})
			m.boot(m.nodes[len(m.nodes)-1])
		}
		for range 6_000 {
			m.step()
		}
		require.Greater(t, m.total, int64(100), "it is easy never to be over by spending nothing")
	})
}
