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
	count atomic.Uint32
	hosts [8]atomic.Pointer[host]
}

func (t *Tried) add(h *host) {
	if t != nil {
		t.hosts[(t.count.Add(1)-1)%uint32(len(t.hosts))].Store(h)
	}
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
