package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const clusterNodes = 4

func clusterName(i int) string { return string(rune('a' + i%clusterNodes)) }

// bootCluster starts what a node of the cluster does: two workers whose timers
// coincide with those of all other nodes, each of which sends and calls, and
// services that answer late or talk back.
func bootCluster(tr *Transport) {
	tr.Receive("gossip", func(from string, body []byte) {
		if len(body) < 6 {
			tr.Send(from, "gossip", append(body, tr.Local()...))
		}
	})
	tr.Serve("ask", func(ctx context.Context, _ string, request []byte) ([]byte, error) {
		time.Sleep(1100 * time.Microsecond) // coincides with no deadline: see what is reproducible
		return request, ctx.Err()
	})
	me := int(tr.Local()[0] - 'a')
	for worker := range 2 {
		go work(tr, worker, clusterName(me+worker+1))
	}
}

func work(tr *Transport, worker int, to string) {
	for n := 0; tr.Context().Err() == nil; n++ {
		time.Sleep(5 * time.Millisecond)
		tr.Send(to, fmt.Sprint("log", worker), fmt.Appendf(nil, "%d", n))
		ctx, cancel := context.WithTimeout(tr.Context(), 8*time.Millisecond)
		response, err := tr.Call(ctx, to, "ask", fmt.Appendf(nil, "%d/%d", worker, n))
		cancel()
		if err == nil && worker == 0 {
			tr.Send(to, "gossip", response[:1])
		}
	}
}

// breakCluster runs the cluster through every fault there is. Its verbs coincide
// with the timers of the nodes.
func breakCluster(w *World) {
	for i := range clusterNodes {
		bootCluster(w.Join(clusterName(i)))
	}
	w.Link("a", "b").Set(Faults{Drop: 0.1, Duplicate: 0.1, Reorder: 0.1})
	w.Link("b", "c").Set(Faults{Bandwidth: 10_000, Delay: Exponential(time.Millisecond, 3*time.Millisecond)})
	w.Link("d", "b").Set(Faults{Delay: Constant(time.Millisecond)})
	time.Sleep(20 * time.Millisecond)
	w.Partition([]string{"a", "b"}, []string{"c", "d"})
	time.Sleep(20 * time.Millisecond)
	w.Heal()
	w.Crash("c")
	w.Hold("a", "d")
	w.Cut("d", "b")
	time.Sleep(15 * time.Millisecond)
	w.Restart("c", bootCluster)
	w.Pause("b")
	time.Sleep(15 * time.Millisecond)
	w.Resume("b")
	w.Release("a", "d")
	w.Heal()
	time.Sleep(20 * time.Millisecond)
}

func runCluster(t *testing.T, seed uint64) (hash uint64, trace string) {
	Run(t, Config{Seed: seed, Trace: 1 << 20}, func(w *World) {
		breakCluster(w)
		hash, trace = w.Hash(), w.Trace()
	})
	return hash, trace
}

// sameEveryTime runs f again and again, on one processor and on two, and compares.
func sameEveryTime(t *testing.T, runs int, f func() (hash uint64, trace string)) {
	t.Helper()
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	hash, trace := f()
	for _, procs := range []int{1, 2} {
		runtime.GOMAXPROCS(procs)
		for i := range runs {
			again, other := f()
			if again == hash {
				continue
			}
			t.Fatalf("GOMAXPROCS %d, run %d: another hash; the traces part here:\n%s", procs, i, firstDifference(trace, other))
		}
	}
}

// firstDifference returns the lines around the first one that differs.
func firstDifference(a, b string) string {
	one, other := strings.Split(a, "\n"), strings.Split(b, "\n")
	i := 0
	for i < min(len(one), len(other)) && one[i] == other[i] {
		i++
	}
	cut := func(lines []string) string {
		return strings.Join(lines[max(0, i-5):min(len(lines), i+5)], "\n")
	}
	return cut(one) + "\n---\n" + cut(other)
}

func TestSameSeedSameHash(t *testing.T) {
	sameEveryTime(t, 50, func() (uint64, string) { return runCluster(t, 7) })
}

