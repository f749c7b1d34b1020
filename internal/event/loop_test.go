package event

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// forever is a time after all that a test sets off; the clock then stands there.
const forever = -1

func loop(t testing.TB, f Faults, nodes ...string) *Loop[int] {
	t.Helper()
	l, err := New[int](7, f, nodes...)
	require.NoError(t, err)
	return l
}

// drain returns all events that are due by a time.
func drain(l *Loop[int], until time.Duration) (all []Event[int]) {
	if until == forever {
		until = l.Now() + 1000*time.Hour
	}
	for e, ok := l.Next(until); ok; e, ok = l.Next(until) {
		all = append(all, e)
	}
	return all
}

// bodies returns what arrived, in order.
func bodies(all []Event[int], kind Kind) (out []int) {
	for _, e := range all {
		if e.Kind == kind {
			out = append(out, e.Body)
		}
	}
	return out
}

func count(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// burst sends n messages from node 0 to node 1, one a millisecond.
func burst(l *Loop[int], n int) (all []Event[int]) {
	for i := range n {
		l.Send(0, 1, 100, i)
		all = append(all, drain(l, l.Now()+ms)...)
	}
	return append(all, drain(l, forever)...)
}

func TestLinkIsFIFOUnderAnyDelay(t *testing.T) {
	for name, d := range map[string]Delay{
		"none": nil, "constant": Constant(ms), "uniform": Uniform(0, 50*ms),
		"exponential": Exponential(0, 20*ms), "log-normal": LogNormal(10*ms, 2),
	} {
		l := loop(t, Faults{Delay: d, Drop: 0.1}, "a", "b")
		got := bodies(burst(l, 1000), Message)
		require.Greater(t, len(got), 800, name)
		require.True(t, slices.IsSorted(got), name)
	}
}

func TestEachMessageHasItsOwnTimeInAnUnorderedLane(t *testing.T) {
	l := loop(t, Faults{Delay: Uniform(0, 50*ms)}, "a", "b")
	lane := l.Lane(0, 1, "calls", false)
	for i := range 100 {
		l.SendOn(lane, lane.Take(), 0, i)
	}
	got := bodies(drain(l, forever), Message)
	require.Len(t, got, 100)
	require.False(t, slices.IsSorted(got))
}

func TestChancesAreThoseAskedFor(t *testing.T) {
	const n = 20_000
	l := loop(t, Faults{Drop: 0.1, Duplicate: 0.05, Delay: Uniform(ms, 2*ms)}, "a", "b")
	all := burst(l, n)
	require.InDelta(t, 0.1*n, len(bodies(all, Dropped)), 0.01*n)
	copies, late := 0, 0
	for _, e := range all {
		if e.Copy {
			copies++
		}
	}
	require.InDelta(t, 0.05*0.9*n, copies, 0.01*n)

	l = loop(t, Faults{Reorder: 0.2, Delay: Constant(3 * ms)}, "a", "b")
	for _, e := range burst(l, n) {
		if e.At-e.Sent > 3*ms {
			late++
		}
	}
	require.InDelta(t, 0.2*n, late, 0.02*n)
}

// The property that makes a failing seed worth something: with one fault taken
// away, everything that it did not touch happens at the same time as before.
func TestTakingOneFaultAwayShiftsNothingElse(t *testing.T) {
	full := Faults{Drop: 0.2, Duplicate: 0.2, Reorder: 0.2, Delay: Uniform(ms, 9*ms), Bandwidth: 200_000}
	run := func(f Faults) map[string]time.Duration {
		arrivals := map[string]time.Duration{}
		for _, e := range burst(loop(t, f, "a", "b"), 2000) {
			if e.Kind == Message {
				arrivals[fmt.Sprint(e.Body, e.Copy)] = e.At
			}
		}
		return arrivals
	}
	with := run(full)
	for name, without := range map[string]Faults{
		"Drop":      {Duplicate: full.Duplicate, Reorder: full.Reorder, Delay: full.Delay, Bandwidth: full.Bandwidth},
		"Duplicate": {Drop: full.Drop, Reorder: full.Reorder, Delay: full.Delay, Bandwidth: full.Bandwidth},
	} {
		other := run(without)
		common := 0
		for message, at := range with {
			if then, ok := other[message]; ok {
				require.Equal(t, at, then, "without %s, message %s", name, message)
				common++
			}
		}
		require.Equal(t, min(len(with), len(other)), common, "without %s", name)
	}
	// A reordered message itself comes earlier without the fault, and all others
	// when they came before.
	still := run(Faults{Drop: full.Drop, Duplicate: full.Duplicate, Delay: full.Delay, Bandwidth: full.Bandwidth})
	require.Len(t, still, len(with))
	same := 0
	for message, at := range with {
		require.LessOrEqual(t, still[message], at)
		if still[message] == at {
			same++
		}
	}
	require.InDelta(t, 0.8*float64(len(with)), same, 0.05*float64(len(with)))
}

func TestTrafficOfOneLaneDoesNotChangeTheLuckOfAnother(t *testing.T) {
	run := func(busy bool) (all []Event[int]) {
		l := loop(t, Faults{Drop: 0.3, Duplicate: 0.3, Delay: Exponential(0, 5*ms)}, "a", "b", "c")
		other := l.Lane(0, 1, "other", true)
		for i := range 500 {
			if busy {
				l.Send(0, 2, 10, -1)
				l.Send(2, 1, 10, -1)
				l.SendOn(other, other.Take(), 10, -1)
			}
			l.Send(0, 1, 100, i)
			all = append(all, drain(l, l.Now()+ms)...)
		}
		all = append(all, drain(l, forever)...)
		return slices.DeleteFunc(all, func(e Event[int]) bool { return e.Body < 0 })
	}
	require.Equal(t, run(false), run(true))
}

func TestBandwidthSpacesMessages(t *testing.T) {
	l := loop(t, Faults{Bandwidth: 100_000, Delay: Constant(5 * ms)}, "a", "b")
	for i := range 3 {
		l.Send(0, 1, 1000, i) // 10 ms each
	}
	l.Send(0, 1, 0, 3)
	for i, e := range drain(l, forever) {
		require.Equal(t, min(time.Duration(i+1)*10*ms, 30*ms)+5*ms, e.At, "message %d", i)
	}
}

func TestANodeReachesItselfAtOnce(t *testing.T) {
	l := loop(t, Faults{Drop: 1, Delay: Constant(ms)}, "a")
	l.Send(0, 0, 10, 5)
	require.Equal(t, []int{5}, bodies(drain(l, 0), Message))
}

func TestCoincidingEventsComeInAnOrderOfTheSeed(t *testing.T) {
	order := func(seed uint64, senders []int) (from []int) {
		l, err := New[int](seed, Faults{Delay: Constant(ms)}, "a", "b", "c", "d", "e")
		require.NoError(t, err)
		for _, s := range senders {
			l.Send(s, 4, 0, s)
		}
		return bodies(drain(l, forever), Message)
	}
	orders := map[string]bool{}
	for seed := range uint64(20) {
		want := order(seed, []int{0, 1, 2, 3})
		require.Equal(t, want, order(seed, []int{3, 1, 0, 2}), "depends on the order of sending")
		orders[fmt.Sprint(want)] = true
	}
	require.Greater(t, len(orders), 5, "the seed tries few orders")
}

func TestWakeMovesWithoutPilingUp(t *testing.T) {
	l := loop(t, Faults{}, "a")
	for i := range 1000 {
		l.WakeAt(0, time.Duration(i)*ms)
	}
	require.Equal(t, 1, l.queue.Len())
	all := drain(l, forever)
	require.Len(t, all, 1)
	require.Equal(t, Wake, all[0].Kind)
	require.Equal(t, 999*ms, all[0].At)

	now := l.Now()
	l.WakeAt(0, now+9*ms)
	l.WakeAt(0, now+2*ms) // earlier than the one set
	all = drain(l, forever)
	require.Len(t, all, 1)
	require.Equal(t, now+2*ms, all[0].At)

	l.WakeAt(0, 0) // in the past: now
	all = drain(l, l.Now())
	require.Len(t, all, 1)
	require.Equal(t, l.Now(), all[0].At)
}

func TestAfterFiresEachOnce(t *testing.T) {
	l := loop(t, Faults{}, "a")
	l.After(0, 3*ms, 1)
	l.After(0, 1*ms, 2)
	l.After(0, 1*ms, 3)
	l.After(0, -ms, 4)
	require.Equal(t, []int{4, 2, 3, 1}, bodies(drain(l, forever), Timer))
}

func TestAdvanceStopsAtWhatIsDue(t *testing.T) {
	l := loop(t, Faults{}, "a")
	l.After(0, 3*ms, 1)
	l.Advance(2 * ms)
	require.Equal(t, 2*ms, l.Now())
	l.Advance(9 * ms)
	require.Equal(t, 3*ms, l.Now())
	l.Advance(ms)
	require.Equal(t, 3*ms, l.Now())
}

// Whatever breaks, every message comes out once as arrived or lost, and time does
// not run backwards.
func TestEveryMessageComesOutOnce(t *testing.T) {
	faults := Faults{Drop: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: Exponential(0, 5*ms), Bandwidth: 1 << 16}
	run := func(seed uint64) (hash uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		l, err := New[int](seed, faults, "a", "b", "c", "d")
		require.NoError(t, err)
		node := func() int { return r.IntN(4) }
		out := map[int]int{}
		sent := 0
		var last time.Duration
		check := func(all []Event[int]) {
			for _, e := range all {
				require.GreaterOrEqual(t, e.At, last)
				last = e.At
				if !e.Copy {
					out[e.Body]++
				}
			}
		}
		for range 3000 {
			switch r.IntN(40) {
			case 0:
				require.NoError(t, l.Partition([]int{0, 1}, []int{2}))
			case 1:
				l.Heal()
			case 2:
				l.Cut(node(), node())
			case 3, 4:
				l.Mend(node(), node())
			case 5:
				l.Hold(node(), node())
			case 6, 7, 8:
				l.Release(node(), node())
			case 9:
				l.Crash(node())
			case 10, 11:
				l.Restart(node())
			case 12:
				l.Pause(node())
			case 13, 14, 15:
				l.Resume(node())
			default:
				l.Send(node(), node(), r.IntN(100), sent)
				sent++
			}
			check(drain(l, l.Now()+time.Duration(r.IntN(int(ms)))))
		}
		for a := range 4 {
			l.Resume(a)
			for b := range 4 {
				l.Release(a, b)
			}
		}
		check(drain(l, forever))
		require.Len(t, out, sent)
		for m, times := range out {
			require.Equal(t, 1, times, "message %d", m)
		}
		return l.Hash()
	}
	hashes := map[uint64]bool{}
	for seed := range uint64(20) {
		hash := run(seed)
		require.Equal(t, hash, run(seed), "seed %d", seed)
		hashes[hash] = true
	}
	require.Len(t, hashes, 20)
}

func TestLoopDoesNotAllocate(t *testing.T) {
	l := loop(t, Faults{Drop: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: Uniform(ms, 5*ms), Bandwidth: 1 << 20}, "a", "b")
	step := func() {
		l.Send(0, 1, 100, 1)
		l.WakeAt(1, l.Now()+ms)
		for {
			if _, ok := l.Next(l.Now() + ms); !ok {
				return
			}
		}
	}
	for range 1000 {
		step()
	}
	require.Zero(t, testing.AllocsPerRun(1000, step))
}

func ExampleLoop() {
	l, err := New[string](7, Faults{Delay: Constant(5 * time.Millisecond)}, "a", "b")
	if err != nil {
		fmt.Println(err)
		return
	}
	l.Send(0, 1, 4, "ping")
	for e, ok := l.Next(time.Second); ok; e, ok = l.Next(time.Second) {
		fmt.Println(e.At, e.Kind, e.From, "->", e.To, e.Body)
		if e.Body == "ping" {
			l.Send(e.To, e.From, 4, "pong")
		}
	}
	// Output:
	// 5ms message 0 -> 1 ping
	// 10ms message 1 -> 0 pong
}
