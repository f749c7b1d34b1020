package raft

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the traces of the transcripts anew")

// A transcript is a text file: comments, and commands after "> ", each with what
// followed from it below. The commands are the input, the rest is the golden
// trace. What has to be so by the paper is an "expect" among the commands; it
// cannot be updated away.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			golden, err := os.ReadFile(file)
			require.NoError(t, err)
			s := newScene(t)
			for line := range strings.Lines(string(golden)) {
				line = strings.TrimRight(line, "\n")
				command, isCommand := strings.CutPrefix(line, "> ")
				if isCommand || line == "" || strings.HasPrefix(line, "#") {
					s.trace.WriteString(line + "\n")
				}
				if isCommand {
					s.do(command)
				}
			}
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(s.trace.String()), 0o666))
				return
			}
			require.Equal(t, string(golden), s.trace.String(), "if the new trace is right, go test -run Transcripts -update")
		})
	}
}
