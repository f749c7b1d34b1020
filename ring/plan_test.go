package ring_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/parley-go/parley/ring"
	"github.com/stretchr/testify/require"
)

func newPlan(t *testing.T, before, after ring.Source, c ring.PlanConfig) *ring.Plan {
	t.Helper()
	p, err := ring.NewPlan(before, after, c)
	require.NoError(t, err)
	return p
}

// At every moment each key belongs to its old owner until its range has moved and
// to its new one from then on; at the end the plan says what the new ring says.
func TestPlanKnowsWhoAnswersInTheMeantime(t *testing.T) {
	before, after := newRing(t, named(4)...), newRing(t, named(6)[1:]...)
	p := newPlan(t, before, after, ring.PlanConfig{PerNode: 1024, Total: 1024})
	all := keys(500)
	var done []ring.Move
	check := func() {
		for _, key := range all {
			from, _ := before.Owner(key)
			to, _ := after.Owner(key)
			want := from
			if slices.ContainsFunc(done, func(m ring.Move) bool { return m.Contains(ring.Hash(key)) }) {
				want = to
			}
			got, ok := p.Owner(key)
			require.True(t, ok)
			require.Equal(t, want, got)
			m, moving := p.Moving(key)
			require.Equal(t, want != to, moving)
			if moving {
				require.True(t, m.Contains(ring.Hash(key)))
				require.Equal(t, [2]string{from, to}, [2]string{m.From, m.To})
			}
		}
	}
	check()
	for i := 0; p.Left() > 0; i++ {
		m, ok := p.Next()
		require.True(t, ok)
		if i%50 == 0 {
			check()
		}
		require.True(t, p.Complete(m))
		done = append(done, m)
	}
	check()
	_, ok := p.Next()
	require.False(t, ok)
}

func TestPlanHasTheMovesOfDiff(t *testing.T) {
	before, after := newRing(t, named(4)...), newRing(t, named(5)...)
	var got []ring.Move
	for m, complete := range newPlan(t, before, after, ring.PlanConfig{}).Moves() {
		require.False(t, complete)
		got = append(got, m)
	}
	require.Equal(t, slices.Collect(ring.Diff(before, after)), got)
	require.Zero(t, newPlan(t, before, before, ring.PlanConfig{}).Left())
}

// Next hands out no more than the bounds allow, and never the same move twice.
func TestPlanNextKeepsTheBounds(t *testing.T) {
	for _, c := range []struct {
		config       ring.PlanConfig
		node, Total  int
		joining      int
		mayFillTotal bool
	}{
		{ring.PlanConfig{}, 2, 16, 10, true},
		{ring.PlanConfig{PerNode: 1, Total: 3}, 1, 3, 10, true},
		{ring.PlanConfig{PerNode: 3, Total: 100}, 3, 100, 1, false}, // all moves go to one node
	} {
		p := newPlan(t, newRing(t, named(20)...), newRing(t, named(20+c.joining)...), c.config)
		seen := map[ring.Move]bool{}
		var running []ring.Move
		most := 0
		for p.Left() > 0 {
			for m, ok := p.Next(); ok; m, ok = p.Next() {
				require.False(t, seen[m], "a move is handed out once")
				seen[m] = true
				running = append(running, m)
			}
			most = max(most, len(running))
			busy := map[string]int{}
			for _, m := range running {
				busy[m.From]++
				busy[m.To]++
			}
			for node, n := range busy {
				require.LessOrEqual(t, n, c.node, node)
			}
			require.LessOrEqual(t, len(running), c.Total)
			require.NotEmpty(t, running)
			require.True(t, p.Complete(running[0]))
			running = running[1:]
		}
		if c.mayFillTotal {
			require.Equal(t, c.Total, most)
		} else {
			require.Equal(t, c.node, most)
		}
	}
}

