package event

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func compareKeys(a, b Key) int {
	switch {
	case a.less(b):
		return -1
	case b.less(a):
		return 1
	}
	return 0
}

// Random pushes and pops, compared with a sorted slice.
func TestQueueAgainstSortedSlice(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q Queue[Key]
		var model []Key
		for step := range 3000 {
			if r.IntN(5) < 3 || len(model) == 0 {
				// Few values, so that keys coincide in part, but not in whole.
				k := Key{At: time.Duration(r.IntN(50)), Tie: uint64(r.IntN(3)), Seq: uint64(step)}
				*q.Push(k) = k
				model = append(model, k)
				continue
			}
			slices.SortFunc(model, compareKeys)
			first, ok := q.First()
			require.True(t, ok)
			require.Equal(t, model[0], first)
			k, e := q.Pop()
			require.Equal(t, model[0], k)
			require.Equal(t, model[0], *e, "the event of another key")
			*e = Key{}
			model = model[1:]
			require.Equal(t, len(model), q.Len())
		}
	}
}

func TestQueueDoesNotDependOnTheOrderOfPushes(t *testing.T) {
	keys := make([]Key, 200)
	for i := range keys {
		keys[i] = Key{At: time.Duration(i % 7), Tie: uint64(i % 11), Seq: uint64(i)}
	}
	drain := func() (out []Key) {
		var q Queue[int]
		for i, k := range keys {
			*q.Push(k) = i
		}
		for q.Len() > 0 {
			k, _ := q.Pop()
			out = append(out, k)
		}
		return out
	}
	want := drain()
	require.True(t, slices.IsSortedFunc(want, compareKeys))
	for range 10 {
		rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		require.Equal(t, want, drain())
	}
}

func TestEmptyQueue(t *testing.T) {
	var q Queue[int]
	_, ok := q.First()
	require.False(t, ok)
	require.Zero(t, q.Len())
}
