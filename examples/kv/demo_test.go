package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

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
	s := &story{teller: &teller{out: &out}, pairs: make([]pair, 1500), sightings: []sighting{{"a c", "a", 1500}, {"a c", "c", 1500}}}
	require.NoError(t, s.verdict())
	require.Contains(t, out.String(), "VERDICT: nothing that was acknowledged is lost")
	s.sightings[1].found = 1498
	out.Reset()
	require.ErrorContains(t, s.verdict(), "2 reads did not find")
	require.NotContains(t, out.String(), "VERDICT: nothing")
}

// Each history breaks one rule, by one answer.
func TestCountersAreCheckedAgainstTheClock(t *testing.T) {
	incr := func(n int64, begun, ended int) call {
		return call{Incr: true, Answered: true, Number: n, Begun: time.Duration(begun), Ended: time.Duration(ended)}
	}
	get := func(n int64, begun, ended int) call {
		return call{Answered: true, Number: n, Begun: time.Duration(begun), Ended: time.Duration(ended)}
	}
	silent := func(begun int) call {
		return call{Incr: true, Begun: time.Duration(begun), Ended: time.Duration(begun + 1)}
	}
	for _, c := range []struct {
		name  string
		calls []call
		want  string // of the error; "" for none
	}{
		{"nothing", nil, ""},
		{"one after the other", []call{get(0, 1, 2), incr(1, 3, 4), get(1, 5, 6), incr(2, 7, 8)}, ""},
		{"at the same time, in any order", []call{incr(2, 1, 10), incr(1, 2, 9), get(0, 3, 8), get(1, 3, 8), get(2, 3, 8)}, ""},
		{"an unanswered one that was never done", []call{incr(1, 1, 2), silent(3), get(1, 5, 6), incr(2, 7, 8)}, ""},
		{"an unanswered one that was done", []call{incr(1, 1, 2), silent(3), get(1, 5, 6), get(2, 7, 8), incr(3, 9, 10)}, ""},
		{"two unanswered, done late", []call{silent(1), silent(2), get(0, 5, 6), incr(2, 7, 8), get(3, 9, 10)}, ""},
		{"an unanswered GET", []call{incr(1, 1, 2), {Begun: 3, Ended: 4}, incr(2, 5, 6)}, ""},
		{"a lost INCR", []call{incr(1, 1, 2), incr(1, 3, 4)}, "told 1: an acknowledged one is lost"},
		{"a stale GET", []call{incr(1, 1, 2), incr(2, 3, 4), get(1, 5, 6)}, "was told 2"},
		{"GETs that go back", []call{incr(1, 1, 9), get(1, 2, 3), get(0, 4, 5)}, "was told 1"},
		{"a GET of what is not done yet", []call{get(1, 1, 2), incr(1, 3, 4)}, "was told 1"},
		{"INCRs out of order", []call{incr(2, 1, 2), incr(1, 3, 4)}, "was told 2"},
		{"done twice", []call{incr(1, 1, 2), silent(3), incr(4, 5, 6), get(4, 7, 8), get(4, 9, 10)}, "some were done twice"},
		{"done twice, and nobody unanswered", []call{incr(2, 1, 2)}, "cannot be after 1 calls"},
		{"done before it began", []call{incr(1, 1, 2), get(2, 3, 4), silent(5)}, "before the INCR that can have done it began"},
		{"more than there are", []call{get(1, 1, 2)}, "only 0 INCRs"},
		{"negative", []call{get(-1, 1, 2)}, "cannot be"},
		{"an INCR to 0", []call{incr(0, 1, 2)}, "cannot be"},
	} {
		err := checkCounters(c.calls)
		if c.want == "" {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorContains(t, err, c.want, c.name)
		}
	}
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
