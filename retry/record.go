package retry

import (
	"bufio"
	"errors"
	"net"
	"net/http"
)

// A response is what a handler answered.
type response struct {
	status int
	header http.Header
	body   []byte
	lost   bool // done, but too large to keep or not seen
}

// size is the memory that a response takes with its entry, about.
func (r *response) size() int64 {
	return entryBytes + headerSize(r.header) + int64(len(r.body))
}

func headerSize(h http.Header) (n int64) {
	for name, values := range h {
		n += int64(len(name)) + 64
		for _, v := range values {
			n += int64(len(v)) + 16
		}
	}
	return n
}

// replay gives the response again.
func (r *response) replay(w http.ResponseWriter) {
	if r.lost {
		http.Error(w, "the request was done before, and its response was not kept", http.StatusConflict)
		return
	}
	for name, values := range r.header {
		w.Header()[name] = append([]string(nil), values...)
	}
	w.Header().Set(ReplayedHeader, "true")
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the client may be gone; there is nobody else to tell
}

// A recorder passes a response on to the client and keeps a copy.
type recorder struct {
	http.ResponseWriter
	response
	room     int64 // bytes that may still be kept
	begun    bool  // the status and header are final
	hijacked bool
}

// begin records the status and the header as they are now, once.
func (r *recorder) begin(status int) {
	if r.begun {
		return
	}
	r.begun, r.status = true, status
	if r.room -= headerSize(r.Header()); r.room < 0 {
		r.lost = true
		return
	}
	r.header = r.Header().Clone()
}

// WriteHeader implements http.ResponseWriter. Informational statuses pass.
func (r *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		r.begin(status)
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter. What was kept so far is let go when it
// grows too large.
func (r *recorder) Write(p []byte) (int, error) {
	r.begin(http.StatusOK)
	if r.room -= int64(len(p)); r.room < 0 {
		r.lost, r.header, r.body = true, nil, nil
	} else if !r.lost {
		r.body = append(r.body, p...)
	}
	n, err := r.ResponseWriter.Write(p)
	if r.disconnected(err) {
		return len(p), nil
	}
	return n, err
}

// disconnected reports whether err says that the client has gone while its
// response is being kept. The handler is not told: it would stop, and half a
// response would be replayed as the whole.
func (r *recorder) disconnected(err error) bool {
	return err != nil && !r.lost && !errors.Is(err, http.ErrBodyNotAllowed) &&
		!errors.Is(err, http.ErrContentLength) && !errors.Is(err, http.ErrNotSupported) && !errors.Is(err, http.ErrHijacked)
}

// FlushError sends what is buffered; http.ResponseController asks for it.
func (r *recorder) FlushError() error {
	r.begin(http.StatusOK)
	err := http.NewResponseController(r.ResponseWriter).Flush()
	if r.disconnected(err) {
		return nil
	}
	return err
}

// Flush implements http.Flusher.
func (r *recorder) Flush() { _ = r.FlushError() }

// Hijack implements http.Hijacker. What follows is not seen.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	r.hijacked = err == nil
	return conn, rw, err
}

// Unwrap gives http.ResponseController the rest: deadlines and full duplex.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
