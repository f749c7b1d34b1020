package breaker

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A plant is a service without chance: it handles so many calls at a time, and
// each one more takes that much longer. All of the limit is always in use.
type plant struct {
	capacity float64
	base     time.Duration
	now      time.Duration
}

// window returns what a window under a limit shows.
func (p *plant) window(limit float64) sample {
	p.now += 100 * time.Millisecond
	latency := time.Duration(float64(p.base) * max(1, limit/p.capacity))
	return sample{now: p.now, latency: latency, successes: 100, peak: int(limit)}
}

// run lets a controller work for n windows and returns the limits.
func (p *plant) run(c controller, limit float64, n int) (limits []float64) {
	for range n {
		limit = max(1, c.next(limit, p.window(limit)))
		limits = append(limits, limit)
	}
	return limits
}

func newGradient(t *testing.T) controller {
	check := checker{}
	c := Gradient{}.withDefaults(&check).start()
	require.NoError(t, check.err())
	return c
}

func TestGradientGrowsByHalfUntilTheFirstQueue(t *testing.T) {
	p := &plant{capacity: 1000, base: 10 * time.Millisecond}
	limits := p.run(newGradient(t), 1, 25)
	require.Greater(t, limits[24], 900.0, "a thousandfold in 25 windows: %.0f", limits)
	require.Less(t, limits[24], 2500.0)
}

func TestGradientMeasuresHoweverFarTheLimitIsOff(t *testing.T) {
	for name, most := range map[string]float64{"free to grow": math.Inf(1), "at its bound": 10_000} {
		p := &plant{capacity: 10, base: 10 * time.Millisecond}
		c := newGradient(t)
		limit := 10_000.0
		for range 17 {
			limit = min(most, c.next(limit, p.window(limit)))
		}
		g := c.(*gradient)
		require.InDelta(t, 10e6, g.baseline, 1e6, "%s: 10 ms, not what calls took in the queue", name)
		require.Less(t, limit, 40.0, "%s: not back to where the queue was", name)
	}
}

// A start under a load that the service can bear is no reason to halve the limit,
// nor is a limit that only just holds it.
func TestGradientDoesNotHalveTheLimitAtACalmStart(t *testing.T) {
	for _, used := range []int{5, 12, 20} {
		c := newGradient(t)
		limit := 20.0
		for i := range 100 {
			now := time.Duration(i+1) * 100 * time.Millisecond
			limit = c.next(limit, sample{now: now, latency: 20 * time.Millisecond, successes: 60, peak: used})
			require.GreaterOrEqual(t, limit, 20.0, "%d in use, window %d", used, i)
		}
		require.Less(t, limit, 70.0, "twice of what is in use is enough")
	}
}

func TestGradientRestsALittleOverTheCapacity(t *testing.T) {
	for _, capacity := range []float64{3, 10, 100, 1000} {
		p := &plant{capacity: capacity, base: 10 * time.Millisecond}
		limits := p.run(newGradient(t), 20, 200)
		last := limits[len(limits)-1]
		require.Greater(t, last, capacity)
		require.Less(t, last, 3*capacity, "%.0f", limits)
	}
}

// A baseline that was measured is measured again, for a moment and not in a
// queue of the limiter's own making.
func TestGradientMeasuresAgain(t *testing.T) {
	p := &plant{capacity: 10, base: 10 * time.Millisecond}
	c := newGradient(t)
	before := p.run(c, 20, 250)
	p.base = 50 * time.Millisecond // from now on
	squeezed := p.run(c, before[249], 40)
	require.Less(t, squeezed[39], 10.0, "it looks like a queue")
	after := p.run(c, squeezed[39], 100) // past 30 s
	require.InDelta(t, 50e6, c.(*gradient).baseline, 5e6)
	require.InDelta(t, before[249], after[99], 5)

	low := 0
	for _, limit := range p.run(c, after[99], 300) {
		if limit < 10 {
			low++
		}
	}
	require.LessOrEqual(t, low, 3, "windows of 300 below the capacity")
}

func TestOverloadCutsInProportion(t *testing.T) {
	p := &plant{capacity: 100, base: 10 * time.Millisecond}
	c := newGradient(t)
	limits := p.run(c, 20, 100)
	limit := limits[99]
	calm, some, all := p.window(limit), p.window(limit), p.window(limit)
	some.successes, some.overloads = 50, 50
	all.successes, all.overloads = 0, 100
	require.Less(t, c.next(limit, some), c.next(limit, calm))
	require.InDelta(t, limit/2, c.next(limit, all), 1e-9, "at most by half a window")
}

func TestAIMDAddsOneAndBacksOff(t *testing.T) {
	check := checker{}
	a := AIMD{}.withDefaults(&check).start()
	require.InDelta(t, 21, a.next(20, sample{successes: 10, latency: time.Second, peak: 20}), 1e-9)
	require.InDelta(t, 18, a.next(20, sample{successes: 10, latency: time.Second + 1, peak: 20}), 1e-9)
	require.InDelta(t, 18, a.next(20, sample{successes: 99, overloads: 1, peak: 20}), 1e-9)
	require.InDelta(t, 20, a.next(20, sample{successes: 10, peak: 9}), 1e-9)
}
