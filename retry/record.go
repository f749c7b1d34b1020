package retry

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"slices"
)

// A response is what a handler answered.
type response struct {
	status int
	header headerChange
	body   []byte
	lost   bool // done, but too large to keep or not seen
}

// A headerChange is what a handler did to a header in which others had set fields
// before it.
type headerChange struct {
	set     http.Header // fields that are new, or other than they were
	added   http.Header // values added to fields that were there
	removed []string
}

// changes returns what makes header out of outer.
func changes(outer, header http.Header) headerChange {
	c := headerChange{set: http.Header{}, added: http.Header{}}
	for name, values := range header {
		before, was := outer[name]
		n := len(before)
		switch {
		case was && slices.Equal(before, values):
		case n > 0 && n < len(values) && slices.Equal(before, values[:n]):
			c.added[name] = slices.Clone(values[n:])
		default:
			c.set[name] = slices.Clone(values)
		}
	}
	for name := range outer {
		if _, is := header[name]; !is {
			c.removed = append(c.removed, name)
		}
	}
	return c
}

// apply makes the same change to another header.
func (c *headerChange) apply(header http.Header) {
	for name, values := range c.set {
		header[name] = slices.Clone(values)
	}
	for name, values := range c.added {
		header[name] = append(header[name], values...)
	}
	for _, name := range c.removed {
		delete(header, name)
	}
}

// size is the memory that a change takes, about.
func (c *headerChange) size() (n int64) {
	for _, fields := range [...]http.Header{c.set, c.added, {"": c.removed}} {
		for name, values := range fields {
			n += int64(len(name)) + 64
			for _, v := range values {
				n += int64(len(v)) + 16
			}
		}
	}
	return n
}

// size is the memory that a response takes with its entry, about.
func (r *response) size() int64 { return entryBytes + r.header.size() + int64(len(r.body)) }

// replay gives the response again.
func (r *response) replay(w http.ResponseWriter) {
	if r.lost {
		http.Error(w, "the request was done before, and its response was not kept", http.StatusConflict)
		return
	}
	r.header.apply(w.Header())
	w.Header().Set(ReplayedHeader, "true")
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the client may be gone; there is nobody else to tell
}

// A recorder passes a response on to the client and keeps a copy.
type recorder struct {
	http.ResponseWriter
	response
	outer    http.Header // as it was before the handler
	room     int64       // bytes that may still be kept
	held     *loan       // for what is kept
	begun    bool        // the status and header are final
	hijacked bool
}

// begin records the status and the header as they are now, once.
func (r *recorder) begin(status int) {
	if r.begun {
		return
	}
	r.begun, r.status = true, status
	r.header = changes(r.outer, r.Header())
	r.keep(r.header.size())
}

// keep reports whether there is room for n bytes more. What was kept so far is let
// go when there is not.
func (r *recorder) keep(n int64) bool {
	if r.room -= n; r.lost || r.room < 0 || !r.held.take(n) {
		r.lost, r.header, r.body = true, headerChange{}, nil
	}
	return !r.lost
}

// WriteHeader implements http.ResponseWriter. Informational statuses pass.
func (r *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		r.begin(status)
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.begin(http.StatusOK)
	if r.keep(int64(len(p))) {
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
