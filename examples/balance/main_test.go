package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunsAlikeAndEndsWell(t *testing.T) {
	var first, second bytes.Buffer
	require.True(t, run(&first), "%s", &first)
	require.True(t, run(&second))
	require.Equal(t, first.String(), second.String())
}
