package main

import (
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// short is the script in a third of its time; constant: never changed.
var short = []act{
	{name: "calm", seconds: 1, asked: 600, failing: 0.01},
	{name: "flaky", seconds: 1, asked: 600, failing: 0.2},
	{name: outage, seconds: 5, asked: 600, down: true},
	{name: recovery, seconds: 4, asked: 600, failing: 0.01},
	{name: overload, seconds: 3, asked: 3 * capacity, failing: 0.01},
	{name: "calm again", seconds: 1, asked: 600, failing: 0.01},
}

var all = guards{true, true, true} // constant: never changed

// broken lists the promises that a run did not hold.
func broken(checks []check) (names []string) {
	for _, c := range checks {
		if !c.held() {
			names = append(names, c.promise)
		}
	}
	return names
}

func TestGuardsHoldWhatTheyPromise(t *testing.T) {
	for seed := range uint64(2) {
		require.Empty(t, broken(judge(short, run(t, short, seed, all))), "seed %d", seed)
	}
}

// A check that passes without the guard that it is about would be worth nothing.
func TestEachGuardIsNeeded(t *testing.T) {
	for _, c := range []struct {
		guards  guards
		promise []string
	}{
		{guards{breaker: true, limit: true}, []string{fewTriesEver}},
		{guards{budget: true, limit: true}, []string{leftAlone}},
		{guards{budget: true, breaker: true}, []string{busy}},
		{guards{limit: true}, []string{fewTries, fewTriesEver, leftAlone, noHerd}},
	} {
		require.Subset(t, broken(judge(short, run(t, short, 1, c.guards))), c.promise, "%+v", c.guards)
	}
}

// Without guards the overload goes on after its cause is gone: what the service
// works on, nobody waits for any more, and the tries that replace it keep the line
// full.
func TestOverloadOutlivesItsCauseWithoutGuards(t *testing.T) {
	acts := []act{{name: overload, seconds: 1, asked: 3 * capacity}, {name: "after", seconds: 3, asked: 600}}
	last := span{3, 4}
	r := run(t, acts, 1, guards{})
	require.Less(t, r.total(answered, last), r.total(asked, last)/20)
	r = run(t, acts, 1, all)
	require.Greater(t, r.total(answered, last), r.total(asked, last)*95/100)
}

func TestSameSeedSameRun(t *testing.T) {
	acts := []act{{name: outage, seconds: 2, asked: 600, down: true}, {name: overload, seconds: 1, asked: 3 * capacity}}
	for _, g := range []guards{all, {}} {
		first := run(t, acts, 7, g)
		require.Equal(t, first.slots, run(t, acts, 7, g).slots, "%+v", g)
		require.NotEqual(t, first.slots, run(t, acts, 8, g).slots, "%+v", g)
	}
}

// Everything that was asked is accounted for: each try was sent or stopped.
func TestEachTryIsSentOrStopped(t *testing.T) {
	calm := act{name: "calm", seconds: 3, asked: 600}
	acts := []act{calm, {name: outage, seconds: 4, asked: 600, down: true}, {name: "end", seconds: 2}}
	acts[2].asked = 1 // so that all is over before the script is
	r := run(t, acts, 3, all)
	whole := span{0, 9}
	require.Equal(t, r.total(asked, whole)+r.total(retried, whole), r.total(sent, whole)+r.total(stopped, whole))
	require.NotZero(t, r.total(stopped, whole))
}

func TestTellPrintsAndDraws(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	o, err := parse(nil, io.Discard)
	require.NoError(t, err)
	var out strings.Builder
	require.NoError(t, tell(t, o, short, &out))
	require.Contains(t, out.String(), "VERDICT: the guards held.")
	pictures, err := filepath.Glob(filepath.Join(folder, "resilience-*.svg"))
	require.NoError(t, err)
	require.Len(t, pictures, 1)
	require.Contains(t, out.String(), pictures[0])
	for _, a := range short {
		require.Contains(t, out.String(), "\n"+a.name+" ")
	}
	picture, err := os.ReadFile(pictures[0])
	require.NoError(t, err)
	require.Contains(t, string(picture), "</svg>")
}

func TestVerdictNamesWhatWasNotHeld(t *testing.T) {
	good := check{promise: "good", got: 1, bound: 1, format: "%.1f"}
	bad := check{promise: "bad", got: 0.8, bound: 0.9, least: true, format: "%.1f"}
	var out strings.Builder
	err := writeVerdict(&out, []check{good, bad}, []check{bad, bad})
	require.EqualError(t, err, "bad: 0.8, and not at least 0.9")
	require.Contains(t, out.String(), "VERDICT: FAILED")
	require.NoError(t, writeVerdict(&out, []check{good, good}, []check{bad, bad}), "what happens without guards is no failure")
}

func TestPictureThatCannotBeWrittenIsAnError(t *testing.T) {
	o := options{svg: filepath.Join(t.TempDir(), "no", "such", "folder.svg"), guards: all}
	require.ErrorIs(t, tell(t, o, short[:1], io.Discard), os.ErrNotExist)
}

func TestCommandLine(t *testing.T) {
	o, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, options{seed: 1, guards: all}, o)

	o, err = parse([]string{"-seed", "9", "-off", "breaker,limit"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, uint64(9), o.seed)
	require.Equal(t, guards{budget: true}, o.guards)

	var help strings.Builder
	_, err = parse([]string{"-h"}, &help)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, help.String(), "budget,breaker,limit")
	for _, wrong := range [][]string{{"x"}, {"-seed", "-1"}, {"-off", "retries"}, {"-no"}} {
		_, err = parse(wrong, io.Discard)
		require.Error(t, err, "%q", wrong)
	}
}

// A sum that is not a number holds no promise.
func TestCheckHolds(t *testing.T) {
	require.True(t, check{got: 1.1, bound: 1.1}.held())
	require.False(t, check{got: 1.11, bound: 1.1}.held())
	require.True(t, check{got: 0.9, bound: 0.9, least: true}.held())
	require.False(t, check{got: 0.89, bound: 0.9, least: true}.held())
	require.False(t, check{got: math.NaN(), bound: 1}.held())
}
