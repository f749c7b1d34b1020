package quorum

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

var v1, v2 = Version{Time: 1, Node: "a"}, Version{Time: 2, Node: "a"}

// life describes an answer: which life the owner is in, and which lives of the
// others it has met, by position.
func life(v Version, incarnation uint64, known ...uint64) ack {
	a := ack{incarnation: incarnation, readable: true, record: Record{Version: v}}
	copy(a.known[:], known)
	return a
}

func TestHoldersCountOnlyTogetherIfTheyHaveMet(t *testing.T) {
	for _, test := range []struct {
		name string
		acks []ack // of a, b, c
		want int
	}{
		{"nobody holds it", []ack{life(v1, 1, 0, 1, 1), life(v1, 1, 1, 0, 1)}, 0},
		{"all have met", []ack{life(v2, 1, 0, 1, 1), life(v2, 1, 1, 0, 1), life(v2, 1, 1, 1, 0)}, 3},
		{"something newer counts", []ack{life(Version{Time: 9, Node: "b"}, 1, 0, 1, 1), life(v2, 1, 1, 0, 1)}, 2},
		{"one alone needs nobody", []ack{life(v2, 1)}, 1},
		{"b has met a later life of a", []ack{life(v2, 1, 0, 1, 1), life(v2, 1, 2, 0, 1)}, 1},
		{"b has not heard of this life of a", []ack{life(v2, 2, 0, 1, 1), life(v2, 1, 1, 0, 1)}, 1},
		{"b has met no life of a", []ack{life(v2, 1, 0, 1, 1), life(v2, 1, 0, 0, 1)}, 1},
		{"a has not heard of this life of b", []ack{life(v2, 1, 0, 1, 1), life(v2, 2, 1, 0, 1)}, 1},
		{"a is over, b and c count", []ack{life(v2, 1, 0, 1, 1), life(v2, 1, 2, 0, 1), life(v2, 1, 2, 1, 0)}, 2},
		{"a and b count, b and c, not all three", []ack{life(v2, 1, 0, 1, 1), life(v2, 1, 1, 0, 1), life(v2, 1, 7, 1, 0)}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			tally := newTally(3)
			for i, a := range test.acks {
				tally.answer(i, a, nil)
			}
			require.Equal(t, test.want, tally.holders(v2))
		})
	}
}

func TestTheLargestGroupCounts(t *testing.T) {
	// Of nine owners 0..3 have met each other, 4..8 have met each other, and the
	// others not.
	tally := newTally(MaxReplicas)
	for i := range MaxReplicas {
		a := life(v2, 1)
		for j := range MaxReplicas {
			if (i < 4) == (j < 4) {
				a.known[j] = 1
			}
		}
		tally.answer(i, a, nil)
	}
	require.Equal(t, 5, tally.holders(v2))
}

func TestADecisionIsMadeAsSoonAsItIsCertain(t *testing.T) {
	require.Equal(t, open, decide(1, 1, 2))
	require.Equal(t, reached, decide(2, 1, 2))
	require.Equal(t, short, decide(0, 1, 2), "one more cannot make two")
	require.Equal(t, reached, decide(0, 0, 0))
}

func TestARecoveringReplicaDoesNotCountForReads(t *testing.T) {
	tally := newTally(3)
	tally.answer(0, ack{readable: false, record: Record{Version: v2}}, nil)
	tally.answer(1, ack{readable: true, record: Record{Version: v1}}, nil)
	require.Equal(t, 1, tally.readable())
	require.Equal(t, v2, tally.newest().Version, "but what it has is not overlooked")

	failure := errors.New("cut off")
	tally.answer(2, ack{}, failure)
	err := tally.shortOfReaders([]string{"a", "b", "c"}, 2, nil)
	require.Equal(t, []NodeError{{"a", ErrRecovering}, {"c", failure}}, err.Failed)
	require.Equal(t, 1, err.Answered)
}

func TestAskingAgainTakesTheAnswerBack(t *testing.T) {
	tally := newTally(2)
	tally.answer(0, life(v1, 1), nil)
	tally.answer(1, ack{}, errors.New("no"))
	require.Equal(t, 0, tally.pending)
	tally.ask(0)
	tally.ask(1)
	tally.ask(1)
	require.Equal(t, 2, tally.pending)
	require.True(t, tally.newest().Version.IsZero())
	require.Empty(t, tally.shortOfReaders([]string{"a", "b"}, 1, nil).Failed)
}
