package raft

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	mutantsFlag = flag.Bool("mutants", false, "compile each planted bug and let the simulation find it")
	mutantFlag  = flag.String("mutant", "", "a `regexp` of the names of the bugs that -mutants plants (default: all)")
)

// A mutant is a bug planted into the protocol: the simulation has to find it.
type mutant struct {
	name   string
	bug    string // what is wrong, and so what the simulation has to notice
	within int    // seeds
	edits  []mutantEdit
}

// A mutantEdit replaces a text that occurs once in a file.
type mutantEdit struct{ file, old, new string }

// TestMutants checks that every planted bug still has its place in the code. With
// the flag, it builds the simulation once with each of them, and fails if one is
// not found within its number of seeds. The table goes to docs/simulation.md.
//
//	go test ./raft -run Mutants -mutants -v -timeout 30m
func TestMutants(t *testing.T) {
	var (
		rows  = make([]string, len(mutants))
		slots = make(chan struct{}, 2)
		work  sync.WaitGroup
	)
	chosen, err := regexp.Compile(*mutantFlag)
	require.NoError(t, err)
	names := map[string]bool{}
	for i, m := range mutants {
		require.False(t, names[m.name], "two mutants are called %q", m.name)
		names[m.name] = true
		files := m.plant(t)
		if !*mutantsFlag || !chosen.MatchString(m.name) {
			continue
		}
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			row, err := m.hunt(t.Context(), t.TempDir(), files)
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
			} else {
				t.Logf("%s: found", m.name)
			}
			rows[i] = row
		})
	}
	work.Wait()
	if *mutantsFlag {
		t.Logf("\n| Planted bug | Found by the invariant | Seeds needed | Bound |\n|---|---|---|---|\n%s", strings.Join(rows, ""))
	}
}

// plant returns the files with the bug in them.
func (m *mutant) plant(t *testing.T) map[string]string {
	files := map[string]string{}
	for _, e := range m.edits {
		text, changed := files[e.file]
		if !changed {
			data, err := os.ReadFile(e.file)
			require.NoError(t, err)
			text = string(data)
		}
		require.Equal(t, 1, strings.Count(text, e.old), "mutant %q: occurrences in %s of %q", m.name, e.file, e.old)
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files
}

var mutantVerdict = regexp.MustCompile(`seed (\d+): invariant "([^"]+)"`)

// hunt builds the tests with the files in place of the true ones, and runs the
// simulation. It returns a row of the table.
func (m *mutant) hunt(ctx context.Context, dir string, files map[string]string) (string, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range files {
		original, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		overlay.Replace[original] = filepath.Join(dir, name)
		if err := os.WriteFile(overlay.Replace[original], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "mutant.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	out, _ := exec.CommandContext(ctx, binary, "-test.run=^TestSimulation$", fmt.Sprintf("-sim.seeds=%d", m.within)).CombinedOutput()
	needed, found := 0, ""
	switch verdict := mutantVerdict.FindSubmatch(out); {
	case verdict != nil:
		needed, _ = strconv.Atoi(string(verdict[1]))
		found = string(verdict[2])
	case strings.Contains(string(out), "panic: "):
		found = "no panic"
	case ctx.Err() != nil:
		found = "no endless loop"
	default:
		return fmt.Sprintf("| %s | NOT FOUND | - | %d |\n", m.bug, m.within), fmt.Errorf("%d seeds did not find it", m.within)
	}
	return fmt.Sprintf("| %s | %s | %d | %d |\n", m.bug, found, needed, m.within), nil
}
