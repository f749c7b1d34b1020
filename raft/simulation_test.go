package raft

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/internal/event"
	"github.com/parley-go/parley/transport/sim"
)

// simSeeds is how many seeds `go test` runs.
const simSeeds = 200

// TestSimulation runs clusters of one to seven nodes under faults of network,
// clocks, disks and processes, with membership changes, transfers, snapshots,
// commands and reads going on, and checks after every event what Raft promises.
//
//	go test ./raft -run Simulation -sim.seeds=10000
func TestSimulation(t *testing.T) {
	var total simCoverage
	ran := 0
	sim.Seeds(t, simSeeds, func(t *testing.T, seed uint64) {
		w := newSimWorld(newSimPlan(seed))
		if broken := w.run(); broken != nil {
			again := newSimWorld(newSimPlan(seed))
			again.tracing = true
			_ = again.run()
			t.Fatalf("the last events:\n%s\nseed %d: %v", strings.Join(again.trace, "\n"), seed, broken)
		}
		total.add(&w.seen)
		ran++
	})
	// A simulation that never meets the hard case proves nothing.
	for _, c := range total.counts() {
		t.Logf("%s: %d", c.name, *c.n)
		if *c.n == 0 && ran >= simSeeds {
			t.Errorf("%d seeds have never met: %s", ran, c.name)
		}
	}
}

// A seed is one run, and no other.
func TestSimulationRepeats(t *testing.T) {
	hash := func() uint64 {
		w := newSimWorld(newSimPlan(5))
		require.Nil(t, w.run())
		return w.loop.Hash()
	}
	require.Equal(t, hash(), hash())
}

// BenchmarkSimulation lives through a minute of three nodes under faults and
// load, with all invariants checked, and the recovery after it.
func BenchmarkSimulation(b *testing.B) {
	plan := simPlan{
		voters: 3, heartbeat: 100 * time.Millisecond, election: time.Second, lease: true,
		faults:   event.Faults{Drop: 0.01, Duplicate: 0.01, Reorder: 0.01, Delay: event.Exponential(200*time.Microsecond, 3*time.Millisecond)},
		disk:     2 * time.Millisecond,
		load:     20 * time.Millisecond,
		calamity: time.Second, chaos: time.Minute,
		snapshotEvery: 100, keep: 20, appendBytes: 1 << 20, inflight: 256,
	}
	for i := range plan.weights {
		plan.weights[i] = 1
	}
	commands := 0
	for b.Loop() {
		plan.seed++
		w := newSimWorld(plan)
		if broken := w.run(); broken != nil {
			b.Fatalf("seed %d: %v", plan.seed, broken)
		}
		commands += len(w.truth.acknowledged)
	}
	b.ReportMetric(float64(commands)/float64(b.N), "commands/op")
}

// A simCoverage counts what a run has met.
type simCoverage struct {
	elections, jointElections, leadersRemoved int
	truncations, replacedInFlight, abas       int
	figure8, figure8Undone                    int
	snapshots, installs                       int
	jointChanges, membershipsReverted         int
	transfers, transfersTimedOut              int
	readsLost, remoteReads, leaseReads        int
	diskErrors, amnesias                      int
}

type simCount struct {
	name string
	n    *int
}

func (c *simCoverage) counts() []simCount {
	return []simCount{
		{"elections", &c.elections},
		{"elections in a joint configuration", &c.jointElections},
		{"leaders that removed themselves", &c.leadersRemoved},
		{"truncations of conflicting entries", &c.truncations},
		{"entries replaced while they were being saved", &c.replacedInFlight},
		{"batches that were completed after they were replaced (ABA)", &c.abas},
		{"entries of earlier terms on a majority, not committed (figure 8)", &c.figure8},
		{"such entries replaced (figure 8, d)", &c.figure8Undone},
		{"snapshots", &c.snapshots},
		{"snapshots installed", &c.installs},
		{"joint configurations committed", &c.jointChanges},
		{"memberships reverted by truncation", &c.membershipsReverted},
		{"transfers", &c.transfers},
		{"transfers that timed out", &c.transfersTimedOut},
		{"reads lost with the leadership", &c.readsLost},
		{"reads from followers", &c.remoteReads},
		{"reads by lease", &c.leaseReads},
		{"disks that failed", &c.diskErrors},
		{"disks that were lost, and recovered from", &c.amnesias},
	}
}

func (c *simCoverage) add(other *simCoverage) {
	more := other.counts()
	for i, count := range c.counts() {
		*count.n += *more[i].n
	}
}
