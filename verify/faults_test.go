package verify

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every server in turn is killed while clients write, comes back with nothing,
// and the next one is killed as soon as it is ready.
func TestNothingIsLostWhenServersAreKilledInTurn(t *testing.T) {
	c := startQuickCluster(t)
	l := startLoad(t, c)
	l.progress(300)
	for range 2 {
		for _, s := range c.all {
			s.kill()
			l.progress(1000)
			s.start(t)
			s.waitReady(t)
		}
	}
	l.progress(300)
	l.finish()
}

// A server stands still for longer than the others wait for it, and goes on as
// if nothing had been: what it remembers is old, and it must not say so.
func TestReadsDoNotGoBackWhenServersPause(t *testing.T) {
	c := startQuickCluster(t)
	l := startLoad(t, c)
	l.progress(300)
	for i, s := range c.all {
		s.pause(t)
		other := c.all[(i+1)%len(c.all)]
		require.Eventually(t, func() bool { return !other.sees(t, s) }, patience, 10*time.Millisecond)
		l.progress(300)
		s.resume(t)
		l.answers(l.keys[0].Load(), s)
	}
	l.progress(300)
	l.finish()
}

// A node that is cut off says how many replicas answered and acknowledges
// nothing; the others go on. When it is back it knows what it missed.
func TestCutOffNodeRefuses(t *testing.T) {
	c := startQuickCluster(t)
	l := startLoad(t, c)
	l.progress(300)
	a := c.server("a")
	a.eventually(t, "SET", "k", "before")
	c.isolate("a")
	l.progress(300)
	for _, words := range [][]string{{"SET", "k", "during"}, {"SET", "fresh", "during", "NX"}, {"GET", "k"}, {"DEL", "k"}} {
		_, err := once(a, words...)
		require.ErrorAs(t, err, new(replyError), "%q", words)
		require.Regexp(t, `^NOQUORUM .*\b1 of 3 replicas answered`, err.Error(), "%q", words)
	}
	c.rejoin("a")
	l.answers(l.keys[0].Load(), a)
	l.progress(300)
	l.finish()
}

// A write is on a and b. Then b loses its memory, and a cannot be reached: what
// is left, an empty node and one that was away, must not pass for a majority.
func TestEmptyAndStaleNodesAreNoQuorum(t *testing.T) {
	c := startQuickCluster(t)
	a, b, stale := c.server("a"), c.server("b"), c.server("c")
	a.eventually(t, "SET", "k", "old")
	c.isolate("c")
	a.eventually(t, "SET", "k", "new")

	c.isolate("a")
	b.kill()
	b.start(t)
	c.heal("b", "c")
	c.heal("c", "b")
	require.Eventually(t, func() bool { return stale.sees(t, b) && b.answers("PING") }, patience, 10*time.Millisecond)
	for range 3 {
		for _, s := range []*server{b, stale} {
			_, err := once(s, "GET", "k")
			require.ErrorContains(t, err, "NOQUORUM", s.name)
			_, err = once(s, "SET", "k", "newest", "NX")
			require.ErrorContains(t, err, "NOQUORUM", s.name)
		}
	}

	c.rejoin("a")
	c.rejoin("c")
	b.waitReady(t)
	for _, s := range c.all {
		require.Equal(t, "new", s.eventually(t, "GET", "k"))
	}
}

// What a says is lost on the way to b, and b is heard: half a cut is harder to
// notice than a whole one. Both ends give the connection up, the third node and
// the clients carry on, and after the cut everybody finds each other again.
func TestOneWayCut(t *testing.T) {
	c := startQuickCluster(t)
	l := startLoad(t, c)
	l.progress(300)
	for _, way := range [][2]string{{"a", "b"}, {"c", "a"}} {
		from, to := c.server(way[0]), c.server(way[1])
		c.cut(way[0], way[1])
		require.Eventually(t, func() bool { return !from.sees(t, to) && !to.sees(t, from) }, patience, 10*time.Millisecond)
		l.progress(300)
		c.heal(way[0], way[1])
		require.Eventually(t, func() bool { return from.sees(t, to) && to.sees(t, from) }, patience, 10*time.Millisecond)
		l.progress(300)
	}
	l.finish()
}

// While no node is missing, SET NX has one winner among clients of all nodes.
func TestSetNXHasOneWinner(t *testing.T) {
	c := startCluster(t)
	for round := range 20 {
		key := "lock " + string(rune('a'+round))
		results := make(chan bool, 12)
		for i := range cap(results) {
			go func() {
				_, err := once(c.all[i%3], "SET", key, fmt.Sprint(i), "NX")
				results <- err == nil
			}()
		}
		winners := 0
		for range cap(results) {
			if <-results {
				winners++
			}
		}
		require.Equal(t, 1, winners)
	}
}

// After faults and load the servers hold on to nothing that they opened for them,
// but for the idle workers that the transport keeps, 16 for each peer.
func TestResourcesAreGivenBack(t *testing.T) {
	c := startQuickCluster(t)
	a := c.server("a")
	goroutines, files := a.info(t, "goroutines"), a.files(t)
	l := startLoad(t, c)
	l.progress(200)
	c.isolate("a")
	l.progress(200)
	c.rejoin("a")
	c.server("b").kill()
	l.progress(200)
	c.server("b").start(t)
	c.server("b").waitReady(t)
	l.finish()
	memory := a.info(t, "memory_bytes")
	require.Eventually(t, func() bool {
		return a.info(t, "connected_clients") == 1 && a.info(t, "goroutines") <= goroutines+2*16+4 && a.files(t) <= files+2
	}, patience, 20*time.Millisecond, "before there were %d goroutines and %d files", goroutines, files)
	require.Less(t, memory, 128<<20)
}

// A server that is asked to end does so soon, and says that all went well,
// whatever clients and other servers are doing.
func TestServersEndWhenAsked(t *testing.T) {
	c := startQuickCluster(t)
	l := startLoad(t, c)
	l.progress(300)
	for _, s := range c.all {
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	}
	c.awaitEnd()
}
