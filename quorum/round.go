package quorum

import (
	"context"
	"slices"
	"sync"

	"github.com/parley-go/parley/transport"
)

// A round asks owners of a key the same question at once and waits until a
// tally says that the answers are enough. Each owner is asked by a goroutine of
// its own; they may outlive the wait, within the bounds of Config.Timeout and
// Config.Background.
type round struct {
	store   *Store
	owners  []string
	request request
	body    []byte // the request as it travels
	enough  func(t *tally) verdict
	expired <-chan struct{} // Config.Timeout is over
	cancel  context.CancelFunc
	done    chan struct{} // closed with the verdict

	mu       sync.Mutex
	tally    tally   // guarded by mu
	verdict  verdict // guarded by mu
	running  int     // goroutines; guarded by mu
	detached bool    // nobody waits any more; guarded by mu
	newest   Record  // once a read is decided, what late answers are held against; guarded by mu
}

// ask starts a round with those owners that t neither has an answer from nor a
// failure. The caller is inside the store (see Store.enter) and ends the round
// with detach or cancel.
func (s *Store) ask(q request, owners []string, t tally, enough func(*tally) verdict) *round {
	ctx, cancel := context.WithTimeout(s.base, s.config.Timeout)
	r := &round{
		store: s, owners: owners, request: q, enough: enough, expired: ctx.Done(), cancel: cancel,
		done: make(chan struct{}), verdict: enough(&t),
	}
	if r.verdict != open {
		r.tally = t
		close(r.done)
		return r
	}
	r.body = q.append(make([]byte, 0, len(q.key)+len(q.record.Value)+len(q.record.Version.Node)+entryOverhead))
	// The value stands at the end of the body. From here on it is taken from
	// there, for the caller may use its own buffer again before the last owner,
	// perhaps this node, has been asked.
	r.request.record.Value = r.body[len(r.body)-len(q.record.Value):]
	waiting := ^t.heard &^ t.failed
	r.tally, r.running = t, t.pending
	s.wg.Add(r.running)
	for i := range owners {
		if waiting&(1<<i) != 0 {
			go r.run(ctx, i)
		}
	}
	return r
}

// run asks one owner and takes its answer to the tally.
func (r *round) run(ctx context.Context, i int) {
	defer r.store.wg.Done()
	var a ack
	err := ErrExited // if a Storage or Transport ends this goroutine
	defer func() {
		late := r.answer(i, a, err)
		if err == nil && a.record.Version.Compare(late.Version) < 0 {
			r.store.repair(ctx, r.owners[i], r.request.key, late)
		}
		r.leave()
	}()
	a, err = r.store.askOwner(ctx, r.owners, i, &r.request, r.body)
}

// answer puts an answer into the tally. If a read has been decided without it,
// it returns the record that was read.
func (r *round) answer(i int, a ack, err error) (late Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.answer(i, a, err)
	if r.verdict != open {
		return r.newest
	}
	r.verdict = r.enough(&r.tally)
	if r.verdict == short && r.ownPending() {
		r.verdict = open // what is here comes at once, and belongs into the error's count
	}
	if r.verdict != open {
		close(r.done)
	}
	return Record{}
}

// ownPending reports whether this node is an owner and has not answered yet. The
// caller holds mu.
func (r *round) ownPending() bool {
	own := slices.Index(r.owners, r.store.self)
	return own >= 0 && (r.tally.heard|r.tally.failed)&(1<<own) == 0
}

// leave is the last that a goroutine of the round does.
func (r *round) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if r.running == 0 && r.detached {
		r.store.background.Add(-1)
		r.cancel()
	}
}

// wait returns the tally once there is a verdict, or with the cause when ctx or
// the store ends before.
func (r *round) wait(ctx context.Context) (t tally, v verdict, cause error) {
	select {
	case <-r.done:
	case <-ctx.Done():
		cause = transport.ContextError(ctx)
	case <-r.store.base.Done():
		cause = ErrClosed
	case <-r.expired:
		cause = context.DeadlineExceeded
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.verdict == short && r.store.base.Err() != nil:
		cause = ErrClosed // which is why the calls failed
	case r.verdict != open:
		cause = nil
	}
	return r.tally.clone(), r.verdict, cause
}

// settle says what a read has decided on: from now on whoever answers with
// something older is repaired. It returns the positions of those who have
// already done so.
func (r *round) settle(newest Record) (behind []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest = newest
	for i := range r.owners {
		if r.tally.behind(i, newest.Version) {
			behind = append(behind, i)
		}
	}
	return behind
}

// detach lets the calls that still run go on, if there is room for them in the
// background, and otherwise ends them.
func (r *round) detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running > 0 && r.store.reserve() {
		r.detached = true
		return
	}
	r.cancel()
}
