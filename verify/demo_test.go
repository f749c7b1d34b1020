package verify

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDemo(t *testing.T) {
	dir := t.TempDir()
	demo := startDemo(t, dir)
	var told strings.Builder
	for demo.lines.Scan() {
		told.WriteString(demo.lines.Text() + "\n")
	}
	require.NoError(t, demo.cmd.Wait(), "%s", told.String())
	require.Contains(t, told.String(), "VERDICT: nothing that was acknowledged is lost.")
	require.Less(t, time.Since(demo.began), 30*time.Second)
	processes := demo.processes(told.String())
	require.Len(t, processes, 3)
	requireGone(t, processes)
	requireEmpty(t, dir)
}

// However the demo ends, its servers end with it.
func TestDemoLeavesNoServers(t *testing.T) {
	for signal, cleans := range map[syscall.Signal]bool{syscall.SIGINT: true, syscall.SIGTERM: true, syscall.SIGKILL: false} {
		dir := t.TempDir()
		demo := startDemo(t, dir)
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

// startDemo runs kv demo with dir for its temporary files.
func startDemo(t *testing.T, dir string) *runningDemo {
	t.Helper()
	cmd := exec.Command(program, "demo")
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
