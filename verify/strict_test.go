package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Servers with -mode cp: a leader, and a log on disk. Every command must be
// linearizable whatever happens, and nothing that was acknowledged may be lost
// even if all servers die at once.

// startStrictCluster starts servers that notice faults soon and take snapshots
// often.
func startStrictCluster(t *testing.T, flags ...string) *cluster {
	t.Helper()
	dir := t.TempDir()
	return startServers(t, func(name string) []string {
		return append([]string{
			"-mode", "cp", "-data", filepath.Join(dir, name), "-timeout", commandTimeout.String(), "-keepalive", keepAlive.String(),
			"-heartbeat", "50ms", "-election", "250ms", "-snapshot", "500",
		}, flags...)
	})
}

// leader waits until there is a leader that the servers which answer agree on.
func (c *cluster) leader() *server {
	c.t.Helper()
	var leader *server
	require.Eventually(c.t, func() bool {
		said := map[string]int{}
		for _, s := range c.all {
			if info, err := once(s, "INFO", "consensus"); err == nil {
				said[field(info, "leader")]++
			}
		}
		for _, s := range c.all {
			if said[s.name] > len(c.all)/2 {
				leader = s
				return true
			}
		}
		return false
	}, patience, 10*time.Millisecond, "no leader")
	return leader
}

// A throng is clients that ask all kinds of questions about few keys.
type throng struct {
	topic
	history *history
	keys    *keyring
	ctx     context.Context
	cancel  context.CancelFunc
	clients sync.WaitGroup
	asked   atomic.Int64 // and answered
}

const throngClients = 8

func startThrong(t *testing.T, c *cluster, about topic) *throng {
	g := &throng{topic: about, history: newHistory(), keys: newKeyring(10)}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	for n := range throngClients {
		g.clients.Go(func() { g.client(c, n) })
	}
	t.Cleanup(g.end)
	return g
}

func (g *throng) end() {
	g.cancel()
	g.clients.Wait()
}

func (g *throng) client(c *cluster, n int) {
	random, callers := rand.New(rand.NewPCG(7, uint64(n))), newCaller(c.all...)
	defer callers.close()
	for q := newQuestioner(g.topic, n, random, g.keys); g.ctx.Err() == nil; {
		if q.next(func(key string, q question) string { return g.history.ask(n, callers, callers.pick(random), key, q) }) {
			g.asked.Add(1)
		}
	}
}

// progress waits until so many questions more have been answered.
func (g *throng) progress(t *testing.T, more int64) {
	t.Helper()
	goal := g.asked.Load() + more
	require.Eventually(t, func() bool { return g.asked.Load() >= goal }, patience, 5*time.Millisecond, "the clients do not get on")
}

// check asks every server for every key once more, and looks for an order that
// explains all answers.
func (g *throng) check(t *testing.T, c *cluster) {
	t.Helper()
	g.end()
	callers := newCaller()
	defer callers.close()
	for _, s := range c.all {
		for i := range g.keys.made {
			key := fmt.Sprint("key ", i)
			require.Eventually(t, func() bool {
				return g.history.ask(throngClients, callers, s, key, question{verb: "GET"}) != ""
			}, patience, 10*time.Millisecond)
		}
	}
	for key, operations := range g.history.byKey {
		requireModel(t, g.model(), key, operations)
	}
	for _, s := range c.all {
		require.Greater(t, s.info(t, "first"), 1, "%s has its whole log", s.name)
		t.Logf("%s: log from %d to %d, %d snapshots taken, %d fetched", s.name, s.info(t, "first"), s.info(t, "last"), s.info(t, "snapshots_taken"), s.info(t, "snapshots_fetched"))
	}
	all, open := g.history.answers()
	t.Logf("%d operations on %d keys, %d of unknown outcome", all, g.keys.made, open)
}

