package parley_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport/sim"
)

// The example of the README, word for word.
func TestSurvivesAPartition(t *testing.T) {
	sim.Run(t, sim.Config{Seed: 7}, func(w *sim.World) {
		a, b := w.Join("a"), w.Join("b")
		defer b.Serve("greet", func(_ context.Context, from string, _ []byte) ([]byte, error) {
			return []byte("hello " + from), nil
		})()
		w.Cut("a", "b") // requests are lost, silently

		ctx, cancel := context.WithTimeout(w.T().Context(), time.Second) // virtual time
		defer cancel()
		_, err := a.Call(ctx, "b", "greet", nil)
		require.ErrorIs(w.T(), err, context.DeadlineExceeded)

		w.Heal()
		answer, err := a.Call(w.T().Context(), "b", "greet", nil)
		require.NoError(w.T(), err)
		require.Equal(w.T(), "hello a", string(answer))
	})
}

func TestReadmeShowsTheTestedExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	source, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(readme), "```go\n")
	example, _, _ = strings.Cut(example, "```")
	require.Contains(t, string(source), example)
}
