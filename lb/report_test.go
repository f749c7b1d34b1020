package lb_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/lb"
)

// A healthDocument is what the draft says a client reads.
type healthDocument struct {
	Status, Version, ReleaseID, ServiceID, Description, Output string
	Checks                                                     map[string][]struct {
		ComponentType, ObservedUnit, Status, Output string
		ObservedValue                               float64
		Time                                        time.Time
	}
}

func ask(t testing.TB, h http.Handler) (code int, doc healthDocument) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health", nil).WithContext(t.Context()))
	require.Equal(t, "application/health+json", w.Header().Get("Content-Type"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
	return w.Code, doc
}

func newReport(t testing.TB, c lb.ReportConfig, ds ...lb.Dependency) *lb.Report {
	t.Helper()
	r, err := lb.NewReport(c, ds...)
	require.NoError(t, err)
	return r
}

func well(context.Context) error { return nil }
func ill(context.Context) error  { return errService }

func TestReportStatus(t *testing.T) {
	for _, tt := range []struct {
		name         string
		dependencies []lb.Dependency
		ready, alive string
	}{
		{"none", nil, "pass", "pass"},
		{"well", []lb.Dependency{{Name: "db", Check: well, Liveness: true}}, "pass", "pass"},
		{"a dependency is no reason to die", []lb.Dependency{{Name: "db", Check: ill}}, "fail", "pass"},
		{"but this one is", []lb.Dependency{{Name: "db", Check: well}, {Name: "loop", Check: ill, Liveness: true}}, "fail", "fail"},
		{"optional", []lb.Dependency{{Name: "db", Check: well}, {Name: "cache", Check: ill, Optional: true}}, "warn", "pass"},
		{"fail outweighs warn", []lb.Dependency{{Name: "cache", Check: ill, Optional: true}, {Name: "db", Check: ill}}, "fail", "pass"},
	} {
		r := newReport(t, lb.ReportConfig{}, tt.dependencies...)
		for i, h := range []http.Handler{r.Readiness(), r.Liveness()} {
			want := []string{tt.ready, tt.alive}[i]
			code, doc := ask(t, h)
			require.Equal(t, want, doc.Status, tt.name)
			if want == "fail" {
				require.Equal(t, 503, code, tt.name)
			} else {
				require.Equal(t, 200, code, tt.name)
			}
		}
		require.NoError(t, r.Close())
	}
}

func TestReportDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReport(t, lb.ReportConfig{ServiceID: "id", Version: "1", ReleaseID: "1.2.2", Description: "a service"},
			lb.Dependency{Name: "db", Type: "datastore", Check: func(context.Context) error { time.Sleep(250 * time.Millisecond); return nil }},
			lb.Dependency{Name: "queue", Check: ill})
		defer r.Close()
		_, doc := ask(t, r.Readiness())
		require.Equal(t, []string{"id", "1", "1.2.2", "a service"}, []string{doc.ServiceID, doc.Version, doc.ReleaseID, doc.Description})
		db, queue := doc.Checks["db:responseTime"][0], doc.Checks["queue:responseTime"][0]
		require.Equal(t, "datastore", db.ComponentType)
		require.Equal(t, "pass", db.Status)
		require.InDelta(t, 250, db.ObservedValue, 0)
		require.Equal(t, "ms", db.ObservedUnit)
		require.Equal(t, time.Now().UTC(), db.Time)
		require.Empty(t, db.Output)
		require.Equal(t, "component", queue.ComponentType)
		require.Equal(t, "fail", queue.Status)
		require.Equal(t, errService.Error(), queue.Output)
		require.Len(t, doc.Checks, 2)
		_, doc = ask(t, r.Liveness())
		require.Empty(t, doc.Checks)

		secret := newReport(t, lb.ReportConfig{DisableOutput: true}, lb.Dependency{Name: "db", Check: ill})
		defer secret.Close()
		_, doc = ask(t, secret.Readiness())
		require.Equal(t, "fail", doc.Status)
		require.Empty(t, doc.Checks["db:responseTime"][0].Output)
	})
}

