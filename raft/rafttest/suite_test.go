package rafttest_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/raft"
	"github.com/parley-go/parley/raft/rafttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A test of an implementation calls Run, or runs the cases one by one.
func ExampleCase() {
	for _, c := range rafttest.Cases()[:2] {
		fmt.Println(c.Name)
	}
	// Output:
	// NothingSavedIsTheZeroState
	// HardStateIsKept
}

// TestFaultsAreFound puts storages through the suite that are broken in one way each,
// and names the cases that must find it.
func TestFaultsAreFound(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			for name := range strings.FieldsSeq(f.found) {
				i := slices.IndexFunc(rafttest.Cases(), func(c rafttest.Case) bool { return c.Name == name })
				require.GreaterOrEqual(t, i, 0, "no case is called %s", name)
				if failures := run(t, rafttest.Cases()[i], f); len(failures) == 0 {
					t.Errorf("%s passes", name)
				}
			}
		})
	}
}

// TestNoFault shows that it is the faults that the cases above find, not the way in
// which they are put there.
func TestNoFault(t *testing.T) {
	none := fault{wrap: func(s raft.Storage) raft.Storage { return &broken{Storage: s} }}
	for _, c := range rafttest.Cases() {
		if failures := run(t, c, none); len(failures) > 0 {
			t.Errorf("%s fails: %s", c.Name, failures)
		}
	}
}

// run runs a case on a MemoryStorage with a fault, and returns what it complained of.
func run(t *testing.T, c rafttest.Case, f fault) []string {
	kept := map[string]raft.Storage{}
	return record(t, func(tb testing.TB) {
		c.Run(tb, func(dir string) (raft.Storage, error) {
			if kept[dir] == nil {
				kept[dir] = f.wrap(raft.NewMemoryStorage())
			}
			return kept[dir], nil
		})
	})
}

// A recorder is a testing.TB whose failures are not those of the test.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func record(t *testing.T, f func(testing.TB)) []string {
	r := &recorder{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { f(r) }) // which Fatalf may end
	wg.Wait()
	return r.failures
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
