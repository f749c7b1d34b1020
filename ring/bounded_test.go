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

// loads returns what a Bounded holds, altogether and at the most.
func loads(b *ring.Bounded) (total, most int) {
	for _, n := range b.Loads() {
		total += n
		most = max(most, n)
	}
	return total, most
}

func TestBoundedNeverExceedsTheBound(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 10, 100} {
		for _, factor := range []float64{math.Nextafter(1, 2), 1.01, 1.25, 2} {
			b := ring.NewBounded(newRing(t, named(nodes)...), factor)
			for i := range 400 {
				key := fmt.Sprint("hot ", i%3) // three keys take everything
				_, _, err := b.Acquire(key)
				require.NoError(t, err)
				total, most := loads(b)
				require.Equal(t, i+1, total)
				bound := math.Ceil(factor * float64(total) / float64(nodes))
				require.LessOrEqual(t, float64(most), bound, "%d nodes, factor %v, %d held", nodes, factor, total)
			}
		}
	}
}

// What a node is given keeps the bound also after releases, which lower it.
func TestBoundedKeepsTheBoundOnEveryAcquire(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const factor, nodes = 1.25, 8
	b := ring.NewBounded(newRing(t, named(nodes)...), factor)
	var releases []func()
	for range 5000 {
		if len(releases) > 0 && random.IntN(5) < 2 {
			i := random.IntN(len(releases))
			releases[i]()
			releases[i] = releases[len(releases)-1]
			releases = releases[:len(releases)-1]
			continue
		}
		name, release, err := b.Acquire(fmt.Sprint(random.IntN(20)))
		require.NoError(t, err)
		releases = append(releases, release)
		for node, held := range b.Loads() {
			if node == name {
				require.LessOrEqual(t, float64(held), math.Ceil(factor*float64(len(releases))/nodes))
			}
		}
	}
	for _, release := range releases {
		release()
	}
	total, _ := loads(b)
	require.Zero(t, total)
}

func TestBoundedGivesTheOwnerWhileItHasRoom(t *testing.T) {
	r := newRing(t, named(10)...)
	b := ring.NewBounded(r, 1.25)
	for _, key := range keys(100) {
		name, release, err := b.Acquire(key)
		require.NoError(t, err)
		owner, _ := r.Owner(key)
		require.Equal(t, owner, name)
		release()
	}
}

// Past a full node the key goes on to the nodes that Owners lists next.
func TestBoundedGoesOnInTheOrderOfOwners(t *testing.T) {
	r := newRing(t, named(5)...)
	b := ring.NewBounded(r, 1.0001)
	owners := r.Owners(nil, "key", 5)
	for _, want := range owners[:4] { // of five, a node may hold one until five are held
		got, _, err := b.Acquire("key")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestBoundedFollowsWeights(t *testing.T) {
	b := ring.NewBounded(newRing(t, ring.Node{Name: "small"}, ring.Node{Name: "large", Weight: 3}), 1.01)
	for _, key := range keys(400) {
		_, _, err := b.Acquire(key)
		require.NoError(t, err)
	}
	for name, held := range b.Loads() {
		require.LessOrEqual(t, held, map[string]int{"small": 101, "large": 303}[name])
	}
}

func TestBoundedReleaseCountsOnce(t *testing.T) {
	b := ring.NewBounded(newRing(t, named(2)...), 1.25)
	_, first, err := b.Acquire("a")
	require.NoError(t, err)
	_, _, err = b.Acquire("b")
	require.NoError(t, err)
	first()
	first()
	first()
	total, _ := loads(b)
	require.Equal(t, 1, total)
}

func TestBoundedMembersChangeWhileLoadsAreHeld(t *testing.T) {
	r := newRing(t, ring.Node{Name: "a"})
	b := ring.NewBounded(r, 1.25)
	var onA []func()
	for i := range 10 {
		_, release, err := b.Acquire(fmt.Sprint(i))
		require.NoError(t, err)
		onA = append(onA, release)
	}
	// b joins and is filled up before a is given more.
	require.NoError(t, r.Add(ring.Node{Name: "b"}))
	for i := range 6 {
		name, _, err := b.Acquire(fmt.Sprint(i))
		require.NoError(t, err)
		require.Equal(t, "b", name)
	}
	// a leaves: nothing more for it, and what it holds no longer counts.
	require.True(t, r.Remove("a"))
	total, _ := loads(b)
	require.Equal(t, 6, total)
	onA[0]()
	total, _ = loads(b)
	require.Equal(t, 6, total)
	// It comes back with what it still holds.
	require.NoError(t, r.Add(ring.Node{Name: "a"}))
	total, _ = loads(b)
	require.Equal(t, 15, total)
	for _, release := range onA {
		release()
	}
	total, _ = loads(b)
	require.Equal(t, 6, total)
	// With the last member gone there is nobody, and then somebody again.
	require.True(t, r.Remove("a"))
	require.True(t, r.Remove("b"))
	_, _, err := b.Acquire("key")
	require.ErrorIs(t, err, ring.ErrNoNodes)
	require.NoError(t, r.Add(ring.Node{Name: "c"}))
	name, _, err := b.Acquire("key")
	require.NoError(t, err)
	require.Equal(t, "c", name)
}

func TestBoundedWithAFactorOutOfBounds(t *testing.T) {
	for _, factor := range []float64{1, 0.5, 0, -1, 1001, math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, release, err := ring.NewBounded(newRing(t, named(3)...), factor).Acquire("key")
		require.ErrorIs(t, err, ring.ErrInvalid)
		require.ErrorContains(t, err, fmt.Sprint(factor))
		require.Nil(t, release)
	}
}

func TestBoundedConcurrently(t *testing.T) {
	r := newRing(t, named(5)...)
	b := ring.NewBounded(r, 1.25)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 500 {
				_, release, err := b.Acquire(fmt.Sprint(worker, i))
				if err != nil {
					t.Error(err)
					return
				}
				release()
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			if err := r.Add(ring.Node{Name: fmt.Sprint("extra-", i)}); err != nil {
				t.Error(err)
			}
			r.Remove(fmt.Sprint("extra-", i))
		}
	})
	wg.Wait()
	total, most := loads(b)
	require.Zero(t, total)
	require.Zero(t, most)
}

// What is released on a node that has left must not be taken from what the
// others hold.
func TestBoundedReleaseOnANodeThatLeft(t *testing.T) {
	r := newRing(t, ring.Node{Name: "a"})
	b := ring.NewBounded(r, 1.25)
	var releases []func()
	for range 10 {
		_, release, err := b.Acquire("key")
		require.NoError(t, err)
		releases = append(releases, release)
	}
	require.NoError(t, r.Add(named(2)...))
	require.True(t, r.Remove("a"))
	for i := range 4 {
		_, _, err := b.Acquire("key")
		require.NoError(t, err)
		releases[i]()
	}
	owner, _ := r.Owner("key")
	for name, held := range b.Loads() {
		want := 1 // of 4 on two nodes, one may hold 3
		if name == owner {
			want = 3
		}
		require.Equal(t, want, held, name)
	}
}
