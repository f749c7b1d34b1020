package tcp

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A late response after a cancel finds nobody, even if the slot of its call is
// in use again.
func TestLateResponseFindsNobody(t *testing.T) {
	table := callTable{limit: 1}
	seen := map[uint64]bool{}
	var past []uint64
	for range 1000 {
		w := &waiter{}
		id, ok := table.add(w)
		require.True(t, ok)
		require.False(t, seen[id], "number %x was used before", id)
		seen[id] = true
		_, ok = table.add(&waiter{})
		require.False(t, ok, "one call more than the limit")
		for _, late := range past {
			require.Nil(t, table.remove(late))
		}
		require.Same(t, w, table.remove(id))
		require.Nil(t, table.remove(id))
		past = append(past[:min(len(past), 10)], id)
	}
	require.Len(t, table.slots, 1)
	require.Nil(t, table.remove(1<<63), "a number that was never given")
	require.Nil(t, table.remove(slotMask), "a slot that does not exist")
}

func TestCallNumbersAreNeverUsedAgain(t *testing.T) {
	table := callTable{limit: 2}
	id, _ := table.add(&waiter{})
	table.slots[0].id = lastGeneration << slotBits // as after months
	require.Nil(t, table.remove(id))
	require.NotNil(t, table.remove(lastGeneration<<slotBits))
	next, ok := table.add(&waiter{})
	require.True(t, ok)
	require.Equal(t, uint64(1), next&slotMask, "the slot whose numbers are used up was used again")
}

// Delays stay within the bounds however many failures there were, and nodes that
// fail together do not come back together.
func TestBackoffDoublesWithinBoundsAndIsSpread(t *testing.T) {
	const least, most = 50 * time.Millisecond, 2 * time.Second
	full := func(n int64) int64 { return 0 }
	for others, want := range []time.Duration{least, 2 * least, 4 * least, 8 * least, 16 * least, 32 * least, most, most} {
		require.Equal(t, want, backoff(others, least, most, full))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, others := range []int{0, 1, 5, 31, 32, 63, 64, 1 << 30} {
		seen := map[time.Duration]bool{}
		ceiling := backoff(others, least, most, full)
		for range 100 {
			d := backoff(others, least, most, random.Int64N)
			require.GreaterOrEqual(t, d, ceiling/2)
			require.LessOrEqual(t, d, ceiling)
			seen[d] = true
		}
		require.Greater(t, len(seen), 90)
	}
	require.Equal(t, time.Hour, backoff(40, time.Hour, time.Hour, full), "2^40 hours do not fit in a Duration")
}

func TestRequestContextEnds(t *testing.T) {
	cause := errors.New("the caller gave up")
	for name, asked := range map[string]bool{"before Done is asked for": false, "after": true} {
		ctx := &requestContext{}
		if asked {
			require.NotNil(t, ctx.Done())
		}
		require.NoError(t, ctx.Err())
		require.False(t, ctx.end(cause))
		require.True(t, ctx.end(errors.New("again")))
		require.ErrorIs(t, ctx.Err(), context.Canceled, name)
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.Canceled, name)
		require.Equal(t, cause, context.Cause(ctx), name)
	}
}

func TestRequestContextMeetsItsDeadline(t *testing.T) {
	past := &requestContext{deadline: time.Now().Add(-time.Second)}
	require.ErrorIs(t, past.Err(), context.DeadlineExceeded)
	past.end(context.Canceled)
	require.ErrorIs(t, past.Err(), context.DeadlineExceeded, "an error may not change")
	<-past.Done()
	require.ErrorIs(t, past.Err(), context.DeadlineExceeded)

	soon := &requestContext{deadline: time.Now().Add(time.Millisecond)}
	<-soon.Done()
	require.ErrorIs(t, soon.Err(), context.DeadlineExceeded)
	deadline, ok := soon.Deadline()
	require.True(t, ok)
	require.Equal(t, soon.deadline, deadline)
	soon.end(context.Canceled)
}

// Contexts that a handler derives cost no goroutine each, and end with theirs.
func TestContextsDerivedFromARequests(t *testing.T) {
	ctx := &requestContext{deadline: time.Now().Add(time.Hour)}
	before := runtime.NumGoroutine()
	var derived []context.Context
	for range 100 {
		child, cancel := context.WithCancel(context.WithValue(ctx, ctx, 1))
		defer cancel()
		derived = append(derived, child)
	}
	require.Less(t, runtime.NumGoroutine(), before+50)
	ctx.end(context.Canceled)
	for _, child := range derived {
		<-child.Done()
		require.ErrorIs(t, child.Err(), context.Canceled)
	}
}

func TestBulkTakesTurnsAndKeepsOrder(t *testing.T) {
	var q bulkQueue
	frames := func(service string, n int) *bulk {
		return &bulk{wire: make([]byte, n), stride: 1, service: service}
	}
	huge, small := frames("", 1000), frames("", 1)
	first, second, other := frames("s", 10), frames("s", 1), frames("t", 1)
	for _, b := range []*bulk{huge, small, first, second, other} {
		q.push(b)
	}
	require.True(t, q.holds("s"))
	require.False(t, q.holds("u"))
	var ended []*bulk
	for taken := 1; len(ended) < 5; taken++ {
		part, b := q.take()
		require.Len(t, part, 1)
		if !b.done() {
			continue
		}
		ended = append(ended, b)
		if b != huge {
			require.Less(t, taken, 8*(len(q.services)+framesPerTurn), "the huge one holds up the others")
		}
	}
	require.Less(t, index(ended, first), index(ended, second), "messages of a service keep their order")
	require.Equal(t, huge, ended[4])
	require.True(t, q.empty())
	require.Zero(t, q.bytes)
	require.False(t, q.holds("s"))
}

func TestBulkOfACancelledCallIsDropped(t *testing.T) {
	var q bulkQueue
	for call := range uint64(maxStreams + 1) {
		q.push(&bulk{wire: make([]byte, 10), stride: 1, call: call + 1})
	}
	require.False(t, q.cancel(maxStreams+1), "it waited: the peer need not know")
	require.False(t, q.cancel(2), "none of it was written: the peer need not know")
	part, _ := q.take()
	require.Len(t, part, 1)
	require.False(t, q.cancel(1), "an abort follows, not a cancel")
	part, aborted := q.take()
	require.Nil(t, part)
	require.NotNil(t, aborted)
	require.Equal(t, uint64(1), aborted.call)
	require.True(t, q.cancel(77), "it was written: the peer must know")
	require.Equal(t, (maxStreams-2)*10, q.bytes)
}

func index[T comparable](list []T, v T) int {
	for i := range list {
		if list[i] == v {
			return i
		}
	}
	return -1
}
