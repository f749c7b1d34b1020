package vclock_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/vclock"
)

// An event of a random history, with the events that it directly follows: the
// one before it on its node and, for a receipt, the sending.
type event struct {
	follows []int
	clock   vclock.Clock
	lamport uint64
	stamp   vclock.Stamp
}

// A node has one of each clock. Its own reading of the time wanders.
type node struct {
	name    string
	last    int // its last event, -1 for none
	clock   vclock.Clock
	lamport vclock.Lamport
	hybrid  *vclock.Hybrid
	time    *wallTime
}

// history makes a random run of nodes that do something, send and receive.
// Messages are kept, so that they arrive late, out of order, twice or never.
func history(t *testing.T, seed uint64, events int) (all []event) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	nodes := make([]*node, 2+random.IntN(5))
	for i := range nodes {
		now := newWallTime()
		nodes[i] = &node{name: "n" + strconv.Itoa(i), last: -1, time: now, hybrid: vclock.NewHybrid(vclock.HybridConfig{Now: now.Now, MaxOffset: 1 << 50})}
	}
	for len(all) < events {
		n := nodes[random.IntN(len(nodes))]
		n.time.advance(random.IntN(100) - 40) // back as well
		e := event{}
		if n.last >= 0 {
			e.follows = append(e.follows, n.last)
		}
		if len(all) > 0 && random.IntN(2) == 0 { // any event may be a sending
			sent := random.IntN(len(all))
			e.follows = append(e.follows, sent)
			message := all[sent]
			n.clock.Merge(message.clock)
			var err error
			e.lamport, err = n.lamport.Observe(message.lamport)
			require.NoError(t, err)
			e.stamp, err = n.hybrid.Observe(message.stamp)
			require.NoError(t, err)
		} else {
			e.lamport, e.stamp = n.lamport.Tick(), n.hybrid.Now()
		}
		n.clock.Tick(n.name)
		e.clock = n.clock
		n.last = len(all)
		all = append(all, e)
	}
	return all
}

// happenedBefore returns, for each event, the set of those before it: all that
// can be reached over follows.
func happenedBefore(all []event) []map[int]bool {
	before := make([]map[int]bool, len(all))
	for i, e := range all {
		before[i] = map[int]bool{}
		for _, j := range e.follows {
			before[i][j] = true
			for k := range before[j] {
				before[i][k] = true
			}
		}
	}
	return before
}

// TestCompareIsHappenedBefore has clocks and an explicit relation agree about
// every pair of events, and the scalar clocks rise along it.
func TestCompareIsHappenedBefore(t *testing.T) {
	for seed := range uint64(60) {
		all := history(t, seed, 80)
		before := happenedBefore(all)
		for i, a := range all {
			for j, b := range all {
				want := vclock.Concurrent
				switch {
				case i == j:
					want = vclock.Equal
				case before[j][i]:
					want = vclock.Before
				case before[i][j]:
					want = vclock.After
				}
				if got := a.clock.Compare(b.clock); got != want {
					t.Fatalf("seed %d: event %d (%v) to event %d (%v): got %v, want %v", seed, i, a.clock, j, b.clock, got, want)
				}
				if before[j][i] && (a.lamport >= b.lamport || a.stamp >= b.stamp) {
					t.Fatalf("seed %d: event %d before event %d: Lamport %d and %d, hybrid %v and %v", seed, i, j, a.lamport, b.lamport, a.stamp, b.stamp)
				}
			}
		}
	}
}

// TestMergeIsTheUnionOfHistories holds the lattice laws on clocks that come from
// one history: the merge knows what either knew, and nothing more.
func TestMergeIsTheUnionOfHistories(t *testing.T) {
	for seed := range uint64(20) {
		all := history(t, seed, 40)
		random := rand.New(rand.NewPCG(seed, 1))
		for range 200 {
			a, b, c := all[random.IntN(len(all))].clock, all[random.IntN(len(all))].clock, all[random.IntN(len(all))].clock
			ab, ba := merged(a, b), merged(b, a)
			require.Equal(t, ab.String(), ba.String(), "commutative")
			require.Equal(t, merged(ab, c).String(), merged(a, merged(b, c)).String(), "associative")
			require.Equal(t, ab.String(), merged(ab, b).String(), "idempotent")
			for _, e := range all {
				knows := e.clock.Compare(ab)
				within := below(e.clock, a) || below(e.clock, b)
				require.False(t, within && knows != vclock.Before && knows != vclock.Equal, "the merge knows what either knew")
			}
			for node, counter := range ab.All() {
				require.Equal(t, counter, max(a.Get(node), b.Get(node)))
			}
		}
	}
}

func below(a, b vclock.Clock) bool {
	order := a.Compare(b)
	return order == vclock.Before || order == vclock.Equal
}

func merged(a, b vclock.Clock) vclock.Clock {
	a.Merge(b)
	return a
}