// A seed means the same in every build: with the race detector and without, on
// every machine. Who changes what it means has to say so in the change log, and
// this number.
func TestSeedMeansTheSameInEveryBuild(t *testing.T) {
	hash, _ := runCluster(t, 7)
	require.Equal(t, uint64(0xbe8884e708adb778), hash)
}

func TestOtherSeedOtherHash(t *testing.T) {
	seen := map[uint64]uint64{}
	for seed := range uint64(20) {
		hash, trace := runCluster(t, seed+1)
		if again, other := runCluster(t, seed+1); again != hash {
			t.Fatalf("seed %d has two hashes; the traces part here:\n%s", seed+1, firstDifference(trace, other))
		}
		require.NotContains(t, seen, hash)
		seen[hash] = seed
	}
}

// What goes over connections is reproducible, too: an unmodified HTTP server and
// clients beside each other, through a partition.
func TestSameSeedSameHashWithHTTP(t *testing.T) {
	sameEveryTime(t, 5, func() (hash uint64, trace string) {
		Run(t, Config{Seed: 7, Trace: 1 << 20, Faults: Faults{Drop: 0.02}}, func(w *World) {
			serveHTTP(w.Join("server"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(w, r.Body)
			}))
			for i := range 3 {
				node := w.Join(fmt.Sprint("client", i))
				go func() {
					client := &http.Client{Transport: &http.Transport{DialContext: node.DialContext}, Timeout: 2 * time.Second}
					defer client.CloseIdleConnections()
					for n := 0; node.Context().Err() == nil; n++ {
						response, err := client.Post("http://server/", "text/plain", strings.NewReader(strings.Repeat("x", n*1000)))
						if err == nil {
							io.Copy(io.Discard, response.Body)
							response.Body.Close()
						}
					}
				}()
			}
			time.Sleep(50 * time.Millisecond)
			w.Partition([]string{"server"}, []string{"client1"})
			time.Sleep(300 * time.Millisecond)
			w.Heal()
			time.Sleep(50 * time.Millisecond)
			hash, trace = w.Hash(), w.Trace()
		})
		return hash, trace
	})
}

// Requests that are made at one instant by goroutines whose order nobody decides
// get their draws by content, not by who came first.
func TestConcurrentCallsAreSortedByContent(t *testing.T) {
	run := func(order []byte) (trace string) {
		Run(t, Config{Seed: 7, Faults: Faults{Drop: 0.3}}, func(w *World) {
			a, b := w.Join("a"), w.Join("b")
			b.Serve("s", func(context.Context, string, []byte) ([]byte, error) { return nil, nil })
			ctx, cancel := context.WithTimeout(a.Context(), time.Second)
			defer cancel()
			for _, request := range order {
				go a.Call(ctx, "b", "s", bytes.Repeat([]byte{request}, int(request)))
			}
			time.Sleep(2 * time.Second)
			trace = w.Trace()
		})
		return trace
	}
	require.Equal(t, run([]byte{1, 2, 3, 4, 5, 6}), run([]byte{5, 3, 6, 1, 4, 2}))
}

// Taking one fault away leaves all else as it was, as far as the nodes do not
// react to it: here they only send.
func TestTakingAwayOneLinksFaultsShiftsNoOther(t *testing.T) {
	run := func(drop float64) (arrivals []string) {
		Run(t, Config{Seed: 7, Faults: Faults{Drop: 0.3, Duplicate: 0.3, Delay: Exponential(0, 5*time.Millisecond)}}, func(w *World) {
			nodes := []*Transport{w.Join("a"), w.Join("b"), w.Join("c")}
			for _, node := range nodes {
				node.Receive("s", func(from string, body []byte) {
					if from != "a" || node.Local() != "b" {
						// The pump lets one handler run at a time.
						arrivals = append(arrivals, fmt.Sprintf("%v %s->%s %s", w.Elapsed(), from, node.Local(), body))
					}
				})
			}
			w.Link("a", "b").Set(Faults{Drop: drop})
			for n := range 50 {
				for _, from := range nodes {
					for _, to := range nodes {
						from.Send(to.Local(), "s", fmt.Append(nil, n))
					}
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Second)
			w.Wait()
		})
		return arrivals
	}
	with := run(0.5)
	require.Greater(t, len(with), 200)
	require.Equal(t, with, run(0))
}
