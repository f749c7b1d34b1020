package ring_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/parley-go/parley/ring"
	"github.com/stretchr/testify/require"
)

// record makes n requests, of which each key takes its share and the rest goes to
// keys that hardly come back.
func record(h *ring.HotKeys, random *rand.Rand, n int, shares map[string]float64) {
	for range n {
		x := random.Float64()
		key := fmt.Sprint("cold ", random.IntN(1_000_000))
		for _, k := range []string{"star", "known", "lukewarm"} {
			if x -= shares[k]; x < 0 {
				key = k
				break
			}
		}
		h.Record(key)
	}
}

func TestHotKeysAreThoseAboveTheThreshold(t *testing.T) {
	h, err := ring.NewHotKeys(ring.HotKeysConfig{Window: 20_000})
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	record(h, random, 60_000, map[string]float64{"star": 0.2, "known": 0.02, "lukewarm": 0.003})
	require.True(t, h.Hot("star"))
	require.True(t, h.Hot("known"))
	require.False(t, h.Hot("lukewarm"))
	require.False(t, h.Hot("cold 1"))
	var order []string
	for key, share := range h.Keys() {
		order = append(order, key)
		require.InEpsilon(t, map[string]float64{"star": 0.2, "known": 0.02}[key], share, 0.2, key)
	}
	require.Equal(t, []string{"star", "known"}, order)
}

// The heavier a key, the sooner it is found: after threshold x window of its own.
func TestHotKeysFindsAStarSoon(t *testing.T) {
	h, err := ring.NewHotKeys(ring.HotKeysConfig{Threshold: 0.01, Window: 10_000})
	require.NoError(t, err)
	for range 99 {
		require.False(t, h.Record("star"))
	}
	require.True(t, h.Record("star"))
}

func TestHotKeysCoolDown(t *testing.T) {
	h, err := ring.NewHotKeys(ring.HotKeysConfig{Window: 5_000})
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	record(h, random, 10_000, map[string]float64{"star": 0.3})
	require.True(t, h.Hot("star"))
	record(h, random, 50_000, nil)
	require.False(t, h.Hot("star"))
	for key := range h.Keys() {
		t.Errorf("%s is hot", key)
	}
}

// However many keys there are, and whatever they are, none that is rare is hot.
func TestHotKeysNeverTakesARareKeyForHot(t *testing.T) {
	h, err := ring.NewHotKeys(ring.HotKeysConfig{Threshold: 0.01, Window: 1600})
	require.NoError(t, err)
	for i := range 200_000 {
		require.False(t, h.Record(fmt.Sprint(i%1000)), "each key has a share of 0.001")
	}
}

func TestHotKeysConfigErrorsNameTheField(t *testing.T) {
	for _, c := range []struct {
		config ring.HotKeysConfig
		says   string
	}{
		{ring.HotKeysConfig{Threshold: -0.1}, "HotKeysConfig.Threshold is -0.1"},
		{ring.HotKeysConfig{Threshold: 0.6}, "HotKeysConfig.Threshold is 0.6"},
		{ring.HotKeysConfig{Threshold: 0.00001}, "HotKeysConfig.Threshold is 1e-05"},
		{ring.HotKeysConfig{Threshold: math.NaN()}, "HotKeysConfig.Threshold is NaN"},
		{ring.HotKeysConfig{Window: -1}, "HotKeysConfig.Window is -1"},
		{ring.HotKeysConfig{Window: 1000}, "HotKeysConfig.Window is 1000, want 1600"},
		{ring.HotKeysConfig{Window: 1<<30 + 1}, "HotKeysConfig.Window"},
	} {
		_, err := ring.NewHotKeys(c.config)
		require.ErrorIs(t, err, ring.ErrInvalid)
		require.ErrorContains(t, err, c.says)
		_, err = ring.NewSpread(newRing(t), ring.SpreadConfig{Hot: c.config})
		require.ErrorContains(t, err, c.says)
	}
	for _, copies := range []int{-1, 1, 17} {
		_, err := ring.NewSpread(newRing(t), ring.SpreadConfig{Copies: copies})
		require.ErrorIs(t, err, ring.ErrInvalid)
		require.ErrorContains(t, err, fmt.Sprintf("SpreadConfig.Copies is %d", copies))
	}
}

func TestHotKeysRecordDoesNotAllocate(t *testing.T) {
	h, err := ring.NewHotKeys(ring.HotKeysConfig{})
	require.NoError(t, err)
	cold := keys(5000)
	i := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		h.Record(cold[i%len(cold)])
		i++
	}))
}

// Reads of a star go to all its owners alike, those of other keys to theirs.
func TestSpreadSharesOutTheStar(t *testing.T) {
	r := newRing(t, named(20)...)
	s, err := ring.NewSpread(r, ring.SpreadConfig{Copies: 4, Hot: ring.HotKeysConfig{Window: 5000}})
	require.NoError(t, err)
	count := map[string]int{}
	for _, key := range keys(4000) {
		name, ok := s.One("star")
		require.True(t, ok)
		count[name]++
		cold, _ := s.One(key)
		owner, _ := r.Owner(key)
		require.Equal(t, owner, cold)
	}
	all := s.All(nil, "star")
	require.Equal(t, r.Owners(nil, "star", 4), all)
	require.Len(t, count, 4)
	for _, name := range all {
		require.InDelta(t, 1000, count[name], 100, name)
	}
	require.True(t, s.HotKeys().Hot("star"))
}

// One must be among All before, while and after a key is hot: or a write to One
// would be missed by who reads All.
func TestSpreadOneIsAlwaysAmongAll(t *testing.T) {
	s, err := ring.NewSpread(newRing(t, named(9)...), ring.SpreadConfig{Hot: ring.HotKeysConfig{Window: 1600}})
	require.NoError(t, err)
	all := s.All(nil, "star")
	for i := range 20_000 {
		if i < 5000 || i > 15_000 {
			one, _ := s.One("star")
			require.Contains(t, all, one)
		}
		s.One(fmt.Sprint("other ", i%500))
	}
	require.Equal(t, all, s.All(nil, "star"))
}

func TestSpreadWithFewerNodesThanCopies(t *testing.T) {
	r := newRing(t)
	s, err := ring.NewSpread(r, ring.SpreadConfig{Hot: ring.HotKeysConfig{Window: 1600}})
	require.NoError(t, err)
	for range 100 {
		_, ok := s.One("star")
		require.False(t, ok)
	}
	require.NoError(t, r.Add(named(2)...))
	seen := map[string]bool{}
	for range 100 {
		name, ok := s.One("star")
		require.True(t, ok)
		seen[name] = true
	}
	require.Len(t, seen, 2)
}

func TestSpreadConcurrently(t *testing.T) {
	s, err := ring.NewSpread(newRing(t, named(9)...), ring.SpreadConfig{Hot: ring.HotKeysConfig{Window: 1600}})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				s.One([]string{"star", fmt.Sprint(worker, i)}[i%2])
				if i%500 == 0 {
					for range s.HotKeys().Keys() {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	require.True(t, s.HotKeys().Hot("star"))
}