// The source with the most to give goes first.
func TestPlanBeginsWithTheLongestQueue(t *testing.T) {
	before := newRing(t, ring.Node{Name: "large", Weight: 8}, ring.Node{Name: "small"})
	after := newRing(t, ring.Node{Name: "new", Weight: 9})
	p := newPlan(t, before, after, ring.PlanConfig{PerNode: 1})
	left := map[string]float64{}
	for m := range ring.Diff(before, after) {
		left[m.From] += m.Share()
	}
	for p.Left() > 0 {
		m, ok := p.Next()
		require.True(t, ok)
		for _, other := range left {
			require.GreaterOrEqual(t, left[m.From], other-1e-9)
		}
		left[m.From] -= m.Share()
		p.Complete(m)
	}
}

func TestPlanIsIdempotent(t *testing.T) {
	before, after := newRing(t, named(3)...), newRing(t, named(4)...)
	p := newPlan(t, before, after, ring.PlanConfig{})
	total := p.Left()
	m, _ := p.Next()
	require.True(t, p.Abandon(m))
	require.False(t, p.Abandon(m), "it is not under way")
	again, _ := p.Next()
	require.Equal(t, m, again)
	require.True(t, p.Complete(m))
	require.True(t, p.Complete(m))
	require.False(t, p.Abandon(m), "it is complete")
	require.Equal(t, total-1, p.Left())
	for _, strange := range []ring.Move{{}, {Span: m.Span, From: m.To, To: m.From}, {Span: ring.Span{Start: m.Start, End: m.End - 1}, From: m.From, To: m.To}} {
		require.False(t, p.Complete(strange))
		require.False(t, p.Abandon(strange))
	}
	// After a restart: the plan made anew, and told what is complete.
	restarted := newPlan(t, before, after, ring.PlanConfig{})
	for m, complete := range p.Moves() {
		if complete {
			require.True(t, restarted.Complete(m))
		}
	}
	require.Equal(t, total-1, restarted.Left())
	next, _ := restarted.Next()
	require.NotEqual(t, m, next)
}

func TestPlanErrors(t *testing.T) {
	r := newRing(t, named(2)...)
	for _, pair := range [][2]*ring.Ring{{newRing(t), r}, {r, newRing(t)}} {
		_, err := ring.NewPlan(pair[0], pair[1], ring.PlanConfig{})
		require.ErrorIs(t, err, ring.ErrNoNodes)
	}
	for _, c := range []struct {
		config ring.PlanConfig
		says   string
	}{
		{ring.PlanConfig{PerNode: -1}, "PlanConfig.PerNode is -1"},
		{ring.PlanConfig{PerNode: 1025}, "PlanConfig.PerNode is 1025"},
		{ring.PlanConfig{Total: -5}, "PlanConfig.Total is -5"},
	} {
		_, err := ring.NewPlan(r, r, c.config)
		require.ErrorIs(t, err, ring.ErrInvalid)
		require.ErrorContains(t, err, c.says)
	}
}

// A store that is moved by Run while it is being written: nothing is lost, and at
// the end every key is where the new ring says, and nowhere else.
func TestRunMovesAStoreThatIsBeingWritten(t *testing.T) {
	before, after := newRing(t, named(4)...), newRing(t, named(7)[2:]...)
	p := newPlan(t, before, after, ring.PlanConfig{Total: 4})
	var mu sync.Mutex
	store := map[string]map[string]int{} // by node and key
	put := func(key string, value int) {
		mu.Lock()
		defer mu.Unlock()
		nodes := make([]string, 1, 2)
		if m, moving := p.Moving(key); moving {
			nodes = append(nodes[:0], m.From, m.To)
		} else {
			nodes[0], _ = p.Owner(key)
		}
		for _, node := range nodes {
			if store[node] == nil {
				store[node] = map[string]int{}
			}
			store[node][key] = value
		}
	}
	all := keys(400)
	for _, key := range all {
		put(key, 1)
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		for i, key := range all {
			if i%3 == 0 {
				put(key, 2)
			}
		}
	})
	var moved []ring.Move
	err := p.Run(t.Context(), func(_ context.Context, m ring.Move) error {
		mu.Lock()
		defer mu.Unlock()
		for key, value := range store[m.From] {
			if m.Contains(ring.Hash(key)) {
				if store[m.To] == nil {
					store[m.To] = map[string]int{}
				}
				store[m.To][key] = max(value, store[m.To][key])
			}
		}
		moved = append(moved, m)
		return nil
	})
	writer.Wait()
	require.NoError(t, err)
	require.Zero(t, p.Left())
	require.Len(t, moved, len(slices.Collect(ring.Diff(before, after))))
	for i, key := range all {
		owner, _ := after.Owner(key)
		want := 1
		if i%3 == 0 {
			want = 2
		}
		require.Equal(t, want, store[owner][key], key)
	}
}

