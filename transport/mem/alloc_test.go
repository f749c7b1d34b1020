//go:build !race

package mem_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Under the race detector sync.Pool forgets at random, so this is not for there.
func TestAllocations(t *testing.T) {
	a, b := pair(t)
	handled := make(chan struct{}, 1)
	b.Receive("s", func(string, []byte) { handled <- struct{}{} })
	b.Serve("s", func(_ context.Context, _ string, request []byte) ([]byte, error) { return request, nil })
	body, ctx := make([]byte, 100), t.Context()
	require.Zero(t, testing.AllocsPerRun(500, func() {
		if a.Send("b", "s", body) == nil {
			<-handled
		}
	}), "Send")
	require.LessOrEqual(t, testing.AllocsPerRun(500, func() {
		if _, err := a.Call(ctx, "b", "s", body); err != nil {
			t.Error(err)
		}
	}), 2.0, "Call")
}
