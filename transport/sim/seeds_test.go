package sim

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// failing are tests that fail, for TestFailureReport, which runs them in a
// process of their own.
var failing = map[string]func(t *testing.T){
	"assertion": func(t *testing.T) {
		Seeds(t, 5, func(t *testing.T, seed uint64) {
			Run(t, Config{Seed: seed}, func(w *World) {
				w.Join("a").Send("a", "s", nil)
				time.Sleep(time.Second)
				require.Less(w.T(), seed, uint64(3))
			})
		})
	},
	"alone": func(t *testing.T) {
		Run(t, Config{}, func(w *World) { w.T().Fatal("wrong") })
	},
	"stuck goroutine": func(t *testing.T) {
		Run(t, Config{}, func(w *World) {
			go func() { select {} }()
			w.T().Error("wrong")
		})
	},
	"limit": func(t *testing.T) {
		Run(t, Config{Limit: time.Minute}, func(w *World) {
			a, b := w.Join("a"), w.Join("b")
			b.Serve("s", func(ctx context.Context, _ string, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, nil })
			a.Call(context.Background(), "b", "s", nil)
			w.Logf("the call has ended after %v", w.Elapsed())
		})
	},
	"limit ignored": func(t *testing.T) {
		Run(t, Config{Limit: time.Minute}, func(w *World) { time.Sleep(time.Hour) })
	},
	"standstill": func(t *testing.T) {
		Run(t, Config{Faults: Faults{Delay: Constant(0)}}, func(w *World) {
			w.patience = 1000
			for _, name := range []string{"a", "b"} {
				node := w.Join(name)
				node.Receive("s", func(from string, body []byte) { node.Send(from, "s", body) })
			}
			w.names["a"].transport.Send("b", "s", nil)
			time.Sleep(time.Second)
		})
	},
	"misuse": func(t *testing.T) {
		Run(t, Config{}, func(w *World) {
			w.Join("a")
			w.Join("a").Send("a", "s", nil)
			w.Join("")
			w.Crash("b")
			w.Restart("a", nil)
			w.Restart("c", nil)
			w.Link("a", "b").Set(Faults{Drop: 2})
			w.Partition([]string{"a"}, []string{"b", "a"})
		})
	},
	"panic": func(t *testing.T) {
		Seeds(t, 5, func(t *testing.T, seed uint64) {
			Run(t, Config{Seed: seed}, func(w *World) {
				a := w.Join("a")
				a.Receive("s", func(string, []byte) {
					if seed == 4 {
						panic("on purpose")
					}
				})
				a.Send("a", "s", nil)
				time.Sleep(time.Second)
			})
		})
	},
	"no seeds": func(t *testing.T) { Seeds(t, 0, func(*testing.T, uint64) {}) },
	"config":   func(t *testing.T) { Run(t, Config{Queue: -1}, func(*World) {}) },
}

func TestFailing(t *testing.T) {
	f := failing[os.Getenv("SIM_TEST_FAILING")]
	if f == nil {
		t.Skip("fails on purpose, when TestFailureReport asks for it")
	}
	f(t)
}

func TestFailureReport(t *testing.T) {
	for name, want := range map[string][]string{
		"assertion": {
			"--- FAIL: TestFailing/seed=3",
			"sim: the last events",
			"message  a->a send s #0",
			"sim: seed 3, hash ",
			"sim: seed 3 failed, after 2 that passed",
			"go test github.com/parley-go/parley/transport/sim", "-count=1 -run '^TestFailing$/^seed=3$' -sim.seed=3 -sim.seeds=1",
		},
		"alone":           {"wrong", "sim: seed 1, hash ", "-run '^TestFailing$' -sim.seed=1 -sim.seeds=1"},
		"stuck goroutine": {"wrong", "sim: seed 1, hash ", "deadlock"},
		"limit":           {"reached 1m0s of virtual time, see Config.Limit", "the call has ended after 1m0s", "sim: seed 1, hash "},
		"limit ignored":   {"panic: sim: with all nodes down, the run has reached 2m0s", "see Config.Limit"},
		"standstill":      {"1000 events at one instant: time does not move on", "sim: seed 1, hash "},
		"misuse": {
			`cannot join node "a"`, "a node name has 1 to 255 bytes", "cannot crash b: it is not up",
			`cannot restart node "a"`, `cannot restart node "c"`, "invalid Faults.Drop 2: a chance is from 0 to 1", `node "a" is in two groups`,
		},
		"panic": {
			"a handler panics under seed 4", "-run '^TestFailing$/^seed=4$' -sim.seed=4 -sim.seeds=1",
			"panic: on purpose", "sim.init.func", // the handler's own frame
		},
		"no seeds": {"Seeds of 0"},
		"config":   {"sim: Config.Queue is -1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := fail(t, name)
			for _, text := range want {
				require.Contains(t, out, text)
			}
		})
	}
}

// The command of a failure fails in the same way, and runs nothing else.
func TestReplayRunsOneSeed(t *testing.T) {
	out := fail(t, "assertion", "-test.v", "-sim.seed=3", "-sim.seeds=1")
	require.Contains(t, out, "seed=3")
	require.NotContains(t, out, "seed=1 ")
	require.NotContains(t, out, "seed=4")
	require.Contains(t, fail(t, "assertion", "-sim.seed=9", "-sim.seeds=1"), "seed 9 failed, after 0 that passed")
}

// fail runs one of the failing tests and returns what it prints.
func fail(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0], append([]string{"-test.run=^TestFailing$"}, args...)...)
	command.Env = append(os.Environ(), "SIM_TEST_FAILING="+name)
	out, err := command.CombinedOutput()
	require.Error(t, err, "it did not fail:\n%s", out)
	return string(out)
}

func TestSeedsRunsEach(t *testing.T) {
	var seen []uint64
	Seeds(t, 4, func(t *testing.T, seed uint64) { seen = append(seen, seed) })
	require.Len(t, seen, 4)
	for i := range seen {
		require.Equal(t, *seedFlag+uint64(i), seen[i])
	}
}

func TestReplayQuotesNames(t *testing.T) {
	command := replay("TestX/it's_a+b/seed=7", 7)
	require.Contains(t, command, `-run '^TestX$/^it'\''s_a\+b$/^seed=7$' -sim.seed=7 -sim.seeds=1`)
}
