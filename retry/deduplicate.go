package retry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"
)

// ReplayedHeader is set to "true" in a response that a [Deduplicator] replays.
const ReplayedHeader = "Idempotency-Replayed"

// DeduplicateConfig configures a [Deduplicator]. The zero value is a good
// default: the responses of the latest 10,000 keys for a day, in 64 MiB.
type DeduplicateConfig struct {
	// TTL is how long a response is kept after it was given. Default 24 h; must
	// not be negative. It must be longer than any client goes on retrying.
	TTL time.Duration
	// MaxEntries is how many keys are remembered. Default 10,000; bounds 1 to
	// 1e8. Where it or MaxBytes is reached, the oldest responses are forgotten
	// before their time, which DeduplicateStats.Evicted counts.
	MaxEntries int
	// MaxBytes bounds the memory of all responses kept. Default 64 MiB; at
	// least MaxResponse + 1 KiB.
	MaxBytes int64
	// MaxBuffered bounds the memory, in bytes, that requests with a key take while
	// they run or wait: their bodies, and the responses that are being recorded.
	// Where it is reached, a further request is answered with 503, and a response
	// counts as too large to keep. Default 64 MiB, or MaxRequest + MaxResponse,
	// which is the least, if that is more.
	MaxBuffered int64
	// MaxWaiting is how many requests may wait at a time for the first of their
	// key, over all keys. Further ones are answered with 503. Default 1,000;
	// bounds 1 to 1e6.
	MaxWaiting int
	// MaxRequest is the longest body, in bytes, of a request that bears a key.
	// It is read whole before the handler sees it, to tell a repeated request
	// from another one under the same key. Default 1 MiB; must not be negative.
	// A longer one is answered with 413.
	MaxRequest int64
	// MaxResponse is the longest response, header and body, that is kept, in
	// bytes. Default 64 KiB; must not be negative. A longer one still reaches
	// its client, and is not done again; a repeated request is answered with
	// 409.
	MaxResponse int64
	// Required answers a POST or PATCH without a key with 400. Without it they
	// pass, as often as they come.
	Required bool
	// RejectConcurrent answers a request with 409 while the first of its key is
	// still running; a client that is to come back by itself names 409 in its
	// Policy.Retryable. Without it the request waits for the first and then
	// gets its response.
	RejectConcurrent bool
	// Scope names the client that a request comes from: the same key of two
	// scopes, or for two hosts, is two keys, so that nobody is given the response
	// of somebody else. Default the Authorization header. Set it where clients are
	// told apart by something else, such as a cookie, or where their credentials
	// change between the attempts. Must be safe for concurrent use.
	Scope func(r *http.Request) string
	// Keep reports whether a response with this status is the outcome of the
	// operation, to be replayed. Where it is not, the next request with the key
	// runs the handler again. Default: all but 408, 425, 429, 502, 503 and 504,
	// which ask the client to come back. Must be safe for concurrent use.
	Keep func(status int) bool
}

const (
	defaultTTL         = 24 * time.Hour
	defaultMaxEntries  = 10_000
	defaultMaxBytes    = 64 << 20
	defaultMaxBuffered = 64 << 20
	defaultMaxWaiting  = 1000
	defaultMaxRequest  = 1 << 20
	defaultMaxResponse = 64 << 10
)

func (c *DeduplicateConfig) setDefaults() error {
	switch {
	case c.TTL < 0:
		return invalid("DeduplicateConfig.TTL", c.TTL, "above 0, or 0 for 24h")
	case c.MaxEntries < 0 || c.MaxEntries > 1e8:
		return invalid("DeduplicateConfig.MaxEntries", c.MaxEntries, "1 to 1e8, or 0 for 10000")
	case c.MaxWaiting < 0 || c.MaxWaiting > 1e6:
		return invalid("DeduplicateConfig.MaxWaiting", c.MaxWaiting, "1 to 1e6, or 0 for 1000")
	case c.MaxRequest < 0:
		return invalid("DeduplicateConfig.MaxRequest", c.MaxRequest, "above 0, or 0 for 1 MiB")
	case c.MaxResponse < 0:
		return invalid("DeduplicateConfig.MaxResponse", c.MaxResponse, "above 0, or 0 for 64 KiB")
	}
	c.TTL = cmp.Or(c.TTL, defaultTTL)
	c.MaxEntries = cmp.Or(c.MaxEntries, defaultMaxEntries)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultMaxBytes)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, defaultMaxWaiting)
	c.MaxRequest = cmp.Or(c.MaxRequest, defaultMaxRequest)
	c.MaxResponse = cmp.Or(c.MaxResponse, defaultMaxResponse)
	if c.MaxBytes-entryBytes < c.MaxResponse {
		return invalid("DeduplicateConfig.MaxBytes", c.MaxBytes, fmt.Sprintf("at least MaxResponse + 1 KiB, %d, or 0 for 64 MiB", c.MaxResponse+entryBytes))
	}
	least := c.MaxRequest + min(c.MaxResponse, math.MaxInt64-c.MaxRequest)
	c.MaxBuffered = cmp.Or(c.MaxBuffered, max(defaultMaxBuffered, least))
	if c.MaxBuffered < least {
		return invalid("DeduplicateConfig.MaxBuffered", c.MaxBuffered, fmt.Sprintf("at least MaxRequest + MaxResponse, %d, or 0 for 64 MiB", least))
	}
	if c.Scope == nil {
		c.Scope = func(r *http.Request) string { return r.Header.Get("Authorization") }
	}
	if c.Keep == nil {
		c.Keep = func(status int) bool { return !retryableStatus(status) }
	}
	return nil
}

