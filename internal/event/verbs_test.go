package event

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPartitionLosesWhatIsOnTheWay(t *testing.T) {
	l := loop(t, Faults{Delay: Constant(5 * ms)}, "a", "b", "c", "d")
	l.Send(0, 1, 0, 1)
	l.Send(0, 2, 0, 2)
	l.Send(2, 0, 0, 3)
	require.NoError(t, l.Partition([]int{0, 1}, []int{2}))
	l.Send(0, 2, 0, 4)
	l.Send(0, 3, 0, 5) // d is in no group
	l.Send(2, 3, 0, 6)
	all := drain(l, forever)
	require.ElementsMatch(t, []int{1, 5, 6}, bodies(all, Message))
	require.ElementsMatch(t, []int{2, 3, 4}, bodies(all, Severed))

	l.Heal()
	l.Send(0, 2, 0, 7)
	require.Equal(t, []int{7}, bodies(drain(l, forever), Message))
}

func TestPartitionHoldsForLinksFirstUsedLater(t *testing.T) {
	l := loop(t, Faults{}, "a", "b")
	require.NoError(t, l.Partition([]int{0}, []int{1}))
	l.Send(0, 1, 0, 1)
	require.Equal(t, []int{1}, bodies(drain(l, forever), Severed))
}

func TestPartitionRefusesANodeInTwoGroups(t *testing.T) {
	l := loop(t, Faults{}, "a", "b")
	require.ErrorContains(t, l.Partition([]int{0}, []int{1, 0}), `"a"`)
}

func TestShortCutLosesWhatIsOnTheWay(t *testing.T) {
	l := loop(t, Faults{Delay: Constant(5 * ms)}, "a", "b")
	l.Send(0, 1, 0, 1)
	l.Send(1, 0, 0, 2)
	l.Cut(0, 1)
	l.Heal() // before anything was due
	l.Send(0, 1, 0, 3)
	all := drain(l, forever)
	require.Equal(t, []int{1}, bodies(all, Severed))
	require.ElementsMatch(t, []int{2, 3}, bodies(all, Message), "a cut is one-way")
}

func TestMendLeavesOtherCuts(t *testing.T) {
	l := loop(t, Faults{}, "a", "b")
	l.Cut(0, 1)
	l.Cut(1, 0)
	l.Mend(0, 1)
	l.Send(0, 1, 0, 1)
	l.Send(1, 0, 0, 2)
	all := drain(l, forever)
	require.Equal(t, []int{1}, bodies(all, Message))
	require.Equal(t, []int{2}, bodies(all, Severed))
}

func TestHoldKeepsOrderUntilRelease(t *testing.T) {
	l := loop(t, Faults{Delay: Uniform(0, 5*ms)}, "a", "b")
	l.Send(0, 1, 0, 0)
	l.Hold(0, 1)
	for i := range 9 {
		l.Send(0, 1, 0, i+1)
	}
	l.Send(1, 0, 0, 100) // the other direction is free
	require.Equal(t, []int{100}, bodies(drain(l, time.Second), Message))
	l.Release(0, 1)
	all := drain(l, forever)
	require.Equal(t, count(10), bodies(all, Message))
	require.Equal(t, time.Second, all[0].At)
}

func TestCutOfAHeldLinkLosesWhatWaits(t *testing.T) {
	l := loop(t, Faults{}, "a", "b")
	l.Hold(0, 1)
	l.Send(0, 1, 0, 1)
	drain(l, ms)
	l.Cut(0, 1)
	require.Equal(t, []int{1}, bodies(drain(l, forever), Severed))
	l.Heal()
	l.Send(0, 1, 0, 2)
	require.Empty(t, drain(l, l.Now()+ms), "healing does not release")
	l.Release(0, 1)
	require.Equal(t, []int{2}, bodies(drain(l, forever), Message))
}

func TestCrashVoidsTimersAndRefusesMessages(t *testing.T) {
	l := loop(t, Faults{Delay: Constant(5 * ms)}, "a", "b")
	l.After(1, 2*ms, 1)
	l.WakeAt(1, 3*ms)
	l.Send(0, 1, 0, 2)
	l.Send(1, 0, 0, 3) // sent before the crash: goes on
	l.Crash(1)
	all := drain(l, forever)
	require.Empty(t, bodies(all, Timer))
	require.Empty(t, bodies(all, Wake))
	require.Equal(t, []int{2}, bodies(all, Refused))
	require.Equal(t, []int{3}, bodies(all, Message))

	l.Send(0, 1, 0, 4)
	l.Restart(1) // while it is on the way
	l.WakeAt(1, l.Now()+ms)
	all = drain(l, forever)
	require.Equal(t, []int{4}, bodies(all, Message))
	require.Len(t, bodies(all, Wake), 1)
}

func TestPauseDelaysMessagesAndTimers(t *testing.T) {
	l := loop(t, Faults{Delay: Constant(5 * ms)}, "a", "b")
	l.After(1, 2*ms, 1)
	l.WakeAt(1, 3*ms)
	l.Send(0, 1, 0, 2)
	l.Pause(1)
	l.Send(1, 0, 0, 3)
	require.Empty(t, drain(l, 100*ms))
	l.Resume(1)
	all := drain(l, 100*ms)
	require.Equal(t, []int{1}, bodies(all, Timer))
	require.Equal(t, []int{2}, bodies(all, Message))
	require.Len(t, bodies(all, Wake), 1)
	require.Equal(t, []int{3}, bodies(drain(l, 105*ms), Message))
}

// What has reached a paused node is there: cutting the link does not lose it.
func TestPausedNodeKeepsWhatHasReachedIt(t *testing.T) {
	l := loop(t, Faults{Delay: Constant(5 * ms)}, "a", "b")
	l.Pause(1)
	l.Send(0, 1, 0, 1)
	drain(l, 10*ms)
	l.Cut(0, 1)
	l.Resume(1)
	require.Equal(t, []int{1}, bodies(drain(l, forever), Message))
}

func TestCrashOfAPausedNodeLosesAll(t *testing.T) {
	l := loop(t, Faults{Delay: Constant(5 * ms)}, "a", "b")
	l.Pause(1)
	l.Send(0, 1, 0, 1)
	l.Send(1, 0, 0, 2)
	drain(l, 10*ms)
	l.Crash(1)
	l.Restart(1)
	l.Crash(1)
	all := drain(l, forever)
	require.Equal(t, []int{1}, bodies(all, Refused))
	require.Equal(t, []int{2}, bodies(all, Severed))
}

func TestSetChangesOneDirection(t *testing.T) {
	l := loop(t, Faults{Delay: Constant(5 * ms)}, "a", "b")
	require.NoError(t, l.Set(0, 1, Faults{Delay: Constant(9 * ms)}))
	require.Error(t, l.Set(0, 1, Faults{Drop: 2}))
	l.Send(0, 1, 0, 1)
	l.Send(1, 0, 0, 2)
	all := drain(l, forever)
	require.Equal(t, 5*ms, all[0].At)
	require.Equal(t, 9*ms, all[1].At)
}
