package vclock_test

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/vclock"
)

// A wallTime is a clock on the wall that tests turn.
type wallTime struct{ nanos atomic.Int64 }

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func newWallTime() *wallTime {
	w := new(wallTime)
	w.set(noon)
	return w
}

func (w *wallTime) Now() time.Time         { return time.Unix(0, w.nanos.Load()) }
func (w *wallTime) set(t time.Time)        { w.nanos.Store(t.UnixNano()) }
func (w *wallTime) advance(micros int)     { w.nanos.Add(int64(micros) * 1000) }
func (w *wallTime) shift(by time.Duration) { w.nanos.Add(int64(by)) }

func TestHybridStaysWithTheTime(t *testing.T) {
	wall := newWallTime()
	h := vclock.NewHybrid(vclock.HybridConfig{Now: wall.Now})
	require.Equal(t, vclock.NewStamp(noon, 0), h.Now())
	require.Equal(t, vclock.NewStamp(noon, 1), h.Now(), "the same microsecond")
	wall.advance(1)
	require.Equal(t, vclock.NewStamp(noon.Add(time.Microsecond), 0), h.Now())
	require.Zero(t, h.Ahead())
}

// The cases of the algorithm of the paper, figure 5: whose time is the highest
// decides, and its logical part goes on.
func TestHybridObserve(t *testing.T) {
	at := func(seconds int, logical uint16) vclock.Stamp {
		return vclock.NewStamp(noon.Add(time.Duration(seconds)*time.Second), logical)
	}
	for _, tt := range []struct {
		name         string
		last, remote vclock.Stamp
		now          int // seconds after noon
		want         vclock.Stamp
	}{
		{"the time is ahead of both", at(1, 5), at(2, 5), 3, at(3, 0)},
		{"the remote stamp is ahead", at(1, 5), at(3, 7), 2, at(3, 8)},
		{"the own stamp is ahead", at(3, 5), at(2, 9), 1, at(3, 6)},
		{"both stamps of one time, the remote above", at(3, 5), at(3, 9), 1, at(3, 10)},
		{"both stamps of one time, the own above", at(3, 9), at(3, 5), 1, at(3, 10)},
		{"the same stamp", at(3, 5), at(3, 5), 1, at(3, 6)},
		{"all of one time", at(3, 1), at(3, 4), 3, at(3, 5)},
		{"a remote stamp of long ago", at(1, 0), 0, 3, at(3, 0)},
	} {
		wall := newWallTime()
		h := vclock.NewHybrid(vclock.HybridConfig{Now: wall.Now, MaxOffset: time.Minute})
		_, err := h.Observe(tt.last - 1)
		require.NoError(t, err, tt.name)
		wall.set(noon.Add(time.Duration(tt.now) * time.Second))
		got, err := h.Observe(tt.remote)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, got, tt.name)
		require.Greater(t, h.Now(), got, tt.name)
	}
}

func TestHybridClockSetBack(t *testing.T) {
	wall := newWallTime()
	h := vclock.NewHybrid(vclock.HybridConfig{Now: wall.Now})
	last := h.Now()
	wall.shift(-time.Hour)
	for range 10_000 { // more than the logical part counts
		next := h.Now()
		require.Greater(t, next, last)
		last = next
	}
	require.InDelta(t, time.Hour, h.Ahead(), float64(time.Millisecond), "it counts on, and does not run")
	got, err := h.Observe(vclock.NewStamp(wall.Now(), 0))
	require.NoError(t, err)
	require.Greater(t, got, last)

	wall.set(time.Unix(-1, 0)) // before 1970
	require.Greater(t, h.Now(), got)
	wall.set(noon.Add(time.Minute))
	require.Equal(t, vclock.NewStamp(noon.Add(time.Minute), 0), h.Now(), "the time has caught up")
}

func TestHybridLogicalPartOverflows(t *testing.T) {
	wall := newWallTime()
	h := vclock.NewHybrid(vclock.HybridConfig{Now: wall.Now})
	full, err := h.Observe(vclock.NewStamp(noon, 4094))
	require.NoError(t, err)
	require.Equal(t, vclock.NewStamp(noon, 4095), full)
	require.Equal(t, vclock.NewStamp(noon.Add(time.Microsecond), 0), h.Now())

	over, err := h.Observe(vclock.NewStamp(noon.Add(time.Second/2), 4095))
	require.NoError(t, err)
	require.Equal(t, vclock.NewStamp(noon.Add(time.Second/2+time.Microsecond), 0), over)
}

// TestHybridRemoteClockFarInTheFuturePoisonsNobody has stamps refused that are too
// far ahead, with an error that says all there is to know, and without a trace.
func TestHybridRemoteClockFarInTheFuturePoisonsNobody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config time.Duration
		ahead  time.Duration
		bound  time.Duration // 0: accepted
	}{
		{"default, at the bound", 0, 500 * time.Millisecond, 0},
		{"default, above", 0, 500*time.Millisecond + time.Microsecond, 500 * time.Millisecond},
		{"negative is the default", -1, 501 * time.Millisecond, 500 * time.Millisecond},
		{"an hour", time.Hour, 61 * time.Minute, time.Hour},
		{"a year ahead", time.Second, 365 * 24 * time.Hour, time.Second},
		{"a bound below a microsecond", 1, 2 * time.Microsecond, time.Microsecond},
		{"the largest bound", math.MaxInt64, 50 * 365 * 24 * time.Hour, 0},
	} {
		wall := newWallTime()
		h := vclock.NewHybrid(vclock.HybridConfig{Now: wall.Now, MaxOffset: tt.config})
		before := h.Now()
		remote := vclock.NewStamp(noon.Add(tt.ahead), 9)
		got, err := h.Observe(remote)
		if tt.bound == 0 {
			require.NoError(t, err, tt.name)
			require.Greater(t, got, remote, tt.name)
			continue
		}
		var offset *vclock.OffsetError
		require.ErrorAs(t, err, &offset, tt.name)
		require.Equal(t, vclock.OffsetError{Remote: remote, Offset: tt.ahead, MaxOffset: tt.bound}, *offset, tt.name)
		require.ErrorContains(t, err, "MaxOffset")
		require.ErrorContains(t, err, tt.bound.String())
		require.Zero(t, got, tt.name)
		require.Equal(t, before+1, h.Now(), "%s: it left a trace", tt.name)
	}
}

