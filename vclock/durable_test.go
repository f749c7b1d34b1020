package vclock_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/vclock"
)

// A disk keeps the last bound that was saved.
type disk struct {
	saved vclock.Stamp
	fail  error
}

func (d *disk) save(bound vclock.Stamp) error {
	if d.fail != nil {
		return d.fail
	}
	d.saved = bound
	return nil
}

// TestDurableRestartNeverGoesBack restarts at random moments, on a clock that is
// turned back and forth meanwhile, with a disk that fails now and then. Stamps rise
// through all of it.
func TestDurableRestartNeverGoesBack(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		wall, disk := newWallTime(), &disk{}
		config := vclock.HybridConfig{Now: wall.Now, MaxOffset: time.Hour}
		clock := vclock.NewDurable(disk.saved, config)
		var last vclock.Stamp
		issued := 0
		check := func(s vclock.Stamp, err error) {
			if err != nil {
				require.Zero(t, s)
				return
			}
			issued++
			require.Greater(t, s, last, "seed %d", seed)
			require.LessOrEqual(t, s, disk.saved, "seed %d: a crash now would lose it", seed)
			last = s
		}
		for range 1000 {
			switch n := random.IntN(20); {
			case n == 0:
				clock = vclock.NewDurable(disk.saved, config)
			case n == 1:
				wall.shift(time.Duration(random.IntN(120)-60) * time.Second)
			case n <= 4:
				disk.fail = nil
				if random.IntN(3) == 0 {
					disk.fail = errors.New("disk full")
				}
				err := clock.Extend(time.Duration(1+random.IntN(10))*time.Second, disk.save)
				require.Equal(t, disk.fail, err)
			case n <= 10:
				check(clock.Observe(vclock.NewStamp(wall.Now().Add(time.Duration(random.IntN(20)-10)*time.Second), 0)))
			default:
				check(clock.Now())
			}
			wall.advance(random.IntN(100_000))
		}
		require.Positive(t, issued, "seed %d", seed)
	}
}

func TestDurableNeedsABoundFirst(t *testing.T) {
	wall, disk := newWallTime(), &disk{}
	clock := vclock.NewDurable(0, vclock.HybridConfig{Now: wall.Now})
	_, err := clock.Now()
	require.ErrorIs(t, err, vclock.ErrBound)
	_, err = clock.Observe(vclock.NewStamp(noon, 3))
	require.ErrorIs(t, err, vclock.ErrBound)

	require.NoError(t, clock.Extend(time.Second, disk.save))
	require.Equal(t, vclock.NewStamp(noon.Add(time.Second), 0), disk.saved)
	got, err := clock.Now()
	require.NoError(t, err)
	require.Equal(t, vclock.NewStamp(noon, 0), got, "what was refused left no trace")
}

func TestDurableStopsAtTheBoundAndGoesOn(t *testing.T) {
	wall, disk := newWallTime(), &disk{}
	clock := vclock.NewDurable(0, vclock.HybridConfig{Now: wall.Now})
	require.NoError(t, clock.Extend(time.Second, disk.save))

	wall.shift(time.Second)
	got, err := clock.Now()
	require.NoError(t, err)
	require.Equal(t, disk.saved, got, "the bound itself")
	_, err = clock.Now()
	require.ErrorIs(t, err, vclock.ErrBound)

	wall.shift(time.Hour) // the time jumps
	_, err = clock.Now()
	require.ErrorIs(t, err, vclock.ErrBound)
	require.NoError(t, clock.Extend(time.Second, disk.save))
	got, err = clock.Now()
	require.NoError(t, err)
	require.Equal(t, vclock.NewStamp(wall.Now(), 0), got)
}

