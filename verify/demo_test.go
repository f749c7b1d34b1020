package verify

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

func TestDemo(t *testing.T) {
	dir := t.TempDir()
	startDemo(t, dir).requireVerdict(t, "VERDICT: nothing that was acknowledged is lost.")
	requireEmpty(t, dir)
}

// What the demo says of its history, porcupine says, too.
func TestStrictDemo(t *testing.T) {
	dir, history := t.TempDir(), filepath.Join(t.TempDir(), "history")
	startDemo(t, dir, "-mode", "cp", "-history", history).requireVerdict(t, "VERDICT: nothing that was acknowledged is lost or done twice, and the history is linearizable")
	requireEmpty(t, dir)
	f, err := os.Open(history)
	require.NoError(t, err)
	defer f.Close()
	byKey := map[string][]porcupine.Operation{}
	total := 0
	for in := json.NewDecoder(f); in.More(); total++ {
		var c counted
		require.NoError(t, in.Decode(&c))
		if c.Answered || c.Incr {
			byKey[c.Key] = append(byKey[c.Key], c.operation())
		}
	}
	require.Greater(t, total, 2000)
	for key, operations := range byKey {
		requireModel(t, counterModel(), key, operations)
	}
	t.Logf("%d calls", total)
}

// A counted is one line of the demo's history.
type counted struct {
	Client         int
	Key            string
	Incr, Answered bool
	Number         int64
	Begun, Ended   int64
}

func (c counted) operation() porcupine.Operation {
	op := porcupine.Operation{ClientId: c.Client, Input: c.Incr, Output: c.Number, Call: c.Begun, Return: c.Ended}
	if !c.Answered {
		op.Output, op.Return = int64(-1), math.MaxInt64
	}
	return op
}

// counterModel is a counter: the input is whether it is to be increased, the
// output its value then, -1 if that is not known.
func counterModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return int64(0) },
		Step: func(state, input, output any) (bool, any) {
			after := state.(int64)
			if input.(bool) {
				after++
			}
			return output.(int64) < 0 || output == after, after
		},
	}
}

// However the demo ends, its servers end with it.
func TestDemoLeavesNoServers(t *testing.T) {
	for i, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL} {
		cleans, mode := signal != syscall.SIGKILL, "ap"
		if i >= 3 {
			mode = "cp"
		}
		dir := t.TempDir()
		demo := startDemo(t, dir, "-mode", mode)
		var told strings.Builder
		for len(demo.processes(told.String())) < 3 && demo.lines.Scan() {
			told.WriteString(demo.lines.Text() + "\n")
		}
		require.NoError(t, demo.cmd.Process.Signal(signal))
		for demo.lines.Scan() {
			told.WriteString(demo.lines.Text() + "\n")
		}
		require.Error(t, demo.cmd.Wait(), "status 0 after %v:\n%s", signal, told.String())
		require.NotContains(t, told.String(), "VERDICT: nothing")
		processes := demo.processes(told.String())
		require.Len(t, processes, 3)
		requireGone(t, processes)
		if cleans {
			requireEmpty(t, dir)
		}
	}
}

type runningDemo struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	began time.Time
}

// requireVerdict waits for the demo to end well.
func (demo *runningDemo) requireVerdict(t *testing.T, verdict string) {
	t.Helper()
	var told strings.Builder
	for demo.lines.Scan() {
		told.WriteString(demo.lines.Text() + "\n")
	}
	require.NoError(t, demo.cmd.Wait(), "%s", told.String())
	require.Contains(t, told.String(), verdict)
	require.Less(t, time.Since(demo.began), 30*time.Second)
	processes := demo.processes(told.String())
	require.Len(t, processes, 3)
	requireGone(t, processes)
}

// startDemo runs kv demo with dir for its temporary files.
func startDemo(t *testing.T, dir string, flags ...string) *runningDemo {
	t.Helper()
	cmd := exec.Command(program, append([]string{"demo"}, flags...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // if the test ends early
	return &runningDemo{cmd, bufio.NewScanner(out), time.Now()}
}

// processes returns the numbers of the servers that the demo told of.
func (*runningDemo) processes(told string) (pids []int) {
	for _, m := range regexp.MustCompile(`server [abc], process (\d+)`).FindAllStringSubmatch(told, -1) {
		if pid, err := strconv.Atoi(m[1]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func requireGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool {
			name, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
			return err != nil || name != program // gone, a zombie, or another program by now
		}, patience, 5*time.Millisecond, "server %d outlives the demo", pid)
	}
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
