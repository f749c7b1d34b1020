package lb

import (
	"context"
	"sync/atomic"
)

// Tried remembers the backends that a request was sent to, so that the next try
// goes to another one. The zero value is ready; use one for each request, in
// [Request].Tried, and share it between its tries, also between concurrent ones.
// When all have been tried, a backend is chosen as if none had. Beyond 8 tries
// the earliest are forgotten.
type Tried struct {
	hosts [8]atomic.Pointer[host]
	more  atomic.Uint32 // those that there was no room for
}

// add adds h and reports whether it was not there. Places fill up in their order,
// so that of two tries that add one host at once, one meets the other.
func (t *Tried) add(h *host) bool {
	for i := range t.hosts {
		switch at := &t.hosts[i]; {
		case at.CompareAndSwap(nil, h):
			return true
		case at.Load() == h:
			return false
		}
	}
	t.hosts[(t.more.Add(1)-1)%uint32(len(t.hosts))].Store(h)
	return true
}

// covers reports whether all of the hosts have been tried.
func (t *Tried) covers(hosts []*host) bool {
	if t == nil || len(hosts) > len(t.hosts) {
		return false
	}
	for _, h := range hosts {
		if !t.has(h) {
			return false
		}
	}
	return true
}

func (t *Tried) has(h *host) bool {
	if t == nil {
		return false
	}
	for i := range t.hosts {
		if t.hosts[i].Load() == h {
			return true
		}
	}
	return false
}

type triedKey struct{}

// WithTried returns a context whose requests through RoundTripper, one after the
// other or at once, each go to a backend that none of them was sent to before:
// make it where the tries of one request begin.
func WithTried(ctx context.Context) context.Context {
	return context.WithValue(ctx, triedKey{}, new(Tried))
}

// TriedFrom returns what WithTried put into ctx; nil, which is fit for a Request,
// if nothing did.
func TriedFrom(ctx context.Context) *Tried {
	t, _ := ctx.Value(triedKey{}).(*Tried)
	return t
}