// A Deduplicator is an http.Handler that makes repeating a request safe: of all
// requests that bear the same idempotency key it lets one through to the
// handler behind it, and gives the others the same response. It is made by
// [Deduplicate] and safe for concurrent use.
//
// What a client sees (draft-ietf-httpapi-idempotency-key-header):
//
//   - the first response again, with Idempotency-Replayed: true;
//   - 409 while the first request runs, if so configured, and where its
//     response was too large to keep;
//   - 422 if the key was used for another request: another method, address,
//     type of content or body;
//   - 400 for a key that is missing where it is required, or malformed;
//   - 413 for a request too large;
//   - 503 with Retry-After if all keys in memory are running, or MaxBuffered or
//     MaxWaiting is reached.
//
// GET, HEAD, OPTIONS and TRACE pass, and so do requests without a key. A
// handler that panics has no outcome, nor has one that, after its client has
// gone, answers with an error or not at all; the next request with the key runs
// it again. So may a handler be run again after its response was evicted or the
// process restarted: the memory is that of one process.
//
// Of the header, a replay repeats what the handler behind it has set, added and
// deleted, not what those in front of it had set before, such as the number of a
// request: they do it again. Trailers, responses after a 101, and hijacked
// connections are not replayed.
type Deduplicator struct {
	next   http.Handler
	config DeduplicateConfig
	memory memory
	room   quota // of MaxBuffered
}

// Deduplicate returns a handler that passes each operation once to next, or an
// ErrInvalid.
func Deduplicate(next http.Handler, c DeduplicateConfig) (*Deduplicator, error) {
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	d := &Deduplicator{next: next, config: c}
	d.memory.init(c.MaxEntries, c.MaxBytes, c.TTL)
	d.room.left.Store(c.MaxBuffered)
	return d, nil
}

// ServeHTTP implements http.Handler.
func (d *Deduplicator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fields := r.Header.Values(KeyHeader)
	if safe(r.Method) || len(fields) == 0 && !(d.config.Required && !idempotent(r.Method)) {
		d.next.ServeHTTP(w, r)
		return
	}
	if len(fields) != 1 {
		http.Error(w, fmt.Sprintf("want one %s, got %d", KeyHeader, len(fields)), http.StatusBadRequest)
		return
	}
	key, ok := parseKey(fields[0])
	if !ok {
		http.Error(w, fmt.Sprintf("want an %s of 1 to %d visible ASCII characters", KeyHeader, MaxKey), http.StatusBadRequest)
		return
	}
	held := &loan{from: &d.room}
	defer held.giveBack()
	r, content, err := d.buffered(w, r, held)
	if err != nil {
		d.unreadable(w, err)
		return
	}
	id := digest([]byte(d.config.Scope(r)), []byte(r.Host), []byte(key))
	d.serve(w, r, id, content, held)
}

// buffered reads the body of a request, and returns the request with a body that
// can be read, and a digest of all that makes it the same request.
func (d *Deduplicator) buffered(w http.ResponseWriter, r *http.Request, held *loan) (*http.Request, [sha256.Size]byte, error) {
	var body []byte
	if r.Body != nil && r.Body != http.NoBody {
		var err error
		limited := http.MaxBytesReader(w, r.Body, d.config.MaxRequest)
		if body, err = io.ReadAll(meteredReader{limited, held}); err != nil {
			return r, [sha256.Size]byte{}, err
		}
		again := *r
		again.Body = io.NopCloser(bytes.NewReader(body))
		r = &again
	}
	content := digest([]byte(r.Method), []byte(r.URL.RequestURI()), []byte(r.Header.Get("Content-Type")), body)
	return r, content, nil
}