// However many ask, a dependency is checked once in CacheFor, and all at once.
func TestReportIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks atomic.Int32
		slow := func(context.Context) error { checks.Add(1); time.Sleep(500 * time.Millisecond); return nil }
		r := newReport(t, lb.ReportConfig{CacheFor: 2 * time.Second}, lb.Dependency{Name: "a", Check: slow}, lb.Dependency{Name: "b", Check: slow})
		defer r.Close()
		start := time.Now()
		done := make(chan string)
		for range 10 {
			go func() {
				_, doc := ask(t, r.Readiness())
				done <- doc.Status
			}()
		}
		for range 10 {
			require.Equal(t, "pass", <-done)
		}
		require.Equal(t, 500*time.Millisecond, time.Since(start))
		require.Equal(t, int32(2), checks.Load())
		time.Sleep(2*time.Second - time.Nanosecond)
		ask(t, r.Readiness())
		require.Equal(t, int32(2), checks.Load())
		time.Sleep(time.Nanosecond)
		ask(t, r.Readiness())
		require.Equal(t, int32(4), checks.Load())
	})
}

// A check that does not heed its context has failed after its time, holds nobody
// up, and is not made again before it has returned.
func TestReportOfACheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, checks := make(chan struct{}), atomic.Int32{}
		r := newReport(t, lb.ReportConfig{Timeout: time.Second, CacheFor: time.Millisecond},
			lb.Dependency{Name: "db", Check: func(context.Context) error { checks.Add(1); <-free; return nil }})
		for range 5 {
			start := time.Now()
			code, doc := ask(t, r.Readiness())
			require.Equal(t, 503, code)
			require.Contains(t, doc.Checks["db:responseTime"][0].Output, "timed out")
			require.LessOrEqual(t, time.Since(start), time.Second)
			time.Sleep(time.Minute)
		}
		require.Equal(t, int32(1), checks.Load())
		close(free)
		time.Sleep(2 * time.Millisecond) // the result of a check that took too long is a failure for CacheFor
		_, doc := ask(t, r.Readiness())
		require.Equal(t, "pass", doc.Status)
		require.NoError(t, r.Close())
	})
}

func TestReportSurvivesGoexit(t *testing.T) {
	r := newReport(t, lb.ReportConfig{}, lb.Dependency{Name: "db", Check: func(context.Context) error { runtime.Goexit(); return nil }})
	_, doc := ask(t, r.Readiness())
	require.Equal(t, "fail", doc.Status)
	require.NoError(t, r.Close())
}

// A service that is about to end says so while it still serves.
func TestReportDrain(t *testing.T) {
	r := newReport(t, lb.ReportConfig{})
	r.Drain("shutting down")
	code, doc := ask(t, r.Readiness())
	require.Equal(t, 503, code)
	require.Equal(t, "shutting down", doc.Output)
	code, _ = ask(t, r.Liveness())
	require.Equal(t, 200, code)
	r.Drain("")
	code, _ = ask(t, r.Readiness())
	require.Equal(t, 200, code)
	require.NoError(t, r.Close())
	code, _ = ask(t, r.Liveness())
	require.Equal(t, 503, code)
}

func TestReportHead(t *testing.T) {
	r := newReport(t, lb.ReportConfig{CacheFor: 5 * time.Second})
	defer r.Close()
	w := httptest.NewRecorder()
	r.Readiness().ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/health", nil))
	require.Equal(t, 200, w.Code)
	require.Zero(t, w.Body.Len())
	require.Equal(t, "max-age=5", w.Header().Get("Cache-Control"))
}

func TestReportInvalid(t *testing.T) {
	_, err := lb.NewReport(lb.ReportConfig{CacheFor: -1, Timeout: -1},
		lb.Dependency{Name: "a:b", Check: well}, lb.Dependency{Name: "c"}, lb.Dependency{Name: "c", Check: well})
	require.ErrorIs(t, err, lb.ErrInvalid)
	for _, text := range []string{"CacheFor is -1ns", "Timeout is -1ns", `Dependency 0.Name is "a:b"`, "Dependency 1.Check is nil", `Dependency 2.Name is "c"`} {
		require.ErrorContains(t, err, text)
	}
}
