package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/stretchr/testify/require"
)

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func get(h http.Handler, remote string, forwarded ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = remote
	r.Header["X-Forwarded-For"] = forwarded
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestMiddlewareLimitsAndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(30, time.Minute), Burst: 3, Name: `a "b" \c`})
		h := ratelimit.Middleware(k, ratelimit.ByClientIP, ok)
		for _, left := range []string{"r=2;t=4", "r=1;t=2", "r=0;t=2"} {
			w := get(h, "192.0.2.1:1234")
			require.Equal(t, http.StatusNoContent, w.Code)
			require.Equal(t, `"a \"b\" \\c";q=3;w=6`, w.Header().Get("RateLimit-Policy"))
			require.Equal(t, `"a \"b\" \\c";`+left, w.Header().Get("RateLimit"))
			require.Empty(t, w.Header().Get("Retry-After"))
		}
		time.Sleep(500 * ms)
		w := get(h, "192.0.2.1:5678")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "2", w.Header().Get("Retry-After"), "1.5 s, rounded up")
		require.Equal(t, `"a \"b\" \\c";r=0;t=2`, w.Header().Get("RateLimit"))
		require.Equal(t, http.StatusNoContent, get(h, "192.0.2.2:1").Code)
		time.Sleep(1500 * ms)
		require.Equal(t, http.StatusNoContent, get(h, "192.0.2.1:1").Code)
	})
}

type store func() (ratelimit.Decision, error)

func (s store) Take(context.Context, string, int) (ratelimit.Decision, error) { return s() }

func TestMiddlewareFields(t *testing.T) {
	huge := `"???";q=999999999999999;w=9223373`
	if math.MaxInt == math.MaxInt32 {
		huge = `"???";q=1000000000000;w=1`
	}
	for name, test := range map[string]struct {
		d                       ratelimit.Decision
		policy, standing, retry string
	}{
		"a burst below a second's worth": {
			ratelimit.Decision{Allowed: true, Remaining: 20, Limit: ratelimit.Per(100, time.Second), Burst: 20},
			`"default";q=100;w=1`, `"default";r=20;t=1`, "",
		},
		"a window that is no whole second": {
			ratelimit.Decision{Allowed: true, Remaining: 2, Limit: ratelimit.Per(7, time.Minute), Burst: 2, Policy: "p"},
			`"p";q=2;w=18`, `"p";r=2;t=18`, "",
		},
		"never": {
			ratelimit.Decision{Remaining: 2, RetryAfter: ratelimit.Never, Limit: ratelimit.Per(1, time.Second), Burst: 2},
			`"default";q=2;w=2`, `"default";r=2`, "",
		},
		"at once": {
			ratelimit.Decision{RetryAfter: 1, Limit: ratelimit.Per(1e6, time.Second), Burst: 1},
			`"default";q=1000000;w=1`, `"default";r=0;t=1`, "1",
		},
		"more than an integer of a field": {
			ratelimit.Decision{Allowed: true, Remaining: 1, Limit: ratelimit.Per(1e6, time.Microsecond), Burst: math.MaxInt, Policy: "\x00é"},
			huge, `"???";r=1;t=1`, "",
		},
		"a limit that is not told": {ratelimit.Decision{Allowed: true}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := ratelimit.Middleware(store(func() (ratelimit.Decision, error) { return test.d, nil }), ratelimit.ByClientIP, ok)
			w := get(h, "192.0.2.1:1")
			require.Equal(t, test.policy, w.Header().Get("RateLimit-Policy"))
			require.Equal(t, test.standing, w.Header().Get("RateLimit"))
			require.Equal(t, test.retry, w.Header().Get("Retry-After"))
			require.Equal(t, test.d.Allowed, w.Code == http.StatusNoContent)
		})
	}
}

func TestMiddlewareWhenTheStoreFails(t *testing.T) {
	h := ratelimit.Middleware(store(func() (ratelimit.Decision, error) {
		return ratelimit.Decision{Allowed: true}, errors.New("secret host is down")
	}), ratelimit.ByClientIP, ok)
	w := get(h, "192.0.2.1:1")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	require.NotContains(t, w.Body.String(), "secret")
}

func TestMiddlewareNested(t *testing.T) {
	user := newKeyed(t, ratelimit.KeyedConfig{Limit: ratelimit.Per(5, time.Second), Name: "user"})
	all := newLimiter(t, ratelimit.Per(9, time.Second), 9)
	h := ratelimit.MiddlewareFunc(func(*http.Request) (ratelimit.Decision, error) { return all.Decide(time.Now(), 2), nil },
		ratelimit.Middleware(user, func(r *http.Request) string { return r.Header.Get("X-User") }, ok))
	w := get(h, "")
	require.Equal(t, []string{`"default";q=9;w=1`, `"user";q=5;w=1`}, w.Header().Values("RateLimit-Policy"))
	require.Equal(t, []string{`"default";r=7;t=1`, `"user";r=4;t=1`}, w.Header().Values("RateLimit"))
}

