package verify

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// These tests let many clients work on few keys of servers without a leader.

// work lets clients ask questions of the given kinds until each has put so many,
// while disturb does what it likes.
func work(t *testing.T, c *cluster, questions int, verbs []string, disturb func()) {
	t.Helper()
	const clients, keys = 6, 5
	h := newHistory()
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			random, callers := rand.New(rand.NewPCG(3, uint64(n))), newCaller(c.all...)
			defer callers.close()
			for i := range questions {
				q := question{verb: verbs[random.IntN(len(verbs))], value: fmt.Sprintf("%d.%d", n, i)}
				h.ask(n, callers, callers.pick(random), fmt.Sprint("key ", random.IntN(keys)), q)
			}
		})
	}
	disturb()
	wg.Wait()
	for key, operations := range h.byKey {
		settled := settle(operations)
		requireLinearizable(t, key, settled)
		t.Logf("%s: %d answers, %d unknown and never seen", key, len(operations), len(operations)-len(settled))
	}
}

// settle says what else is known of plain SETs whose answer is not: one whose
// value somebody has read was carried out before that read ended, and one whose
// value nobody ever read may as well not be there. It makes no history good or
// bad that was not, and spares porcupine from trying them everywhere. The history
// has no commands but GET and SET, or no plain SET.
func settle(operations []porcupine.Operation) (settled []porcupine.Operation) {
	seen := map[string]int64{} // by value, when a read that saw it first ended
	for _, op := range operations {
		value := op.Output.(string)
		if first, known := seen[value]; !known || op.Return < first {
			seen[value] = op.Return
		}
	}
	for _, op := range operations {
		if q := op.Input.(question); op.Output == unknown && q.verb == "SET" {
			first, known := seen[q.value]
			if !known {
				continue
			}
			op.Return = max(first, op.Call)
		}
		settled = append(settled, op)
	}
	return settled
}

// GET and SET are linearizable whatever happens to a minority.
func TestGetAndSetAreLinearizableUnderFaults(t *testing.T) {
	c := startQuickCluster(t)
	work(t, c, 1500, []string{"GET", "SET"}, func() {
		for _, s := range c.all {
			s.kill()
			s.start(t)
			s.waitReady(t)
			c.isolate(s.name)
			require.Eventually(t, func() bool { return !c.all[0].sees(t, c.all[1]) || !c.all[1].sees(t, c.all[2]) }, patience, 5*time.Millisecond)
			c.rejoin(s.name)
		}
	})
}

// Commands that look before they write are, too, while all nodes are there and
// no plain SET comes between.
func TestConditionsAreLinearizableWithoutFaults(t *testing.T) {
	c := startCluster(t)
	work(t, c, 600, []string{"GET", "EXISTS", "DEL", "SET NX", "SET XX", "SET GET"}, func() {})
}
