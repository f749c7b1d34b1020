package quorum

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fresh(t *testing.T, writes int, peers ...string) *recovery {
	t.Helper()
	r, err := newRecovery(peers, writes, 0, nil, 100)
	require.NoError(t, err)
	return r
}

// copyAll is a whole copy from a peer in one page.
func copyAll(r *recovery, peer string, source uint64, complete bool) {
	r.page(peer, source, complete, "last key", true)
}

func TestANodeIsCompleteWhenItHasCopiedEnough(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e"}
	for _, test := range []struct {
		name            string
		writes          int      // W of N=5
		whole, part     []string // copied from complete and from recovering peers
		owners          []string
		readable, ready bool
	}{
		{"nothing copied", 3, nil, nil, all, false, false},
		{"two complete of four, three needed", 3, []string{"b", "c"}, nil, all, false, false},
		{"three complete of four", 3, []string{"b", "c", "d"}, nil, all, true, true},
		{"three of four, one recovering", 3, []string{"b", "c"}, []string{"d"}, all, false, false},
		{"all, whatever their state", 3, nil, []string{"b", "c", "d", "e"}, all, true, true},
		{"all other owners, but not all members", 2, nil, []string{"b", "c"}, []string{"a", "b", "c"}, false, false},
		{"W=1 needs all", 1, []string{"b", "c", "d"}, nil, all, false, false},
		{"W=5 needs one", 5, []string{"c"}, nil, all, true, true},
		{"a key whose other owners are copied", 2, []string{"b", "c"}, nil, []string{"a", "b", "c"}, true, false},
		{"a key one of whose owners is not", 2, []string{"b", "c"}, nil, []string{"a", "b", "d"}, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := fresh(t, test.writes, "e", "d", "c", "b")
			for _, peer := range test.whole {
				copyAll(r, peer, 1, true)
			}
			for _, peer := range test.part {
				copyAll(r, peer, 1, false)
			}
			require.Equal(t, test.readable, r.standing().readable("a", test.owners))
			require.Equal(t, test.ready, r.complete)
		})
	}
	require.True(t, fresh(t, 1).complete, "a node alone has nobody to copy from")
}

func TestACopyFromASourceThatRestartsBeginsAnew(t *testing.T) {
	r := fresh(t, 2, "b")
	r.metBy("b", 1, 0)
	r.page("b", 1, true, "k", false)
	require.Equal(t, "k", r.find("b").cursor)
	r.page("b", 2, true, "z", true)
	require.False(t, r.complete, "what the first life had before k was not copied from the second")
	require.Empty(t, r.find("b").cursor)
	require.Equal(t, meet, r.next("b"), "and the second has to be met first")
}

func TestACopyIsWholeOnlyIfTheSourceWasCompleteAtItsBeginning(t *testing.T) {
	r := fresh(t, 3, "b", "c")
	r.page("b", 1, false, "k", false)
	r.page("b", 1, true, "z", true)
	require.False(t, r.complete, "what b lacked while the first page was made may be missing")
	require.Equal(t, copyPage, func() errand { r.metBy("b", 1, 0); return r.next("b") }())
	r.page("b", 1, true, "k", false)
	r.page("b", 1, true, "z", true)
	require.True(t, r.complete)
}

func TestALateIntroductionOfAFormerLifeIsRefused(t *testing.T) {
	r := fresh(t, 2, "b")
	require.True(t, r.introduced("b", 7, 0))
	require.True(t, r.introduced("b", 7, 0), "it may be repeated, its answer may have been lost")
	require.True(t, r.introduced("b", 5, 7), "a later life may have the lower number: its clock was set back")
	require.False(t, r.introduced("b", 7, 0), "the former life, late")
	require.False(t, r.introduced("b", 9, 0), "another that does not know whom we have met")
	require.Equal(t, uint64(5), r.standing().peers["b"].known)
	require.False(t, r.introduced("b", 0, 5), "0 is no life")
	require.False(t, r.introduced("stranger", 8, 0))
}

