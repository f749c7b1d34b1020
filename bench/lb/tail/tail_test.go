package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

// Every bound holds, and not by the luck of one seed.
func TestTheDefaultsHoldTheirBounds(t *testing.T) {
	for seed := range uint64(3) {
		for _, b := range bounds() {
			for _, s := range scenarios() {
				if s.name != b.scenario {
					continue
				}
				r, err := run(s, lb.Config{Policy: b.policy}, seed, 10*time.Second)
				require.NoError(t, err)
				require.NoError(t, b.check(&r), "seed %d", seed)
			}
		}
	}
}

// The simulation is that of the peers' measurements: policies that look at nothing
// fare as badly as they should. A harness in which everybody does well shows
// nothing.
func TestTheScenariosHurt(t *testing.T) {
	for _, tt := range []struct {
		policy   lb.Policy
		scenario string
		p99      time.Duration // at least
		errors   float64       // at least
	}{
		{lb.RoundRobin{}, slow, time.Second, 0},
		{lb.PowerOfTwo{}, slow, 100 * time.Millisecond, 0},
		{lb.RoundRobin{}, stalls, 250 * time.Millisecond, 0},
		{lb.LeastConnections{}, fails, 0, 0.03},
		{lb.RoundRobin{}, hangs, time.Second, 0},
		{lb.RoundRobin{}, joins, time.Second, 0},
	} {
		for _, s := range scenarios() {
			if s.name != tt.scenario {
				continue
			}
			r, err := run(s, lb.Config{Policy: tt.policy, DisableEjection: true, DisableSlowStart: true}, 1, 10*time.Second)
			require.NoError(t, err)
			require.GreaterOrEqual(t, r.quantile(0.99), tt.p99, "%v, %s", tt.policy, tt.scenario)
			require.GreaterOrEqual(t, r.errorShare(), tt.errors, "%v, %s", tt.policy, tt.scenario)
		}
	}
}

// With nothing wrong and no queue to speak of, the tail is that of the service
// time: the 99th percentile of an exponential of 10 ms is 46.05 ms.
func TestTheTailOfAFleetThatIsWell(t *testing.T) {
	r, err := run(scenarios()[0], lb.Config{}, 1, 10*time.Second)
	require.NoError(t, err)
	require.InDelta(t, 46.05, r.quantile(0.99).Seconds()*1000, 1)
	require.InDelta(t, rate*10, len(r.latencies), 2000)
	require.Zero(t, r.errors)
}

func TestEqualSeedsGiveEqualRuns(t *testing.T) {
	play := func(seed uint64) result {
		r, err := run(scenarios()[2], lb.Config{}, seed, time.Second)
		require.NoError(t, err)
		return r
	}
	require.Equal(t, play(5), play(5))
	require.NotEqual(t, play(5), play(6))
}

func TestThePictureIsWellFormed(t *testing.T) {
	var rows []row
	for _, s := range setups() {
		r := row{setup: s}
		for range scenarios() {
			r.results = append(r.results, result{latencies: []time.Duration{time.Second}, errors: 1})
		}
		rows = append(rows, r)
	}
	decoder := xml.NewDecoder(strings.NewReader(string(drawPicture(rows))))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
	require.Error(t, judge(rows))
}
