package quorum_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
)

var abc = []string{"a", "b", "c"}

func TestGatherReturnsTheFirstAnswersAndCancelsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delays := map[string]time.Duration{"a": 3 * time.Second, "b": time.Second, "c": 2 * time.Second}
		cancelled := make(chan string, 3)
		start := time.Now()
		answers, err := quorum.Gather(t.Context(), abc, 2, func(ctx context.Context, node string) (int, error) {
			select {
			case <-time.After(delays[node]):
				return int(delays[node] / time.Second), nil
			case <-ctx.Done():
				cancelled <- node
				return 0, ctx.Err()
			}
		})
		require.NoError(t, err)
		require.Equal(t, []quorum.Answer[int]{{Node: "b", Value: 1}, {Node: "c", Value: 2}}, answers)
		require.Equal(t, 2*time.Second, time.Since(start))
		require.Equal(t, "a", <-cancelled)
		require.Equal(t, 2*time.Second, time.Since(start), "the rest is cancelled at once")
	})
}

func TestGatherGivesUpAsSoonAsItIsImpossible(t *testing.T) {
	failure := errors.New("no disk")
	stopped := make(chan struct{})
	_, err := quorum.Gather(t.Context(), abc, 2, func(ctx context.Context, node string) (int, error) {
		if node == "c" { // never answers
			defer close(stopped)
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return 0, fmt.Errorf("%s: %w", node, failure)
	})
	<-stopped
	var short *quorum.ShortError
	require.ErrorAs(t, err, &short)
	require.ErrorIs(t, err, quorum.ErrQuorum)
	require.ErrorIs(t, err, failure)
	require.NotErrorIs(t, err, quorum.ErrUncertain)
	require.Equal(t, 2, short.Wanted)
	require.Equal(t, 3, short.Of)
	require.Equal(t, 0, short.Answered)
	require.EqualError(t, err, "quorum: 2 of 3 wanted, 0 answered: a: a: no disk; b: b: no disk")
	require.Nil(t, short.Cause)
}

func TestGatherEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		hang := make(chan struct{})
		_, err := quorum.Gather(ctx, abc, 2, func(_ context.Context, node string) (string, error) {
			if node != "a" {
				<-hang // ignores its context
			}
			return node, nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, quorum.ErrQuorum)
		require.EqualError(t, err, "quorum: 2 of 3 wanted, 1 answered: b: no answer in time; c: no answer in time (context canceled: the user left)")
		close(hang)
	})
}

func TestGatherWithAnEndedContextCallsNobody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := quorum.Gather(ctx, abc, 1, func(context.Context, string) (int, error) {
		panic("called")
	})
	require.ErrorIs(t, err, context.Canceled)
}

func TestGatherRefusesWhatMakesNoSense(t *testing.T) {
	for _, test := range []struct {
		name  string
		nodes []string
		need  int
		want  error
		text  string
	}{
		{"need 0", abc, 0, quorum.ErrInvalid, "need is 0"},
		{"need -1", abc, -1, quorum.ErrInvalid, "need is -1"},
		{"named twice", []string{"a", "b", "a"}, 2, quorum.ErrInvalid, `"a" is named twice`},
		{"more than there are", abc, 4, quorum.ErrQuorum, "4 of 3 wanted, 0 answered"},
		{"nobody", nil, 1, quorum.ErrQuorum, "1 of 0 wanted, 0 answered"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answers, err := quorum.Gather(t.Context(), test.nodes, test.need, func(context.Context, string) (int, error) {
				panic("called")
			})
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.text)
			require.Nil(t, answers)
		})
	}
}

func TestGatherCountsAGoexitAsAFailure(t *testing.T) {
	answers, err := quorum.Gather(t.Context(), abc, 2, func(_ context.Context, node string) (string, error) {
		if node == "b" {
			runtime.Goexit()
		}
		return node, nil
	})
	require.NoError(t, err)
	require.Len(t, answers, 2)

	_, err = quorum.Gather(t.Context(), abc, 3, func(_ context.Context, node string) (string, error) {
		if node == "b" {
			runtime.Goexit()
		}
		return node, nil
	})
	require.ErrorIs(t, err, quorum.ErrExited)
	require.ErrorContains(t, err, "b: ")
}

func TestGatherPassesAPanicOn(t *testing.T) {
	cause := errors.New("nil map")
	stopped := make(chan struct{}, 2)
	defer func() {
		<-stopped
		<-stopped
		p, ok := recover().(*quorum.PanicError)
		require.True(t, ok)
		require.Equal(t, "b", p.Node)
		require.ErrorIs(t, p, cause)
		require.Contains(t, p.Error(), "TestGatherPassesAPanicOn", "the stack is that of the call")
	}()
	_, _ = quorum.Gather(t.Context(), abc, 3, func(ctx context.Context, node string) (int, error) {
		if node == "b" {
			panic(cause)
		}
		<-ctx.Done()
		stopped <- struct{}{}
		return 0, ctx.Err()
	})
	t.Error("Gather returned")
}

func TestGatherDoesNotLoseAnAnswerUnderLoad(t *testing.T) {
	nodes := make([]string, 50)
	for i := range nodes {
		nodes[i] = fmt.Sprint("n", i)
	}
	for need := 1; need <= len(nodes); need++ {
		var fail atomic.Int64
		fail.Store(int64(len(nodes) - need)) // as many as may fail
		answers, err := quorum.Gather(t.Context(), nodes, need, func(_ context.Context, node string) (string, error) {
			if fail.Add(-1) >= 0 {
				return "", errors.New("down")
			}
			return node, nil
		})
		require.NoError(t, err)
		require.Len(t, answers, need)
		for _, a := range answers {
			require.Equal(t, a.Node, a.Value)
		}
		slices.SortFunc(answers, func(a, b quorum.Answer[string]) int { return strings.Compare(a.Node, b.Node) })
		require.Len(t, slices.Compact(answers), need, "each node once")
	}
}