func TestRunStopsAtAnErrorAndGoesOnLater(t *testing.T) {
	before, after := newRing(t, named(3)...), newRing(t, named(4)...)
	p := newPlan(t, before, after, ring.PlanConfig{})
	total := p.Left()
	broken := errors.New("disk full")
	var mu sync.Mutex
	calls := 0
	err := p.Run(t.Context(), func(context.Context, ring.Move) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == 10 {
			return broken
		}
		return nil
	})
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "-> node-3")
	require.Positive(t, p.Left())
	require.Less(t, p.Left(), total)
	require.NoError(t, p.Run(t.Context(), func(context.Context, ring.Move) error { return nil }))
	require.Zero(t, p.Left())
	require.NoError(t, p.Run(t.Context(), nil), "nothing is left")
}

func TestRunEndsWithItsContext(t *testing.T) {
	p := newPlan(t, newRing(t, named(3)...), newRing(t, named(4)...), ring.PlanConfig{})
	total := p.Left()
	cause := errors.New("the operator has changed his mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := p.Run(ctx, func(ctx context.Context, _ ring.Move) error {
		cancel(cause)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	require.ErrorIs(t, err, cause)
	require.Equal(t, total, p.Left())
	require.ErrorIs(t, p.Run(ctx, nil), cause, "a context that has ended starts nothing")
}

func TestRunSurvivesAMoveThatExits(t *testing.T) {
	p := newPlan(t, newRing(t, named(3)...), newRing(t, named(4)...), ring.PlanConfig{})
	total := p.Left()
	err := p.Run(t.Context(), func(context.Context, ring.Move) error {
		runtime.Goexit()
		return nil
	})
	require.ErrorContains(t, err, "exited")
	require.Equal(t, total, p.Left())
}

func TestRunSaysWhatIsUnderWayElsewhere(t *testing.T) {
	p := newPlan(t, newRing(t, named(3)...), newRing(t, named(4)...), ring.PlanConfig{})
	m, _ := p.Next()
	err := p.Run(t.Context(), func(context.Context, ring.Move) error { return nil })
	require.EqualError(t, err, "ring: 1 moves of the plan are under way elsewhere")
	require.True(t, p.Complete(m))
	require.NoError(t, p.Run(t.Context(), nil))
}

func TestRunKeepsTheBounds(t *testing.T) {
	p := newPlan(t, newRing(t, named(10)...), newRing(t, named(14)...), ring.PlanConfig{PerNode: 2, Total: 5})
	var mu sync.Mutex
	busy := map[string]int{}
	running := 0
	count := func(m ring.Move, n int) {
		mu.Lock()
		defer mu.Unlock()
		running += n
		busy[m.From] += n
		busy[m.To] += n
		if running > 5 || busy[m.From] > 2 || busy[m.To] > 2 {
			t.Errorf("%d running, %d at %s, %d at %s", running, busy[m.From], m.From, busy[m.To], m.To)
		}
	}
	err := p.Run(t.Context(), func(_ context.Context, m ring.Move) error {
		count(m, 1)
		defer count(m, -1)
		for range 10 {
			runtime.Gosched()
		}
		return nil
	})
	require.NoError(t, err)
}

// A full reshuffle of many nodes has many moves between many pairs.
func TestPlanOfALargeChange(t *testing.T) {
	other := make([]ring.Node, 50)
	for i := range other {
		other[i].Name = fmt.Sprint("other-", i)
	}
	p := newPlan(t, newRing(t, named(50)...), newRing(t, other...), ring.PlanConfig{PerNode: 1, Total: 64})
	require.NoError(t, p.Run(t.Context(), func(context.Context, ring.Move) error { return nil }))
	require.Zero(t, p.Left())
}