func TestDurableFailedSaveAllowsNothing(t *testing.T) {
	wall, disk := newWallTime(), &disk{fail: errors.New("disk full")}
	clock := vclock.NewDurable(0, vclock.HybridConfig{Now: wall.Now})
	require.Equal(t, disk.fail, clock.Extend(time.Second, disk.save))
	_, err := clock.Now()
	require.ErrorIs(t, err, vclock.ErrBound)
	require.ErrorContains(t, clock.Extend(0, disk.save), "ahead is 0s")
	require.ErrorContains(t, clock.Extend(-time.Second, disk.save), "ahead is -1s")
}

// A second Extend would save its bound over that of the first, which may be higher.
func TestDurableOneExtendAtATime(t *testing.T) {
	wall, disk := newWallTime(), &disk{}
	clock := vclock.NewDurable(0, vclock.HybridConfig{Now: wall.Now})
	require.NoError(t, clock.Extend(time.Second, func(bound vclock.Stamp) error {
		require.Error(t, clock.Extend(time.Minute, disk.save), "from within save")
		_, err := clock.Now()
		require.ErrorIs(t, err, vclock.ErrBound, "not saved yet")
		return disk.save(bound)
	}))

	func() {
		defer func() { require.NotNil(t, recover()) }()
		_ = clock.Extend(time.Second, func(vclock.Stamp) error { panic("disk on fire") })
	}()
	require.NoError(t, clock.Extend(time.Second, disk.save), "the next one runs after a panic")
}

// After the time was set back, a short extension must not take back what a
// longer one has allowed.
func TestDurableBoundNeverFalls(t *testing.T) {
	wall, disk := newWallTime(), &disk{}
	clock := vclock.NewDurable(0, vclock.HybridConfig{Now: wall.Now})
	require.NoError(t, clock.Extend(time.Minute, disk.save))
	high := disk.saved
	wall.shift(-time.Hour)
	require.NoError(t, clock.Extend(time.Second, disk.save))
	require.Equal(t, high, disk.saved)
}

// A damaged file can have the clock stand in the far future, but not run over.
func TestDurableSavedAtTheEndOfTime(t *testing.T) {
	wall, disk := newWallTime(), &disk{}
	clock := vclock.NewDurable(math.MaxUint64, vclock.HybridConfig{Now: wall.Now})
	require.NoError(t, clock.Extend(time.Second, disk.save))
	last, err := clock.Now()
	require.NoError(t, err)
	require.Equal(t, 2111, last.Time().Year())
	next, err := clock.Now()
	require.NoError(t, err)
	require.Greater(t, next, last)
	require.Greater(t, clock.Ahead(), 80*365*24*time.Hour, "it shows")
}

func TestDurableSaysHowFarItIsAhead(t *testing.T) {
	wall := newWallTime()
	clock := vclock.NewDurable(vclock.NewStamp(noon.Add(3*time.Second), 0), vclock.HybridConfig{Now: wall.Now})
	require.Equal(t, 3*time.Second, clock.Ahead())
	wall.shift(5 * time.Second)
	require.Zero(t, clock.Ahead())
}

func TestDurableRefusesTheFarFuture(t *testing.T) {
	wall, disk := newWallTime(), &disk{}
	clock := vclock.NewDurable(0, vclock.HybridConfig{Now: wall.Now})
	require.NoError(t, clock.Extend(time.Hour, disk.save))
	_, err := clock.Observe(vclock.NewStamp(noon.Add(time.Second), 0))
	require.ErrorAs(t, err, new(*vclock.OffsetError))
}

// TestDurableIssuesWhileItSaves is for the race detector, too.
func TestDurableIssuesWhileItSaves(t *testing.T) {
	wall, disk := newWallTime(), &disk{}
	clock := vclock.NewDurable(0, vclock.HybridConfig{Now: wall.Now})
	require.NoError(t, clock.Extend(time.Second, disk.save))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var last vclock.Stamp
			for range 1000 {
				s, err := clock.Now()
				if err != nil || s <= last {
					t.Errorf("%v after %v: %v", s, last, err)
					return
				}
				last = s
			}
		})
	}
	for range 100 {
		require.NoError(t, clock.Extend(time.Second, disk.save))
	}
	wg.Wait()
}
