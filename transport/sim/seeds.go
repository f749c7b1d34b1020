package sim

import (
	"flag"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

// The flags of a test binary have to be registered before the testing package
// parses them, and the only moment for that is the initialisation of a package.
// This is the one place where the library registers anything globally. It
// touches nothing but `go test -sim.seed=... -sim.seeds=...`.
// constant: nobody but the flag package writes them.
var (
	seedFlag  = flag.Uint64("sim.seed", 1, "the `seed` of a simulation, and the first of sim.Seeds")
	seedsFlag = flag.Int("sim.seeds", 0, "the `number` of seeds that sim.Seeds runs (default: what the test says)")
)

// Seeds runs f with n seeds one after the other, as subtests named "seed=1",
// "seed=2" and so on, and stops after the first that fails with the command that
// runs it again. The flag -sim.seeds takes the place of n, and -sim.seed of the
// first seed. Most often f calls Run with Config.Seed set to seed; a pure core
// driven in a loop of its own serves as well.
//
//	go test ./raft -run Simulation -sim.seeds=10000
func Seeds(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	t.Helper()
	if *seedsFlag > 0 {
		n = *seedsFlag
	}
	if n < 1 {
		t.Fatalf("sim: Seeds of %d: it is at least 1", n)
	}
	for i := range n {
		seed := *seedFlag + uint64(i)
		name := fmt.Sprintf("seed=%d", seed)
		if !t.Run(name, func(t *testing.T) { f(t, seed) }) {
			t.Logf("sim: seed %d failed, after %d that passed; run it again:\n\t%s", seed, i, replay(t.Name()+"/"+name, seed))
			return
		}
	}
}

// replay returns the command that runs a test again with one seed.
func replay(test string, seed uint64) string {
	pkg := "."
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasSuffix(info.Path, ".test") {
		pkg = strings.TrimSuffix(info.Path, ".test")
	}
	levels := strings.Split(test, "/")
	for i, name := range levels {
		levels[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	pattern := strings.ReplaceAll(strings.Join(levels, "/"), "'", `'\''`)
	race := ""
	if raceEnabled {
		race = " -race"
	}
	return fmt.Sprintf("go test %s%s -count=1 -run '%s' -sim.seed=%d -sim.seeds=1", pkg, race, pattern, seed)
}
