package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPoemsAreWhole(t *testing.T) {
	values := map[string]string{}
	for _, p := range poems() {
		_, twice := values[p.key]
		require.False(t, twice, p.key)
		require.NotEmpty(t, p.value)
		require.LessOrEqual(t, len(p.value), maxValue)
		values[p.key] = p.value
	}
	require.Equal(t, "Shall I compare thee to a summer's day?", values["sonnet:18:1"])
	require.Equal(t, "If this be error and upon me proved,", values["sonnet:116:13"])
	require.Contains(t, values["word:summer's"], "sonnet:18:1 sonnet:18:4 ")
	lines := 0
	for key := range values {
		if strings.HasPrefix(key, "sonnet:") {
			lines++
		}
	}
	require.Equal(t, 28*14, lines)
}

func TestCountReadsEasily(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		require.Equal(t, want, count(n))
	}
}

func TestVerdictCountsWhatIsLost(t *testing.T) {
	var out strings.Builder
	s := &story{out: &out, pairs: make([]pair, 1500), sightings: []sighting{{"a c", "a", 1500}, {"a c", "c", 1500}}}
	require.NoError(t, s.verdict())
	require.Contains(t, out.String(), "VERDICT: nothing that was acknowledged is lost")
	s.sightings[1].found = 1498
	out.Reset()
	require.ErrorContains(t, s.verdict(), "2 reads did not find")
	require.NotContains(t, out.String(), "VERDICT: nothing")
}

func TestRepliesAreRead(t *testing.T) {
	in := bufio.NewReader(strings.NewReader("+OK\r\n:5\r\n$3\r\na\r\n\r\n$-1\r\n-ERR no\r\n"))
	for _, want := range []struct {
		reply string
		found bool
		err   error
	}{{"OK", true, nil}, {"5", true, nil}, {"a\r\n", true, nil}, {"", false, nil}, {"", false, serverError("ERR no")}, {"", false, io.EOF}} {
		reply, found, err := readReply(in)
		require.Equal(t, want.reply, reply)
		require.Equal(t, want.found, found)
		require.Equal(t, want.err, err)
	}
}

// Whatever a server sends, the client does not panic and allocates no more than
// its bound.
func FuzzReadReply(f *testing.F) {
	f.Add("$3\r\nabc\r\n")
	f.Add("$999999999999\r\n")
	f.Add("$-2\r\n")
	f.Add("\r\n")
	f.Add("*1\r\n+OK\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		in := bufio.NewReader(strings.NewReader(text))
		for {
			reply, found, err := readReply(in)
			if err == nil {
				require.LessOrEqual(t, len(reply), len(text))
				require.True(t, found || reply == "")
			} else if !errors.As(err, new(serverError)) {
				return
			}
		}
	})
}
