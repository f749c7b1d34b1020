package retry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

// Trap: duplicates of a request that hangs pile up without bound.
func TestWaitingDuplicatesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deduplicate(t, &shop{takes: time.Second}, retry.DeduplicateConfig{MaxWaiting: 3})
		answers := make(chan *httptest.ResponseRecorder, 4)
		for range 4 { // one runs, three wait
			go func() { answers <- post(t.Context(), d, "k", "tea") }()
		}
		synctest.Wait()
		require.Equal(t, 3, d.Stats().Waiting)
		for range 2 {
			w := post(t.Context(), d, "k", "tea")
			require.Equal(t, 503, w.Code)
			require.Equal(t, "1", w.Header().Get("Retry-After"))
		}
		for range 4 {
			require.Equal(t, "order 1: tea", (<-answers).Body.String())
		}
		require.Equal(t, uint64(2), d.Stats().Refused)
		require.Zero(t, d.Stats().Waiting)
		require.Equal(t, 201, post(t.Context(), d, "k", "tea").Code)
	})
}

// Trap: every connection may leave the largest body in memory. What was announced
// and not sent takes nothing; what was sent does, until its request is over.
func TestBodiesInMemoryAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deduplicate(t, &shop{takes: time.Second}, retry.DeduplicateConfig{MaxRequest: 1000, MaxResponse: 500, MaxBuffered: 2500})
		body, pipe := io.Pipe()
		announced := httptest.NewRequest("POST", "/orders", body)
		announced.ContentLength = 1000
		announced.Header.Set(retry.KeyHeader, "slow")
		slow := make(chan int, 1)
		go func() {
			w := httptest.NewRecorder()
			d.ServeHTTP(w, announced)
			slow <- w.Code
		}()
		thousand := strings.Repeat("x", 1000)
		for _, key := range []string{"a", "b"} {
			go post(t.Context(), d, key, thousand)
		}
		synctest.Wait()
		require.Equal(t, int64(2000), d.Stats().Buffered)

		w := post(t.Context(), d, "c", thousand)
		require.Equal(t, 503, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Equal(t, int64(2000), d.Stats().Buffered, "who is refused holds nothing")
		require.Equal(t, uint64(1), d.Stats().Refused)

		time.Sleep(time.Second)
		synctest.Wait()
		require.Zero(t, d.Stats().Buffered)
		require.NoError(t, pipe.CloseWithError(errors.New("gone")))
		require.Equal(t, 400, <-slow)
		require.Equal(t, 201, post(t.Context(), d, "c", thousand).Code)
		require.Zero(t, d.Stats().Buffered)
	})
}

func TestWhatAPanickingHandlerHeldIsGivenBack(t *testing.T) {
	s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 100))
		panic(http.ErrAbortHandler)
	}}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { post(t.Context(), d, "k", "tea") })
	require.Zero(t, d.Stats().Buffered)
}

// A response for which there is no room reaches its client, and counts as too
// large to keep: the operation is not done again.
func TestResponsesUnderWayTakeOfTheSameRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := make(chan struct{})
		s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 900))
			<-begun
		}}
		d := deduplicate(t, s, retry.DeduplicateConfig{MaxRequest: 500, MaxResponse: 1000, MaxBuffered: 1500})
		answers := make(chan *httptest.ResponseRecorder, 2)
		for _, key := range []string{"a", "b"} {
			go func() { answers <- post(t.Context(), d, key, "") }()
		}
		synctest.Wait()
		require.LessOrEqual(t, d.Stats().Buffered, int64(1500))
		close(begun)
		for range 2 {
			w := <-answers
			require.Equal(t, 200, w.Code)
			require.Equal(t, 900, w.Body.Len())
		}
		synctest.Wait()
		codes := map[int]int{}
		for _, key := range []string{"a", "b"} {
			codes[post(t.Context(), d, key, "").Code]++
		}
		require.Equal(t, map[int]int{200: 1, 409: 1}, codes)
		require.Equal(t, int64(2), s.orders.Load())
	})
}

// Trap: a replay brings back what those in front of the handler had set for the
// first request: its number, its cookie.
func TestReplayRepeatsWhatTheHandlerDidToTheHeader(t *testing.T) {
	s := &shop{serve: func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Location", "/orders/1")
		h.Add("Vary", "Accept")
		h.Set("Cache-Control", "no-store")
		h.Del("X-Powered-By")
		h["Date"] = nil // as net/http has it: send none
		w.WriteHeader(201)
	}}
	d := deduplicate(t, s, retry.DeduplicateConfig{})
	number := 0
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number++
		h := w.Header()
		h.Set("X-Request-Id", fmt.Sprint(number))
		h.Set("Vary", "Origin")
		h.Set("Cache-Control", "private")
		h.Set("X-Powered-By", "magic")
		d.ServeHTTP(w, r)
	})
	want := http.Header{
		"Location": {"/orders/1"}, "Vary": {"Origin", "Accept"}, "Cache-Control": {"no-store"},
		"X-Request-Id": {"1"}, "Date": nil,
	}
	require.Equal(t, want, post(t.Context(), front, "k", "").Header())
	want["X-Request-Id"] = []string{"2"}
	want[retry.ReplayedHeader] = []string{"true"}
	for range 2 { // the second shows that the first replay changed nothing that is kept
		require.Equal(t, want, post(t.Context(), front, "k", "").Header())
		want["X-Request-Id"] = []string{"3"}
	}
}

func TestRoomForOneOfTheLargestIsTheLeast(t *testing.T) {
	for _, most := range []int64{100 << 20, 1<<63 - 1} { // over the default of MaxBuffered
		_, err := retry.Deduplicate(&shop{}, retry.DeduplicateConfig{MaxRequest: most})
		require.NoError(t, err)
	}
	_, err := retry.Deduplicate(&shop{}, retry.DeduplicateConfig{MaxRequest: 1000, MaxBuffered: 1000})
	require.ErrorIs(t, err, retry.ErrInvalid)
	require.ErrorContains(t, err, "DeduplicateConfig.MaxBuffered is 1000, want at least MaxRequest + MaxResponse, 66536")
	_, err = retry.Deduplicate(&shop{}, retry.DeduplicateConfig{MaxWaiting: -1})
	require.ErrorContains(t, err, "DeduplicateConfig.MaxWaiting is -1")
}
