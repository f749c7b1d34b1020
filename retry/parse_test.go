package retry

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The parsers of what comes from the network, tested from inside: table, then
// fuzz.

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // constant: the clock of these tests

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// Trap: Retry-After as an HTTP date, negative, past, huge.
func TestRetryAfterSecondsDatePastNegativeHuge(t *testing.T) {
	const none = -1
	for field, want := range map[string]time.Duration{
		"0":                                  0,
		"1":                                  time.Second,
		" 120\t":                             2 * time.Minute,
		"007":                                7 * time.Second,
		"9223372036":                         9223372036 * time.Second,
		"9223372037":                         math.MaxInt64, // seconds that no Duration holds
		"99999999999999999999999":            math.MaxInt64,
		"-5":                                 none,
		"+5":                                 none,
		"1.5":                                none,
		"1e3":                                none,
		"0x10":                               none,
		"":                                   none,
		"soon":                               none,
		"5, 6":                               none,
		"٣":                                  none,
		httpDate(noon.Add(90 * time.Second)): 90 * time.Second,
		httpDate(noon):                       0,
		httpDate(noon.Add(-time.Hour)):       0,
		"Fri, 31 Dec 9999 23:59:59 GMT":      math.MaxInt64,
		"Mon, 01 Jan 0001 00:00:00 GMT":      0,
		"Sunday, 01-Mar-26 12:01:00 GMT":     time.Minute, // RFC 850
		"Sun Mar  1 12:01:00 2026":           time.Minute, // asctime
		"Sun, 32 Mar 2026 12:01:00 GMT":      none,
	} {
		wait, ok := parseRetryAfter(field, "", noon)
		if want == none {
			require.False(t, ok, "%q gave %v", field, wait)
			continue
		}
		require.True(t, ok, "%q", field)
		require.Equal(t, want, wait, "%q", field)
	}
}

// A wrong clock on either side does no harm if the server says what time it has.
func TestRetryAfterDateIsRelativeToTheServersClock(t *testing.T) {
	wait, ok := parseRetryAfter(httpDate(noon.Add(time.Minute)), httpDate(noon), noon.Add(-1000*time.Hour))
	require.True(t, ok)
	require.Equal(t, time.Minute, wait)
	wait, ok = parseRetryAfter(httpDate(noon.Add(time.Minute)), "garbage", noon)
	require.True(t, ok)
	require.Equal(t, time.Minute, wait)
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"1", "-1", "99999999999999999999", httpDate(noon), "Sunday, 01-Mar-26 12:01:00 GMT", "", "1;2"} {
		f.Add(seed, httpDate(noon))
	}
	f.Fuzz(func(t *testing.T, field, date string) {
		wait, ok := parseRetryAfter(field, date, noon)
		if wait < 0 || !ok && wait != 0 {
			t.Fatalf("%q %q: %v %v", field, date, wait, ok)
		}
		if n, err := strconv.ParseUint(field, 10, 32); err == nil && (!ok || wait != time.Duration(n)*time.Second) {
			t.Fatalf("%q: %v %v", field, wait, ok)
		}
	})
}

func TestPushBackMilliseconds(t *testing.T) {
	for field, want := range map[string]time.Duration{
		"0": 0, "250": 250 * time.Millisecond, " 7 ": 7 * time.Millisecond, "99999999999999999999": math.MaxInt64,
	} {
		wait, ok := parsePushback(field)
		require.True(t, ok, field)
		require.Equal(t, want, wait, field)
	}
	for _, field := range []string{"", "-1", "1s", "soon", "1.5"} {
		_, ok := parsePushback(field)
		require.False(t, ok, field)
	}
}

func FuzzPushBack(f *testing.F) {
	f.Add("1")
	f.Add("-1")
	f.Add("9223372036854775808")
	f.Fuzz(func(t *testing.T, field string) {
		wait, ok := parsePushback(field)
		if wait < 0 || !ok && wait != 0 {
			t.Fatalf("%q: %v %v", field, wait, ok)
		}
		if n, err := strconv.ParseUint(field, 10, 32); err == nil && (!ok || wait != time.Duration(n)*time.Millisecond) {
			t.Fatalf("%q: %v %v", field, wait, ok)
		}
	})
}

func TestKeyBareAndQuotedIsTheSame(t *testing.T) {
	for field, want := range map[string]string{
		"abc": "abc", `"abc"`: "abc", "a": "a", strings.Repeat("k", MaxKey): strings.Repeat("k", MaxKey),
	} {
		key, ok := parseKey(field)
		require.True(t, ok, field)
		require.Equal(t, want, key)
	}
	for _, field := range []string{"", `""`, `"`, `"a`, `a"b`, `a\b`, "a b", "a\n", "ä", "\x00", strings.Repeat("k", MaxKey+1)} {
		_, ok := parseKey(field)
		require.False(t, ok, "%q", field)
	}
	for range 10 {
		require.True(t, validKey(NewKey()))
	}
}

func FuzzKey(f *testing.F) {
	f.Add("abc")
	f.Add(`"abc"`)
	f.Add(`"`)
	f.Add("a\r\nX: y")
	f.Fuzz(func(t *testing.T, field string) {
		key, ok := parseKey(field)
		if !ok {
			return
		}
		if key == "" || len(key) > MaxKey || strings.ContainsAny(key, "\r\n\x00\" ") {
			t.Fatalf("%q: accepted %q", field, key)
		}
		if again, ok := parseKey(`"` + key + `"`); !ok || again != key {
			t.Fatalf("%q: quoted %q is another key", field, key)
		}
	})
}

// However an error is nested, the hints are found, and the marks never show.
func FuzzHints(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte{3, 3, 1})
	f.Fuzz(func(t *testing.T, layers []byte) {
		if len(layers) > 100 {
			return
		}
		base := errors.New("base")
		err, permanent, wait := base, false, time.Duration(-1)
		for _, layer := range layers {
			switch layer % 4 {
			case 0:
				err, permanent = Permanent(err), true
			case 1:
				wait = time.Duration(layer) * time.Second
				err = After(err, wait)
			case 2:
				err = fmt.Errorf("layer: %w", err)
			case 3:
				err = errors.Join(errors.New("other"), err)
			}
		}
		h := hintOf(err)
		if h.permanent != permanent || h.asked != (wait >= 0) || h.asked && h.wait != wait {
			t.Fatalf("%v: %+v, want permanent %v, wait %v", layers, h, permanent, wait)
		}
		if _, isMarked := bare(err).(*marked); isMarked || !errors.Is(bare(err), base) || bare(err).Error() != err.Error() {
			t.Fatalf("%v: bare is %v", layers, bare(err))
		}
	})
}