// unreadable answers a request whose body could not be read.
func (d *Deduplicator) unreadable(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	if errors.Is(err, errNoRoom) {
		d.refuse(w, "too much is under way")
		return
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	http.Error(w, "cannot read the request: "+err.Error(), status)
}

// refuse asks the client to come back when there is room.
func (d *Deduplicator) refuse(w http.ResponseWriter, why string) {
	d.memory.refused.Add(1)
	w.Header().Set("Retry-After", "1")
	http.Error(w, why, http.StatusServiceUnavailable)
}

// digest hashes parts so that no two lists of parts look alike.
func digest(parts ...[]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, part := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

// serve runs the handler if the request is the first of its key, and else
// answers from memory.
func (d *Deduplicator) serve(w http.ResponseWriter, r *http.Request, id, content [sha256.Size]byte, held *loan) {
	for {
		e, first := d.memory.claim(time.Now(), id, content)
		switch {
		case e == nil:
			d.refuse(w, "too many operations are running")
			return
		case first:
			d.run(w, r, e, held)
			return
		case e.content != content:
			d.memory.mismatched.Add(1)
			http.Error(w, "the "+KeyHeader+" was used for another request", http.StatusUnprocessableEntity)
			return
		case !e.over() && d.config.RejectConcurrent:
			d.memory.conflicts.Add(1)
			w.Header().Set("Retry-After", "1")
			http.Error(w, stillRunning, http.StatusConflict)
			return
		case !e.over() && !d.await(w, r, e):
			return
		}
		if e.response != nil {
			d.memory.replayed.Add(1)
			e.response.replay(w)
			return
		}
	}
}

const stillRunning = "the first request with this " + KeyHeader + " is still running"

// await waits until the handler has ended. If the request may not wait, or waits
// no more, it is answered, and the result is false.
func (d *Deduplicator) await(w http.ResponseWriter, r *http.Request, e *entry) bool {
	defer d.memory.waiting.Add(-1)
	if d.memory.waiting.Add(1) > int64(d.config.MaxWaiting) {
		d.refuse(w, stillRunning+", and too many wait for it")
		return false
	}
	select {
	case <-e.done:
		return true
	case <-r.Context().Done(): // never an empty 200, which would say that it was done
		http.Error(w, stillRunning, http.StatusServiceUnavailable)
		return false
	}
}

// run passes the first request of a key to the handler, and keeps the response.
// A handler that does not return has none.
func (d *Deduplicator) run(w http.ResponseWriter, r *http.Request, e *entry, held *loan) {
	rec := &recorder{ResponseWriter: w, outer: w.Header().Clone(), room: d.config.MaxResponse, held: held}
	var kept *response
	defer func() { d.memory.settle(time.Now(), e, kept) }()
	d.next.ServeHTTP(rec, r)
	kept = d.outcome(r.Context(), rec)
}

// outcome returns the response that was recorded, if it is the outcome of the
// operation.
func (d *Deduplicator) outcome(ctx context.Context, rec *recorder) *response {
	if rec.hijacked {
		return &response{lost: true}
	}
	gone := ctx.Err() != nil
	if gone && (!rec.begun || rec.status >= http.StatusBadRequest) {
		return nil // it speaks of the client that has gone
	}
	rec.begin(http.StatusOK)
	if !d.config.Keep(rec.status) {
		return nil
	}
	kept := rec.response // a copy: it must not keep the connection in memory
	kept.body = bytes.Clone(kept.body)
	return &kept
}

// DeduplicateStats is what a [Deduplicator] holds, and has done since it was
// made.
type DeduplicateStats struct {
	Entries    int    // keys in memory, those of running requests included
	Bytes      int64  // memory of the responses kept, about
	Replayed   uint64 // responses given again
	Conflicts  uint64 // requests refused because the first was running
	Mismatched uint64 // requests refused because their key was used for another
	Evicted    uint64 // responses forgotten before their time
	Waiting    int    // requests that wait for the first of their key
	Buffered   int64  // memory of the requests under way, of MaxBuffered
	Refused    uint64 // requests refused because there was no room, to run, to wait, or in memory
}

// Stats returns the counts. Each is right by itself; together they may be of
// slightly different moments.
func (d *Deduplicator) Stats() DeduplicateStats {
	s := d.memory.stats()
	s.Buffered = d.config.MaxBuffered - d.room.left.Load()
	return s
}