func TestALateAnswerOfAFormerLifeIsRefused(t *testing.T) {
	r := fresh(t, 2, "b")
	require.True(t, r.introduced("b", 7, 0), "b has introduced itself while our introduction was on its way")
	require.False(t, r.metBy("b", 3, 0), "which its former life answered")
	require.Equal(t, meet, r.next("b"))
	require.True(t, r.metBy("b", 7, 7))
	require.NotEqual(t, meet, r.next("b"))
	require.Equal(t, r.incarnation, r.find("b").knows)
}

func TestLivesOfANodeDiffer(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	first := newIncarnation(now, 1<<63)
	require.NotEqual(t, first, newIncarnation(now+int64(time.Millisecond), 1<<63))
	require.NotEqual(t, first, newIncarnation(now, 1<<62), "in the same millisecond they differ by luck")
	require.NotZero(t, newIncarnation(-5, 0), "0 stands for no life")
}

func TestTheStateOutlivesACrash(t *testing.T) {
	r := fresh(t, 2, "b", "c")
	r.introduced("b", 7, 0)
	copyAll(r, "b", 7, true)
	copyAll(r, "c", 9, true)
	require.True(t, r.complete)
	state := r.encode()

	again, err := newRecovery([]string{"b", "c"}, 2, 0, state, 200)
	require.NoError(t, err)
	require.True(t, again.complete)
	require.Equal(t, uint64(100), again.incarnation, "the data is there, so it is the same life")
	require.Equal(t, uint64(7), again.find("b").known)
	require.Equal(t, meet, again.next("b"), "whether b knows us is asked anew")

	moved, err := newRecovery([]string{"b", "d"}, 2, 1, state, 200)
	require.NoError(t, err)
	require.False(t, moved.complete, "with another placement it may own what it does not have")
	require.Equal(t, uint64(7), moved.find("b").known)

	_, err = newRecovery([]string{"b"}, 2, 0, state[:len(state)-1], 200)
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestTheStateIsReadByLaterVersions(t *testing.T) {
	// Frozen: storages keep it.
	golden := []byte{
		1, 1, // format, complete
		2, 0, 0, 0, 0, 0, 0, 0, // placement
		5, 0, 0, 0, 0, 0, 0, 0, // incarnation
		1, 1, 'b', 3, 0, 0, 0, 0, 0, 0, 0, // one peer and its life
	}
	r := recovery{complete: true, placement: 2, incarnation: 5, peers: []peer{{name: "b", known: 3}}}
	require.Equal(t, golden, r.encode())
	read, err := newRecovery([]string{"b"}, 2, 2, golden, 9)
	require.NoError(t, err)
	require.Equal(t, uint64(5), read.incarnation)
	require.True(t, read.complete)
	require.Equal(t, uint64(3), read.find("b").known)
}

func TestRecoveryIsFinishedWhenAllHaveMet(t *testing.T) {
	r := fresh(t, 3, "b", "c")
	r.metBy("b", 1, 0)
	copyAll(r, "b", 1, true)
	require.True(t, r.complete)
	require.Equal(t, rest, r.next("b"))
	require.False(t, r.finished(), "c has not met this life, whose writes do not count beside c's")
	require.Equal(t, meet, r.next("c"))
	r.metBy("c", 1, 0)
	require.True(t, r.finished())
	r.unmet("c")
	require.False(t, r.finished())
}

func TestRetriesSlowDownWithinBounds(t *testing.T) {
	for failures := range 100 {
		for _, random := range []uint64{0, 1 << 20, 1<<64 - 1} {
			d := retryDelay(failures, random)
			require.GreaterOrEqual(t, d, minRetry/2)
			require.LessOrEqual(t, d, maxRetry)
		}
	}
	require.Greater(t, retryDelay(20, 0), retryDelay(0, 1<<64-1))
}