// The end of the numbers cannot be had from outside: a clock that stood there
// would run over and begin at 0.
func TestHybridRefusesTheEndOfTime(t *testing.T) {
	wall := newWallTime()
	h := vclock.NewHybrid(vclock.HybridConfig{Now: wall.Now, MaxOffset: math.MaxInt64})
	for _, remote := range []vclock.Stamp{math.MaxUint64, math.MaxUint64 - 1, vclock.NewStamp(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), 0) + 1<<12} {
		_, err := h.Observe(remote)
		require.ErrorAs(t, err, new(*vclock.OffsetError))
	}
	require.Equal(t, vclock.NewStamp(noon, 0), h.Now())

	wall.set(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
	last := h.Now()
	require.Equal(t, 2111, last.Time().Year())
	require.Greater(t, h.Now(), last)
}

func TestHybridRisesInManyGoroutines(t *testing.T) {
	wall := newWallTime()
	h := vclock.NewHybrid(vclock.HybridConfig{Now: wall.Now})
	const workers, each = 8, 2000
	stamps := make([][]vclock.Stamp, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				wall.advance(i%7 - 3)
				s := h.Now()
				if i%3 == 0 {
					s, _ = h.Observe(s - 1)
				}
				stamps[w] = append(stamps[w], s)
			}
		})
	}
	wg.Wait()
	for _, own := range stamps {
		require.True(t, slices.IsSorted(own), "of one goroutine")
	}
	all := slices.Concat(stamps...)
	slices.Sort(all)
	require.Len(t, slices.Compact(all), workers*each, "no stamp twice")
}

func TestHybridReadsTheWallClock(t *testing.T) {
	h := vclock.NewHybrid(vclock.HybridConfig{})
	before := time.Now()
	got := h.Now().Time()
	require.False(t, got.Before(before.Truncate(time.Microsecond)), "%v, %v", got, before)
	require.False(t, got.After(time.Now()), "%v", got)
}

func TestScalarClocksDoNotAllocate(t *testing.T) {
	h := vclock.NewHybrid(vclock.HybridConfig{})
	d := vclock.NewDurable(0, vclock.HybridConfig{})
	require.NoError(t, d.Extend(time.Hour, func(vclock.Stamp) error { return nil }))
	var l vclock.Lamport
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = h.Observe(h.Now()) }), "Hybrid")
	require.Zero(t, testing.AllocsPerRun(100, func() { s, _ := d.Now(); _, _ = d.Observe(s) }), "Durable")
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = l.Observe(l.Tick()) }), "Lamport")
}

func TestStamp(t *testing.T) {
	s := vclock.NewStamp(noon.Add(1234567*time.Nanosecond), 7)
	require.Equal(t, noon.Add(1234*time.Microsecond), s.Time())
	require.EqualValues(t, 7, s.Logical())
	require.Equal(t, "2026-11-20T12:00:00.001234Z/0007", s.String())
	require.Equal(t, -1, s.Compare(s+1))
	require.Equal(t, 0, s.Compare(s))
	require.Equal(t, 1, s.Compare(s-1))
	require.Zero(t, vclock.NewStamp(time.Unix(-5, 0), 0), "before 1970 is 1970")
	require.Equal(t, vclock.NewStamp(noon, 1), vclock.NewStamp(noon, 4096+1), "the lower 12 bits")
}

func TestLamport(t *testing.T) {
	var l vclock.Lamport
	require.Zero(t, l.Now())
	require.EqualValues(t, 1, l.Tick())
	got, err := l.Observe(7)
	require.NoError(t, err)
	require.EqualValues(t, 8, got)
	got, err = l.Observe(2)
	require.NoError(t, err)
	require.EqualValues(t, 9, got, "an old message is an event, too")
	require.EqualValues(t, 9, l.Now())
}

func TestLamportRemoteTimeNearTheEndPoisonsNobody(t *testing.T) {
	var l vclock.Lamport
	l.Tick()
	for _, remote := range []uint64{math.MaxUint64, math.MaxInt64 + 1} {
		_, err := l.Observe(remote)
		require.ErrorIs(t, err, vclock.ErrTooLarge)
	}
	require.EqualValues(t, 1, l.Now(), "it left a trace")
	got, err := l.Observe(math.MaxInt64)
	require.NoError(t, err)
	require.Greater(t, l.Tick(), got, "does not run over")
}

func TestLamportRisesInManyGoroutines(t *testing.T) {
	var l vclock.Lamport
	const workers, each = 8, 2000
	times := make([][]uint64, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				now := l.Tick()
				if i%2 == 0 {
					now, _ = l.Observe(now + uint64(i%5))
				}
				times[w] = append(times[w], now)
			}
		})
	}
	wg.Wait()
	all := slices.Concat(times...)
	slices.Sort(all)
	require.Len(t, slices.Compact(all), workers*each, "no time twice")
}