// The fields hold to the grammar of structured fields, whatever a store says.
func FuzzMiddlewareFields(f *testing.F) {
	f.Add(true, 3, int64(0), 10, int64(time.Second), 5, "default")
	f.Add(false, 0, int64(time.Hour), 1, int64(time.Hour), 1<<30, `"\`)
	f.Add(false, -1, int64(-1), -1, int64(-1), -1, "\xff\x00\n")
	f.Add(true, math.MaxInt, int64(ratelimit.Never), math.MaxInt, int64(1), math.MaxInt, "")
	f.Add(false, 0, int64(0), 1, int64(0), 0, "")
	item := `"([ !#-\[\]-~]|\\"|\\\\)*"`
	policy := regexp.MustCompile(`^` + item + `;q=[0-9]{1,15};w=[1-9][0-9]{0,14}$`)
	standing := regexp.MustCompile(`^` + item + `;r=[0-9]{1,15}(;t=[1-9][0-9]{0,14})?$`)
	f.Fuzz(func(t *testing.T, allowed bool, remaining int, retry int64, events int, period int64, burst int, name string) {
		d := ratelimit.Decision{
			Allowed: allowed, Remaining: remaining, RetryAfter: time.Duration(retry),
			Limit: ratelimit.Limit{Events: events, Period: time.Duration(period)}, Burst: burst, Policy: name,
		}
		w := get(ratelimit.MiddlewareFunc(func(*http.Request) (ratelimit.Decision, error) { return d, nil }, ok), "")
		if p := w.Header().Get("RateLimit-Policy"); p != "" && !policy.MatchString(p) {
			t.Errorf("RateLimit-Policy: %s", p)
		}
		if s := w.Header().Get("RateLimit"); s != "" && !standing.MatchString(s) {
			t.Errorf("RateLimit: %s", s)
		}
		if after := w.Header().Get("Retry-After"); after != "" {
			if n, err := strconv.Atoi(after); err != nil || n < 1 {
				t.Errorf("Retry-After: %s", after)
			}
		}
	})
}

func keyOf(by func(*http.Request) string, remote string, forwarded ...string) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = remote
	r.Header["X-Forwarded-For"] = forwarded
	return by(r)
}

func TestByClientIP(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:81": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
		"@":                         "@",
		"":                          "",
		"not an address":            "not an address",
		"192.0.2.1":                 "192.0.2.1",
	} {
		require.Equal(t, want, keyOf(ratelimit.ByClientIP, remote, "198.51.100.7"), "%s", remote)
	}
}

func TestByForwardedForBelievesOnlyTrustedProxies(t *testing.T) {
	by := ratelimit.ByForwardedFor(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48"), netip.MustParsePrefix("::ffff:172.16.0.0/108"))
	long := strings.TrimSuffix(strings.Repeat("10.0.0.9, ", 1000), ", ")
	for _, test := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:80", []string{"198.51.100.7"}, "192.0.2.1"}, // not through a proxy of ours
		{"10.0.0.1:80", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"1.1.1.1, 2.2.2.2 ,198.51.100.7"}, "198.51.100.7"}, // what the client wrote itself
		{"10.0.0.1:80", []string{"1.1.1.1", "198.51.100.7,10.0.0.2"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"198.51.100.7", "10.0.0.2", "172.16.3.4"}, "198.51.100.7"},
		{"[::ffff:10.0.0.1]:80", []string{"198.51.100.7:4711"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"[2001:db8::1]:4711, [2001:db8:ffff::1]"}, "2001:db8::/64"},
		{"10.0.0.1:80", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"fe80::1%eth0"}, "fe80::/64"},
		{"10.0.0.1:80", []string{"198.51.100.7, unknown"}, "10.0.0.1"}, // nothing further left is believed
		{"10.0.0.1:80", []string{"198.51.100.7,"}, "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.7, , 10.0.0.2"}, "10.0.0.2"},
		{"10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:80", []string{"198.51.100.7", ""}, "10.0.0.1"},
		{"10.0.0.1:80", nil, "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.7, " + long}, "10.0.0.9"},
		{"@", []string{"198.51.100.7"}, "@"},
	} {
		require.Equal(t, test.want, keyOf(by, test.remote, test.forwarded...), "%s %q", test.remote, test.forwarded)
	}
	require.Equal(t, "10.0.0.1", keyOf(ratelimit.ByForwardedFor(), "10.0.0.1:80", "198.51.100.7"))
}

// What stands left of the first address that is not trusted changes nothing.
func FuzzByForwardedFor(f *testing.F) {
	f.Add("1.1.1.1", "198.51.100.7, 10.0.0.2")
	f.Add("[::1]:80, ,", "2001:db8::1")
	f.Add("%", "fe80::1%25, 10.0.0.1:80")
	f.Add(",,,", "unknown")
	by := ratelimit.ByForwardedFor(netip.MustParsePrefix("10.0.0.0/8"))
	f.Fuzz(func(t *testing.T, forged, appended string) {
		plain := keyOf(by, "10.0.0.1:80", "198.51.100.7, "+appended)
		if got := keyOf(by, "10.0.0.1:80", forged+", 198.51.100.7, "+appended); got != plain {
			t.Errorf("%q in front of %q turns %s into %s", forged, appended, plain, got)
		}
		if got := keyOf(by, "10.0.0.1:80", forged, "198.51.100.7, "+appended); got != plain {
			t.Errorf("%q in a field before %q turns %s into %s", forged, appended, plain, got)
		}
		if addr, err := netip.ParseAddr(plain); err != nil || !addr.Is4() {
			if prefix, err := netip.ParsePrefix(plain); err != nil || prefix.Bits() != 64 || prefix != prefix.Masked() {
				t.Errorf("%q: key %q", appended, plain)
			}
		}
	})
}
