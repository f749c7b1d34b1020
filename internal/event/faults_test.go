package event

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/internal/draw"
)

const ms = time.Millisecond

func TestInvalidFaultsNameFieldAndValue(t *testing.T) {
	for _, c := range []struct {
		faults Faults
		field  string
		value  string
	}{
		{Faults{Drop: -0.1}, "Drop", "-0.1"},
		{Faults{Drop: 1.5}, "Drop", "1.5"},
		{Faults{Drop: math.NaN()}, "Drop", "NaN"},
		{Faults{Duplicate: 2}, "Duplicate", "2"},
		{Faults{Reorder: math.Inf(1)}, "Reorder", "+Inf"},
		{Faults{Bandwidth: -1}, "Bandwidth", "-1"},
	} {
		err := c.faults.Validate()
		require.ErrorContains(t, err, "Faults."+c.field)
		require.ErrorContains(t, err, c.value)
		_, err = New[int](1, c.faults, "a")
		require.Error(t, err)
	}
	require.NoError(t, Faults{Drop: 1, Duplicate: 1, Reorder: 1}.Validate())
}

// Known quantiles and means of the distributions.
func TestDelayDistributions(t *testing.T) {
	sample := func(d Delay) []time.Duration {
		var all []time.Duration
		for n := range uint64(100_000) {
			all = append(all, d(draw.Float(draw.At(99, n))))
		}
		slices.Sort(all)
		return all
	}
	mean := func(all []time.Duration) (sum float64) {
		for _, d := range all {
			sum += float64(d) / float64(len(all))
		}
		return sum
	}
	uniform := sample(Uniform(1*ms, 5*ms))
	require.InEpsilon(t, float64(3*ms), mean(uniform), 0.01)
	require.GreaterOrEqual(t, uniform[0], 1*ms)
	require.Less(t, uniform[len(uniform)-1], 5*ms)

	exponential := sample(Exponential(2*ms, 10*ms))
	require.InEpsilon(t, float64(12*ms), mean(exponential), 0.02)
	require.GreaterOrEqual(t, exponential[0], 2*ms)
	require.InEpsilon(t, float64(2*ms)+math.Ln2*float64(10*ms), float64(exponential[50_000]), 0.02)

	logNormal := sample(LogNormal(10*ms, 0.5))
	require.InEpsilon(t, float64(10*ms), float64(logNormal[50_000]), 0.02)
	require.InEpsilon(t, float64(32*ms), float64(logNormal[99_000]), 0.03) // e^(2.326*0.5) is 3.2

	require.Equal(t, 7*ms, Constant(7*ms)(0.3))
	require.Equal(t, 7*ms, Uniform(7*ms, 1*ms)(0.9))
}

func TestDelaysAtTheEdges(t *testing.T) {
	for name, d := range map[string]Delay{
		"uniform":     Uniform(-time.Hour, math.MaxInt64),
		"exponential": Exponential(0, math.MaxInt64),
		"log-normal":  LogNormal(math.MaxInt64, 100),
		"negative":    Constant(-1),
		"longest":     Constant(math.MaxInt64),
	} {
		for _, u := range []float64{0, 0.5, math.Nextafter(1, 0)} {
			l, err := New[int](1, Faults{Delay: func(float64) time.Duration { return d(u) }}, "a", "b")
			require.NoError(t, err)
			l.Send(0, 1, 0, 1)
			at, ok := l.Due()
			require.True(t, ok)
			require.GreaterOrEqual(t, at, time.Duration(0), "%s at %v", name, u)
			require.LessOrEqual(t, at, MaxDelay, "%s at %v", name, u)
		}
	}
}