// Leaders are killed, stopped and cut off in every way, and everybody dies at once,
// while clients ask all kinds of questions of all servers.
func TestStrictIsLinearizableUnderFaults(t *testing.T) {
	for _, reads := range []string{"index", "lease"} {
		t.Run(reads, func(t *testing.T) {
			c := startStrictCluster(t, "-reads", reads)
			g := startThrong(t, c, everything)
			const some = 700
			g.progress(t, some)
			for _, fault := range []func(leader, other *server){
				func(leader, _ *server) { // kill -9
					leader.kill()
					g.progress(t, some)
					leader.start(t)
					leader.waitReady(t)
				},
				func(leader, _ *server) { // it stands still, and does not know
					leader.pause(t)
					g.progress(t, some)
					leader.resume(t)
				},
				func(leader, _ *server) {
					c.isolate(leader.name)
					g.progress(t, some)
					c.rejoin(leader.name)
				},
				func(leader, other *server) { // it is heard, and hears nothing
					for _, s := range c.all {
						if s != leader {
							c.cut(s.name, leader.name)
						}
					}
					g.progress(t, some)
					c.rejoin(leader.name)
				},
				func(leader, other *server) { // one follower does not hear it
					c.cut(leader.name, other.name)
					g.progress(t, some)
					c.rejoin(other.name)
				},
				func(_, other *server) { // a follower
					other.kill()
					g.progress(t, some)
					other.start(t)
					other.waitReady(t)
				},
				func(_, _ *server) { // the power fails
					for _, s := range c.all {
						s.kill()
					}
					for _, s := range c.all {
						s.start(t)
					}
					for _, s := range c.all {
						s.waitReady(t)
					}
				},
			} {
				leader := c.leader()
				other := c.all[0]
				if other == leader {
					other = c.all[1]
				}
				fault(leader, other)
				g.progress(t, some)
			}
			g.check(t, c)
		})
	}
}

// What has been acknowledged is there, and reads never go back, while leader
// after leader is killed; see load.
func TestStrictLosesNothingWhenLeadersAreKilled(t *testing.T) {
	c := startStrictCluster(t)
	l := startLoad(t, c)
	l.progress(300)
	for range 3 {
		leader := c.leader()
		leader.kill()
		l.progress(200)
		leader.start(t)
		leader.waitReady(t)
	}
	for _, s := range c.all {
		s.kill()
	}
	for _, s := range c.all {
		s.start(t)
	}
	l.progress(300)
	l.finish()
}

// A leader that is cut off acknowledges nothing and answers no read, neither at
// once nor later; the others go on without it.
func TestStrictCutOffLeaderRefuses(t *testing.T) {
	for _, reads := range []string{"index", "lease"} {
		c := startStrictCluster(t, "-reads", reads)
		leader := c.leader()
		leader.eventually(t, "SET", "k", "before")
		c.isolate(leader.name)
		other := c.all[0]
		if other == leader {
			other = c.all[1]
		}
		other.eventually(t, "SET", "k", "during")
		var clients sync.WaitGroup
		for _, words := range [][]string{{"GET", "k"}, {"SET", "k", "lost"}, {"INCR", "n"}} {
			clients.Go(func() {
				if _, err := once(leader, words...); err == nil || !strings.HasPrefix(err.Error(), "NOQUORUM ") {
					t.Errorf("%q: %v", words, err)
				}
			})
		}
		clients.Wait()
		c.rejoin(leader.name)
		require.Equal(t, "during", leader.eventually(t, "GET", "k"))
	}
}

// SET NX has one winner, and a lock made of it one holder, while leaders die.
func TestStrictSetNXHasOneWinnerWhileLeadersDie(t *testing.T) {
	c := startStrictCluster(t)
	for round := range 6 {
		key := fmt.Sprint("lock ", round)
		results := make(chan error, 12)
		for i := range cap(results) {
			go func() {
				callers := newCaller()
				defer callers.close()
				_, err := callers.do(c.all[i%3], "SET", key, fmt.Sprint(i), "NX")
				results <- err
			}()
		}
		var killed *server
		if round%2 == 1 {
			killed = c.leader()
			killed.kill()
		}
		winners, silent := 0, 0
		for range cap(results) {
			switch err := <-results; {
			case err == nil:
				winners++
			case err != errNull:
				silent++
			}
		}
		require.LessOrEqual(t, winners, 1)
		require.True(t, winners == 1 || silent > 0)
		if killed != nil {
			killed.start(t)
			killed.waitReady(t)
		}
	}
}

// What is over for one client is over for all, whatever node they ask, and also
// when the leader is lost at that moment.
func TestStrictExpiryIsLinearizable(t *testing.T) {
	c := startStrictCluster(t)
	g := startThrong(t, c, briefly)
	g.progress(t, 2000)
	leader := c.leader()
	leader.pause(t)
	g.progress(t, 500)
	leader.resume(t)
	g.progress(t, 500)
	leader = c.leader()
	leader.kill()
	g.progress(t, 500)
	leader.start(t)
	leader.waitReady(t)
	g.progress(t, 1000)
	g.check(t, c)
}

// A server that is asked to end does so soon, and says that all went well.
func TestStrictServersEndWhenAsked(t *testing.T) {
	c := startStrictCluster(t)
	g := startThrong(t, c, everything)
	g.progress(t, 300)
	for _, s := range c.all {
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	}
	c.awaitEnd()
}
