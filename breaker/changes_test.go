package breaker_test

import (
	"context"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/breaker"
	"github.com/stretchr/testify/require"
)

// collect reads changes in a goroutine of its own, until the function that it
// returns is called.
func collect(t *testing.T, changes func(context.Context) iter.Seq[breaker.Change]) (stop func() []breaker.Change) {
	ctx, cancel := context.WithCancel(t.Context())
	var all []breaker.Change
	var wg sync.WaitGroup
	loop := changes(ctx)
	wg.Go(func() {
		for c := range loop {
			all = append(all, c)
		}
	})
	return func() []breaker.Change {
		cancel()
		wg.Wait()
		return all
	}
}

func TestChangesTellTheStoryInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		b := newBreaker(t, breaker.Config{Name: "db", Consecutive: 2, OpenFor: time.Second, ProbeFor: time.Minute, DisableJitter: true})
		stop := collect(t, b.Changes)
		do(t, b, 2, fail)
		time.Sleep(3 * time.Second)
		do(t, b, 1, fail)
		time.Sleep(2 * time.Second)
		acquire(t, b)
		time.Sleep(time.Hour)
		do(t, b, 1, succeed)
		require.NoError(t, b.SetMode(breaker.ForceOpen))
		synctest.Wait()

		type line struct {
			at       time.Duration
			from, to breaker.State
			cause    breaker.Cause
		}
		var story []line
		for i, c := range stop() {
			require.Equal(t, "db", c.Name)
			require.EqualValues(t, i+2, c.Generation)
			require.Zero(t, c.Missed)
			story = append(story, line{c.At.Sub(begin), c.From, c.To, c.Cause})
		}
		const s = time.Second
		require.Equal(t, []line{
			{0, breaker.Closed, breaker.Open, breaker.CauseConsecutive},
			{3 * s, breaker.Open, breaker.HalfOpen, breaker.CauseOpenTime},
			{3 * s, breaker.HalfOpen, breaker.Open, breaker.CauseProbeFailed},
			{5 * s, breaker.Open, breaker.HalfOpen, breaker.CauseOpenTime},
			{65 * s, breaker.HalfOpen, breaker.Open, breaker.CauseProbeTime}, // when it was due
			{3605 * s, breaker.Open, breaker.HalfOpen, breaker.CauseOpenTime},
			{3605 * s, breaker.HalfOpen, breaker.Closed, breaker.CauseProbesPassed},
			{3605 * s, breaker.Closed, breaker.Open, breaker.CauseForced},
		}, story)
	})
}

func TestStateChangeLoopThatAsksTheBreakerDoesNotDeadlock(t *testing.T) {
	b := newBreaker(t, breaker.Config{Consecutive: 1, OpenFor: time.Hour})
	changes := b.Changes(t.Context())
	do(t, b, 1, fail)
	seen := 0
	for c := range changes {
		require.Equal(t, c.To, b.State())
		require.Equal(t, c.Generation, b.Stats().Generation)
		if seen++; seen == 3 {
			break
		}
		if c.To == breaker.Open { // makes the next change, inside the loop
			require.NoError(t, b.SetMode(breaker.Automatic))
		} else {
			do(t, b, 1, fail)
		}
	}
	require.Equal(t, 3, seen)
}

func TestChangesThatNobodyReadsHoldNobodyUp(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	changes := b.Changes(t.Context())
	for range 500 {
		require.NoError(t, b.SetMode(breaker.ForceOpen))
		require.NoError(t, b.SetMode(breaker.Automatic))
	}
	var first breaker.Change
	for first = range changes {
		break
	}
	require.EqualValues(t, 1000-256, first.Missed, "only the last 256 are kept")
	require.EqualValues(t, 1000-256+2, first.Generation)
}

func TestChangesEndWithTheContext(t *testing.T) {
	b := newBreaker(t, breaker.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := collect(t, func(context.Context) iter.Seq[breaker.Change] { return b.Changes(ctx) })
	cancel()
	require.Empty(t, stopped())
}

func TestChangesToManyReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Config{})
		var stops []func() []breaker.Change
		for range 10 {
			stops = append(stops, collect(t, b.Changes))
		}
		for range 50 {
			require.NoError(t, b.SetMode(breaker.ForceOpen))
			synctest.Wait()
		}
		for _, stop := range stops {
			require.Len(t, stop(), 50)
		}
	})
}
